"""A real `heed-server serve --workers N`, and what its processes are.

with Worked(tmp_path) as server:
    server.pid("worker-1")
"""

import contextlib
import os
import re
import signal
import time
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

from heed import SyncClient
from heed.connection.options import ChannelOption, channel_options
from heed.connection.target import Target
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

CONNECTIONS = 12
"""Connections, each with a process of its own by chance: all at one of two are 1 in 2,048."""


class Worked(Served):
    """A server of two workers, whose processes are known by their names."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        workers: int = 2,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            folder,
            "--workers",
            str(workers),
            *flags,
            variables={
                "HEED_TELEMETRY_CHECK_METRICS": "true",
                "HEED_DRAIN_ANNOUNCE_SECONDS": "0.2",
                **(variables or {}),
            },
        )
        self.names = ("owner", *(f"worker-{number}" for number in range(1, workers + 1)))
        self.processes: dict[str, dict[str, Any]] = {}

    def start(self) -> Self:
        self.launch()
        try:
            for _ in self.names:
                self.await_process()
            self.serving = self.wait_for("serving")
        except BaseException:
            self.end()
            raise
        return self

    def await_process(self) -> str:
        """Wait for the next process to serve; return its name."""
        found = self.wait_for("process_serves")
        self.processes[found["name"]] = found
        return str(found["name"])

    def pid(self, name: str) -> int:
        return int(self.processes[name]["pid"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.pid(name), number)

    def is_alive(self, name: str) -> bool:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            return "State:\tZ" not in Path(f"/proc/{self.pid(name)}/status").read_text()
        return False

    def await_end_of_all(self) -> None:
        """Wait until none of its processes is left."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while alive := [name for name in self.names if self.is_alive(name)]:
            assert time.monotonic() < deadline, f"still there: {alive}"

    def metric(self, process: str, name: str) -> float:
        """What a process tells of itself, summed over its labels."""
        url = f"http://127.0.0.1:{self.processes[process]['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS_MAX) as page:
            text = page.read().decode()
        found = re.findall(rf"(?m)^{name}(?:\{{[^}}]*\}})? (\S+)$", text)
        assert found, f"{process} tells nothing of {name}"
        return sum(map(float, found))

    def counted(self, name: str) -> dict[str, float]:
        """What each process tells of a metric; 0 where it tells nothing of it."""
        counted: dict[str, float] = {}
        for process in self.names:
            try:
                counted[process] = self.metric(process, name)
            except AssertionError:
                counted[process] = 0.0
        return counted

    def checks(self) -> dict[str, float]:
        """How many Checks each process answered."""
        return self.counted(r"heed_calls_total\{code=\"OK\",method=\"CheckSuppression\"\}")

    @contextmanager
    def clients(self, count: int = CONNECTIONS, **said: Any) -> Generator[list[SyncClient]]:
        """Clients with a connection of its own each, so that every worker has some."""

        def options(target: Target) -> tuple[ChannelOption, ...]:
            # gRPC gives one connection to all channels of a process that are alike.
            return (*channel_options(target), ("grpc.use_local_subchannel_pool", 1))

        with ExitStack() as opened:
            with mock.patch("heed.connection.blocking.channel_options", options):
                clients = [opened.enter_context(self.client(**said)) for _ in range(count)]
            yield clients


@contextmanager
def migrated_database(postgres: Postgres, folder: Path) -> Generator[dict[str, str]]:
    """The variables of a server on a database of the block's own, whose tables are there."""
    with postgres.database("workers") as url:
        variables = {"HEED_STORAGE_URL": url}
        assert run_command("migrate", cwd=folder, variables=variables).returncode == 0
        yield variables
