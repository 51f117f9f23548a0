"""Undoing what a list or a fault of one's own did: reverting a batch, releasing in bulk.

Laws:
- Whom it is about is looked for before the log is locked; what becomes of each is judged under the
  lock, part by part, by what stands then.
- A part is a write of its own with a key of its own; the last one has the call's key and its
  answer. So a call that ended early is sent again, and goes on.
- Nothing is done that needs a second person before another principal granted it.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter

from heed.acts import Approved, Found, Outcome, ReleaseSuppressions, RevertBatch, Reverted
from heed.errors import ErrorReason, ExhaustedError
from heed.judge import batch_unknown, slot_key
from heed.model import Instant, RecordKind, SubjectKey
from heed.wire import limits, outcomes
from heed.wire.asked import PageAsked, ReleasesAsked, RevertAsked, WriteCall
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.approvals import Approval
from heed_server.auth.policy import Principal
from heed_server.service.capped import Capped
from heed_server.service.tenants import TenantContext
from heed_server.store import BatchFound, KeptBatch, Page, RecordFilter
from heed_server.writes import Appended, Cap, Spender


class WaysBack(Capped):
    """Undoes batches, and releases suppressions of many people."""

    async def list_batches(self, principal: Principal, asked: PageAsked) -> Page[KeptBatch]:
        """Return a page of the batches that calls have named, the one that began last first."""
        context = self.enter("ListBatches", principal, asked.tenant)
        return await self.store.batches(context.tenant.tenant_id, asked.cursor, asked.page_size)

    async def revert_batch(self, principal: Principal, asked: RevertAsked) -> Appended:
        """Undo a batch as one, or say what that would do.

        Raises:
            ConflictError: APPROVAL_REQUIRED.
            NotFoundError: BATCH_UNKNOWN.
            HeedError: as `Node.append`; what was undone stays undone, and the call can be sent
                again with its key.
        """
        context = self.enter("RevertBatch", principal, asked.call.tenant)
        tenant_id = context.tenant.tenant_id
        found = await self.store.find_batch(tenant_id, asked.batch_id)
        if found is None:
            raise batch_unknown(asked.batch_id)
        if asked.call.dry_run:
            return await self._revert(context, asked, found, None)
        if await self.store.has_answer(tenant_id, f"RevertBatch:{asked.call.idempotency_key}"):
            # A replay, or a key that named another call: the log tells.
            nobody = BatchFound(keys=(), last=found.last)
            return await self._revert(context, asked, nobody, None)
        trying = replace(asked, call=replace(asked.call, dry_run=True))
        would = await self._revert(context, trying, found, None)
        shown = _counts_of(would.answer)
        approval = await self.require_second_person(
            context,
            principal,
            "RevertBatch",
            asked.call,
            about=f"batch {asked.batch_id}",
            reason=asked.reason,
            shown={
                "records": shown.records,
                "released": shown.released,
                "restored": shown.restored,
                "newly_allowed": shown.newly_allowed,
            },
        )
        return await self._revert(context, asked, found, approval)

    async def release_suppressions(self, principal: Principal, asked: ReleasesAsked) -> Appended:
        """Release suppressions by cause, time and batch, or count them.

        Raises:
            ConflictError: APPROVAL_REQUIRED.
            ExhaustedError: LIMIT_REACHED, more were found than one call may release.
            HeedError: as `Node.append`; what was released stays so, and the call can be sent again
                with its key.
        """
        context = self.enter("ReleaseSuppressions", principal, asked.call.tenant)
        key = f"ReleaseSuppressions:{asked.call.idempotency_key}"
        is_answered = not asked.call.dry_run and await self.store.has_answer(
            context.tenant.tenant_id, key
        )
        found = () if is_answered else await self._suppressions(context, asked)
        if asked.call.dry_run or not found:
            return await self._release(context, asked, found, None, None)
        spender, approved = self.caps.releasing(principal), None
        granted = await self.granted_before(context, principal, "ReleaseSuppressions", asked.call)
        people = len({one.key for one in found})
        if spender is not None and granted is not None and granted.covers({"people": people}):
            # Also where what is left of a call that ended early would be within the cap.
            shown = granted.shown["people"]
            spender = spender.with_approved(Cap.RELEASES, granted.approval_id, shown)
            approved = _approved(granted)

        async def attempt(by: Spender | None, approved: Approved | None) -> Appended:
            return await self._release(context, asked, found, by, approved)

        return await self.within_caps(
            context,
            principal,
            "ReleaseSuppressions",
            asked.call,
            spender,
            attempt,
            about=_about(asked),
            reason=asked.reason,
            approved=approved,
        )

    async def _revert(
        self,
        context: TenantContext,
        asked: RevertAsked,
        found: BatchFound,
        approval: Approval | None,
    ) -> Appended:
        tenant_id = context.tenant.tenant_id
        *firsts, last = _parts(found.keys)
        before = Reverted()

        def undoing(keys: tuple[SubjectKey, ...]) -> RevertBatch:
            return RevertBatch(
                batch_id=asked.batch_id,
                keys=keys,
                through=found.last,
                reason=asked.reason,
                origin=asked.origin,
                approved=None if approval is None else _approved(approval),
            )

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.batch_reverted(tenant_id, outcome, before)

        for keys in firsts:
            part = _part_of(asked.call, _name_of_people(keys))
            done = await self.append(
                context, "RevertBatch.part", part, undoing(keys), encode_answer
            )
            before = _counts_of(done.answer)
        return await self.append(context, "RevertBatch", asked.call, undoing(last), encode_answer)

    async def _suppressions(
        self, context: TenantContext, asked: ReleasesAsked
    ) -> tuple[Found, ...]:
        """Find the suppressions that match, as they stand now."""
        wanted = RecordFilter(
            kinds=frozenset({RecordKind.SUPPRESSION}),
            causes=frozenset({asked.cause}),
            from_time=asked.from_time,
            before_time=asked.before_time,
        )
        found: list[Found] = []
        cursor = ""
        while True:
            page = await self.store.list_suppressions(
                context.tenant.tenant_id, wanted, cursor, limits.RELEASES_PART_MAX
            )
            found += [
                Found(one.key, slot_key(one.record), one.record.revision)
                for one in page.items
                if asked.batch_id in {"", one.batch_id}
            ]
            if len(found) > limits.RELEASES_MAX:
                raise ExhaustedError(
                    f"more than {limits.RELEASES_MAX} match; narrow the time",
                    reason=ErrorReason.LIMIT_REACHED,
                    metadata={"limit": "releases_max", "value": str(limits.RELEASES_MAX)},
                )
            cursor = page.next_cursor
            if not cursor:
                return tuple(found)

    async def _release(
        self,
        context: TenantContext,
        asked: ReleasesAsked,
        found: tuple[Found, ...],
        spender: Spender | None,
        approved: Approved | None,
    ) -> Appended:
        tenant_id = context.tenant.tenant_id
        *firsts, last = _parts_of(found)
        released, people = 0, len({one.key for one in found})
        people_after = people

        def releasing(part: tuple[Found, ...]) -> ReleaseSuppressions:
            nonlocal people_after
            people_after -= len({one.key for one in part})
            return ReleaseSuppressions(
                found=part,
                reason=asked.reason,
                origin=asked.origin,
                approved=approved,
                people_after=people_after,
            )

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.suppressions_released(tenant_id, outcome, released, people)

        for part in firsts:
            done = await self.append(
                context,
                "ReleaseSuppressions.part",
                _part_of(asked.call, _name_of(part)),
                releasing(part),
                encode_answer,
                spender=spender,
            )
            released = admin.ReleaseSuppressionsResponse.FromString(done.answer).released
        return await self.append(
            context,
            "ReleaseSuppressions",
            asked.call,
            releasing(last),
            encode_answer,
            spender=spender,
        )


def _parts_of(found: tuple[Found, ...]) -> list[tuple[Found, ...]]:
    """Split what was found into parts, each person in one of them; at least one."""
    parts: list[list[Found]] = [[]]
    for one in sorted(found, key=attrgetter("key")):
        part = parts[-1]
        if len(part) >= limits.RELEASES_PART_MAX and part[-1].key != one.key:
            part = []
            parts.append(part)
        part.append(one)
    return [tuple(part) for part in parts]


def _parts(keys: tuple[SubjectKey, ...]) -> list[tuple[SubjectKey, ...]]:
    """Split people into parts, the same ones unless somebody was erased; at least one."""
    left = iter(keys)
    parts: list[tuple[SubjectKey, ...]] = []
    while part := tuple(islice(left, limits.REVERT_PEOPLE_MAX)):
        parts.append(part)
    return parts or [()]


def _part_of(call: WriteCall, name: str) -> WriteCall:
    return replace(call, idempotency_key=f"{call.idempotency_key}/{name}")


def _name_of_people(keys: tuple[SubjectKey, ...]) -> str:
    """A name for whom a part is of: once one of them is erased, the next parts are of others."""
    return hashlib.sha256(b"".join(keys)).hexdigest()[:32]


def _name_of(part: tuple[Found, ...]) -> str:
    """A name for what a part releases: what is left after a part is another list."""
    digest = hashlib.sha256()
    for key, _, revision in part:
        digest.update(key + revision.to_bytes(8))
    return digest.hexdigest()[:32]


def _counts_of(answer: bytes) -> Reverted:
    read = admin.RevertBatchResponse.FromString(answer)
    return Reverted(
        records=read.records,
        released=read.released,
        restored=read.restored,
        unchanged=read.unchanged,
        people=read.people,
        newly_allowed=read.newly_allowed,
    )


def _approved(approval: Approval) -> Approved:
    return Approved(asked_by=approval.asked_by, approved_by=approval.decided_by)


def _about(asked: ReleasesAsked) -> str:
    of_batch = f" of batch {asked.batch_id}" if asked.batch_id else ""
    seen = f"seen from {_said(asked.from_time)} and before {_said(asked.before_time)}"
    return f"suppressions by {asked.cause.name.lower()}{of_batch}, {seen}"


def _said(instant: Instant) -> str:
    return f"{datetime.fromtimestamp(instant / 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
