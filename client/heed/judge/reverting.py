"""Undoing a batch: each person it touched gets what would stand had it never been (ADR 0033).

Laws:
- What stands is worked out from all that was said of a person but for the batch and those undone
  before, by the same rules by which each was judged; no choice that was made otherwise is lost.
- What a row of another list asked for, and that changed nothing because of this batch, stands.
- Only slots that the batch touched change. A person is undone whole, in one transaction; a batch of
  many people part by part, and doing a part again changes nothing.
- Nothing is added to a batch once its undoing began, so that an import that is sent again never
  says that people are protected who are not.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Final

from heed.acts import Act, AddProtections, RevertBatch, Reverted, SetPreferences
from heed.errors import ConflictError, ErrorReason, NotFoundError
from heed.judge.ledger import Batch, Draft, Held, Ledger, Ruling, Said, SlotKey, Slots, slot_key
from heed.model import ChangeKind, Effect, Instant, Record, RecordKind, Revision, Scope, SubjectKey
from heed.records import merge
from heed.still_sent import StillSent, plan_at
from heed.topics import TopicTable


def require_open(act: Act, batches: Mapping[str, Batch]) -> None:
    """Refuse what is of a batch whose undoing began, a replay of it too.

    Raises:
        ConflictError: BATCH_REVERTED.
    """
    require_open_batch(batch_of(act), batches)


def require_open_batch(batch_id: str, batches: Mapping[str, Batch]) -> None:
    """Refuse a batch whose undoing began; empty: none. Raises: as `require_open`."""
    batch = batches.get(batch_id) if batch_id else None
    if batch is not None and batch.reverted is not None:
        raise ConflictError(
            f"the batch {batch_id!r} was reverted, so nothing of it stands; "
            "send what is right as another batch",
            reason=ErrorReason.BATCH_REVERTED,
            metadata={"batch_id": batch_id},
        )


def batch_of(act: Act) -> str:
    """Return the batch that an act adds to; empty: none."""
    if isinstance(act, _ADDING):
        return act.batch_id
    return ""


# Made once: a union that is written where it is asked about is made anew at each call.
_ADDING: Final = (AddProtections, SetPreferences)


def judge_revert(act: RevertBatch, ruling: Ruling) -> None:
    """Undo a batch for some people, and close it.

    Raises:
        NotFoundError: BATCH_UNKNOWN.
        ConflictError: APPROVAL_REQUIRED, the batch grew since its people were looked for.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    ledger = ruling.ledger
    batch = ledger.batches.get(act.batch_id)
    if batch is None:
        raise batch_unknown(act.batch_id)
    if batch.last != act.through:
        raise ConflictError(
            f"the batch {act.batch_id!r} grew meanwhile; end its import, then ask again",
            reason=ErrorReason.APPROVAL_REQUIRED,
            metadata={"method": "RevertBatch"},
        )
    if batch.reverted is None:
        _close(act, batch, ruling)
    undone = {name for name, one in ledger.batches.items() if one.reverted is not None}
    undone.add(act.batch_id)
    topics = TopicTable(ledger.topics.values())
    counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
    newly_allowed = 0
    for key in act.keys:
        before = ruling.slots(key)
        target = _without(key, undone, ledger)
        touched = _touched(ledger.said.get(key, ()), act.batch_id)
        counts["records"] += len(touched)
        for slot in touched:
            counts[_set_slot(key, slot, before.get(slot), target.get(slot), act, ruling)] += 1
        if ruling.slots(key) is not before and _allows_more(
            topics, touched.values(), before, ruling.slots(key), ruling.commit_time
        ):
            newly_allowed += 1
    ruling.reverted = Reverted(people=len(act.keys), newly_allowed=newly_allowed, **counts)


def batch_unknown(batch_id: str) -> NotFoundError:
    """Return the error of a batch that is not there."""
    return NotFoundError(
        f"there is no batch {batch_id!r}; `heed import` told its name",
        reason=ErrorReason.BATCH_UNKNOWN,
        metadata={"batch_id": batch_id},
    )


def fold(said: Iterable[Said], undone: Container[str]) -> Slots:
    """Return what is held by all that was said of a subject, but for what is of these batches."""
    slots: Slots = {}
    erase_time: Instant | None = None
    for kind, asked, commit_time, batch_id, standing in said:
        if kind is ChangeKind.ERASURE:
            # It ends every opt-in, and what was decided before it. What came before no longer says
            # of which batch it was, so what stood is as the erasure tells it.
            erase_time = commit_time
            slots = _erased(slots, standing)
        if asked is None or kind not in _OF_RECORDS or (batch_id and batch_id in undone):
            continue
        is_opt_in = asked.kind is RecordKind.OPT_IN
        if is_opt_in and erase_time is not None and asked.decided_time <= erase_time:
            continue
        slot = slot_key(asked)
        held = slots.get(slot)
        if kind is ChangeKind.RELEASE:
            slots[slot] = Held(asked, False, commit_time)
            continue
        _add(slots, slot, held, asked)
    return slots


def _erased(slots: Slots, standing: Iterable[Record]) -> Slots:
    """What is held after an erasure: what it says stands, and what was released before."""
    released = {
        slot: Held(held.record, False, held.release_time)
        for slot, held in slots.items()
        if held.release_time is not None
    }
    for record in standing:
        slot = slot_key(record)
        before = released.get(slot)
        released[slot] = Held(record, True, None if before is None else before.release_time)
    return released


def _add(slots: Slots, slot: SlotKey, held: Held | None, asked: Record) -> None:
    release_time = None if held is None else held.release_time
    if release_time is not None and asked.decided_time <= release_time:
        return
    current = held.record if held is not None and held.standing else None
    slots[slot] = Held(merge(current, asked), True, release_time)


def _without(key: SubjectKey, undone: Container[str], ledger: Ledger) -> Slots:
    """What would be held of a subject had these batches never been."""
    slots = fold(ledger.said.get(key, ()), undone)
    for slot, reserve in ledger.reserves.get(key, {}).items():
        if reserve.batch_id not in undone:
            _add(slots, slot, slots.get(slot), reserve.record)
    return slots


def _touched(said: Iterable[Said], batch_id: str) -> dict[SlotKey, Record]:
    """The slots that a batch named, each with a record that it asked for there."""
    return {
        slot_key(one.asked): one.asked
        for one in said
        if one.batch_id == batch_id and one.asked is not None and one.kind in _OF_RECORDS
    }


def _set_slot(
    key: SubjectKey,
    slot: SlotKey,
    held: Held | None,
    target: Held | None,
    act: RevertBatch,
    ruling: Ruling,
) -> str:
    """Put what would be held into a slot, and return which count this is of."""
    current = held.record if held is not None and held.standing else None
    stands = target.record if target is not None and target.standing else None
    if current == stands:
        return "unchanged"
    if stands is not None and not stands.revision:
        if current is not None and replace(stands, revision=current.revision) == current:
            return "unchanged"
        # What only a reserve asks for has no change of its own but this one.
        stands = replace(stands, revision=ruling.revision)
    ruling.drafts.append(
        Draft(
            ChangeKind.REVERT,
            Effect.APPLIED,
            ruling.commit_time,
            act.origin,
            asked=current,
            stands=stands,
            reason=act.reason,
            batch_id=act.batch_id,
            whose=key,
        )
    )
    release_time = None if held is None else held.release_time
    if stands is None:
        assert held is not None  # noqa: S101 - something stood there, for `current` is not None
        ruling.hold_slot(key, slot, Held(held.record, False, release_time))
        return "released"
    ruling.hold_slot(key, slot, Held(stands, True, release_time))
    return "restored"


def _close(act: RevertBatch, batch: Batch, ruling: Ruling) -> None:
    ruling.batches[act.batch_id] = batch._replace(reverted=Revision(ruling.revision))
    ruling.drafts.append(
        Draft(
            ChangeKind.REVERT,
            Effect.APPLIED,
            ruling.commit_time,
            act.origin,
            reason=act.reason,
            batch_id=act.batch_id,
            approved=act.approved,
        )
    )


def _allows_more(
    topics: TopicTable, undone: Iterable[Record], before: Slots, after: Slots, now: Instant
) -> bool:
    """Whether something may be sent within the scopes of what is undone that could not before."""
    scopes = dict.fromkeys(
        Scope(channel=one.channel, topic=one.topic)
        for one in undone
        if one.kind is not RecordKind.OPT_IN
    )
    sent: StillSent = plan_at(topics, tuple(scopes))
    (classes, topics_sent), (more_classes, more_topics) = (
        sent.within([(0, 0, held.record) for held in slots.values() if held.standing], now)
        for slots in (before, after)
    )
    return bool(set(more_classes) - set(classes) or set(more_topics) - set(topics_sent))


_COUNTS: Final = ("records", "released", "restored", "unchanged")
_OF_RECORDS: Final = frozenset({ChangeKind.CHOICE, ChangeKind.SUPPRESSION, ChangeKind.RELEASE})
