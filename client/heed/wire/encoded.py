"""The answers of Checks as bytes, put together by hand from encoded parts.

Protobuf reads a message as the concatenation of its fields, so an answer is the bytes of its
decisions, each after its tag and length, then those of its position. What many answers have in
common is encoded once: a decision that no record led to, what a record is and covers, a position
but for the fraction of its second. `heed.wire.format` says the same through messages, and
tests/unit/test_wire_encoded.py holds the two to each other.

Numbers in varints: a nanosecond always takes five bytes, so that a length is known before it.
"""

from collections.abc import Iterable
from typing import Final

from heed.model import RULE_VERSION, Decision, Instant, Reason, Record, Revision
from heed.wire import format as told
from heed_proto.v1 import types_pb2 as pb

Answered = tuple[Decision, tuple[int, ...]]
"""A decision, and the positions of the subjects that had records."""

SHAPES_REMEMBERED_MAX: Final = 8_192
"""So many different (kind, cause, reach, channel, topic) of records; one more and all are
forgotten. Some 2 MiB."""

# By rule, class and declared or not: at most 54, for the decisions that have no record to tell of.
_plain: dict[int, bytes] = {}
_shapes: dict[tuple[int, int, int, int, str], bytes] = {}


class Position:
    """The position of answers at one revision, encoded but for their time."""

    __slots__ = ("_begun", "_but_now")

    def __init__(self, revision: Revision, token: str) -> None:
        self._but_now = pb.Position(
            revision=revision, rule_version=RULE_VERSION, token=token
        ).SerializeToString()
        self._begun = (-1, b"")
        """The second of the last answer, and what comes before its fraction."""

    def at(self, now: Instant) -> bytes:
        """Return the position of an answer at this instant, after its tag and length."""
        second, microsecond = divmod(now, 1_000_000)
        known, begun = self._begun
        if known != second:
            begun = self._begin(second)
            self._begun = (second, begun)
        return begun + _nanos(microsecond)

    def _begin(self, second: int) -> bytes:
        seconds = b"\x08" + _varint(second) + b"\x10"
        now = b"\x12" + _varint(len(seconds) + _NANOS_BYTES) + seconds
        size = len(self._but_now) + len(now) + _NANOS_BYTES
        return b"\x12" + _varint(size) + self._but_now + now


def answer(answered: Answered, position: Position, now: Instant) -> bytes:
    """Return the answer to a Check."""
    return _decision(answered, now) + position.at(now)


def batch_answer(answered: Iterable[Answered], position: Position, now: Instant) -> bytes:
    """Return the answer to a batch of Checks."""
    parts = [_decision(one, now) for one in answered]
    parts.append(position.at(now))
    return b"".join(parts)


def _decision(answered: Answered, now: Instant) -> bytes:
    """A decision after its tag and length, which are those of one answer and of a batch's."""
    decision, with_records = answered
    first = decision.reasons[0]
    if not with_records and first.hold is None:
        key = first.rule << 4 | decision.topic_class << 1 | decision.undeclared_topic
        return _plain.get(key) or _plain.setdefault(key, _encode(answered, now))
    return _encode(answered, now)


def _encode(answered: Answered, now: Instant) -> bytes:
    decision, with_records = answered
    parts = [b"\x08", _varint(decision.verdict)]
    for reason in decision.reasons:
        voice = _reason(reason, now)
        parts += (b"\x12", _varint(len(voice)), voice)
    if decision.undeclared_topic:
        parts.append(b"\x18\x01")
    parts += (b"\x20", _varint(decision.topic_class))
    if with_records:
        places = b"".join(map(_varint, with_records))
        parts += (b"\x2a", _varint(len(places)), places)
    encoded = b"".join(parts)
    return b"\x0a" + _varint(len(encoded)) + encoded


def _reason(reason: Reason, now: Instant) -> bytes:
    record = reason.record
    if record is None:
        return told.reason(reason, now).SerializeToString()
    encoded = _record(record, reason.subject or 0, now)
    voice = b"\x08" + _varint(reason.rule) + b"\x12" + _varint(len(encoded)) + encoded
    return voice if record.end_time is None else voice + _instant(b"\x22", record.end_time)


def _record(record: Record, subject_index: int, now: Instant) -> bytes:
    kind, cause, reach, channel, topic = (
        record.kind,
        record.cause,
        record.reach,
        record.channel,
        record.topic,
    )
    shape = _shapes.get((kind, cause, reach, channel, topic)) or _learn(record)
    encoded = (
        shape
        + _instant(b"\x2a", record.decided_time)
        + b"\x38"
        + _varint(record.revision)
        + b"\x40"
        + _varint(subject_index)
    )
    end_time = record.end_time
    if end_time is None:
        return encoded + b"\x58\x01"
    encoded += _instant(b"\x32", end_time)
    return encoded + b"\x58\x01" if now < end_time else encoded


def _learn(record: Record) -> bytes:
    """What a record is and covers, to be remembered."""
    shape = told.record_shape(record).SerializeToString()
    if len(_shapes) >= SHAPES_REMEMBERED_MAX:
        _shapes.clear()
    key = (record.kind, record.cause, record.reach, record.channel, record.topic)
    return _shapes.setdefault(key, shape)


def _instant(tag: bytes, instant: Instant) -> bytes:
    """A Timestamp after its tag and length."""
    second, microsecond = divmod(instant, 1_000_000)
    seconds = _varint(second)
    return (
        tag
        + bytes((len(seconds) + _NANOS_BYTES + 2, 0x08))
        + seconds
        + b"\x10"
        + _nanos(microsecond)
    )


_NANOS_BYTES: Final = 5


def _nanos(microsecond: int) -> bytes:
    """Nanoseconds as a varint of five bytes."""
    nanos = microsecond * 1_000
    return bytes(
        (
            nanos & 0x7F | 0x80,
            nanos >> 7 & 0x7F | 0x80,
            nanos >> 14 & 0x7F | 0x80,
            nanos >> 21 & 0x7F | 0x80,
            nanos >> 28,
        )
    )


def _varint(number: int) -> bytes:
    """A number that is not negative as a varint."""
    if number < 0x80:  # noqa: PLR2004 - fits into one byte of a varint
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004 - the same
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(0x80))
