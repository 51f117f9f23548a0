"""Processes of `heed-server` that are forked from one that has imported it: a start costs a fifth.

Most of what a start costs a processor is imports, and the suite starts some hundred processes.

    with forking():
        process = launch("serve", "--listen", "127.0.0.1:0", cwd=folder, env={}, out=1, err=2)

Laws:
- A process is one of its own: pid, folder, environment, descriptors, signals, memory, exit code.
  All that it has from its parent is modules that were imported.
- That parent has one thread, runs nothing of heed's, and ends with whoever started it.
- Where Python itself is told something else (a variable of its own), and outside of the block, a
  process is started anew. So is what measures, and what asks how a start goes.
"""

import gc
import importlib
import json
import os
import pkgutil
import queue
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

COMMAND: Final = [sys.executable, "-m", "heed_server"]
FORK_SECONDS_MAX: Final = 60
"""How long the parent may take to import all, and to fork."""
REQUEST_BYTES_MAX: Final = 1 << 20
ROOT: Final = Path(__file__).parents[2]


class Process(Protocol):
    """What is asked of a process, forked or not."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


class Forked:
    """A process that was forked; as `subprocess.Popen` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._has_ended = threading.Event()

    def end(self, code: int) -> None:
        """Note that it has ended, and how."""
        self._code = code
        self._has_ended.set()

    def poll(self) -> int | None:
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        if not self._has_ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        assert self._code is not None
        return self._code

    def send_signal(self, number: int, /) -> None:
        if self._code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Parent:
    """The process that imported heed, as whoever started it sees it."""

    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._turn = threading.Lock()
        self._forked: queue.Queue[Forked | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def fork(
        self, *arguments: str, cwd: Path, env: Mapping[str, str], out: int, err: int
    ) -> Forked:
        """Start `heed-server` with these arguments."""
        asked = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)})
        with self._turn, Path(os.devnull).open("rb") as nothing:
            socket.send_fds(self._connection, [f"{asked}\n".encode()], [nothing.fileno(), out, err])
            forked = self._forked.get(timeout=FORK_SECONDS_MAX)
        if forked is None:
            raise RuntimeError("the process that forks has ended; what it wrote says why")
        return forked

    def close(self) -> None:
        """Let it end; what it forked lives on."""
        self._connection.shutdown(socket.SHUT_WR)
        self._process.wait(FORK_SECONDS_MAX)
        self._reader.join()
        self._connection.close()

    def _read(self) -> None:
        running: dict[int, Forked] = {}
        with self._connection.makefile("r") as lines:
            for line in lines:
                told = json.loads(line)
                if "code" in told:
                    running.pop(told["pid"]).end(told["code"])
                else:
                    running[told["pid"]] = Forked(told["pid"])
                    self._forked.put(running[told["pid"]])
        self._forked.put(None)


@dataclass
class _Forking:
    """Whether it is allowed here, and the parent once there is one."""

    is_allowed: bool = False
    parent: Parent | None = None


_forking = _Forking()


@contextmanager
def forking() -> Generator[None]:
    """Let `launch` fork within the block."""
    _forking.is_allowed = True
    try:
        yield
    finally:
        _forking.is_allowed = False
        parent, _forking.parent = _forking.parent, None
        if parent is not None:
            parent.close()


def launch(
    *arguments: str, cwd: Path, env: Mapping[str, str], out: int, err: int, anew: bool = False
) -> Process:
    """Start `heed-server`, which writes to these descriptors; forked where it may be."""
    if anew or not _forking.is_allowed or _python_told(env) != _python_told(os.environ):
        return subprocess.Popen([*COMMAND, *arguments], cwd=cwd, env=env, stdout=out, stderr=err)
    if _forking.parent is None:
        _forking.parent = Parent()
    return _forking.parent.fork(*arguments, cwd=cwd, env=env, out=out, err=err)


def _python_told(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


def main(descriptor: int) -> None:
    """Be the parent; and, once this returns from a fork, the process that was asked for."""
    known = set(os.environ)
    _import_all()
    gc.freeze()
    by_imports = {name: value for name, value in os.environ.items() if name not in known}
    _serve(socket.socket(fileno=descriptor), by_imports)
    runpy.run_module("heed_server", run_name="__main__", alter_sys=True)


def _import_all() -> None:
    for name in ("heed_server", "alembic.command", "alembic.config"):
        importlib.import_module(name)
    for found in pkgutil.walk_packages(sys.modules["heed_server"].__path__, "heed_server."):
        # Migrations are loaded by alembic, each time; the command is run, by its name.
        if ".migrations." not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    if threading.active_count() > 1:
        raise RuntimeError("an import started a thread, which no fork would have")


def _serve(connection: socket.socket, by_imports: Mapping[str, str]) -> None:
    """Fork for each who asks, and tell of each end; returns in what was forked.

    `by_imports` are the variables that heed's modules set when they are imported, where nobody has.
    """
    woken, wakes = os.pipe()
    for descriptor in (woken, wakes):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C in a terminal is for the tests, which then end what they started.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([connection.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4_096)
            _tell_of_ends(connection)
        if connection.fileno() not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(connection, REQUEST_BYTES_MAX, 3)
        if not data:
            sys.exit()
        while not data.endswith(b"\n"):
            data += connection.recv(REQUEST_BYTES_MAX)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, interrupt)
            for descriptor in (connection.detach(), woken, wakes):
                os.close(descriptor)
            _become(json.loads(data), descriptors, by_imports)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _tell(connection, pid=pid)


def _tell_of_ends(connection: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(connection, pid=pid, code=os.waitstatus_to_exitcode(status))


def _tell(connection: socket.socket, **told: int) -> None:
    connection.sendall(f"{json.dumps(told)}\n".encode())


def _become(
    asked: Mapping[str, Any], descriptors: list[int], by_imports: Mapping[str, str]
) -> None:
    """Take the place, the surroundings and the arguments that were asked for."""
    for at, descriptor in enumerate(descriptors):
        os.dup2(descriptor, at)
        os.close(descriptor)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update({**by_imports, **asked["env"]})
    sys.path[0] = asked["cwd"]
    sys.argv = ["heed-server", *asked["arguments"]]


if __name__ == "__main__":
    main(int(sys.argv[1]))
