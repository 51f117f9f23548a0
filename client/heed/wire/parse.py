"""Messages of PreferenceService to values, whatever bytes arrive.

Laws:
- A request that breaks a constraint is refused whole, with every violation; nothing is repaired.
- Fields that this version does not know are tolerated, and stay part of what a key names.
- More items than one call may carry is found before any item is read.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol, TypeVar, assert_never

from google.protobuf.message import DecodeError, Message

from heed.acts import ENDED_BY, STOPS
from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import (
    ACTS_OF_THE_PERSON,
    Choice,
    ChoiceKind,
    Method,
    Origin,
    Query,
    Reach,
)
from heed.wire import limits, values
from heed.wire.asked import (
    LinksAsked,
    LinkTarget,
    PageLinksAsked,
    PageTarget,
    PersonAsked,
    PersonQuery,
    PreferencesAsked,
    WriteCall,
)
from heed.wire.violations import Violations, too_large
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

M = TypeVar("M", bound=Message)


class WriteMessage(Protocol):
    """What the message of every write has."""

    tenant: str
    idempotency_key: str

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 - protobuf's
        """Return the message as bytes."""
        ...


def message(class_: type[M], data: bytes) -> M:
    """Return the message that these bytes are.

    Raises:
        InvalidArgumentError: MALFORMED_MESSAGE, they are none.
    """
    try:
        return class_.FromString(data)
    except DecodeError:
        raise malformed(class_, data) from None


def malformed(class_: type[Message], data: bytes) -> InvalidArgumentError:
    """Return the error for bytes that are no such message."""
    name = class_.DESCRIPTOR.full_name
    return InvalidArgumentError(
        f"what was sent ({len(data)} bytes) is not a {name}, whose strings are UTF-8",
        reason=ErrorReason.MALFORMED_MESSAGE,
        metadata={"message": name},
    )


def query(asked: pb.Query, path: str, violations: Violations) -> Query:
    """Return what a query asks, apart from its subjects."""
    return Query(
        channel=values.QUERY_CHANNELS.read(
            asked.channel, f"{path}.channel", violations, values.QUERY_CHANNEL_STAND_IN
        ),
        topic=values.topic_name(asked.topic, f"{path}.topic", violations),
        campaign=values.text(
            asked.campaign, f"{path}.campaign", violations, limits.CAMPAIGN_CHARACTERS_MAX
        ),
    )


def reference(written: str, path: str, violations: Violations) -> str:
    """Return a sender's own name of a message."""
    return values.text(written, path, violations, limits.MESSAGE_REFERENCE_CHARACTERS_MAX)


def is_reference(written: str) -> bool:
    """Whether `reference` would find nothing wrong."""
    violations = Violations()
    reference(written, "", violations)
    return not violations.count


def get_preferences(data: bytes) -> PersonQuery:
    """Read a GetPreferencesRequest."""
    asked = message(preference.GetPreferencesRequest, data)
    violations = Violations()
    subjects = values.subjects(asked.subjects, "subjects", violations, distinct=True)
    violations.raise_if_any()
    return PersonQuery(tenant=asked.tenant, subjects=subjects)


def make_links(data: bytes) -> LinksAsked:
    """Read a MakeLinksRequest."""
    asked = message(preference.MakeLinksRequest, data)
    if len(asked.targets) > limits.LINKS_MAX:
        raise too_large("targets", len(asked.targets), limits.LINKS_MAX)
    violations = Violations()
    if not asked.targets:
        violations.add("targets", f"names nothing to stop; name 1 to {limits.LINKS_MAX} targets")
    targets = tuple(
        LinkTarget(
            subject=values.subject(target.subject, f"targets[{index}].subject", violations),
            scope=values.scope(target.scope, f"targets[{index}].scope", violations),
        )
        for index, target in enumerate(asked.targets)
    )
    violations.raise_if_any()
    return LinksAsked(tenant=asked.tenant, targets=targets)


def make_page_links(data: bytes) -> PageLinksAsked:
    """Read a MakePageLinksRequest."""
    asked = message(preference.MakePageLinksRequest, data)
    if len(asked.targets) > limits.LINKS_MAX:
        raise too_large("targets", len(asked.targets), limits.LINKS_MAX)
    violations = Violations()
    if not asked.targets:
        violations.add("targets", f"names nobody; name 1 to {limits.LINKS_MAX} targets")
    targets = tuple(
        PageTarget(
            subjects=values.subjects(
                target.subjects, f"targets[{index}].subjects", violations, distinct=True
            ),
            jurisdiction=values.jurisdiction(
                target.jurisdiction, f"targets[{index}].jurisdiction", violations
            ),
        )
        for index, target in enumerate(asked.targets)
    )
    violations.raise_if_any()
    return PageLinksAsked(tenant=asked.tenant, targets=targets)


def set_preference(data: bytes) -> PreferencesAsked:
    """Read a SetPreferenceRequest."""
    asked = message(preference.SetPreferenceRequest, data)
    violations = Violations()
    wait_seconds = _wait_seconds(asked, violations)
    call = write_call("SetPreference", asked, violations)
    origin = values.required_origin(asked.HasField("origin"), asked.origin, violations)
    person = PersonAsked(
        subjects=values.subjects(asked.subjects, "subjects", violations, distinct=True),
        choices=_choices(asked.choices, origin, "", "origin", violations),
        origin=origin,
    )
    violations.raise_if_any()
    return PreferencesAsked(call=call, people=(person,), wait_seconds=wait_seconds)


def batch_set_preferences(data: bytes) -> PreferencesAsked:
    """Read a BatchSetPreferencesRequest."""
    asked = message(preference.BatchSetPreferencesRequest, data)
    if len(asked.people) > limits.PEOPLE_MAX:
        raise too_large("people", len(asked.people), limits.PEOPLE_MAX)
    records = sum(len(person.subjects) * len(person.choices) for person in asked.people)
    if records > limits.BATCH_RECORDS_MAX:
        raise too_large("people", records, limits.BATCH_RECORDS_MAX)
    violations = Violations()
    call = write_call("BatchSetPreferences", asked, violations)
    if not asked.people:
        violations.add("people", f"names nobody; name 1 to {limits.PEOPLE_MAX} people")
    batch_origin: Origin | None = None
    if asked.HasField("origin") or not all(person.HasField("origin") for person in asked.people):
        batch_origin = values.required_origin(asked.HasField("origin"), asked.origin, violations)
    if asked.batch_id:
        values.ascii_name(asked.batch_id, "batch_id", violations, limits.BATCH_ID_CHARACTERS_MAX)
    people = tuple(
        _person(person, batch_origin, f"people[{index}]", violations)
        for index, person in enumerate(asked.people)
    )
    violations.raise_if_any()
    return PreferencesAsked(call=call, people=people, batch_id=asked.batch_id)


def write_call(
    method: str, asked: WriteMessage, violations: Violations, *, dry_run: bool = False
) -> WriteCall:
    """Read what every write says of itself; takes the tenant and the key out of the message.

    What is left, serialised canonically, is what the key names: the same from every client.
    """
    tenant, key = asked.tenant, asked.idempotency_key
    values.ascii_name(key, "idempotency_key", violations, limits.IDEMPOTENCY_KEY_CHARACTERS_MAX)
    asked.tenant = asked.idempotency_key = ""
    payload = asked.SerializeToString(deterministic=True)
    payload_hash = hashlib.sha256(method.encode() + b"\0" + payload).digest()
    return WriteCall(tenant=tenant, idempotency_key=key, payload_hash=payload_hash, dry_run=dry_run)


def _wait_seconds(asked: preference.SetPreferenceRequest, violations: Violations) -> float | None:
    """How long the answer may wait; taken out of the message, for it is no part of what is said."""
    if not asked.HasField("wait_propagated"):
        return None
    seconds = asked.wait_propagated.seconds + asked.wait_propagated.nanos / 1e9
    if not 0 <= seconds <= limits.WAIT_PROPAGATED_SECONDS_MAX:
        violations.add(
            "wait_propagated", f"must be 0 to {limits.WAIT_PROPAGATED_SECONDS_MAX} seconds"
        )
    asked.ClearField("wait_propagated")
    return seconds


def _person(
    asked: preference.PersonChoices, batch_origin: Origin | None, path: str, violations: Violations
) -> PersonAsked:
    if asked.HasField("origin") or batch_origin is None:
        origin_path = f"{path}.origin"
        origin = values.origin(asked.origin, origin_path, violations)
    else:
        origin_path, origin = "origin", batch_origin
    return PersonAsked(
        subjects=values.subjects(asked.subjects, f"{path}.subjects", violations, distinct=True),
        choices=_choices(asked.choices, origin, f"{path}.", origin_path, violations),
        origin=origin,
    )


def _choices(
    asked: Sequence[pb.Choice], origin: Origin, path: str, origin_path: str, violations: Violations
) -> tuple[Choice, ...]:
    """A person's choices. `path` is what stands before `choices`, its dot included."""
    path = f"{path}choices"
    if not asked:
        violations.add(path, f"is empty; say 1 to {limits.CHOICES_MAX} choices")
    if len(asked) > limits.CHOICES_MAX:
        violations.add(path, f"has {len(asked)} choices, at most {limits.CHOICES_MAX} are taken")
        return ()
    choices = tuple(
        _choice(one, origin, f"{path}[{index}]", violations) for index, one in enumerate(asked)
    )
    _note_repeated(choices, path, violations)
    _note_missing_in_origin(choices, origin, origin_path, violations)
    return choices


def _choice(asked: pb.Choice, origin: Origin, path: str, violations: Violations) -> Choice:
    scope = values.scope(asked.scope, f"{path}.scope", violations)
    act = asked.WhichOneof("act")
    match act:
        case "opt_out":
            opt_out, path = asked.opt_out, f"{path}.opt_out"
            return Choice(
                kind=ChoiceKind.OPT_OUT,
                scope=scope,
                reach=_reach(opt_out.reach, values.REACHES, path, violations),
                no_ask_until=values.later_instant(
                    opt_out.no_ask_until, origin, f"{path}.no_ask_until", violations
                )
                if opt_out.HasField("no_ask_until")
                else None,
            )
        case "opt_in":
            opt_in, path = asked.opt_in, f"{path}.opt_in"
            if not opt_in.HasField("evidence"):
                violations.add(f"{path}.evidence", "is required: what the person was shown and did")
            end_time = (
                values.later_instant(opt_in.end_time, origin, f"{path}.end_time", violations)
                if opt_in.HasField("end_time")
                else None
            )
            evidence = (
                values.evidence(opt_in.evidence, f"{path}.evidence", violations)
                if opt_in.HasField("evidence")
                else None
            )
            return Choice(
                kind=ChoiceKind.OPT_IN,
                scope=scope,
                reach=Reach.ALL,
                end_time=end_time,
                evidence=evidence,
            )
        case "pause":
            pause, path = asked.pause, f"{path}.pause"
            if not pause.HasField("end_time"):
                violations.add(f"{path}.end_time", "is required: when the pause ends")
            return Choice(
                kind=ChoiceKind.PAUSE,
                scope=scope,
                reach=_reach(pause.reach, values.PAUSE_REACHES, path, violations),
                end_time=values.later_instant(
                    pause.end_time, origin, f"{path}.end_time", violations
                )
                if pause.HasField("end_time")
                else None,
            )
        case "end_pause":
            return Choice(kind=ChoiceKind.END_PAUSE, scope=scope)
        case "quiet_hours":
            hours, path = asked.quiet_hours, f"{path}.quiet_hours"
            return Choice(
                kind=ChoiceKind.QUIET_HOURS,
                scope=scope,
                reach=_reach(hours.reach, values.PAUSE_REACHES, path, violations),
                quiet_hours=values.quiet_hours(hours, path, violations),
            )
        case "end_quiet_hours":
            return Choice(kind=ChoiceKind.END_QUIET_HOURS, scope=scope)
        case None:
            acts = ", ".join(field.name for field in _ACTS.fields)
            violations.add(path, f"says nothing; set one of {acts} (or update heed)")
            return Choice(kind=ChoiceKind.OPT_OUT, scope=scope)
        case _:
            assert_never(act)


def _reach(number: int, known: values.Closed[Reach], path: str, violations: Violations) -> Reach:
    if not number:
        return Reach.PROMOTIONAL
    return known.read(number, f"{path}.reach", violations, Reach.PROMOTIONAL)


def _note_repeated(choices: Sequence[Choice], path: str, violations: Violations) -> None:
    """Two choices of one kind at one scope contradict each other, as pausing and its end do."""
    seen: dict[tuple[object, ...], int] = {}
    for index, choice in enumerate(choices):
        kind = ENDED_BY.get(choice.kind, choice.kind)
        first = seen.setdefault((kind, choice.scope.channel, choice.scope.topic), index)
        if first != index:
            violations.add(
                f"{path}[{index}]", f"is at the scope of {path}[{first}] and of its kind; say one"
            )


def _note_missing_in_origin(
    choices: Sequence[Choice], origin: Origin, path: str, violations: Violations
) -> None:
    """What weakens needs the act of the person, and an opt-in the time of it."""
    kinds = {choice.kind for choice in choices}
    if ChoiceKind.OPT_IN in kinds and origin.decided_time is None:
        violations.add(f"{path}.decided_time", "is required for an opt-in: when the person decided")
    if origin.method is Method.UNSPECIFIED and kinds - STOPS:
        names = ", ".join(f"METHOD_{method.name}" for method in sorted(ACTS_OF_THE_PERSON))
        violations.add(
            f"{path}.method",
            f"is required for an opt-in and to end a pause or quiet hours; say one of {names}",
        )


_ACTS = pb.Choice.DESCRIPTOR.oneofs_by_name["act"]
