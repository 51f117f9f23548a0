"""The calls that write, on a fake: read the request, judge it on a draft, say what it did.

A row of `WRITES` is one call; `write` is what all of them share: the key, the draft, the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol

from heed.errors import ConflictError, ErrorReason
from heed.model import Hold, Instant, Record, Subject
from heed.testing import rules
from heed.testing.memory import Draft, HeldHold, Memory, in_order
from heed.testing.still_sent import still_sent
from heed.topics import TopicTable
from heed.wire import format as told
from heed.wire import parse, parse_admin, parse_import
from heed.wire.asked import (
    EndAsked,
    HoldAsked,
    ImportAsked,
    PreferencesAsked,
    ReleaseAsked,
    SuppressionsAsked,
    TopicAsked,
    WriteCall,
)
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb


class WriteAnswer(Protocol):
    """What the answer of every write has."""

    replayed: bool

    @property
    def position(self) -> pb.Position:
        """Where in the log it stands."""
        ...

    def SerializeToString(self) -> bytes: ...  # noqa: D102, N802 - protobuf's own


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
    act: Callable[[Draft, Any], WriteAnswer]
    """Judges what was read on the draft, and says what it did."""
    answer: Any
    """The class of its answer."""


def write(memory: Memory, name: str, asked: Asked, now: Instant) -> bytes:
    """Do what a write asks, once a key, and return its answer.

    Raises:
        ConflictError: IDEMPOTENCY_KEY_REUSED, or as the rules say.
        HeedError: as the rules say; nothing changed.
    """
    method, call = WRITES[name], asked.call
    key = f"{name}:{call.idempotency_key}"
    before = memory.answers.get(key)
    if before is not None:
        if before[0] != call.payload_hash:
            raise ConflictError(
                "the idempotency key named another payload before; use a new key",
                reason=ErrorReason.IDEMPOTENCY_KEY_REUSED,
                metadata={"idempotency_key": call.idempotency_key},
            )
        replayed = method.answer.FromString(before[1])
        replayed.replayed = True
        return bytes(replayed.SerializeToString())
    draft = Draft(memory, now)
    answer = method.act(draft, asked)
    is_dry_run = isinstance(asked, ImportAsked) and asked.dry_run
    if not is_dry_run:
        draft.keep()
    answer.position.CopyFrom(told.position(memory.revision, memory.token(), draft.last_time))
    encoded = answer.SerializeToString()
    if not is_dry_run:
        memory.answers[key] = (call.payload_hash, encoded)
    return encoded


def _set_preference(draft: Draft, asked: PreferencesAsked) -> preference.SetPreferenceResponse:
    stored = rules.choose(draft, asked.people)
    now = draft.last_time
    person = asked.people[0]
    standing = _standing(draft, person.subjects)
    classes, topics = still_sent(
        TopicTable(draft.topics.values()),
        (choice.scope for choice in person.choices),
        standing,
        now,
    )
    return preference.SetPreferenceResponse(
        stored=_stored_choices(stored, now),
        standing=[
            told.record(record, at, now)
            for at, records in enumerate(standing)
            for record in records
        ],
        still_sent=[pb.TopicClass.ValueType(one) for one in classes],
        still_sent_mandatory_topics=topics,
    )


def _set_preferences(
    draft: Draft, asked: PreferencesAsked
) -> preference.BatchSetPreferencesResponse:
    stored = rules.choose(draft, asked.people)
    people = [preference.StoredChoices() for _ in asked.people]
    for item, answer in enumerate(people):
        of_person = [one for one in stored if one.item == item]
        answer.stored.extend(_stored_choices(of_person, draft.last_time))
    return preference.BatchSetPreferencesResponse(people=people)


def _add_suppressions(draft: Draft, asked: SuppressionsAsked) -> admin.AddSuppressionsResponse:
    stored, _ = rules.protect(draft, asked.protections, asked.origin, skips_unchanged=False)
    return admin.AddSuppressionsResponse(
        stored=[
            admin.StoredSuppression(
                record=told.record(one.record, one.item, draft.last_time),
                effect=told.effect(one.effect),
            )
            for one in stored
        ]
    )


def _import_records(draft: Draft, asked: ImportAsked) -> admin.ImportRecordsResponse:
    _, tally = rules.protect(draft, asked.protections, asked.origin, skips_unchanged=True)
    return admin.ImportRecordsResponse(
        added=tally.added,
        strengthened=tally.strengthened,
        unchanged=tally.unchanged,
        superseded=tally.superseded,
        rejected=[
            admin.RejectedRow(
                row=one.row, field=one.violation.field, description=one.violation.description
            )
            for one in asked.rejected
        ],
    )


def _release_suppression(draft: Draft, asked: ReleaseAsked) -> admin.ReleaseSuppressionResponse:
    released = rules.release(draft, asked)
    now = draft.last_time
    (standing,) = _standing(draft, (asked.subject,))
    return admin.ReleaseSuppressionResponse(
        released=[told.record(record, 0, now) for record in released],
        standing=[told.record(record, 0, now) for record in standing],
    )


def _declare_topic(draft: Draft, asked: TopicAsked) -> admin.DeclareTopicResponse:
    topic = rules.declare(draft, asked.topic, loosens=False)
    return admin.DeclareTopicResponse(topic=told.topic(topic))


def _loosen_topic(draft: Draft, asked: TopicAsked) -> admin.LoosenTopicResponse:
    topic = rules.declare(draft, asked.topic, loosens=True)
    return admin.LoosenTopicResponse(topic=told.topic(topic))


def _retire_topic(draft: Draft, asked: EndAsked) -> admin.RetireTopicResponse:
    return admin.RetireTopicResponse(topic=told.topic(rules.retire(draft, asked.name)))


def _place_hold(draft: Draft, asked: HoldAsked) -> admin.PlaceHoldResponse:
    hold: Hold = replace(asked.hold, hold_id=f"hold-fake-{draft.revision}")
    return admin.PlaceHoldResponse(hold=hold_in_full(rules.place(draft, hold, asked.origin)))


def _lift_hold(draft: Draft, asked: EndAsked) -> admin.LiftHoldResponse:
    return admin.LiftHoldResponse(hold=told.hold(rules.lift(draft, asked.name).hold))


def hold_in_full(held: HeldHold) -> pb.Hold:
    """Return a hold with who placed it, and when."""
    return told.hold_in_full(held.hold, held.commit_time, held.origin)


def _standing(draft: Draft, subjects: Sequence[Subject]) -> list[tuple[Record, ...]]:
    """What stands for each subject after the draft."""
    return [tuple(held.record for held in in_order(draft.slots(subject))) for subject in subjects]


def _stored_choices(stored: Sequence[rules.Stored], now: Instant) -> list[preference.StoredChoice]:
    return [
        preference.StoredChoice(
            record=told.record(one.record, one.subject_index, now), effect=told.effect(one.effect)
        )
        for one in stored
    ]


WRITES: Final[Mapping[str, WriteMethod]] = MappingProxyType(
    {
        "SetPreference": WriteMethod(
            read=parse.set_preference,
            act=_set_preference,
            answer=preference.SetPreferenceResponse,
        ),
        "BatchSetPreferences": WriteMethod(
            read=parse.batch_set_preferences,
            act=_set_preferences,
            answer=preference.BatchSetPreferencesResponse,
        ),
        "AddSuppressions": WriteMethod(
            read=parse_admin.add_suppressions,
            act=_add_suppressions,
            answer=admin.AddSuppressionsResponse,
        ),
        "ImportRecords": WriteMethod(
            read=parse_import.import_records,
            act=_import_records,
            answer=admin.ImportRecordsResponse,
        ),
        "ReleaseSuppression": WriteMethod(
            read=parse_admin.release_suppression,
            act=_release_suppression,
            answer=admin.ReleaseSuppressionResponse,
        ),
        "DeclareTopic": WriteMethod(
            read=parse_admin.declare_topic,
            act=_declare_topic,
            answer=admin.DeclareTopicResponse,
        ),
        "LoosenTopic": WriteMethod(
            read=parse_admin.loosen_topic, act=_loosen_topic, answer=admin.LoosenTopicResponse
        ),
        "RetireTopic": WriteMethod(
            read=parse_admin.retire_topic, act=_retire_topic, answer=admin.RetireTopicResponse
        ),
        "PlaceHold": WriteMethod(
            read=parse_admin.place_hold, act=_place_hold, answer=admin.PlaceHoldResponse
        ),
        "LiftHold": WriteMethod(
            read=parse_admin.lift_hold, act=_lift_hold, answer=admin.LiftHoldResponse
        ),
    }
)
"""By the method's name."""
