"""Compares a share of what a cache answers with a server, and counts where they disagree.

A comparison is of one revision and one instant: where the server has gone on, a difference says
nothing (inconclusive), and what ended or began between the two instants is decided again at the
server's. What is left is a disagreement, and there must be none.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from heed.decide import Facts, decide
from heed.model import Instant, Query, Verdict
from heed.replica.upstream import Upstream
from heed_proto.v1 import preference_service_pb2 as preference

SHARE: Final = 0.001
"""The share of answers that is compared."""
WAITING_MAX: Final = 16
"""Samples that wait for their comparison; a newer one replaces the oldest."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An answer, and all it was made of."""

    request: preference.CheckSuppressionRequest
    """The same question, with the token of the answer."""
    facts: Facts
    query: Query
    verdict: Verdict
    revision: int


@dataclass(slots=True)
class SamplerCounts:
    """What came of the comparisons. Written only by the pacer's thread."""

    compared: int = 0
    disagreements: int = 0
    inconclusive: int = 0


class Sampler:
    """Chooses what is compared. `offer` is any thread's, `compare` the pacer's."""

    def __init__(
        self, share: float = SHARE, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        """`share` is from 0 (nothing) to 1 (everything)."""
        self.counts = SamplerCounts()
        self._mean = 1 / share if share else float("inf")
        self._uniform = uniform
        self._waiting: deque[Sample] = deque(maxlen=WAITING_MAX)
        self.next_at = self._drawn()
        """The count of answers at which the next one is taken."""

    def offer(self, sample: Sample, answered: int) -> None:
        """Take one, which was the answer of this number."""
        self.next_at = answered + self._drawn()
        self._waiting.append(sample)

    def compare(self, upstream: Upstream) -> None:
        """Compare what waits.

        Raises:
            HeedError: the server does not answer; the sample is let go.
        """
        while self._waiting:
            self._compare(upstream, self._waiting.popleft())

    def _compare(self, upstream: Upstream, sample: Sample) -> None:
        told = upstream.check(sample.request)
        if told.verdict is not sample.verdict:
            now = Instant((told.now - _EPOCH) // _MICROSECOND)
            if told.revision != sample.revision:
                self.counts.inconclusive += 1
            elif decide(sample.facts, sample.query, now).verdict is not told.verdict:
                self.counts.disagreements += 1
        self.counts.compared += 1

    def _drawn(self) -> float:
        """How many answers on the next one is taken: about one in `share`, at random."""
        if self._mean == float("inf"):
            return self._mean
        return max(self._uniform(0.0, 2 * self._mean), 1.0)
