"""The answers of Checks as bytes: decisions and positions, put together from encoded parts.

Protobuf reads a message as the concatenation of its fields, so an answer is the bytes of its
decisions, each after its tag and length, then those of its position. What answers have in common
(a decision that no record led to, a position but for its time) is encoded once.
"""

from collections.abc import Iterable
from typing import Final

from heed.model import RULE_VERSION, Decision, Instant, Revision
from heed.wire import format as told
from heed_proto.v1 import types_pb2 as pb

Answered = tuple[Decision, tuple[int, ...]]
"""A decision, and the positions of the subjects that had records."""

# `decision = 1` of CheckSuppressionResponse and `decisions = 1` of BatchCheckSuppressionResponse;
# `position = 2` of both; `now = 2` of Position. Held by tests/unit/test_wire_encoded.py.
_DECISION_TAG: Final = b"\x0a"
_POSITION_TAG: Final = b"\x12"
_NOW_TAG: Final = b"\x12"

# By rule, class and declared or not: at most 54, for the decisions that have no record to tell of.
_plain: dict[int, bytes] = {}


def position_but_now(revision: Revision, token: str) -> bytes:
    """Return the part of a position that stays the same until the next change."""
    return pb.Position(
        revision=revision, rule_version=RULE_VERSION, token=token
    ).SerializeToString()


def answer(answered: Iterable[Answered], position: bytes, now: Instant) -> bytes:
    """Return the answer to a Check, or to a batch of them.

    `position` is of `position_but_now`.
    """
    parts = [_decision(one, now) for one in answered]
    at = told.timestamp(now).SerializeToString()
    parts += (
        _POSITION_TAG,
        _length(len(position) + len(at) + 2),
        position,
        _NOW_TAG,
        _length(len(at)),
        at,
    )
    return b"".join(parts)


def _decision(answered: Answered, now: Instant) -> bytes:
    """A decision after its tag and length."""
    decision, with_records = answered
    reason = decision.reasons[0]
    if with_records or reason.hold is not None:
        return _encode(answered, now)
    key = reason.rule << 4 | decision.topic_class << 1 | decision.undeclared_topic
    return _plain.get(key) or _plain.setdefault(key, _encode(answered, now))


def _encode(answered: Answered, now: Instant) -> bytes:
    decision, with_records = answered
    encoded = told.decision(decision, with_records, now).SerializeToString()
    return _DECISION_TAG + _length(len(encoded)) + encoded


def _length(count: int) -> bytes:
    """A length as a varint."""
    if count < 0x80:  # noqa: PLR2004 - fits into one byte of a varint
        return bytes((count,))
    return bytes((count & 0x7F | 0x80,)) + _length(count >> 7)
