"""What happens now: writes and answers of the last minutes, sampled while a server serves.

Laws:
- A sample is the counts of one instant; what happened between two is their difference, and nothing
  is counted twice or on the way of a Check.
- Of very many tenants those are sampled that were looked at last, then the first by name.
- Answers are this server's, its workers included: other nodes and agents answer beside it. Writes
  are the log's, whichever node took them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from heed.model import Instant, Revision, TenantId
from heed_server.service.tally import Tally, together
from heed_server.service.tenants import TenantContext, Tenants

SAMPLE_SECONDS: Final = 2.0
"""How often it is sampled. Lower: what is shown is finer, and costs more."""
SAMPLES_KEPT_MAX: Final = 300
"""Samples of a tenant that are kept: of ten minutes."""
SAMPLED_TENANTS_MAX: Final = 100
"""Tenants that are sampled, some 100 KiB each."""

_NOTHING: Final = Tally()


class Sample(NamedTuple):
    """The counts of one instant."""

    time: Instant
    revision: Revision
    by_rule: tuple[int, ...]
    """At a rule's number: the answers that it gave since the server began."""

    @property
    def answers(self) -> int:
        """All of them."""
        return sum(self.by_rule)


class Activity:
    """Samples what happens. Written on one event loop alone."""

    def __init__(
        self,
        tenants: Tenants,
        tallies_of_workers: Callable[[], Mapping[TenantId, Tally]],
        now: Callable[[], Instant],
    ) -> None:
        self._tenants = tenants
        self._tallies_of_workers = tallies_of_workers
        self._now = now
        self._looked_at: dict[TenantId, None] = {}
        """Whom somebody looked at, the last one last."""
        self._samples: dict[TenantId, deque[Sample]] = {}

    def samples(self, context: TenantContext) -> Sequence[Sample]:
        """Return the samples of a tenant, the oldest first, and at the end one of now."""
        self._looked_at.pop(context.tenant_id, None)
        self._looked_at[context.tenant_id] = None
        return [*self._samples.get(context.tenant_id, ()), *self._now_of([context])]

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Take a sample of each tenant that is sampled."""
        sampled = self._sampled()
        ids = [one.tenant_id for one in sampled]
        for gone in self._samples.keys() - set(ids):
            del self._samples[gone]
        for tenant_id, sample in zip(ids, self._now_of(sampled), strict=True):
            kept = self._samples.setdefault(tenant_id, deque(maxlen=SAMPLES_KEPT_MAX))
            kept.append(sample)

    def _sampled(self) -> Sequence[TenantContext]:
        known = {context.tenant_id: context for context in self._tenants.all()}
        looked_at = [one for one in reversed(self._looked_at) if one in known]
        ordered = dict.fromkeys([*looked_at, *known])
        self._looked_at = dict.fromkeys(reversed(looked_at[:SAMPLED_TENANTS_MAX]))
        return [known[one] for one in list(ordered)[:SAMPLED_TENANTS_MAX]]

    def _now_of(self, contexts: Iterable[TenantContext]) -> list[Sample]:
        of_workers, now = self._tallies_of_workers(), self._now()
        return [
            Sample(
                now,
                context.follower.head_revision,
                tuple(
                    together((context.tally, of_workers.get(context.tenant_id, _NOTHING))).by_rule
                ),
            )
            for context in contexts
        ]
