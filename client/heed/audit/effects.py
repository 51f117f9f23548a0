"""What a change does, by the content that it committed to: what a follower must have been told.

Laws:
- Names and forms are those of the content, version 1 (`heed_server.storage.content` writes it).
- Nothing is guessed: what this version cannot read proves nothing.
- Whether a change did anything is not in its content. So a content shows that what was told is
  right, and never that telling nothing was.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar, assert_never, cast

from heed.audit.failing import ProofError
from heed.hours import hours_of
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Rekey,
    Revision,
    SubjectKey,
    Topic,
    TopicClass,
)

_VERSION: Final = 1

E = TypeVar("E", RecordKind, Cause, Reach, Channel, TopicClass, ChangeKind)


class Logged(NamedTuple):
    """What a content says that its change did, if it did anything."""

    kind: ChangeKind
    stands: frozenset[Record] = frozenset()
    """What is put in its slot; of an erasure all that is left."""
    removed: Record | None = None
    """What stands in its slot no more."""
    topic: Topic | None = None
    hold: Hold | None = None
    """Of one that is lifted the id alone."""
    rekey: Rekey | None = None


def read_content(content: bytes, revision: Revision) -> Logged:
    """Return what a content says. Raises ProofError."""
    try:
        said = cast("dict[str, Any]", json.loads(content))
        if said["v"] != _VERSION:
            raise ProofError(f"the content of change {revision} is of version {said['v']}")
        kind = _KINDS[said["kind"]]
        return _logged(kind, said, revision)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProofError(f"the content of change {revision} cannot be read: {error!r}") from error


def require_told(logged: Logged, change: Change) -> None:
    """Return if a follower was told what a content says. Raises ProofError.

    `change` is what was told, as `heed.wire.watched.change_from` reads it.
    """
    if _told(change) != logged._replace(kind=change.kind):
        raise ProofError(f"change {change.revision} was told otherwise than the log has it")


def _logged(kind: ChangeKind, said: Mapping[str, Any], revision: Revision) -> Logged:
    match kind:
        case ChangeKind.CHOICE | ChangeKind.SUPPRESSION:
            return Logged(kind, stands=frozenset({_record(_either(said), revision)}))
        case ChangeKind.RELEASE:
            return Logged(kind, removed=_record(_either(said), revision))
        case ChangeKind.REVERT:
            if "stands" in said:
                return Logged(kind, stands=frozenset({_record(said["stands"], revision)}))
            return Logged(kind, removed=_record(said["record"], revision))
        case ChangeKind.TOPIC:
            return Logged(kind, topic=_topic(said["topic"], revision))
        case ChangeKind.HOLD:
            return Logged(kind, hold=_hold(said["hold"], revision))
        case ChangeKind.LIFT:
            return Logged(kind, hold=Hold(hold_id=said["hold"]["hold_id"]))
        case ChangeKind.ERASURE:
            standing = (_record(one, revision) for one in said["erasure"]["standing"])
            return Logged(kind, stands=frozenset(standing))
        case ChangeKind.REKEY:
            previous = said["rekey"].get("previous")
            return Logged(
                kind,
                rekey=Rekey(
                    key_id=said["rekey"]["key_id"],
                    previous=SubjectKey(bytes.fromhex(previous)) if previous else None,
                ),
            )
        case _:
            assert_never(kind)


def _told(change: Change) -> Logged:
    record, is_removed = change.record, change.kind is ChangeKind.RELEASE
    stands: frozenset[Record] = frozenset()
    if record is not None and not is_removed:
        stands = frozenset({record})
    if change.erasure is not None:
        stands = frozenset(change.erasure.standing)
    return Logged(
        change.kind,
        stands=stands,
        removed=record if is_removed else None,
        topic=change.topic,
        hold=change.hold,
        rekey=change.rekey,
    )


def _either(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands after a change; where that is what was asked, it is said once."""
    found: Mapping[str, Any] = said.get("stands") or said["record"]
    return found


def _record(said: Mapping[str, Any], revision: Revision) -> Record:
    end, hours, no_ask = said.get("end_us"), said.get("quiet_hours"), said.get("no_ask_us")
    return Record(
        kind=_RECORD_KINDS[said["kind"]],
        cause=_CAUSES[said.get("cause", "none")],
        reach=_REACHES[said.get("reach", "all")],
        channel=_CHANNELS[said["channel"]],
        topic=said.get("topic", ""),
        decided_time=Instant(said["decided_us"]),
        end_time=None if end is None else Instant(end),
        revision=Revision(said.get("revision") or revision),
        quiet_hours=None if hours is None else hours_of(hours),
        no_ask_until=None if no_ask is None else Instant(no_ask),
    )


def _topic(said: Mapping[str, Any], revision: Revision) -> Topic:
    return Topic(
        name=said["name"],
        topic_class=_CLASSES[said["topic_class"]],
        mandatory_channels=frozenset(
            _CHANNELS[name] for name in said.get("mandatory_channels", ())
        ),
        requires_opt_in=said.get("requires_opt_in", False),
        suppress_undeclared=said.get("suppress_undeclared", False),
        retired=said.get("retired", False),
        title=said.get("title", ""),
        revision=revision,
    )


def _hold(said: Mapping[str, Any], revision: Revision) -> Hold:
    channel, end = said.get("channel"), said.get("end_us")
    return Hold(
        hold_id=said["hold_id"],
        channel=None if channel is None else _CHANNELS[channel],
        topic=said.get("topic", ""),
        campaign=said.get("campaign", ""),
        end_time=None if end is None else Instant(end),
        reason=said.get("reason", ""),
        revision=Revision(said.get("revision") or revision),
        spares_mandatory=said.get("spares_mandatory", False),
    )


def _by_name(members: type[E]) -> dict[str, E]:
    return {member.name.lower(): member for member in members}


_KINDS: Final = _by_name(ChangeKind)
_RECORD_KINDS: Final = _by_name(RecordKind)
_CAUSES: Final = _by_name(Cause)
_REACHES: Final = _by_name(Reach)
_CHANNELS: Final = _by_name(Channel)
_CLASSES: Final = _by_name(TopicClass)
