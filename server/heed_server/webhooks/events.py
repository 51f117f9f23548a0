"""What a webhook says: a change of the log, or a notice, as JSON that a stranger can read.

Laws:
- No address stands in it, no origin, no evidence and no text that an operator typed as a reason.
- An event is made anew from the log whenever it is sent, so what an erasure took is not in it.
- Its id is one change's, of one life of the store, and of one history: a log that was put back
  gives the same number to another change, and that has another id. It holds no full stop, which
  stands between what is signed.

Source: Standard Webhooks 1.0.0 (the payload's `type`, `timestamp` and `data`).
"""

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from heed.hours import Hours
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Effect,
    Hold,
    Instant,
    Record,
    RecordKind,
    Revision,
    Topic,
)
from heed.names import word_of
from heed_server.webhook_store import TENANT_LANE, Lane, LateLane

Told = Mapping[str, object]

_HASH_BYTES: Final = 4
_NOTICE_BYTES: Final = 16


class EventType(enum.StrEnum):
    """What an event is about."""

    PREFERENCE_CHANGED = "preference.changed"
    SUPPRESSION_ADDED = "suppression.added"
    SUPPRESSION_RELEASED = "suppression.released"
    TOPIC_CHANGED = "topic.changed"
    HOLD_PLACED = "hold.placed"
    HOLD_LIFTED = "hold.lifted"
    SUBJECT_ERASED = "subject.erased"
    SUBJECT_REKEYED = "subject.rekeyed"
    LOOKUP_KEY_ADDED = "lookup_key.added"
    EPOCH_BEGAN = "epoch.began"
    DEADLINE_NEAR = "deadline.near"
    DEADLINE_OVER = "deadline.over"
    DEADLINES_NEAR_TOO = "deadline.near_too"
    WEBHOOK_TEST = "webhook.test"


EVENT_TYPES: Final = tuple(one for one in EventType if one is not EventType.WEBHOOK_TEST)
"""What a target can want; a test it is sent unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, as it is sent."""

    event_id: str
    """Without the number of a replay."""
    type: EventType
    body: bytes


def type_of(change: Change) -> EventType | None:
    """Return what a change is told as; None: it did nothing, or was erased, so it is not told."""
    if change.effect is not Effect.APPLIED:
        return None
    match change.kind:
        case ChangeKind.TOPIC:
            return EventType.TOPIC_CHANGED
        case ChangeKind.HOLD:
            return EventType.HOLD_PLACED
        case ChangeKind.LIFT:
            return EventType.HOLD_LIFTED
        case ChangeKind.ERASURE:
            return EventType.SUBJECT_ERASED
        case ChangeKind.REKEY:
            is_move = change.subject is not None
            return EventType.SUBJECT_REKEYED if is_move else EventType.LOOKUP_KEY_ADDED
        case _:
            return _type_of_record(change)


def lane_of(change: Change) -> Lane:
    """Return what a change keeps its order in."""
    return TENANT_LANE if change.subject is None else Lane(change.subject)


def event_of(change: Change, *, tenant: str, epoch: bytes) -> Event:
    """Return the event of a change that is told as something.

    Raises:
        ValueError: it is told as nothing (`type_of`).
    """
    type_ = type_of(change)
    if type_ is None:
        raise ValueError(f"change {change.revision} is not told")
    told: dict[str, object] = {
        "tenant": tenant,
        "epoch": epoch.hex(),
        "revision": change.revision,
    }
    if change.subject is not None:
        told["subject"] = change.subject.hex()
    told |= _content(change)
    return Event(
        event_id=f"{epoch.hex()}-{change.revision}-{change.running_hash[:_HASH_BYTES].hex()}",
        type=type_,
        body=payload(type_, change.commit_time, told),
    )


def notice(
    type_: EventType, time: Instant, told: Told, *, known_by: Sequence[object], about: Revision
) -> LateLane:
    """Return what is to be told and is no change of the log, in a lane of its own.

    It is the same for whatever is `known_by` the same, so that what is told twice has one id.
    """
    named = json.dumps([type_.value, *map(str, known_by)]).encode()
    return LateLane(
        lane=Lane(b"notice-" + hashlib.sha256(named).digest()[:_NOTICE_BYTES]),
        revision=about,
        notice=payload(type_, time, told).decode(),
    )


def event_of_notice(late: LateLane) -> Event:
    """Return the event of a lane that holds a notice."""
    return Event(
        event_id=f"notice-{late.lane.removeprefix(b'notice-').hex()}",
        type=EventType(json.loads(late.notice)["type"]),
        body=late.notice.encode(),
    )


def payload(type_: EventType, time: Instant, told: Told) -> bytes:
    """Return a body: what happened, when, and all there is to say of it."""
    said = {"type": type_.value, "timestamp": text_of(time), "data": told}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def text_of(time: Instant) -> str:
    """Return an instant in ISO 8601, UTC, with microseconds."""
    at = datetime.fromtimestamp(time / 1_000_000, UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _type_of_record(change: Change) -> EventType | None:
    record = change.slot_record
    if record is None:
        return None
    if record.kind is not RecordKind.SUPPRESSION:
        return EventType.PREFERENCE_CHANGED
    if _is_set(change):
        return EventType.SUPPRESSION_ADDED
    return EventType.SUPPRESSION_RELEASED


def _is_set(change: Change) -> bool:
    """Whether the record stands after the change."""
    return change.kind is not ChangeKind.RELEASE and change.record is not None


def _content(change: Change) -> Told:
    if change.topic is not None:
        return {"topic": _topic(change.topic)}
    if change.hold is not None:
        return {"hold": _hold(change.hold)}
    if change.erasure is not None:
        return {"records": [_record(one) for one in change.erasure.standing]}
    if change.rekey is not None:
        previous = change.rekey.previous
        moved = {} if previous is None else {"previous_subject": previous.hex()}
        return {"lookup_key_id": change.rekey.key_id, **moved}
    record = change.slot_record
    told: dict[str, object] = {
        "effect": "set" if _is_set(change) else "removed",
        "record": None if record is None else _record(record),
    }
    if change.is_erased:
        told["erased"] = True
    return told


def _record(record: Record) -> Told:
    return {
        "kind": word_of(record.kind),
        "cause": None if record.cause is Cause.NONE else word_of(record.cause),
        "reach": None if record.kind is RecordKind.OPT_IN else word_of(record.reach),
        "channel": word_of(record.channel),
        "topic": record.topic,
        "decided_time": text_of(record.decided_time),
        "end_time": _text_or_none(record.end_time),
        "quiet_hours": None if record.quiet_hours is None else _hours(record.quiet_hours),
        "no_ask_until": _text_or_none(record.no_ask_until),
    }


def _hours(hours: Hours) -> Told:
    return {"time_zone": hours.time_zone, "periods": [str(period) for period in hours.periods]}


def _text_or_none(time: Instant | None) -> str | None:
    return None if time is None else text_of(time)


def _topic(topic: Topic) -> Told:
    return {
        "name": topic.name,
        "class": word_of(topic.topic_class),
        "mandatory_channels": sorted(map(word_of, topic.mandatory_channels)),
        "requires_opt_in": topic.requires_opt_in,
        "suppress_undeclared": topic.suppress_undeclared,
        "retired": topic.retired,
        "title": topic.title,
    }


def _hold(hold: Hold) -> Told:
    """Without its reason, into which people type names."""
    return {
        "hold_id": hold.hold_id,
        "channel": None if hold.channel is None else word_of(hold.channel),
        "topic": hold.topic,
        "campaign": hold.campaign,
        "end_time": _text_or_none(hold.end_time),
        "spares_mandatory": hold.spares_mandatory,
    }
