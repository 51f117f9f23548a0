"""Which of two records stands in a slot, and the bytes in which a subject's records are kept.

Laws of standing:
- Order of arrival does not matter: `merge` is commutative, associative and idempotent in all but
  the revision, which is that of the change that last changed anything.
- Of two choices the later decided one stands, its end included; a tie goes to the side that
  protects. A suppression is never shortened and never made older.
- The later of two times until which nobody is to be asked again stands, whichever opt-out does.
- A kind of record that this version does not know is kept like a suppression.

Laws of the bytes:
- What was encoded is decoded as it was, numbers of enums that this version does not know included;
  bytes that were damaged raise, and never give another record.
- Layout, version 1, little-endian: version u8, CRC-32 u32 of the rest, then for each record: kind
  (bits 0-3) and cause (4-7) u8; channel (0-3), reach (4-6) and whether it has an end (7) u8; length
  of the topic u8; decided time i64; revision u48; its end i64 if it has one; the topic in ASCII.
- Version 2 is of subjects of whom some record says more than that: after each record whether a time
  not to ask before follows (bit 0) and quiet hours (1) u8; that time i64; the length u16 of the
  hours' text, and it. A heed that knows version 1 alone reads none of it, and allows nothing.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace as with_fields
from typing import Final, cast
from zlib import crc32

from heed.errors import UnavailableError
from heed.hours import hours_of, union
from heed.model import (
    OF_ONE_SLOT,
    Cause,
    Change,
    Channel,
    Effect,
    Instant,
    Reach,
    Record,
    RecordKind,
    Scope,
)

Slot = tuple[RecordKind, Cause, Reach, Channel, str]

REVISION_MAX = 2**48 - 1
RULES_OF_QUIET_HOURS: Final = 2
"""The version of the rules since which quiet hours are decided by."""

_VERSION: Final = 1
_VERSION_OF_MORE: Final = 2
_HEADER = struct.Struct("<BI")
_BODY: Final = _HEADER.size
_RECORD = struct.Struct("<BBBqIH")
_RECORD_BYTES: Final = _RECORD.size
_END = struct.Struct("<q")
_END_BYTES: Final = _END.size
_LENGTH = struct.Struct("<H")
_FLAGS = struct.Struct("<B")
_HAS_NO_ASK: Final = 0x1
_HAS_HOURS: Final = 0x2
_NIBBLE: Final = 0xF
_REACH_BITS: Final = 0x7
_HAS_END: Final = 0x80
_FOREVER: Final = 2**63
"""Later than every end there is."""


class DamagedRecordError(UnavailableError):
    """Bytes that `encode_records` did not make; whoever reads an index rebuilds it."""


def merge(current: Record | None, new: Record) -> Record:
    """Return the record that stands where `new` meets what stands in its slot.

    `current` itself is returned where nothing changes.
    """
    if current is None:
        return new
    if current.slot != new.slot:
        raise ValueError(f"records of two slots do not meet: {current.slot}, {new.slot}")
    if current.kind in _CHOICES and current.decided_time != new.decided_time:
        standing = current if current.decided_time > new.decided_time else new
        standing = _asked_no_sooner(standing, current, new)
    else:
        standing = _protective(current, new)
    if _means_the_same(standing, current):
        return current
    return new if _means_the_same(standing, new) else with_fields(standing, revision=new.revision)


def replace(records: tuple[Record, ...], new: Record) -> tuple[Record, ...]:
    """Return a subject's records with `new` in its slot, ordered by kind, topic and channel."""
    slot = new.slot
    return in_order((*(one for one in records if one.slot != slot), new))


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return a subject's records by kind, topic and channel, as they are kept."""
    return tuple(sorted(records, key=_order))


def remove(records: tuple[Record, ...], slot: Slot) -> tuple[Record, ...]:
    """Return a subject's records without the one in a slot."""
    return tuple(one for one in records if one.slot != slot)


def rules_needed(records: Iterable[Record]) -> int:
    """Return the least version of the rules that decides by all of these records."""
    kind = RecordKind.QUIET_HOURS
    return RULES_OF_QUIET_HOURS if any(one.kind == kind for one in records) else 1


def rules_needed_after(change: Change) -> int:
    """Return the least version that decides by what a change leaves."""
    if change.effect is not Effect.APPLIED:
        return 1
    if change.erasure is not None:
        return rules_needed(change.erasure.standing)
    return 1 if change.record is None else rules_needed((change.record,))


def without_quiet_hours(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return a subject's records but for quiet hours: what is stopped whatever the hour."""
    return tuple(one for one in records if one.kind is not RecordKind.QUIET_HOURS)


def stop_stands(records: Collection[Record], scope: Scope) -> bool:
    """Whether a subject's promotional opt-out at exactly a scope stands, and they opted in to
    nothing since: whoever stops there once more changes nothing.
    """
    stopped = max(
        (
            record.decided_time
            for record in records
            if record.kind is RecordKind.OPT_OUT
            and record.reach is Reach.PROMOTIONAL
            and (record.channel, record.topic) == (scope.channel, scope.topic)
        ),
        default=None,
    )
    return stopped is not None and not any(
        record.kind is RecordKind.OPT_IN and record.decided_time > stopped for record in records
    )


def encode_records(records: Iterable[Record]) -> bytes:
    """Return one subject's records as bytes.

    Raises:
        ValueError: a record does not fit the layout (a revision above `REVISION_MAX`, say).
    """
    records = tuple(records)
    says_more = any(map(_says_more, records))
    body = b"".join(map(_encode_more if says_more else _encode, records))
    return _HEADER.pack(_VERSION_OF_MORE if says_more else _VERSION, crc32(body)) + body


def decode_each(found: Iterable[bytes | None]) -> list[tuple[Record, ...]]:
    """Return the records of several subjects, by position, of what stands under their keys.

    Raises:
        DamagedRecordError: as `decode_records`.
    """
    return [() if encoded is None else decode_records(encoded) for encoded in found]


def of_people(found: Sequence[tuple[Record, ...]], keys_each: int) -> list[tuple[Record, ...]]:
    """Return the records of each person, of those found under so many keys of each, in order.

    A person stands under one key (`heed.keys.LookupKeys`), so there is nothing to weigh here.
    """
    return [
        tuple(record for one in found[at : at + keys_each] for record in one)
        for at in range(0, len(found), keys_each)
    ]


def decode_records(encoded: bytes) -> tuple[Record, ...]:
    """Return the records that `encode_records` was given, in their order.

    Raises:
        DamagedRecordError: the bytes are not as they were made, or of a version not known here.
    """
    size = len(encoded)
    if size < _BODY:
        raise DamagedRecordError(f"{size} bytes are no records; rebuild the index")
    version, checksum = _HEADER.unpack_from(encoded)
    decode = _DECODE_OF.get(version)
    if decode is None:
        raise DamagedRecordError(f"records of version {version} are not known; rebuild the index")
    if crc32(encoded[_BODY:]) != checksum:
        raise DamagedRecordError("records do not match their checksum; rebuild the index")
    records: list[Record] = []
    offset = _BODY
    try:
        while offset < size:
            record, offset = decode(encoded, offset)
            records.append(record)
    except (struct.error, ValueError) as error:
        raise DamagedRecordError("records end in the middle of one; rebuild the index") from error
    if offset != size:
        raise DamagedRecordError("records end in the middle of one; rebuild the index")
    return tuple(records)


def _protective(one: Record, other: Record) -> Record:
    """Return the stronger of two records that count from the same time, or what both ask for."""
    ends = (_end(one), _end(other))
    end = min(ends) if one.kind == RecordKind.OPT_IN else max(ends)
    standing = with_fields(
        other,
        reach=max(one.reach, other.reach, key=_width),
        decided_time=max(one.decided_time, other.decided_time),
        end_time=None if end == _FOREVER else Instant(end),
        quiet_hours=union(one.quiet_hours, other.quiet_hours),
    )
    return _asked_no_sooner(standing, one, other)


def _asked_no_sooner(standing: Record, one: Record, other: Record) -> Record:
    """Return what stands with the later time until which neither of two is to be asked again."""
    if one.no_ask_until == other.no_ask_until:
        return standing
    latest = max(one.no_ask_until or Instant(0), other.no_ask_until or Instant(0))
    return (
        standing if standing.no_ask_until == latest else with_fields(standing, no_ask_until=latest)
    )


def _means_the_same(one: Record, other: Record) -> bool:
    return (one.decided_time, one.end_time, one.reach, one.no_ask_until, one.quiet_hours) == (
        other.decided_time,
        other.end_time,
        other.reach,
        other.no_ask_until,
        other.quiet_hours,
    )


def _end(record: Record) -> int:
    return _FOREVER if record.end_time is None else record.end_time


def _width(reach: Reach) -> int:
    """Return how much a reach stops; one that is not known here stops the most.

    No two are alike, so that a tie of two that are not known ends alike in either order.
    """
    return int(reach) if Reach.PROMOTIONAL <= reach <= Reach.ALL else 1 + Reach.ALL + reach


def _order(record: Record) -> tuple[int, str, int, int, int]:
    return (record.kind, record.topic, record.channel, record.cause, record.reach)


def _says_more(record: Record) -> bool:
    """Whether version 1 of the layout cannot hold all that a record says."""
    return record.no_ask_until is not None or record.kind == RecordKind.QUIET_HOURS


def _encode_more(record: Record) -> bytes:
    hours, no_ask_until = record.quiet_hours, record.no_ask_until
    flags = (0 if no_ask_until is None else _HAS_NO_ASK) | (0 if hours is None else _HAS_HOURS)
    parts = [_encode(record), bytes((flags,))]
    if no_ask_until is not None:
        parts.append(_END.pack(no_ask_until))
    if hours is not None:
        text = str(hours).encode("ascii")
        parts += (_LENGTH.pack(len(text)), text)
    return b"".join(parts)


def _encode(record: Record) -> bytes:
    topic = record.topic.encode("ascii")
    end_time = record.end_time
    if not (
        0 <= record.kind <= _NIBBLE
        and 0 <= record.cause <= _NIBBLE
        and 0 <= record.channel <= _NIBBLE
        and 0 <= record.reach <= _REACH_BITS
        and 0 <= record.revision <= REVISION_MAX
    ):
        raise ValueError(f"the record of revision {record.revision} does not fit version 1")
    try:
        head = _RECORD.pack(
            record.kind | record.cause << 4,
            record.channel | record.reach << 4 | (0 if end_time is None else _HAS_END),
            len(topic),
            record.decided_time,
            record.revision & 0xFFFF_FFFF,
            record.revision >> 32,
        )
        return head + (b"" if end_time is None else _END.pack(end_time)) + topic
    except struct.error as error:
        raise ValueError(
            f"a time or the topic of revision {record.revision} does not fit version 1"
        ) from error


def _decode(encoded: bytes, offset: int) -> tuple[Record, int]:
    """Return the record at an offset, and where it ends."""
    kind_cause, channel_reach, topic_size, decided_time, low, high = _RECORD.unpack_from(
        encoded, offset
    )
    offset += _RECORD_BYTES
    # A frozen record made by its constructor costs as much as all the rest of a look-up.
    record = _NEW(Record)
    if channel_reach & _HAS_END:
        _SET_END_TIME(record, *_END.unpack_from(encoded, offset))
        offset += _END_BYTES
    else:
        _SET_END_TIME(record, None)
    kind, cause = _KIND_CAUSE[kind_cause]
    channel, reach = _CHANNEL_REACH[channel_reach]
    _SET_KIND(record, kind)
    _SET_CAUSE(record, cause)
    _SET_REACH(record, reach)
    _SET_CHANNEL(record, channel)
    _SET_DECIDED_TIME(record, decided_time)
    _SET_REVISION(record, high << 32 | low)
    _SET_QUIET_HOURS(record, None)
    _SET_NO_ASK_UNTIL(record, None)
    end = offset + topic_size
    _SET_TOPIC(record, encoded[offset:end].decode("ascii") if topic_size else "")
    return record, end


def _decode_more(encoded: bytes, offset: int) -> tuple[Record, int]:
    """The same, of version 2."""
    record, offset = _decode(encoded, offset)
    flags, offset = _FLAGS.unpack_from(encoded, offset)[0], offset + _FLAGS.size
    if flags & _HAS_NO_ASK:
        _SET_NO_ASK_UNTIL(record, *_END.unpack_from(encoded, offset))
        offset += _END_BYTES
    if flags & _HAS_HOURS:
        (length,) = _LENGTH.unpack_from(encoded, offset)
        offset += _LENGTH.size + length
        _SET_QUIET_HOURS(record, hours_of(encoded[offset - length : offset].decode("ascii")))
    return record, offset


_DECODE_OF: Final = {_VERSION: _decode, _VERSION_OF_MORE: _decode_more}

_CHOICES = OF_ONE_SLOT | {RecordKind.OPT_OUT, RecordKind.OPT_IN}

_KINDS = {int(kind): kind for kind in RecordKind}
_CAUSES = {int(cause): cause for cause in Cause}
_CHANNELS = {int(channel): channel for channel in Channel}
_REACHES = {int(reach): reach for reach in Reach}

# A number of a later version stays the number it is: `heed.decide` takes its protective side.
_KIND_CAUSE = [
    (
        _KINDS.get(byte & _NIBBLE, cast("RecordKind", byte & _NIBBLE)),
        _CAUSES.get(byte >> 4, cast("Cause", byte >> 4)),
    )
    for byte in range(256)
]
_CHANNEL_REACH = [
    (
        _CHANNELS.get(byte & _NIBBLE, cast("Channel", byte & _NIBBLE)),
        _REACHES.get(byte >> 4 & _REACH_BITS, cast("Reach", byte >> 4 & _REACH_BITS)),
    )
    for byte in range(256)
]

_NEW: Final = Record.__new__
_SET_KIND: Final = Record.__dict__["kind"].__set__
_SET_CAUSE: Final = Record.__dict__["cause"].__set__
_SET_REACH: Final = Record.__dict__["reach"].__set__
_SET_CHANNEL: Final = Record.__dict__["channel"].__set__
_SET_TOPIC: Final = Record.__dict__["topic"].__set__
_SET_DECIDED_TIME: Final = Record.__dict__["decided_time"].__set__
_SET_END_TIME: Final = Record.__dict__["end_time"].__set__
_SET_REVISION: Final = Record.__dict__["revision"].__set__
_SET_QUIET_HOURS: Final = Record.__dict__["quiet_hours"].__set__
_SET_NO_ASK_UNTIL: Final = Record.__dict__["no_ask_until"].__set__
