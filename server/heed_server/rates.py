"""How much one principal may ask for in a second: a token bucket for it and each kind of call.

Laws:
- A bucket holds what its rate gives in `burst_seconds`, and begins full. A call passes while
  there is one left in it and takes its whole cost, below nothing if need be: so no call is too
  large ever to pass, and in the long run nobody has more than the rate.
- Without a rate there is no bucket, and nothing to pay for one.
- Each process counts by itself. What must hold over all of them is counted in the database.
- Written on the event loop alone.
Source: ADR 0034.
"""

import enum
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from heed.errors import ErrorReason, ExhaustedError
from heed_server.auth.policy import Principal

BUCKETS_MAX: Final = 10_000
"""Buckets of one kind that are kept. One more, and those that are full again are forgotten, which
changes nothing; where none is, the oldest. Higher: more memory. Lower: with more principals than
that, some begin anew."""


class RateKind(enum.StrEnum):
    """The kinds of call that have a rate each."""

    CHECKS = "checks"
    WRITES = "writes"
    RECORDS = "records"
    READS = "reads"
    STREAMS = "streams"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What one principal may ask of one process in a second; 0: as much as it likes."""

    checks_per_second_max: float = 0
    """Messages asked about; a batch of 10,000 costs 10,000. Higher: one may take all the time of a
    process. Lower: a busy sender is refused, and must not send."""
    writes_per_second_max: float = 1_000
    """Writes about one person that are not stops alone, and those of operators. A single opt-out is
    never refused for its rate. Higher: others wait behind. Lower: bursts of opt-ins are refused."""
    records_per_second_max: float = 0
    """Records of writes about several people: batches, lists of suppressions, imports."""
    reads_per_second_max: float = 1_000
    """Reads of the database, and exports begun. Higher: readers of a person's choices wait.
    Lower: a busy preference page is refused."""
    streams_per_second_max: float = 200
    """Streams of changes and of checks that are opened. Higher: a storm of them delays Checks.
    Lower: a fleet that starts at once needs longer to follow."""
    burst_seconds: float = 10.0
    """For how many seconds' worth a principal that was silent may ask at once. Higher: larger
    bursts pass. Lower: a fleet that starts together is refused sooner."""


class Rate:
    """The buckets of one kind of call."""

    def __init__(
        self, limit: str, per_second: float, burst_seconds: float, seconds: Callable[[], float]
    ) -> None:
        """`limit` is the setting's name, for messages; `per_second` is more than 0."""
        self.limit = limit
        self.refused = 0
        """Calls refused since the start."""
        self._per_second = per_second
        self._most = max(1.0, per_second * burst_seconds)
        self._seconds = seconds
        # What is in each principal's bucket, and as of when.
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, principal: Principal, cost: int = 1) -> None:
        """Take what a call costs.

        Raises:
            ExhaustedError: RATE_LIMITED, the bucket is empty; nothing was taken.
        """
        now = self._seconds()
        whose = principal.identity
        known = self._buckets.get(whose)
        if known is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._forget(now)
            left = self._most
        else:
            left = min(self._most, known[0] + (now - known[1]) * self._per_second)
        if left < 1:
            self.refused += 1
            raise self._refusal((1 - left) / self._per_second)
        self._buckets[whose] = (left - cost, now)

    def _forget(self, now: float) -> None:
        full = [
            whose
            for whose, (left, at) in self._buckets.items()
            if left + (now - at) * self._per_second >= self._most
        ]
        for whose in full or [next(iter(self._buckets))]:
            del self._buckets[whose]

    def _refusal(self, seconds: float) -> ExhaustedError:
        retry_ms = max(1, math.ceil(seconds * 1_000))
        return ExhaustedError(
            f"{self.limit} is {self._per_second:g} for one caller; try again in {retry_ms} ms",
            reason=ErrorReason.RATE_LIMITED,
            metadata={"limit": self.limit, "retry_ms": str(retry_ms)},
        )


class Rates:
    """The rates of one process."""

    def __init__(
        self, limits: RateLimits | None = None, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        bounds = limits or RateLimits()
        self._of: dict[RateKind, Rate] = {}
        for kind, per_second in (
            (RateKind.CHECKS, bounds.checks_per_second_max),
            (RateKind.WRITES, bounds.writes_per_second_max),
            (RateKind.RECORDS, bounds.records_per_second_max),
            (RateKind.READS, bounds.reads_per_second_max),
            (RateKind.STREAMS, bounds.streams_per_second_max),
        ):
            if per_second:
                limit = f"{kind.value}_per_second_max"
                self._of[kind] = Rate(limit, per_second, bounds.burst_seconds, seconds)
        self.checks = self._of.get(RateKind.CHECKS)
        """None: Checks have no rate, and ask no further."""

    def take(self, kind: RateKind, principal: Principal, cost: int = 1) -> None:
        """Take what a call of a kind costs. Raises: as `Rate.take`."""
        rate = self._of.get(kind)
        if rate is not None:
            rate.take(principal, cost)

    def refused(self) -> Mapping[str, int]:
        """Return how many calls each limit refused since the start."""
        return {rate.limit: rate.refused for rate in self._of.values()}
