"""How soon a target is tried again. Pure: time and chance are given.

Laws:
- Each failure of an event doubles its pause, up to a bound, and chance spreads it.
- A target that takes nothing at all is away: it is sent one event at a time, at pauses that double,
  so that all that waits does not fail one by one. The first that it takes brings it back.
- For as long as a receiver asks to be left alone, up to the longest pause, it is.
"""

from collections.abc import Callable
from typing import Final

from heed.model import Instant
from heed_server.backoff import doubled_seconds
from heed_server.webhooks.limits import WebhookLimits

AWAY_AFTER_FAILURES: Final = 5
"""So many failures in a row, whosever events they were, and the target is away. Higher: more events
fail when a target goes. Lower: a few that it does not take slow down the others."""

_MICROSECONDS: Final = 1_000_000


class Pace:
    """That of one target."""

    def __init__(self, limits: WebhookLimits, chance: Callable[[], float]) -> None:
        """`chance` gives numbers from 0 to 1, as `random.random` does."""
        self._limits = limits
        self._chance = chance
        self._failures = 0
        self.quiet_until = Instant(0)
        """Nothing is sent before."""

    @property
    def is_away(self) -> bool:
        """Whether the target takes nothing."""
        return self._failures >= AWAY_AFTER_FAILURES

    @property
    def in_flight_max(self) -> int:
        """How many events may be under way."""
        return 1 if self.is_away else self._limits.concurrency_max

    def succeeded(self) -> None:
        """Note that the target took something."""
        if self.is_away:
            self.quiet_until = Instant(0)
        self._failures = 0

    def failed(self, now: Instant, retry_after_seconds: float) -> None:
        """Note that it did not."""
        if now >= self.quiet_until:  # else it was sent before the pause began
            self._failures += 1
            if self.is_away:
                times = self._failures - AWAY_AFTER_FAILURES
                self._be_quiet_for(now, self._pause_seconds(times))
        self._be_quiet_for(now, min(retry_after_seconds, self._limits.retry_seconds_max))

    def next_time(self, now: Instant, attempts: int) -> Instant:
        """Return when an event is tried again that was tried so often."""
        return _later(now, self._pause_seconds(attempts - 1))

    def _be_quiet_for(self, now: Instant, seconds: float) -> None:
        if seconds > 0:
            self.quiet_until = max(self.quiet_until, _later(now, seconds))

    def _pause_seconds(self, times: int) -> float:
        limits = self._limits
        pause = doubled_seconds(limits.retry_seconds_min, times, limits.retry_seconds_max)
        return pause * (0.5 + self._chance() / 2)


def _later(now: Instant, seconds: float) -> Instant:
    return Instant(now + round(seconds * _MICROSECONDS))
