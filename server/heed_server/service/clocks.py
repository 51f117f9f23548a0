"""The clock of opt-outs: by when each must have reached everyone, and where it stands."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from heed.deadlines import DeadlineStanding
from heed.model import Instant, Revision
from heed.propagation import SubscriberStatus
from heed.wire.asked import DeadlinesAsked
from heed_server.auth.policy import Principal
from heed_server.deadlines import Clocked
from heed_server.propagation import Progress
from heed_server.service.node import Node
from heed_server.service.tenants import TenantContext

CLOCKED_CHANGES_MAX = 10_000
"""Changes of the log that one call looks at. Higher: where opt-outs are few, a call takes longer.
Lower: more calls until they are found."""

CLOCKED_CHANGES_READ = 1_000
"""Changes of the log that are read at a time."""

WAITING_FOR_MAX = 100
"""Names of subscribers that are told of one opt-out."""

_BEHIND = {SubscriberStatus.PENDING, SubscriberStatus.MISSING}


class Reached(NamedTuple):
    """An opt-out with its deadlines, and whom it has reached."""

    clocked: Clocked
    standing: DeadlineStanding
    applied_time: Instant | None
    waiting_for: tuple[str, ...]


class ClockPage(NamedTuple):
    """Some opt-outs, the newest first."""

    opt_outs: tuple[Reached, ...]
    next_before: Revision
    """0: there is nothing before."""
    now: Instant


class WaitingPage(NamedTuple):
    """Opt-outs that somebody has not applied, the earliest deadline first."""

    opt_outs: tuple[Reached, ...]
    known: int
    """How many there are, as far as the log was looked at."""
    counts: Mapping[DeadlineStanding, int]
    """How many of these stand where; of what is not in it there is none."""
    unread: int
    """Revisions that nobody looked at yet: what is waited for is more than is told."""
    now: Instant


class Clocks(Node):
    """Tells by when opt-outs must have reached everyone."""

    async def get_deadlines(self, principal: Principal, asked: DeadlinesAsked) -> ClockPage:
        """Return a page of opt-outs with their deadlines, the newest first.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetDeadlines", principal, asked.tenant)
        tenant_id, head = context.tenant.tenant_id, context.follower.head_revision
        before = min(asked.before or head + 1, head + 1)
        found, next_before = await self._opt_outs(context, Revision(before), asked.page_size)
        progress = await self.registry.progress(tenant_id, head)
        behind = [one for one in progress if one.status in _BEHIND]
        applied = await self._applied_times(context, found)
        now = self.now()
        return ClockPage(
            opt_outs=tuple(
                self._reached(clocked, behind, time, now)
                for clocked, time in zip(found, applied, strict=True)
            ),
            next_before=next_before,
            now=now,
        )

    async def get_waiting(self, principal: Principal, tenant: str, limit: int) -> WaitingPage:
        """Return opt-outs that somebody who counts has not applied, the earliest deadline first.

        Those without a deadline come last. Needs the right that GetDeadlines needs.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetDeadlines", principal, tenant)
        tenant_id, head = context.tenant_id, context.follower.head_revision
        progress = await self.registry.progress(tenant_id, head)
        behind = [one for one in progress if one.status in _BEHIND]
        least = min((one.applied_revision for one in behind), default=head)
        found, read = await self.opt_outs.after(context, least)
        now = self.now()
        return WaitingPage(
            opt_outs=tuple(
                self._reached(clocked, behind, None, now)
                for clocked in sorted(found, key=_earliest)[:limit]
            ),
            known=len(found),
            # Somebody who is behind stands before each of them.
            counts=Counter(self.rules.standing(one, now, is_applied=False) for one in found),
            unread=head - read,
            now=now,
        )

    async def _opt_outs(
        self, context: TenantContext, before: Revision, limit: int
    ) -> tuple[list[Clocked], Revision]:
        """Return opt-outs before a revision, the newest first, and where the next page goes on."""
        found: list[Clocked] = []
        looked_at = 0
        while before > 1 and looked_at < CLOCKED_CHANGES_MAX:
            after = Revision(max(0, before - 1 - CLOCKED_CHANGES_READ))
            changes = await self.store.read_changes(
                context.tenant.tenant_id, after, before - 1 - after
            )
            looked_at += len(changes)
            for change in reversed(changes):
                clocked = self.rules.clocked(change, context.tenant.name)
                if clocked is None:
                    continue
                found.append(clocked)
                if len(found) == limit:
                    return found, Revision(change.revision if change.revision > 1 else 0)
            before = Revision(after + 1)
        return found, Revision(before if before > 1 else 0)

    async def _applied_times(
        self, context: TenantContext, found: Sequence[Clocked]
    ) -> list[Instant | None]:
        """By when at the latest each of these, descending, was applied by all, as was seen."""
        if not found:
            return []
        seen = await self.store.deadlines.applied_by_all(
            context.tenant.tenant_id, found[-1].opt_out.revision, found[0].opt_out.revision
        )
        revisions = [one.revision for one in seen]
        places = [bisect_left(revisions, one.opt_out.revision) for one in found]
        return [seen[place].time if place < len(seen) else None for place in places]

    def _reached(
        self,
        clocked: Clocked,
        behind: Sequence[Progress],
        applied_time: Instant | None,
        now: Instant,
    ) -> Reached:
        revision = clocked.opt_out.revision
        waiting = [one.name for one in behind if one.applied_revision < revision]
        return Reached(
            clocked,
            self.rules.standing(clocked, now, is_applied=not waiting),
            None if waiting else applied_time,
            tuple(waiting[:WAITING_FOR_MAX]),
        )


def _earliest(clocked: Clocked) -> tuple[bool, Instant, Revision]:
    """Order opt-outs by their earliest deadline; those without one come last."""
    deadlines, revision = clocked.deadlines, clocked.opt_out.revision
    return (False, deadlines[0].time, revision) if deadlines else (True, Instant(0), revision)
