"""Taking back what followers hold of an earlier life of the store, after a restore.

Laws:
- Nothing but what protects is taken, and only while the hold of a restore stands: the judge says so
  under the lock (`heed.judge.offers`). What this node's index has already is not asked of the log,
  so that a follower may offer all it has, and a hundred may offer the same.
- A hold that the log ever had is not placed again: who lifted it has lifted it.
- Where a lookup key was replaced, whoever is readable is moved first: a follower may have met the
  move that the log lost, and what it offers under the newest key would stand apart from the rest.
- What an offer changes counts as people stopped by bulk, by its principal; above that cap, and
  of a hold, a second person approves the offers of an epoch once. Each offer that changes something
  is said in the log of the process, since a principal with the right `watch` can stop people by it.
Source: ADR 0040.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import structlog

from heed.acts import Offered, OfferRecords, Outcome
from heed.errors import ErrorReason, UnavailableError
from heed.index import IndexUnusableError
from heed.judge import require_offers_taken
from heed.model import ChangeKind, Hold, Instant, Method, Origin, Revision, TenantId
from heed.wire import outcomes
from heed.wire.asked import OfferAsked
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.auth.policy import Principal
from heed_server.rates import RateKind
from heed_server.service.capped import Capped
from heed_server.service.tenants import TenantContext
from heed_server.writes import Appended

CHANGES_A_READ: Final = 1_000
"""Changes of topics and holds that are read at a time."""

_OF_HOLDS: Final = frozenset({ChangeKind.HOLD, ChangeKind.LIFT})

_log = structlog.stdlib.get_logger("heed_server.service")


class Offers(Capped):
    """Takes what followers offer."""

    async def offer_records(self, principal: Principal, asked: OfferAsked) -> Appended:
        """Take what protects of what a follower holds of an earlier life of the store.

        Raises:
            ConflictError: OFFERS_CLOSED, APPROVAL_REQUIRED; nothing was taken.
            UnavailableError: NODE_BEHIND, people are being moved under another lookup key.
            HeedError: as `Node.append`.
        """
        context = self.enter("OfferRecords", principal, asked.call.tenant)
        self.admission.rates.take(RateKind.RECORDS, principal, len(asked.offered))
        await self._require_moved(context)
        tenant_id, epoch = context.tenant.tenant_id, asked.epoch.hex()
        offered = _not_there(context, asked.offered)
        skipped = len(asked.offered) - len(offered)
        holds = await self._unheard_of(tenant_id, asked.holds)
        key = f"OfferRecords:{asked.call.idempotency_key}"
        if not (offered or holds or await self.store.has_answer(tenant_id, key)):
            return _nothing_new(context, skipped, self.now())

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.records_offered(tenant_id, outcome, skipped=skipped)

        appended = await self.append_capped(
            context,
            principal,
            "OfferRecords",
            asked.call,
            OfferRecords(
                offered=offered,
                holds=holds,
                origin=Origin(
                    source=asked.subscriber,
                    actor=principal.name,
                    method=Method.OFFERED,
                    reference=epoch,
                ),
            ),
            encode_answer,
            part_of=f"offers of {epoch}",
        )
        answer = watch.OfferRecordsResponse.FromString(appended.answer)
        if not appended.replayed and (answer.added or answer.strengthened or answer.holds_placed):
            _log.warning(
                "offer_taken",
                tenant=context.tenant.name,
                subscriber=asked.subscriber,
                principal=principal.name,
                epoch=epoch,
                added=answer.added,
                strengthened=answer.strengthened,
                holds_placed=answer.holds_placed,
            )
        return appended

    async def _require_moved(self, context: TenantContext) -> None:
        newest = context.lookup.newest_id
        looked_at = context.follower.index.epoch, newest
        if context.lookup.count == 1 or context.moved_in == looked_at:
            return
        if await self.store.are_movable(context.tenant_id, newest):
            raise UnavailableError(
                f"people are being moved under lookup key {newest}; offer it again",
                reason=ErrorReason.NODE_BEHIND,
                metadata={"applied": str(context.follower.revision)},
            )
        context.moved_in = looked_at

    async def _unheard_of(self, tenant_id: TenantId, holds: tuple[Hold, ...]) -> tuple[Hold, ...]:
        """Return the holds that the log never had. It has few changes without a subject."""
        left = {hold.hold_id: hold for hold in holds}
        after = Revision(0)
        while left:
            page = await self.store.changes_of_tenant(tenant_id, after=after, limit=CHANGES_A_READ)
            for change in page:
                if change.kind in _OF_HOLDS and change.hold is not None:
                    left.pop(change.hold.hold_id, None)
            if len(page) < CHANGES_A_READ:
                break
            after = page[-1].revision
        return tuple(left.values())


def _nothing_new(context: TenantContext, skipped: int, now: Instant) -> Appended:
    """Answer an offer of which all stands. Nothing is written for it, not even its key."""
    index = context.follower.index
    require_offers_taken(index.holds)
    found = Outcome(
        revision=index.revision,
        running_hash=index.running_hash,
        epoch=index.epoch,
        commit_time=now,
    )
    answer = outcomes.records_offered(context.tenant.tenant_id, found, skipped=skipped)
    return Appended(answer=answer, replayed=False, revision=index.revision)


def _not_there(context: TenantContext, offered: Iterable[Offered]) -> tuple[Offered, ...]:
    """Leave out what this node's index has just so: that it stands needs no lock to be known."""
    offered = tuple(offered)
    keys = list(dict.fromkeys(one.key for one in offered))
    try:
        there = dict(zip(keys, context.follower.index.records_many(keys), strict=True))
    except IndexUnusableError:
        return offered
    return tuple(
        one
        for one in offered
        if not any(replace(one.record, revision=had.revision) == had for had in there[one.key])
    )
