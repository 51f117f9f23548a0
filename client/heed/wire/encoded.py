"""The answers of Checks, and parts of those of writes, as bytes put together by hand.

Protobuf reads a message as the concatenation of its fields, so an answer is the bytes of its
decisions, each after its tag and length, then those of its position. What many answers have in
common is encoded once: a decision that no record led to, what a record is and covers, a position
but for the fraction of its second. `heed.wire.format` says the same through messages, and
tests/unit/test_wire_encoded.py holds the two to each other.

Seconds and nanoseconds are varints of five bytes, whatever they are, so that lengths are known.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from heed.audit.claims import ReceiptClaim
from heed.errors import HeedError
from heed.hours import HOURS_REMEMBERED_MAX, Hours
from heed.model import (
    RULE_VERSION,
    Decision,
    Effect,
    Instant,
    Reason,
    Record,
    Revision,
    Rule,
    TopicClass,
    Verdict,
)
from heed.wire import format as told
from heed.wire.format import SHAPES_REMEMBERED_MAX
from heed.wire.limits import SUBJECTS_MAX
from heed.wire.status import to_refusal
from heed_proto.v1 import types_pb2 as pb

Answered = tuple[Decision, tuple[int, ...]]
"""A decision, and the positions of the subjects that had records."""

# By rule, class and declared or not: at most 60, for the decisions that have no record to tell of.
_plain: dict[int, bytes] = {}
_shapes: dict[tuple[int, int, int, int, str], bytes] = {}


class Position:
    """The position of answers at one revision, encoded but for their time."""

    __slots__ = ("_begun", "_but_now", "revision", "token")

    def __init__(self, revision: Revision, token: str) -> None:
        self.revision = revision
        self.token = token
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
        nanosecond = microsecond * 1_000
        return begun + bytes(  # `_five`, without a call
            (
                nanosecond & 0x7F | 0x80,
                nanosecond >> 7 & 0x7F | 0x80,
                nanosecond >> 14 & 0x7F | 0x80,
                nanosecond >> 21 & 0x7F | 0x80,
                nanosecond >> 28,
            )
        )

    def _begin(self, second: int) -> bytes:
        now = b"\x12" + _instant(Instant(second * 1_000_000))
        begun = b"\x12" + varint(len(self._but_now) + len(now)) + self._but_now + now
        return begun[: -len(_five(0))]


def answer(answered: Answered, position: Position, now: Instant) -> bytes:
    """Return the answer to a Check."""
    return _decision(answered, now) + position.at(now)


def batch_answer(answered: Sequence[Answered], position: Position, now: Instant) -> bytes:
    """Return the answer to a batch of Checks. One and the same answer is encoded once."""
    known: dict[int, bytes] = {}
    parts: list[bytes] = []
    for one in answered:
        part = known.get(id(one))
        if part is None:
            part = known[id(one)] = _decision(one, now)
        parts.append(part)
    parts.append(position.at(now))
    return b"".join(parts)


def stream_answer(
    sequence: int, answers: Sequence[Answered | HeedError], position: Position, now: Instant
) -> bytes:
    """Return the response to one request of a stream, with refusals in their places."""
    known: dict[int, bytes] = {}
    parts: list[bytes] = []
    for one in answers:
        part = known.get(id(one))
        if part is None:
            part = known[id(one)] = _stream_part(
                _refusal(one) if isinstance(one, HeedError) else _decision(one, now)
            )
        parts.append(part)
    parts.append(position.at(now))
    parts.append(b"\x18" + varint(sequence))
    return b"".join(parts)


def stream_refusal(sequence: int, count: int, error: HeedError) -> bytes:
    """Return the response to a request of so many queries that is refused as a whole."""
    return _stream_part(_refusal(error)) * count + b"\x18" + varint(sequence)


def record(value: Record, subject_index: int, now: Instant) -> bytes:
    """Return a record as a Check tells it."""
    key = (value.kind, value.cause, value.reach, value.channel, value.topic)
    encoded = (
        (_shapes.get(key) or _learn(value))
        + b"\x2a"
        + _instant(value.decided_time)
        + b"\x38"
        + varint(value.revision)
        + _INDICES[subject_index]
    )
    end_time = value.end_time
    if end_time is not None:
        encoded += b"\x32" + _instant(end_time)
    if end_time is None or now < end_time:
        encoded += b"\x58\x01"
    if value.quiet_hours is not None:
        encoded += _quiet_hours(value.quiet_hours)
    if value.no_ask_until is not None:
        encoded += b"\x82\x01" + _instant(value.no_ask_until)
    return encoded


def effect(value: Effect) -> bytes:
    """Return the field of what a change did to what stands, in a stored choice."""
    return _EFFECTS[value]


def position(revision: Revision, token: str, now: Instant) -> bytes:
    """Return where in the log, and when, the answer to a write is true."""
    return (
        b"\x08"
        + varint(revision)
        + b"\x12"
        + _instant(now)
        + _RULE_VERSION
        + field(b"\x22", token.encode())
    )


def claim(value: ReceiptClaim) -> bytes:
    """Return what a write left in the log."""
    return (
        field(b"\x0a", value.origin.encode())
        + b"\x10"
        + varint(value.first_revision)
        + b"\x18"
        + varint(value.count)
        + field(b"\x22", value.leaves_hash)
    )


def field(tag: bytes, content: bytes) -> bytes:
    """Return a message, a text or bytes after its tag and length."""
    return tag + varint(len(content)) + content


@lru_cache(maxsize=HOURS_REMEMBERED_MAX)
def _quiet_hours(hours: Hours) -> bytes:
    """When it is quiet, after its tag and length."""
    return field(b"\x7a", told.quiet_hours(hours).SerializeToString())


def _stream_part(answer: bytes) -> bytes:
    """The answer to one query of a stream, after its tag and length."""
    return b"\x0a" + varint(len(answer)) + answer


def _refusal(error: HeedError) -> bytes:
    """A refusal after its tag and length."""
    body = to_refusal(error).SerializeToString()
    return b"\x12" + varint(len(body)) + body


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
    body = _VERDICTS[decision.verdict]
    for reason in decision.reasons:
        body += _reason(reason, now)
    if decision.undeclared_topic:
        body += b"\x18\x01"
    body += _CLASSES[decision.topic_class]
    if with_records:
        body += b"\x2a" + _ONE_BYTE[len(with_records)] + bytes(with_records)
    return b"\x0a" + varint(len(body)) + body


def _reason(reason: Reason, now: Instant) -> bytes:
    """A reason after its tag and length."""
    spoke = reason.record
    if spoke is None:
        voice = told.reason(reason, now).SerializeToString()
    else:
        encoded = record(spoke, reason.subject or 0, now)
        voice = _RULES[reason.rule] + b"\x12" + varint(len(encoded)) + encoded
        until = reason.until or spoke.end_time
        if until is not None:
            voice += b"\x22" + _instant(until)
    return b"\x12" + varint(len(voice)) + voice


def _learn(record: Record) -> bytes:
    """What a record is and covers, to be remembered."""
    key = (record.kind, record.cause, record.reach, record.channel, record.topic)
    shape = told.record_shape(*key).SerializeToString()
    if len(_shapes) >= SHAPES_REMEMBERED_MAX:
        _shapes.clear()
    return _shapes.setdefault(key, shape)


def _instant(instant: Instant) -> bytes:
    """A Timestamp after its length."""
    second, microsecond = divmod(instant, 1_000_000)
    if second < _FIVE_BYTES_END:
        return b"\x0c\x08" + _five(second) + b"\x10" + _five(microsecond * 1_000)
    return b"\x0d\x08" + varint(second) + b"\x10" + _five(microsecond * 1_000)


def _five(number: int) -> bytes:
    """A number below `_FIVE_BYTES_END` as a varint of five bytes."""
    return bytes(
        (
            number & 0x7F | 0x80,
            number >> 7 & 0x7F | 0x80,
            number >> 14 & 0x7F | 0x80,
            number >> 21 & 0x7F | 0x80,
            number >> 28,
        )
    )


def varint(number: int) -> bytes:
    """A number that is not negative as a varint."""
    if number < 0x80:  # noqa: PLR2004 - fits into one byte of a varint
        return _ONE_BYTE[number]
    encoded = bytearray()
    while number >= 0x80:  # noqa: PLR2004 - the same
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_FIVE_BYTES_END: Final = 1 << 35
"""Of seconds: in the year 3058. A second from then on takes six bytes."""
_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(0x80))
_VERDICTS: Final = tuple(b"\x08" + byte for byte in _ONE_BYTE[: 1 + max(Verdict)])
_RULES: Final = tuple(b"\x08" + byte for byte in _ONE_BYTE[: 1 + max(Rule)])
_CLASSES: Final = tuple(b"\x20" + byte for byte in _ONE_BYTE[: 1 + max(TopicClass)])
_EFFECTS: Final = tuple(b"\x10" + byte for byte in _ONE_BYTE[: 1 + max(Effect)])
_RULE_VERSION: Final = b"\x18" + varint(RULE_VERSION)
_INDICES: Final = tuple(b"\x40" + byte for byte in _ONE_BYTE[:SUBJECTS_MAX])
