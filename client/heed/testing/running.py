"""A real heed server of your own, for tests that need one: a process with SQLite in a folder.

It needs the distribution `heed-server` in the same environment. It listens on a free port of
loopback, asks for no key, and reads neither your HEED_* variables nor a heed.toml of yours.
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from heed.client import Client
from heed.sync_client import SyncClient

START_SECONDS_MAX: Final = 30.0
"""How long a server may take until it serves."""
STOP_SECONDS_MAX: Final = 20.0
"""How long it may take to stop before it is killed."""
LINES_KEPT_MAX: Final = 1_000
"""So many last lines of its log are kept, to be shown if it fails."""


class RunningServer:
    """A server that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Read what the process writes, from now on."""
        self.address = ""
        """`127.0.0.1:…`"""
        self._process = process
        self._events: queue.Queue[dict[str, object]] = queue.Queue()
        self._lines: list[str] = []
        # Ends with the process, whose output it reads to the end.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._lines)

    def client(self, *, tenant: str = "", timeout: float | None = None) -> SyncClient:
        """Return a client of this server, to be closed."""
        return SyncClient(self.address, tenant=tenant, timeout=timeout)

    def async_client(self, *, tenant: str = "", timeout: float | None = None) -> Client:
        """Return an asynchronous client of this server, to be closed."""
        return Client(self.address, tenant=tenant, timeout=timeout)

    def wait_until_serving(self) -> None:
        """Return once it serves, knowing its address.

        Raises:
            RuntimeError: it ended, or did not serve in time; its log is in the message.
        """
        while True:
            try:
                event = self._events.get(timeout=START_SECONDS_MAX)
            except queue.Empty:
                raise RuntimeError(f"heed-server does not serve:\n{self.log}") from None
            if event["event"] == "ended":
                raise RuntimeError(f"heed-server ended before it served:\n{self.log}")
            addresses = event.get("addresses")
            if event["event"] == "serving" and isinstance(addresses, list):
                self.address = str(addresses[0])
                return

    def stop(self) -> None:
        """Stop it, by force if it does not in time."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                self._lines = [*self._lines[1 - LINES_KEPT_MAX :], line.rstrip("\n")]
                if line.startswith("{"):
                    self._events.put(json.loads(line))
        self._events.put({"event": "ended"})


@contextmanager
def server(*flags: str, folder: Path | None = None) -> Generator[RunningServer]:
    """Start a server, and stop it at the end.

    `flags` go to `heed-server serve` as they are. `folder` is where its files are; one that is
    removed at the end if none is given.

    Raises:
        RuntimeError: heed-server is not installed, or does not serve.
    """
    if find_spec("heed_server") is None:
        raise RuntimeError(
            "heed.testing.server needs heed-server in this environment: pip install heed-server; "
            "FakeClient and FakeSyncClient need no server"
        )
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="heed-") as made, _started(flags, Path(made)) as up:
            yield up
        return
    with _started(flags, folder) as up:
        yield up


@contextmanager
def _started(flags: tuple[str, ...], folder: Path) -> Generator[RunningServer]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HEED_")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "heed_server", "serve"),
            *("--listen", "127.0.0.1:0", "--telemetry-metrics-address", "127.0.0.1:0"),
            *("--telemetry-log-format", "json", "--drain-announce-seconds", "0"),
            *flags,
        ],
        cwd=folder,
        env=bare,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = RunningServer(process)
    try:
        running.wait_until_serving()
        yield running
    finally:
        running.stop()
