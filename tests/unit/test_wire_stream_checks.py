"""The messages of a stream of checks: what is refused in place, and how refusals cross the wire."""

from typing import Any

import pytest

from heed.answers import CheckAnswer
from heed.errors import (
    ConflictError,
    ErrorReason,
    FieldViolation,
    HeedError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from heed.keys import LOOKUP_KEY_BYTES, LookupKey, LookupKeys, normalise
from heed.model import (
    Decision,
    Instant,
    Reason,
    Revision,
    Rule,
    Subject,
    SubjectType,
    Verdict,
)
from heed.wire import checks, encoded, limits, read
from heed.wire.status import from_refusal, to_refusal
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask

KEYER = LookupKeys([LookupKey(1, bytes(LOOKUP_KEY_BYTES))])
NOW = Instant(1_800_000_000_123_456)
POSITION = encoded.Position(Revision(9), "token")
ALLOWED: encoded.Answered = (Decision(Verdict.ALLOWED, (Reason(Rule.DEFAULT),)), ())
REFUSED = UnavailableError("too old", reason=ErrorReason.STATE_STALE, metadata={"age_ms": "6000"})


def key(email: str) -> bytes:
    return KEYER.key(normalise(Subject(type=SubjectType.EMAIL, value=email)))


def request(*emails: str, **fields: Any) -> preference.StreamCheckSuppressionRequest:
    return preference.StreamCheckSuppressionRequest(
        queries=[ask.query(one) for one in emails], **fields
    )


def test_a_request_is_read_with_its_number_tenant_and_token() -> None:
    asked = checks.stream_check(
        request("a@example.com", sequence=2**64 - 1, tenant="t", token="k").SerializeToString()
    )

    assert (asked.sequence, asked.tenant, asked.batch.token) == (2**64 - 1, "t", "k")
    assert (asked.count, asked.refused) == (1, {})
    assert checks.stream_keys(asked, KEYER) == [key("a@example.com")]


def test_malformed_queries_are_refused_by_their_places_and_the_others_are_asked() -> None:
    sent = request("a@example.com", "no address", "b@example.com", "c@example.com", "worse")
    sent.queries[2].channel = pb.CHANNEL_UNSPECIFIED
    sent.queries[0].subjects.append(ask.subject("second@example.com"))
    asked = checks.stream_check(sent.SerializeToString())

    assert set(asked.refused) == {2}
    keys = checks.stream_keys(asked, KEYER)

    assert keys == [key("a@example.com"), key("second@example.com"), key("c@example.com")]
    assert asked.batch.counts == [2, 1]
    assert asked.count == 5
    assert {at: one.violations[0].field for at, one in asked.refused.items()} == {
        1: "queries[1].subjects[0].email",
        2: "queries[2].channel",
        4: "queries[4].subjects[0].email",
    }


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (request(), ErrorReason.INVALID_FIELD),
        (
            request(*["a@example.com"] * (limits.STREAM_QUERIES_MAX + 1)),
            ErrorReason.BATCH_TOO_LARGE,
        ),
    ],
)
def test_a_request_of_none_or_too_many_is_refused_whole(
    sent: preference.StreamCheckSuppressionRequest, reason: ErrorReason
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        checks.stream_check(sent.SerializeToString())

    assert refused.value.reason is reason


def test_answers_and_refusals_are_told_in_their_places() -> None:
    data = encoded.stream_answer(300, [ALLOWED, REFUSED, ALLOWED], POSITION, NOW)
    told = preference.StreamCheckSuppressionResponse.FromString(data)
    single = preference.CheckSuppressionResponse.FromString(encoded.answer(ALLOWED, POSITION, NOW))

    assert told.sequence == 300
    assert told.position == single.position
    assert told.answers[0].decision == told.answers[2].decision == single.decision
    assert told.answers[1].refusal == to_refusal(REFUSED)


def test_a_request_that_is_refused_whole_has_a_refusal_for_each_query_and_no_position() -> None:
    data = encoded.stream_refusal(0, 3, REFUSED)
    told = preference.StreamCheckSuppressionResponse.FromString(data)

    assert [one.refusal for one in told.answers] == [to_refusal(REFUSED)] * 3
    assert not told.HasField("position")


@pytest.mark.parametrize(
    "error",
    [
        REFUSED,
        NotFoundError("no such tenant", metadata={"tenant": "t"}),
        ConflictError("another epoch", reason=ErrorReason.EPOCH_CHANGED),
        InvalidArgumentError(
            "two", violations=[FieldViolation("a", "b"), FieldViolation("c", "d")]
        ),
    ],
)
def test_a_refusal_is_the_error_again_on_the_other_side(error: HeedError) -> None:
    read_back = from_refusal(to_refusal(error))

    assert type(read_back) is type(error)
    assert (read_back.reason, read_back.message, read_back.metadata) == (
        error.reason,
        error.message,
        error.metadata,
    )
    if isinstance(error, InvalidArgumentError):
        assert isinstance(read_back, InvalidArgumentError)
        assert read_back.violations == error.violations


def test_a_refusal_is_as_brief_as_a_status() -> None:
    many = [FieldViolation("f" * 500, "d" * 500) for _ in range(1_000)]
    refusal = to_refusal(InvalidArgumentError("m" * 9_000, violations=many))

    assert len(refusal.message) <= limits.STATUS_MESSAGE_CHARACTERS_MAX
    assert refusal.ByteSize() <= limits.STATUS_BYTES_MAX


def test_a_refusal_that_this_version_does_not_know_is_no_answer() -> None:
    read_back = from_refusal(preference.Refusal(code=99, reason="NEW", message="?"))

    assert isinstance(read_back, UnavailableError)
    assert read_back.metadata == {"unknown_reason": "NEW"}


def test_answers_are_read_in_their_order_and_only_if_they_are_as_many_as_the_questions() -> None:
    answer = preference.StreamCheckSuppressionResponse.FromString(
        encoded.stream_answer(1, [ALLOWED, REFUSED], POSITION, NOW)
    )
    answer.answers.add()

    allowed, refused, neither = read.check_stream(answer, asked=3)

    assert isinstance(allowed, CheckAnswer)
    assert (allowed.allowed, allowed.revision) == (True, 9)
    assert isinstance(refused, UnavailableError)
    assert isinstance(neither, CheckAnswer)
    assert not neither.allowed
    with pytest.raises(UnavailableError, match="3 answers came to 2 questions"):
        read.check_stream(answer, asked=2)
