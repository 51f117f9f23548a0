"""The clocks that a store uses, and when this node's wall clock is to be believed.

Laws:
- The clock is an argument; nothing below reads one by itself.
- On PostgreSQL the wall clock is compared with the database's at every commit; on SQLite with how
  far it has run since the start against the boot clock, which no one sets.
- A clock that is off by more than `CLOCK_OFF_SECONDS_MAX` is not believed: stops are committed one
  microsecond after the head, and all else is refused (design, section 4).
"""

import time
from dataclasses import dataclass
from typing import Protocol

from heed.model import Instant

CLOCK_OFF_SECONDS_MAX = 5.0
_MICROSECONDS = 1_000_000
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where a store has the time from."""

    def now(self) -> Instant:
        """Return the wall clock's time."""
        ...

    def boot(self) -> float:
        """Return seconds that have passed since some fixed instant, sleep included."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        """Return the wall clock's time."""
        # The name of a type is called in Python; every Check asks for the time.
        return time.time_ns() // 1_000  # type: ignore[return-value]

    def boot(self) -> float:
        """Return seconds since boot, sleep included where the system counts it."""
        return time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True, slots=True)
class ClockStart:
    """Both clocks as they were when the store opened."""

    wall: Instant
    boot: float


def off_ms_by_boot(start: ClockStart, now: Instant, boot: float) -> int:
    """Return by how much the wall clock has run away from the boot clock, in milliseconds."""
    wall_ran = (now - start.wall) / _MICROSECONDS
    return round(abs(wall_ran - (boot - start.boot)) * 1_000)


def now_by_boot(start: ClockStart, boot: float) -> Instant:
    """Return the time by the boot clock: the wall clock's of the start, and what passed since."""
    return Instant(start.wall + round((boot - start.boot) * _MICROSECONDS))


def off_ms_by_database(asked: Instant, database_time: int, answered: Instant) -> int:
    """Return how far the database's clock is outside of the time between question and answer.

    The question may have waited for a lock, so any time in between is as good as the other.
    """
    low, high = min(asked, answered), max(asked, answered)
    return max(low - database_time, database_time - high, 0) // 1_000


def is_trusted(off_ms: int) -> bool:
    """Whether a clock that is off by so much is believed."""
    return off_ms <= CLOCK_OFF_SECONDS_MAX * 1_000
