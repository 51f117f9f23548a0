"""The programs of examples/, as processes: one JSON object a line.

    with Program(language, server.address).start("watch", "mailer-1") as watching:
        watching.wait_for("snapshot")

Nothing waits by sleeping: their lines are read as they are written.
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pytest

from scripts.build_examples import LANGUAGES, Language
from tests.support.served import WAIT_SECONDS_MAX, environment

Said = dict[str, Any]

NAMES = tuple(language.name for language in LANGUAGES)


def language_named(name: str) -> Language:
    """The language, built, or a skip that says why it cannot be run here."""
    language = next(one for one in LANGUAGES if one.name == name)
    require_built(language)
    return language


def require_built(language: Language) -> None:
    """Skip what this machine lacks the tools for, and what nobody built yet; CI built it before."""
    reason = language.lacking()
    if reason:
        pytest.skip(reason)
    if language.built.exists():
        return
    reason = "not built: make proto-check builds it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True, kw_only=True)
class Program:
    """One language's program, and where it finds heed."""

    language: Language
    address: str
    api_key: str = ""
    check_seconds: float = 10

    def start(self, *arguments: str) -> "Running":
        """Start it."""
        variables = {
            "HEED_ADDRESS": self.address,
            "HEED_API_KEY": self.api_key,
            "HEED_CHECK_SECONDS": str(self.check_seconds),
            "HEED_WRITE_SECONDS": "20",  # a machine that runs tests is slow
        }
        return Running((*self.language.command, *arguments), variables)

    def run(self, *arguments: str) -> list[Said]:
        """Run it to its end, which must be a good one."""
        with self.start(*arguments) as running:
            said = running.read_to_end()
            assert running.exit_code() == 0, running.complaint
        return said


@dataclass
class Running:
    """A program that runs."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    said: list[Said] = field(default_factory=list)
    """All that was read so far."""
    complaint: str = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self.command,
            env=environment(self.variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=read, daemon=True)
            for read in (self._read_lines, self._read_complaint)
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(WAIT_SECONDS_MAX)
        for reader in self._readers:
            reader.join(WAIT_SECONDS_MAX)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def ask(self, line: str) -> Said:
        """Write a line to it, and return its answer without the event."""
        self.tell(line)
        return {name: value for name, value in self.next().items() if name != "event"}

    def next(self) -> Said:
        """Return what it says next."""
        line = self._lines.get(timeout=WAIT_SECONDS_MAX)
        if line is None:
            raise AssertionError(f"it ended:\n{self.said}\n{self.complaint}")
        self.said.append(json.loads(line))
        return self.said[-1]

    def wait_for(self, event: str, is_it: Callable[[Said], bool] = lambda _: True) -> Said:
        """Return the next of these events, reading on until it comes."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < end:
            said = self.next()
            if said["event"] == event and is_it(said):
                return said
        raise AssertionError(f"no {event!r} came:\n{self.said}")

    def read_to_end(self) -> list[Said]:
        """Return all that it says until it ends."""
        while (line := self._lines.get(timeout=WAIT_SECONDS_MAX)) is not None:
            self.said.append(json.loads(line))
        return self.said

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def exit_code(self) -> int:
        """Wait for its end."""
        code = self._process.wait(WAIT_SECONDS_MAX)
        for reader in self._readers:
            reader.join(WAIT_SECONDS_MAX)
        return code

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_complaint(self) -> None:
        assert self._process.stderr is not None
        self.complaint = self._process.stderr.read()
