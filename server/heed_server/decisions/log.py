"""Writing the decision log: a queue that never makes a Check wait, and the thread that empties it.

Laws:
- Noting appends and returns. What there is no room for is dropped whole and counted, and so is what
  the disk does not take; the server's log says so, once a minute at most.
- Whatever ends the thread, Checks go on: it is said once, loudly, and all that is noted from then
  on is counted as dropped.
- It is an aid, not the log of changes: what waits is lost with its process.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from heed.errors import UnavailableError
from heed_server.decisions.file import RotatingFile
from heed_server.decisions.lines import Noted, lines_of

PAUSE_SECONDS: Final = 0.1
"""How long what was noted waits to be written. Higher: more is lost in a crash. Lower: the thread
takes more turns from the event loop."""
CLOSE_SECONDS_MAX: Final = 5.0
"""How long closing waits for what was noted to be written."""
LINES_WRITTEN_MAX: Final = 1_000
"""Lines of one write."""
SAID_SECONDS: Final = 60.0
"""How long the server's log is silent after it said that lines are dropped; a metric counts all."""

_log = structlog.stdlib.get_logger("heed_server.decisions")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLogLimits:
    """Its bounds; each says what going higher or lower costs."""

    file_bytes_max: int = 64 << 20
    """A file that is larger is followed by the next. Higher: larger files."""
    files_max: int = 8
    """Files that are kept, the current one too. Higher: more of the disk. Lower: less is kept."""
    lines_queued_max: int = 50_000
    """Decisions that wait to be written. Higher: more memory. Lower: bursts are dropped sooner."""


class DecisionLog:
    """Takes what Checks were answered, and writes it by a thread of its own."""

    def __init__(self, file: RotatingFile, *, lines_queued_max: int) -> None:
        """Begin; close it, so that what was noted is written."""
        self._file = file
        self._lines_queued_max = lines_queued_max
        self._waiting: deque[Noted] = deque()
        # Each is written by one thread alone: `_noted` and `_refused` by the event loop, the others
        # by the writer. So none is locked.
        self._noted = 0
        self._refused = 0
        self._taken = 0
        self._failed = 0
        self.written = 0
        """Lines that are in a file."""
        self._has_ended = False
        self._said_at = -SAID_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heed-decisions", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were noted and are in no file."""
        # What waited when the thread ended is in no file either.
        lost = self._noted - self.written if self._has_ended else self._failed
        return self._refused + lost

    def note(self, noted: Noted) -> None:
        """Take what a request was answered. Called on the event loop; it never waits."""
        count = len(noted.decisions)
        if self._has_ended:
            self._refused += count
            self._say_dropped("its thread has ended (decision_log_ended); start the server again")
            return
        if self._noted - self._taken + count > self._lines_queued_max:
            self._refused += count
            self._say_dropped("more than decision_log.lines_queued_max wait to be written")
            return
        self._noted += count
        self._waiting.append(noted)

    def close(self) -> None:
        """Write what was noted, for `CLOSE_SECONDS_MAX` at most, and close the file."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS_MAX)

    def _run(self) -> None:
        try:
            self._write_until_closed()
        except Exception:  # noqa: BLE001 - the root of the thread
            self._has_ended = True
            _log.exception("decision_log_ended", written=self.written)

    def _write_until_closed(self) -> None:
        is_closing = False
        while not is_closing:
            is_closing = self._closing.wait(PAUSE_SECONDS)
            self._write_waiting()
        self._file.close()

    def _write_waiting(self) -> None:
        lines: list[bytes] = []
        for noted in self._take_all():
            lines += lines_of(noted)
            if len(lines) >= LINES_WRITTEN_MAX:
                self._write(lines)
                lines = []
        if lines:
            self._write(lines)

    def _take_all(self) -> Iterator[Noted]:
        with contextlib.suppress(IndexError):
            while True:
                noted = self._waiting.popleft()
                yield noted
                self._taken += len(noted.decisions)

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._file.write(lines)
        except OSError as error:
            self._failed += len(lines)
            self._say_dropped(f"the file cannot be written: {error.strerror}")
            return
        self.written += len(lines)

    def _say_dropped(self, why: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAID_SECONDS:
            self._said_at = now
            _log.warning("decisions_dropped", why=why, dropped=self.dropped)


def open_decision_log(path: Path, limits: DecisionLogLimits) -> DecisionLog:
    """Open the log, to be closed.

    Raises:
        UnavailableError: its file cannot be opened.
    """
    try:
        file = RotatingFile(path, bytes_max=limits.file_bytes_max, files_max=limits.files_max)
    except OSError as error:
        raise UnavailableError(
            f"decision_log.file: {path} cannot be opened ({error.strerror}); "
            "name a file that this user may write, or none"
        ) from error
    return DecisionLog(file, lines_queued_max=limits.lines_queued_max)
