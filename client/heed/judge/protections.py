"""Stops that are added for people, and the release of suppressions.

Laws:
- Adding never weakens: a suppression is never shortened, narrowed or made older, and an opt-out
  that was decided earlier replaces nothing.
- A suppression dated at or before the last release of its slot does nothing.
- What changes nothing is logged all the same, save in an import (`skips_unchanged`): there it is
  kept as a reserve, by which it stands if what made it change nothing is undone.
- A release leaves what the person chose, and everything of another cause or scope.
"""

from dataclasses import replace
from typing import Final

from heed.acts import (
    AddProtections,
    KeyedSubject,
    Protection,
    ReleaseSuppression,
    ReleaseSuppressions,
    StoredRecord,
    Tally,
)
from heed.errors import ErrorReason, NotFoundError
from heed.judge.ledger import Draft, Held, Reserve, Ruling, SlotKey, slot_key
from heed.model import (
    Cause,
    ChangeKind,
    Effect,
    Instant,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
)
from heed.records import merge


def judge_protections(act: AddProtections, ruling: Ruling) -> None:
    """Add stops, and count what became of each; what stands is told of all but imports."""
    added = strengthened = unchanged = superseded = 0
    is_import, drafts = act.skips_unchanged, ruling.drafts
    revision, commit_time = ruling.revision, ruling.commit_time
    for protection in act.protections:
        subject = protection.subject
        key = subject.key
        asked = _asked(protection, revision, commit_time)
        slot = slot_key(asked)
        held = ruling.slots(key).get(slot)
        current = held.record if held is not None and held.standing else None
        release_time = held.release_time if held is not None else None
        stands: Record | None = asked
        effect = _APPLIED
        if release_time is not None and asked.decided_time <= release_time:
            stands = current
            effect = _SUPERSEDED
            superseded += 1
        elif current is None:
            added += 1
        else:
            stands = merge(current, asked)
            if stands is not current:
                strengthened += 1
            else:
                unchanged += 1
                effect = _effect_of_unchanged(current, asked)
                if is_import:
                    note_reserve(key, slot, asked, act.batch_id, ruling)
        if stands is not current or not is_import:
            drafts.append(
                Draft(
                    _CHOSEN if asked.kind is _OPT_OUT else _SUPPRESSED,
                    effect,
                    commit_time,
                    act.origin,
                    subject,
                    asked,
                    asked if effect is _SUPERSEDED else stands,
                    reason=protection.reason,
                    batch_id=act.batch_id,
                    approved=act.approved,
                )
            )
            revision, commit_time = Revision(revision + 1), Instant(commit_time + 1)
        if stands is not None and stands is not current:
            ruling.hold_slot(key, slot, Held(stands, True, release_time))
        if not is_import:
            shown = asked if stands is None else stands
            ruling.stored.append(
                StoredRecord(item=protection.row, subject_index=0, record=shown, effect=effect)
            )
    ruling.tally = Tally(
        added=added, strengthened=strengthened, unchanged=unchanged, superseded=superseded
    )


def judge_release(act: ReleaseSuppression, ruling: Ruling) -> None:
    """Release what stands of a cause at exactly the scopes named, one change a slot.

    Raises:
        NotFoundError: SUPPRESSION_UNKNOWN, none of them stands.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    scopes = {(scope.channel, scope.topic) for scope in act.scopes}
    key = act.subject.key
    for slot, held in sorted(ruling.slots(key).items()):
        record = held.record
        if (
            not held.standing
            or record.kind is not RecordKind.SUPPRESSION
            or record.cause is not act.cause
            or (record.channel, record.topic) not in scopes
        ):
            continue
        _release(key, slot, record, act, ruling, subject=act.subject)
    if not ruling.released:
        cause = act.cause.name.lower()
        raise NotFoundError(
            f"no suppression of the cause {cause} stands at these scopes; list what stands",
            reason=ErrorReason.SUPPRESSION_UNKNOWN,
            metadata={"cause": cause},
        )
    ruling.standing = [(0, 0, record) for record in ruling.standing_of(key)]


def judge_releases(act: ReleaseSuppressions, ruling: Ruling) -> None:
    """Release those of the suppressions found that nothing has changed since.

    Raises:
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    for key, slot, revision in act.found:
        held = ruling.slots(key).get(slot)
        if held is None or not held.standing or held.record.revision != revision:
            continue
        record = held.record
        if record.kind is not RecordKind.SUPPRESSION:
            continue
        _release(key, slot, record, act, ruling)


def _release(
    key: SubjectKey,
    slot: SlotKey,
    record: Record,
    act: ReleaseSuppression | ReleaseSuppressions,
    ruling: Ruling,
    *,
    subject: KeyedSubject | None = None,
) -> None:
    """Release what stands in a slot; without a readable subject it is known by its key alone."""
    commit_time = ruling.commit_time
    ruling.drafts.append(
        Draft(
            ChangeKind.RELEASE,
            Effect.APPLIED,
            commit_time,
            act.origin,
            subject,
            record,
            record,
            reason=act.reason,
            whose=key if subject is None else None,
            approved=act.approved,
        )
    )
    ruling.hold_slot(key, slot, Held(record, False, commit_time))
    ruling.released.append(record)


def note_reserve(
    key: SubjectKey, slot: SlotKey, asked: Record, batch_id: str, ruling: Ruling
) -> None:
    """Note what a row asked for that changed nothing; it has no change of its own.

    Without a batch it stands whatever batch is undone.
    """
    before = ruling.reserve(key, slot)
    record = replace(asked, revision=Revision(0))
    if before is None:
        reserve = Reserve(record, batch_id)
    else:
        reserve = Reserve(
            merge(before.record, record), batch_id if batch_id == before.batch_id else ""
        )
    if reserve != before:
        ruling.reserves[key, slot] = reserve


def _asked(protection: Protection, revision: Revision, commit_time: Instant) -> Record:
    """Return the record that a protection asks for, its time cut to the commit time."""
    _, cause, reach, scope, decided_time, end_time, _, _ = protection
    if decided_time is None or decided_time > commit_time:
        decided_time = commit_time
    if cause is _NO_CAUSE:
        # An opt-out stands until the person opts in again: no list can give it an end.
        kind, end_time = _OPT_OUT, None
    else:
        kind = _SUPPRESSION
    return Record(kind, cause, reach, scope.channel, scope.topic, decided_time, end_time, revision)


def _effect_of_unchanged(current: Record, asked: Record) -> Effect:
    """A suppression that is there already stands; an earlier opt-out was decided again since."""
    if asked.kind is _OPT_OUT and current.decided_time != asked.decided_time:
        return _SUPERSEDED
    return _APPLIED


# Python 3.11 looks a member up on its enum some ten times slower than a name.
_OPT_OUT: Final = RecordKind.OPT_OUT
_SUPPRESSION: Final = RecordKind.SUPPRESSION
_NO_CAUSE: Final = Cause.NONE
_APPLIED: Final = Effect.APPLIED
_SUPERSEDED: Final = Effect.SUPERSEDED
_CHOSEN: Final = ChangeKind.CHOICE
_SUPPRESSED: Final = ChangeKind.SUPPRESSION
