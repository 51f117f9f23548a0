"""What a fake takes and refuses: the rules of the server's judge, for tests of other people's code.

They are stated again because the library does not have the server. tests/edges runs one script
against both, so that they cannot differ in what they allow, refuse or answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from heed.model import (
    ACTS_OF_THE_PERSON,
    Cause,
    Choice,
    ChoiceKind,
    Effect,
    Hold,
    Origin,
    Reach,
    Record,
    RecordKind,
    Subject,
    Topic,
)
from heed.records import merge
from heed.testing.memory import Draft, Held, HeldHold
from heed.topics import loosened_fields
from heed.wire.asked import PersonAsked, ProtectionAsked, ReleaseAsked

TOPICS_MAX = 10_000
HOLDS_MAX = 1_000

_FOREVER = 2**63
_STOPS = frozenset({ChoiceKind.OPT_OUT, ChoiceKind.PAUSE})
_KINDS = {
    ChoiceKind.OPT_OUT: RecordKind.OPT_OUT,
    ChoiceKind.OPT_IN: RecordKind.OPT_IN,
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.END_PAUSE: RecordKind.PAUSE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What one choice or protection became."""

    item: int
    subject_index: int
    record: Record
    effect: Effect


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many records an import touched, by what became of them."""

    added: int = 0
    strengthened: int = 0
    unchanged: int = 0
    superseded: int = 0


def choose(draft: Draft, people: Sequence[PersonAsked]) -> list[Stored]:
    """Record what people chose, each choice under each of their subjects."""
    stored: list[Stored] = []
    for item, person in enumerate(people):
        path = "" if len(people) == 1 else f"people[{item}]."
        for choice in person.choices:
            if choice.kind not in _STOPS:
                _require_act_of_person(person.origin, "what lets messages through")
        for subject_index, subject in enumerate(person.subjects):
            for choice in person.choices:
                asked = _asked(draft, choice, person.origin, path)
                effect = _record(draft, choice, person.origin, subject, asked)
                stored.append(
                    Stored(item=item, subject_index=subject_index, record=asked, effect=effect)
                )
    return stored


def protect(
    draft: Draft,
    protections: Iterable[ProtectionAsked],
    origin: Origin,
    *,
    skips_unchanged: bool,
) -> tuple[list[Stored], Tally]:
    """Add stops: none is shortened, narrowed or made older."""
    stored: list[Stored] = []
    tally = Tally()
    for protection in protections:
        asked = _protection_asked(draft, protection)
        slots = draft.slots(protection.subject)
        held = slots.get(asked.slot)
        current = held.record if held is not None and held.standing else None
        release_time = held.release_time if held is not None else None
        stands, effect = current, Effect.APPLIED
        if release_time is not None and asked.decided_time <= release_time:
            effect = Effect.SUPERSEDED
            tally.superseded += 1
        else:
            stands = merge(current, asked)
            if current is None:
                tally.added += 1
            elif stands is not current:
                tally.strengthened += 1
            else:
                tally.unchanged += 1
                if asked.kind is RecordKind.OPT_OUT and current.decided_time != asked.decided_time:
                    effect = Effect.SUPERSEDED
        if stands is not None and stands is not current:
            draft.hold(
                protection.subject,
                Held(
                    record=stands,
                    standing=True,
                    release_time=release_time,
                    commit_time=draft.commit_time,
                    origin=origin,
                    evidence=None,
                    reason=protection.reason,
                ),
            )
        if stands is not current or not skips_unchanged:
            draft.changes += 1
        shown = asked if stands is None else stands
        stored.append(Stored(item=protection.row, subject_index=0, record=shown, effect=effect))
    return stored, tally


def release(draft: Draft, asked: ReleaseAsked) -> list[Record]:
    """Release what stands of a cause at exactly the scopes named."""
    scopes = {(scope.channel, scope.topic) for scope in asked.scopes}
    released: list[Record] = []
    for held in list(draft.slots(asked.subject).values()):
        record = held.record
        if (
            held.standing
            and record.kind is RecordKind.SUPPRESSION
            and record.cause is asked.cause
            and (record.channel, record.topic) in scopes
        ):
            time = draft.commit_time
            draft.hold(asked.subject, replace(held, standing=False, release_time=time))
            draft.changes += 1
            released.append(record)
    if not released:
        cause = asked.cause.name.lower()
        raise NotFoundError(
            f"no suppression of the cause {cause} stands at these scopes; list what stands",
            reason=ErrorReason.SUPPRESSION_UNKNOWN,
            metadata={"cause": cause},
        )
    return released


def declare(draft: Draft, topic: Topic, *, loosens: bool) -> Topic:
    """Declare a topic, tighten it, or loosen it."""
    before = draft.topics.get(topic.name)
    if before is None:
        if loosens:
            raise _topic_unknown(topic.name)
        _require_room("topics_max", len(draft.topics), TOPICS_MAX)
    elif before.retired:
        raise ConflictError(
            f"the topic {topic.name!r} is retired and stays what it is; declare another",
            reason=ErrorReason.TOPIC_RETIRED,
            metadata={"topic": topic.name},
        )
    loosened = loosened_fields(draft.topics, topic)
    if loosened and not loosens:
        raise ConflictError(
            f"declaring {topic.name!r} so would loosen {', '.join(loosened)}; "
            + ("loosen it with a reason" if before else "declare it transactional, then loosen it"),
            reason=ErrorReason.TOPIC_WOULD_LOOSEN,
            metadata={"topic": topic.name, "field": loosened[0]},
        )
    return _set_topic(draft, replace(topic, retired=False))


def retire(draft: Draft, name: str) -> Topic:
    """Retire a topic; one that is retired already stays as it is."""
    before = draft.topics.get(name)
    if before is None:
        raise _topic_unknown(name)
    return before if before.retired else _set_topic(draft, replace(before, retired=True))


def place(draft: Draft, hold: Hold, origin: Origin) -> HeldHold:
    """Place a hold."""
    now = draft.commit_time
    if not hold.is_active(now):
        said = "is not after the commit time; name a later end, or none"
        raise InvalidArgumentError(
            f"hold.end_time {said}", violations=[FieldViolation("hold.end_time", said)]
        )
    _require_room("holds_max", len(draft.holds), HOLDS_MAX)
    held = HeldHold(hold=replace(hold, revision=draft.revision), commit_time=now, origin=origin)
    draft.holds[hold.hold_id] = held
    draft.changes += 1
    return held


def lift(draft: Draft, hold_id: str) -> HeldHold:
    """Lift a hold."""
    held = draft.holds.pop(hold_id, None)
    if held is None:
        raise NotFoundError(
            f"no hold {hold_id!r} is in place; list the holds",
            reason=ErrorReason.HOLD_UNKNOWN,
            metadata={"hold_id": hold_id},
        )
    draft.changes += 1
    return held


def _asked(draft: Draft, choice: Choice, origin: Origin, path: str) -> Record:
    """The record that a choice asks for, at its own time."""
    commit_time = draft.commit_time
    decided_time = origin.decided_time if origin.decided_time is not None else commit_time
    if decided_time > commit_time:
        if choice.kind not in _STOPS:
            field = f"{path}origin.decided_time"
            said = "is ahead of the commit time, and what it says lets messages through"
            raise InvalidArgumentError(f"{field} {said}", violations=[FieldViolation(field, said)])
        decided_time = commit_time
    end_time, reach = choice.end_time, choice.reach
    match choice.kind:
        case ChoiceKind.OPT_IN:
            reach = Reach.ALL
        case ChoiceKind.OPT_OUT:
            end_time = None
        case ChoiceKind.END_PAUSE:
            end_time = decided_time
        case ChoiceKind.PAUSE:
            pass
    return Record(
        _KINDS[choice.kind],
        Cause.NONE,
        reach,
        choice.scope.channel,
        choice.scope.topic,
        decided_time,
        end_time,
        draft.revision,
    )


def _record(
    draft: Draft, choice: Choice, origin: Origin, subject: Subject, asked: Record
) -> Effect:
    held = draft.slots(subject).get(asked.slot)
    current = held.record if held is not None else None
    stands = merge(current, asked)
    applied = stands is not current or _means_the_same(stands, asked)
    if current is not None and choice.kind is ChoiceKind.PAUSE:
        is_weaker = _end(stands) < _end(current) or stands.reach < current.reach
        if is_weaker and current.is_active(draft.commit_time):
            _require_act_of_person(origin, "a pause that ends an active one sooner or narrows it")
    if stands is not current:
        draft.hold(
            subject,
            Held(
                record=stands,
                standing=True,
                release_time=None,
                commit_time=draft.commit_time,
                origin=origin,
                evidence=choice.evidence,
                reason="",
            ),
        )
    draft.changes += 1
    return Effect.APPLIED if applied else Effect.SUPERSEDED


def _protection_asked(draft: Draft, protection: ProtectionAsked) -> Record:
    decided_time = protection.decided_time
    if decided_time is None or decided_time > draft.commit_time:
        decided_time = draft.commit_time
    is_choice = protection.cause is Cause.NONE
    return Record(
        RecordKind.OPT_OUT if is_choice else RecordKind.SUPPRESSION,
        protection.cause,
        protection.reach,
        protection.scope.channel,
        protection.scope.topic,
        decided_time,
        None if is_choice else protection.end_time,
        draft.revision,
    )


def _set_topic(draft: Draft, topic: Topic) -> Topic:
    topic = replace(topic, revision=draft.revision)
    draft.topics[topic.name] = topic
    draft.changes += 1
    return topic


def _require_act_of_person(origin: Origin, what: str) -> None:
    if origin.method not in ACTS_OF_THE_PERSON:
        method = origin.method.name.lower()
        raise ConflictError(
            f"{what} weakens a person's protection and needs an act of that person; "
            f"the method {method} is none",
            reason=ErrorReason.CONSENT_REQUIRED,
            metadata={"method": method},
        )


def _require_room(limit: str, there: int, most: int) -> None:
    if there >= most:
        raise ExhaustedError(
            f"there are {there} already, and {limit} is {most}",
            reason=ErrorReason.LIMIT_REACHED,
            metadata={"limit": limit, "value": str(most)},
        )


def _topic_unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"the topic {name!r} is not declared",
        reason=ErrorReason.TOPIC_UNKNOWN,
        metadata={"topic": name},
    )


def _means_the_same(one: Record, other: Record) -> bool:
    return (one.decided_time, one.end_time, one.reach) == (
        other.decided_time,
        other.end_time,
        other.reach,
    )


def _end(record: Record) -> int:
    return _FOREVER if record.end_time is None else record.end_time
