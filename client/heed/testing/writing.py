"""The calls that write, on a fake: read the request, judge what it asks, say what that did.

A row of `WRITES` is one call; `write` is what all of them share: the key, the judge, the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

from heed.acts import (
    Act,
    AddProtections,
    DeclareTopic,
    EraseSubjects,
    Found,
    KeyedSubject,
    LiftHold,
    Outcome,
    PersonChoices,
    PlaceHold,
    Protection,
    ReleaseSuppression,
    ReleaseSuppressions,
    RetireTopic,
    RevertBatch,
    Reverted,
    SetPreferences,
)
from heed.connection.methods import METHODS
from heed.errors import ConflictError, ErrorReason
from heed.judge import batch_unknown, require_open_batch
from heed.model import Instant, Subject
from heed.still_sent import plan
from heed.testing.memory import LOOKUP, Memory
from heed.wire import outcomes, parse, parse_admin, parse_import, parse_ways_back
from heed.wire.asked import (
    EndAsked,
    ErasureAsked,
    HoldAsked,
    ImportAsked,
    PersonAsked,
    PreferencesAsked,
    ProtectionAsked,
    ReleaseAsked,
    ReleasesAsked,
    RevertAsked,
    SuppressionsAsked,
    TopicAsked,
    WriteCall,
)
from heed_proto.v1 import admin_service_pb2 as admin

Tell = Callable[[Outcome], bytes]

RELEASED_PEOPLE_MAX = 100
"""People released by one ReleaseSuppressions of a fake: what `caps.releases_per_hour_max` is by
itself. A fake knows no second person, and counts no hours."""


class Asked(Protocol):
    """What the request of every write has."""

    @property
    def call(self) -> WriteCall:
        """What every write says of itself."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMethod:
    """One call that writes."""

    read: Callable[[bytes], Asked]
    plan: Callable[[Memory, Any], tuple[Act, Tell]]
    """What a request asks of the log, and how what came of it is told."""


def write(memory: Memory, name: str, asked: Asked, now: Instant) -> bytes:
    """Do what a write asks, once a key, and return its answer.

    Raises:
        ConflictError: IDEMPOTENCY_KEY_REUSED, or as the judge says.
        HeedError: as the judge says; nothing changed.
    """
    call = asked.call
    key = f"{name}:{call.idempotency_key}"
    before = None if call.dry_run else memory.answers.get(key)
    if isinstance(asked, ImportAsked | PreferencesAsked):
        require_open_batch(asked.batch_id, memory.ledger.batches)
    if before is not None:
        if before[0] != call.payload_hash:
            raise ConflictError(
                "the idempotency key named another payload before; use a new key",
                reason=ErrorReason.IDEMPOTENCY_KEY_REUSED,
                metadata={"idempotency_key": call.idempotency_key},
            )
        replayed: Any = _ANSWERS[name].FromString(before[1])
        replayed.replayed = True
        return bytes(replayed.SerializeToString())
    act, tell = WRITES[name].plan(memory, asked)
    answer = tell(memory.append(act, now, dry_run=call.dry_run))
    if not call.dry_run:
        memory.answers[key] = (call.payload_hash, answer)
    return answer


def _set_preference(memory: Memory, asked: PreferencesAsked) -> tuple[Act, Tell]:
    (person,) = asked.people
    still_sent = plan(memory.topics, person.choices)
    act = SetPreferences(people=(_person(person),))
    return act, partial(outcomes.preference_set, memory.tenant_id, still_sent=still_sent)


def _set_preferences(memory: Memory, asked: PreferencesAsked) -> tuple[Act, Tell]:
    act = SetPreferences(
        people=tuple(_person(person) for person in asked.people), batch_id=asked.batch_id
    )
    return act, partial(outcomes.preferences_set, memory.tenant_id, people_count=len(asked.people))


def _add_suppressions(memory: Memory, asked: SuppressionsAsked) -> tuple[Act, Tell]:
    act = AddProtections(protections=_protections(asked.protections), origin=asked.origin)
    return act, partial(outcomes.suppressions_added, memory.tenant_id)


def _import_records(memory: Memory, asked: ImportAsked) -> tuple[Act, Tell]:
    act = AddProtections(
        protections=_protections(asked.protections),
        origin=asked.origin,
        batch_id=asked.batch_id,
        skips_unchanged=True,
    )
    return act, partial(outcomes.records_imported, memory.tenant_id, rejected=asked.rejected)


def _release_suppression(memory: Memory, asked: ReleaseAsked) -> tuple[Act, Tell]:
    act = ReleaseSuppression(
        subject=_keyed(asked.subject),
        cause=asked.cause,
        scopes=asked.scopes,
        reason=asked.reason,
        origin=asked.origin,
    )
    return act, partial(outcomes.suppression_released, memory.tenant_id)


def _erase_subject(memory: Memory, asked: ErasureAsked) -> tuple[Act, Tell]:
    keys = tuple(LOOKUP.key(subject) for subject in asked.subjects)
    act = EraseSubjects(keys=keys, origin=asked.origin, reason=asked.reason)

    def tell(outcome: Outcome) -> bytes:
        # A fake has no files, so that nothing is left in any.
        overwritten = admin.EraseSubjectResponse(overwritten=True)
        told = outcomes.subject_erased(memory.tenant_id, outcome)
        return told + overwritten.SerializeToString()

    return act, tell


def _release_suppressions(memory: Memory, asked: ReleasesAsked) -> tuple[Act, Tell]:
    found = tuple(
        Found(key, slot, held.record.revision)
        for key, slots in memory.ledger.records.items()
        for slot, held in slots.items()
        if held.standing
        and held.record.cause is asked.cause
        and asked.from_time <= held.record.decided_time < asked.before_time
        and asked.batch_id in {"", memory.change(held.record.revision).batch_id}
    )
    people = len({one.key for one in found})
    if people > RELEASED_PEOPLE_MAX and not asked.call.dry_run:
        raise _nobody_else("ReleaseSuppressions")
    act = ReleaseSuppressions(found=found, reason=asked.reason, origin=asked.origin)
    return act, partial(outcomes.suppressions_released, memory.tenant_id, before=0, people=people)


def _revert_batch(memory: Memory, asked: RevertAsked) -> tuple[Act, Tell]:
    batch = memory.ledger.batches.get(asked.batch_id)
    if batch is None:
        raise batch_unknown(asked.batch_id)
    if not asked.call.dry_run:
        raise _nobody_else("RevertBatch")
    keys = {one.key for one in memory.log if one.batch_id == asked.batch_id}
    act = RevertBatch(
        batch_id=asked.batch_id,
        keys=tuple(sorted(key for key in keys if key is not None)),
        through=batch.last,
        reason=asked.reason,
        origin=asked.origin,
    )
    return act, partial(outcomes.batch_reverted, memory.tenant_id, before=Reverted())


def _nobody_else(method: str) -> ConflictError:
    return ConflictError(
        f"{method} needs a second person, and a fake knows no two apart",
        reason=ErrorReason.APPROVAL_REQUIRED,
        metadata={"method": method},
    )


def _set_topic(memory: Memory, asked: TopicAsked) -> tuple[Act, Tell]:
    act = DeclareTopic(
        topic=asked.topic, origin=asked.origin, loosens=asked.loosens, reason=asked.reason
    )
    return act, partial(outcomes.topic_set, memory.tenant_id, loosens=asked.loosens)


def _retire_topic(memory: Memory, asked: EndAsked) -> tuple[Act, Tell]:
    act = RetireTopic(name=asked.name, reason=asked.reason, origin=asked.origin)
    return act, partial(outcomes.topic_retired, memory.tenant_id)


def _place_hold(memory: Memory, asked: HoldAsked) -> tuple[Act, Tell]:
    hold_id = f"hold-fake-{memory.revision + 1}"
    act = PlaceHold(hold=replace(asked.hold, hold_id=hold_id), origin=asked.origin)
    return act, partial(outcomes.hold_placed, memory.tenant_id, placed_by=asked.origin)


def _lift_hold(memory: Memory, asked: EndAsked) -> tuple[Act, Tell]:
    act = LiftHold(hold_id=asked.name, reason=asked.reason, origin=asked.origin)
    return act, partial(outcomes.hold_lifted, memory.tenant_id)


def _person(asked: PersonAsked) -> PersonChoices:
    return PersonChoices(
        subjects=tuple(_keyed(subject) for subject in asked.subjects),
        choices=asked.choices,
        origin=asked.origin,
    )


def _protections(asked: Sequence[ProtectionAsked]) -> tuple[Protection, ...]:
    return tuple(
        Protection(
            subject=_keyed(one.subject),
            cause=one.cause,
            reach=one.reach,
            scope=one.scope,
            decided_time=one.decided_time,
            end_time=one.end_time,
            reason=one.reason,
            row=one.row,
        )
        for one in asked
    )


def _keyed(subject: Subject) -> KeyedSubject:
    return KeyedSubject(key=LOOKUP.key(subject), subject=subject)


WRITES: Final[Mapping[str, WriteMethod]] = MappingProxyType(
    {
        "SetPreference": WriteMethod(read=parse.set_preference, plan=_set_preference),
        "BatchSetPreferences": WriteMethod(read=parse.batch_set_preferences, plan=_set_preferences),
        "AddSuppressions": WriteMethod(read=parse_admin.add_suppressions, plan=_add_suppressions),
        "ImportRecords": WriteMethod(read=parse_import.import_records, plan=_import_records),
        "ReleaseSuppression": WriteMethod(
            read=parse_admin.release_suppression, plan=_release_suppression
        ),
        "EraseSubject": WriteMethod(read=parse_admin.erase_subject, plan=_erase_subject),
        "ReleaseSuppressions": WriteMethod(
            read=parse_ways_back.release_suppressions, plan=_release_suppressions
        ),
        "RevertBatch": WriteMethod(read=parse_ways_back.revert_batch, plan=_revert_batch),
        "DeclareTopic": WriteMethod(read=parse_admin.declare_topic, plan=_set_topic),
        "LoosenTopic": WriteMethod(read=parse_admin.loosen_topic, plan=_set_topic),
        "RetireTopic": WriteMethod(read=parse_admin.retire_topic, plan=_retire_topic),
        "PlaceHold": WriteMethod(read=parse_admin.place_hold, plan=_place_hold),
        "LiftHold": WriteMethod(read=parse_admin.lift_hold, plan=_lift_hold),
    }
)
"""By the method's name."""

_ANSWERS: Final = {spec.name: spec.answer for spec in METHODS}
