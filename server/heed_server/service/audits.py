"""Why, and what happened: decisions of now and of then, and what the log has of a person.

Laws:
- A decision of then is made by the rules of a Check, of what the log had set by then (`heed.past`);
  the tables of what stands now are not asked.
- What is told is of one revision, whatever is written meanwhile.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from heed.as_of import require_history, require_past, revision_unknown, rules_of
from heed.model import (
    RULE_VERSION,
    Change,
    Decision,
    Head,
    Instant,
    Revision,
    SubjectKey,
    TenantId,
)
from heed.past import Past
from heed.wire.asked import AsOf, AsOfPosition, ExplainAsked, HistoryAsked
from heed_server.auth.policy import Principal
from heed_server.service.explaining import explain_by, facts_of
from heed_server.service.node import Node
from heed_server.service.tenants import TenantContext
from heed_server.store import Standing, StandingHold, StandingRecord

_log = structlog.stdlib.get_logger("heed_server.audits")

CHANGES_READ = 1_000
"""Changes of the log that are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A decision, with all that stood for its subjects where and when it is true."""

    context: TenantContext
    standing: Standing
    decision: Decision
    now: Instant
    rule_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Some of a person's changes, and where the log stood."""

    context: TenantContext
    changes: Sequence[Change]
    """Up to one more than were asked for, by which it is known that there are more."""
    head: Head


class Audits(Node):
    """Explains decisions, and tells what led to them."""

    async def explain(self, principal: Principal, asked: ExplainAsked) -> Explained:
        """Decide from the store, as of now or of then, and tell every rule that spoke.

        Raises:
            NotFoundError: REVISION_UNKNOWN or RULES_UNKNOWN.
            ConflictError: STORE_MISMATCH, the position is not of this log.
            InvalidArgumentError: the time is ahead of the clock.
            UnavailableError: the database does not answer.
        """
        context = self.enter("Explain", principal, asked.tenant)
        people = context.keys_of(asked.subjects)
        keys = [key for keys in people for key in keys]
        tenant_id = context.tenant.tenant_id
        rule_version = RULE_VERSION
        if isinstance(asked.as_of, AsOfPosition):
            rule_version = rules_of(asked.as_of.rule_version)
        if asked.as_of is None:
            standing = await self.store.standing(tenant_id, keys)
            now = self.now()
            other = self.doubted(now)
        else:
            head, now = await self._moment(context, asked.as_of)
            standing = await self._stood(tenant_id, keys, head)
            other = None
        facts = facts_of(standing, people)
        decision = explain_by(facts, asked.query, now, other, rule_version)
        return Explained(
            context=context,
            standing=standing,
            decision=decision,
            now=now,
            rule_version=rule_version,
        )

    async def get_history(self, principal: Principal, asked: HistoryAsked) -> History:
        """Return the next of a person's changes, oldest first. Who asks is a line of the log.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetHistory", principal, asked.tenant)
        keys = [key for keys in context.keys_of(asked.subjects) for key in keys]
        tenant_id = context.tenant.tenant_id
        head = await self.store.head(tenant_id)
        _log.info(
            "history_read",
            tenant=context.name,
            by=principal.name,
            subjects=[key.hex() for key in keys],
        )
        changes = await self.store.changes_of(
            tenant_id,
            keys,
            after=asked.after,
            through=head.revision,
            limit=asked.page_size + 1,
        )
        return History(context=context, changes=changes, head=head)

    async def _moment(self, context: TenantContext, as_of: AsOf) -> tuple[Head, Instant]:
        """Return where the log was, and the instant that counts as now there."""
        tenant_id = context.tenant.tenant_id
        if not isinstance(as_of, AsOfPosition):
            require_past(as_of, self.now())
            revision = await self.store.revision_at(tenant_id, as_of)
            return await self._head_at(tenant_id, revision), as_of
        head = await self._head_at(tenant_id, as_of.revision)
        require_history(as_of.token, tenant_id, head)
        if as_of.now is not None:
            return head, as_of.now
        return head, head.commit_time or context.tenant.create_time

    async def _head_at(self, tenant_id: TenantId, revision: Revision) -> Head:
        head = await self.store.head_at(tenant_id, revision)
        if head is None:
            newest = (await self.store.head(tenant_id)).revision
            raise revision_unknown(revision, newest)
        return head

    async def _stood(self, tenant_id: TenantId, keys: Sequence[SubjectKey], head: Head) -> Standing:
        """Return what stood for these subjects where the log ended at a revision."""
        past, through = Past(), head.revision
        distinct = list(dict.fromkeys(keys))
        await _take_all(
            past,
            lambda after: self.store.changes_of(
                tenant_id, distinct, after=after, through=through, limit=CHANGES_READ
            ),
        )
        await _take_all(
            past,
            lambda after: self.store.changes_of_tenant(
                tenant_id, after=after, through=through, limit=CHANGES_READ
            ),
        )
        return Standing(
            head=head,
            records=tuple(
                StandingRecord(
                    key=key,
                    record=one.record,
                    commit_time=one.by.commit_time,
                    origin=one.by.origin,
                    evidence=one.by.evidence,
                    reason=one.by.reason,
                    is_erased=one.by.is_erased,
                )
                for key in distinct
                for one in past.records.get(key, {}).values()
            ),
            topics=tuple(past.topics.values()),
            holds=tuple(
                StandingHold(hold=hold, commit_time=change.commit_time, origin=change.origin)
                for change in past.holds.values()
                if (hold := change.hold) is not None
            ),
        )


async def _take_all(past: Past, read: Callable[[Revision], Awaitable[Sequence[Change]]]) -> None:
    """Have the past go on by every change there is, a page at a time."""
    after = Revision(0)
    while True:
        changes = await read(after)
        past.take(changes)
        if len(changes) < CHANGES_READ:
            return
        after = changes[-1].revision
