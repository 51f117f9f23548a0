"""What the dashboard shows beside what callers ask for, to whoever may audit or operate."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from heed.errors import RightRequiredError
from heed.model import Change, Revision, Topic, TopicClass
from heed_server.approvals import Approval
from heed_server.auth.policy import EVERY_TENANT, Principal
from heed_server.deadlines import Clocked
from heed_server.propagation import Spread
from heed_server.service.activity import Sample
from heed_server.service.node import Node
from heed_server.service.rights import LOOKING
from heed_server.service.tally import Tally, together
from heed_server.service.tenants import TenantContext
from heed_server.store import KeptBatch, Page


class RecentOptOut(NamedTuple):
    """One of the last opt-outs, and how far it has spread."""

    clocked: Clocked
    spread: Spread


class Looking(Node):
    """Tells whoever may look what there is to be looked at."""

    def tenants_to_look_at(self, principal: Principal) -> Sequence[str]:
        """Return the tenants that a principal may look at, by name.

        Raises:
            RightRequiredError: it may neither audit nor operate.
        """
        _require_looking(principal)
        names = (context.name for context in self.tenants.all())
        return [name for name in names if principal.tenant in {EVERY_TENANT, name}]

    def look(self, principal: Principal, tenant: str) -> TenantContext:
        """Return a tenant, if the principal may look at it.

        Raises:
            RightRequiredError: it may neither audit nor operate.
            NotFoundError, InvalidArgumentError: as `Tenants.of`.
        """
        _require_looking(principal)
        return self.tenants.of(principal, tenant)

    def tally_to_look_at(self, principal: Principal, tenant: str) -> Tally:
        """Return what this server answered since it began, its workers included, which tell of it
        once a second. Other nodes of a shared database, agents and caches answer beside it.

        Raises: as `look`.
        """
        context = self.look(principal, tenant)
        return together((context.tally, self.tallies_of_workers().get(context.tenant_id, Tally())))

    def get_activity(
        self, principal: Principal, tenant: str
    ) -> tuple[TenantContext, Sequence[Sample]]:
        """Return the samples of a tenant's last minutes, the oldest first, at the end one of now.

        Needs the right that GetPropagation needs.
        """
        context = self.enter("GetPropagation", principal, tenant)
        return context, self.activity.samples(context)

    async def get_recent_opt_outs(
        self, principal: Principal, tenant: str
    ) -> Sequence[RecentOptOut]:
        """Return the last opt-outs, the newest first, each with how far it has spread.

        Needs the right that GetPropagation needs.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetPropagation", principal, tenant)
        found = await self.opt_outs.recent(context)
        revisions = [one.opt_out.revision for one in found]
        spreads = await self.registry.spread(context.tenant_id, revisions)
        return [RecentOptOut(*both) for both in zip(found, spreads, strict=True)]

    async def batches_to_look_at(
        self, principal: Principal, tenant: str, rows_max: int
    ) -> Page[KeptBatch]:
        """Return the batches that began last. Raises: as `look`."""
        context = self.look(principal, tenant)
        return await self.store.batches(context.tenant_id, "", rows_max)

    async def approvals_to_look_at(
        self, principal: Principal, tenant: str, rows_max: int
    ) -> Page[Approval]:
        """Return what asked last for a second person. Raises: as `look`."""
        context = self.look(principal, tenant)
        return await self.store.approvals(context.tenant_id, "", rows_max)

    async def mandatory_topics(
        self, principal: Principal, tenant: str, rows_max: int
    ) -> Sequence[tuple[Topic, Change | None]]:
        """Return the mandatory topics, by name, each with the change that made it what it is.

        Raises: as `look`.
        """
        context = self.look(principal, tenant)
        mandatory = (
            topic
            for topic in context.follower.index.topics.declared
            if topic.topic_class is TopicClass.MANDATORY
        )
        topics = list(islice(mandatory, rows_max))
        changes = await self._changes_at(context, sorted({topic.revision for topic in topics}))
        return [(topic, changes.get(topic.revision)) for topic in topics]

    async def _changes_at(
        self, context: TenantContext, revisions: Sequence[Revision]
    ) -> Mapping[Revision, Change]:
        """Return the changes at these ascending revisions, those that are of no subject.

        Where others stand between them it reads several times, and never more often than once each.
        """
        found: dict[Revision, Change] = {}
        left = list(revisions)
        while left:
            changes = await self.store.changes_of_tenant(
                context.tenant_id,
                after=Revision(left[0] - 1),
                through=left[-1],
                limit=len(left),
            )
            found |= {one.revision: one for one in changes}
            reached = changes[-1].revision if len(changes) == len(left) else left[-1]
            left = [revision for revision in left if revision > reached]
        return found


def _require_looking(principal: Principal) -> None:
    if principal.rights & LOOKING:
        return
    words = " or ".join(repr(right.value) for right in sorted(LOOKING))
    raise RightRequiredError(
        f"{principal.name!r} lacks the right {words}; ask for a credential that has one of them",
        metadata={"right": min(LOOKING).value},
    )
