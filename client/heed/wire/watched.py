"""What a follower needs of a log, as messages and back (`protos/heed/v1/watch_service.proto`).

Laws:
- What was told is read as it was: `record_from(record_to(record)) == record`, and so for the rest.
- Nothing is guessed: a word of a later version raises `LaterVersionError`, and the follower allows
  nothing by what it could not read. A Check's answer is read on the protective side
  (`heed.wire.read`), since it is one answer; what a follower keeps would be wrong for ever.
- Times are whole microseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from heed.errors import ErrorReason, UnavailableError
from heed.hours import Hours
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
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
from heed.records import rules_needed_after
from heed.wire import format as told
from heed.wire.encoded import varint
from heed.wire.heard import quiet_hours
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb

SUBJECT_KEY_BYTES: Final = 16

N = TypeVar("N", Channel, TopicClass, Reach, Cause, RecordKind)


class LaterVersionError(UnavailableError):
    """A message says what this version does not know, so nothing may be allowed by it."""

    default_reason = ErrorReason.STATE_STALE


class _Known(Generic[N]):
    """The members of an enum by number."""

    def __init__(self, name: str, members: Iterable[N]) -> None:
        self.by_number: Mapping[int, N] = {int(member): member for member in members}
        self._name = name

    def read(self, number: int) -> N:
        member = self.by_number.get(number)
        if member is None:
            raise LaterVersionError(f"the {self._name} {number} is of a later version")
        return member


_CHANNELS: Final = _Known("channel", Channel)
_CLASSES: Final = _Known("topic class", TopicClass)
_REACHES: Final = _Known("reach", Reach)
_CAUSES: Final = _Known("cause", Cause)
_KINDS: Final = _Known("kind of record", RecordKind)


def record_to(value: Record) -> pb.WatchedRecord:
    """Return a record."""
    message = pb.WatchedRecord(
        kind=types.RecordKind.ValueType(value.kind),
        cause=types.Cause.ValueType(value.cause),
        reach=types.Reach.ValueType(value.reach),
        channel=types.Channel.ValueType(value.channel),
        topic=value.topic,
        decided_time_us=value.decided_time,
        revision=value.revision,
    )
    if value.end_time is not None:
        message.end_time_us = value.end_time
    if value.quiet_hours is not None:
        message.quiet_hours.CopyFrom(told.quiet_hours(value.quiet_hours))
    if value.no_ask_until is not None:
        message.no_ask_until_us = value.no_ask_until
    return message


def record_from(message: pb.WatchedRecord) -> Record:
    """Return the record that a message tells.

    Raises:
        LaterVersionError: it says what this version does not know.
    """
    try:
        return Record(
            kind=_KIND_OF[message.kind],
            cause=_CAUSE_OF[message.cause],
            reach=_REACH_OF[message.reach],
            channel=_CHANNEL_OF[message.channel],
            topic=message.topic,
            decided_time=Instant(message.decided_time_us),
            end_time=Instant(message.end_time_us) if message.HasField("end_time_us") else None,
            revision=Revision(message.revision),
            quiet_hours=_hours(message) if message.HasField("quiet_hours") else None,
            no_ask_until=Instant(message.no_ask_until_us)
            if message.HasField("no_ask_until_us")
            else None,
        )
    except KeyError as error:
        raise LaterVersionError(
            f"the record of revision {message.revision} is of a later version: {error}"
        ) from None


def change_to(value: Change) -> pb.Change | None:
    """Return a change; None: it did nothing, so that there is nothing to apply."""
    if value.effect is not Effect.APPLIED:
        return None
    message = pb.Change(revision=value.revision, commit_time_us=value.commit_time)
    if value.subject is not None:
        message.subject_key = value.subject
    match value.kind:
        case ChangeKind.CHOICE | ChangeKind.SUPPRESSION if value.record is not None:
            message.set_record.CopyFrom(record_to(value.record))
        case ChangeKind.RELEASE if value.record is not None:
            message.remove_record.CopyFrom(record_to(value.record))
        case ChangeKind.REVERT if value.subject is None:
            return None
        case ChangeKind.REVERT if value.record is not None:
            message.set_record.CopyFrom(record_to(value.record))
        case ChangeKind.REVERT if value.asked is not None:
            message.remove_record.CopyFrom(record_to(value.asked))
        case ChangeKind.TOPIC if value.topic is not None:
            message.set_topic.CopyFrom(told.topic(value.topic))
        case ChangeKind.HOLD if value.hold is not None:
            message.set_hold.CopyFrom(told.hold(value.hold))
        case ChangeKind.LIFT if value.hold is not None:
            message.remove_hold_id = value.hold.hold_id
        case ChangeKind.ERASURE if value.erasure is not None:
            # Marked also where nothing is left: what a follower has is replaced by nothing.
            message.set_records.SetInParent()
            message.set_records.records.extend(map(record_to, value.erasure.standing))
        case ChangeKind.REKEY if value.rekey is not None:
            message.rekey.key_id = value.rekey.key_id
            message.rekey.previous_subject_key = value.rekey.previous or b""
        case _:
            raise ValueError(f"change {value.revision} lacks what its kind must carry")
    needed = rules_needed_after(value)
    if needed > 1:
        message.rule_version = needed
    return message


def change_from(message: pb.Change, running_hash: bytes = b"") -> Change:
    """Return the change that a message tells, as applied.

    A follower is told the running hash of the last change of a batch alone; of the others it is
    what is given here.

    Raises:
        LaterVersionError: it says what this version does not know.
    """
    revision = Revision(message.revision)
    told = partial(
        Change,
        revision=revision,
        commit_time=Instant(message.commit_time_us),
        effect=Effect.APPLIED,
        running_hash=running_hash,
    )
    match message.WhichOneof("effect"):
        case "set_record":
            record = record_from(message.set_record)
            is_stop = record.kind is RecordKind.SUPPRESSION
            kind = ChangeKind.SUPPRESSION if is_stop else ChangeKind.CHOICE
            return told(kind=kind, subject=_subject_key(message.subject_key), record=record)
        case "remove_record":
            return told(
                kind=ChangeKind.RELEASE,
                subject=_subject_key(message.subject_key),
                record=record_from(message.remove_record),
            )
        case "set_records":
            standing = tuple(map(record_from, message.set_records.records))
            return told(
                kind=ChangeKind.ERASURE,
                subject=_subject_key(message.subject_key),
                erasure=Erasure(standing=standing, changes_count=0, residues_hash=b""),
            )
        case "rekey":
            previous = message.rekey.previous_subject_key
            return told(
                kind=ChangeKind.REKEY,
                subject=_subject_key(message.subject_key) if previous else None,
                rekey=Rekey(
                    key_id=message.rekey.key_id,
                    previous=_subject_key(previous) if previous else None,
                ),
            )
        case "set_topic":
            return told(kind=ChangeKind.TOPIC, topic=topic_from(message.set_topic))
        case "set_hold":
            return told(kind=ChangeKind.HOLD, hold=hold_from(message.set_hold))
        case "remove_hold_id":
            return told(kind=ChangeKind.LIFT, hold=Hold(hold_id=message.remove_hold_id))
        case _:
            raise LaterVersionError(f"what change {revision} does is of a later version")


def topic_from(message: types.Topic) -> Topic:
    """Return the declared topic that a message tells.

    Raises:
        LaterVersionError: it says what this version does not know.
    """
    return Topic(
        name=message.name,
        topic_class=_CLASSES.read(message.topic_class),
        mandatory_channels=frozenset(map(_CHANNELS.read, message.mandatory_channels)),
        requires_opt_in=message.requires_opt_in,
        suppress_undeclared=message.suppress_undeclared,
        retired=message.retired,
        title=message.title,
        revision=Revision(message.revision),
    )


def hold_from(message: types.Hold) -> Hold:
    """Return the hold that a message tells.

    Raises:
        LaterVersionError: it says what this version does not know.
    """
    return Hold(
        hold_id=message.hold_id,
        channel=_CHANNELS.read(message.channel) if message.channel else None,
        topic=message.topic,
        campaign=message.campaign,
        end_time=_instant(message.end_time) if message.HasField("end_time") else None,
        reason=message.reason,
        revision=Revision(message.revision),
        spares_mandatory=message.spares_mandatory,
    )


def change_part(value: Change) -> bytes:
    """Return a change as a part of a Changes, serialised; empty: there is nothing to apply.

    Parts may stand in a row: they are a repeated field, and `changes_message` takes them all.
    """
    message = change_to(value)
    if message is None:
        return b""
    encoded = message.SerializeToString()
    return _CHANGES_CHANGE + varint(len(encoded)) + encoded


def changes_message(
    after: Revision, through: Revision, parts: bytes, *, token: str, running_hash: bytes
) -> bytes:
    """Return a message with these changes, serialised; `parts` are of `change_part`."""
    rest = pb.Changes(after=after, through=through, token=token, running_hash=running_hash)
    encoded = rest.SerializeToString()
    return b"".join((_EVENT_CHANGES, varint(len(encoded) + len(parts)), encoded, parts))


def leaf_hash_part(hashed: bytes) -> bytes:
    """Return the hash of a leaf as a part of a Changes, serialised, as `change_part` does."""
    return _leaf_part(pb.LoggedLeaf(hash=hashed))


def leaf_content_part(salt: bytes, content: bytes) -> bytes:
    """Return what a leaf is made of as a part of a Changes, likewise."""
    return _leaf_part(pb.LoggedLeaf(content=pb.LeafContent(salt=salt, content=content)))


def serialised(stop: types.Topic | types.Hold) -> bytes:
    """Return a topic or a hold as it is hashed for a snapshot: its fields in their order."""
    return stop.SerializeToString(deterministic=True)


def chunk_message(records: bytes) -> bytes:
    """Return a message with a chunk of a snapshot, serialised; `records` are of `subjects_to`."""
    return pb.WatchChangesResponse(
        snapshot_chunk=pb.SnapshotChunk(records=records)
    ).SerializeToString()


def subjects_to(subjects: Iterable[tuple[SubjectKey, Sequence[Record]]]) -> bytes:
    """Return a SnapshotRecords of these subjects, serialised: a chunk's `records`.

    Put together by hand, in a third of the time that messages take: a snapshot has millions.
    """
    parts: list[bytes] = []
    for key, records in subjects:
        told_of = [_SUBJECT_KEY, key]
        for record in records:
            encoded = _record_bytes(record)
            told_of += (_SUBJECT_RECORD, varint(len(encoded)), encoded)
        body = b"".join(told_of)
        parts += (_RECORDS_SUBJECT, varint(len(body)), body)
    return b"".join(parts)


def subjects_from(chunk: bytes) -> list[tuple[SubjectKey, tuple[Record, ...]]]:
    """Return the subjects of a chunk, in its order.

    Raises:
        LaterVersionError: it says what this version does not know, or is no SnapshotRecords.
    """
    try:
        message = pb.SnapshotRecords.FromString(chunk)
    except DecodeError as error:
        raise LaterVersionError(f"a snapshot's chunk cannot be read: {error}") from None
    return [
        (_subject_key(one.subject_key), tuple(map(record_from, one.records)))
        for one in message.subjects
    ]


def _leaf_part(message: pb.LoggedLeaf) -> bytes:
    encoded = message.SerializeToString()
    return _CHANGES_LEAF + varint(len(encoded)) + encoded


def _record_bytes(value: Record) -> bytes:
    """A record, serialised. What it is and covers is encoded once: most are alike in that."""
    decided_time, revision, end_time = value.decided_time, value.revision, value.end_time
    if (
        decided_time < 0
        or revision < 0
        or (end_time is not None and end_time < 0)
        or value.quiet_hours is not None
        or value.no_ask_until is not None
    ):
        return record_to(value).SerializeToString()
    shape = (value.kind | value.cause << 4 | value.reach << 8 | value.channel << 12, value.topic)
    encoded = (
        (_shapes.get(shape) or _learn(shape, value))
        + _RECORD_DECIDED
        + _time(decided_time)
        + _RECORD_REVISION
        + varint(revision)
    )
    return encoded if end_time is None else encoded + _RECORD_END + _time(end_time)


def _learn(shape: tuple[int, str], value: Record) -> bytes:
    message = record_to(value)
    for name in ("decided_time_us", "end_time_us", "revision"):
        message.ClearField(name)
    if len(_shapes) >= told.SHAPES_REMEMBERED_MAX:
        _shapes.clear()
    return _shapes.setdefault(shape, message.SerializeToString())


def _time(instant: int) -> bytes:
    """An instant, not negative, as a varint; two bytes at a time, since it has eight."""
    if instant < _SIX_BYTES_END:
        return varint(instant)
    return (
        _TWO_BYTES[instant & 0x3FFF]
        + _TWO_BYTES[instant >> 14 & 0x3FFF]
        + _TWO_BYTES[instant >> 28 & 0x3FFF]
        + varint(instant >> 42)
    )


def _hours(message: pb.WatchedRecord) -> Hours:
    found = quiet_hours(message.quiet_hours)
    if found is None:
        raise LaterVersionError(
            f"the quiet hours of revision {message.revision} are of a later version"
        )
    return found


def _subject_key(key: bytes) -> SubjectKey:
    if len(key) != SUBJECT_KEY_BYTES:
        raise LaterVersionError(f"a subject's key of {len(key)} bytes is of a later version")
    return SubjectKey(key)


def _instant(value: Timestamp) -> Instant:
    return Instant(value.seconds * 1_000_000 + value.nanos // 1_000)


def _tag(described: Descriptor, name: str, *, has_length: bool = True) -> bytes:
    """What stands before a field: before its length, or before its number."""
    return bytes((described.fields_by_name[name].number << 3 | (2 if has_length else 0),))


_CHANGES_CHANGE: Final = _tag(pb.Changes.DESCRIPTOR, "changes")
_CHANGES_LEAF: Final = _tag(pb.Changes.DESCRIPTOR, "leaves")
_EVENT_CHANGES: Final = _tag(pb.WatchChangesResponse.DESCRIPTOR, "changes")
_RECORDS_SUBJECT: Final = _tag(pb.SnapshotRecords.DESCRIPTOR, "subjects")
_SUBJECT_KEY: Final = _tag(pb.SubjectRecords.DESCRIPTOR, "subject_key") + varint(SUBJECT_KEY_BYTES)
_SUBJECT_RECORD: Final = _tag(pb.SubjectRecords.DESCRIPTOR, "records")
_RECORD_DECIDED: Final = _tag(pb.WatchedRecord.DESCRIPTOR, "decided_time_us", has_length=False)
_RECORD_END: Final = _tag(pb.WatchedRecord.DESCRIPTOR, "end_time_us", has_length=False)
_RECORD_REVISION: Final = _tag(pb.WatchedRecord.DESCRIPTOR, "revision", has_length=False)

# By kind, cause, reach and channel in one number, and topic: what most records share.
_shapes: dict[tuple[int, str], bytes] = {}

_SIX_BYTES_END: Final = 1 << 42
_TWO_BYTES: Final = tuple(
    bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(1 << 14)
)
"""Any 14 bits, as those of a varint that goes on."""

_KIND_OF: Final = _KINDS.by_number
_CAUSE_OF: Final = _CAUSES.by_number
_REACH_OF: Final = _REACHES.by_number
_CHANNEL_OF: Final = _CHANNELS.by_number
