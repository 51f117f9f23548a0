"""Messages of AuditService to values: whom, which message, and as of when."""

from datetime import UTC, datetime

import pytest

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import Channel, Instant, Revision, Subject, SubjectType, TenantId
from heed.tokens import encode_token
from heed.wire import limits, parse_admin, parse_audit
from heed.wire.asked import AsOfPosition
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of

TOKEN = encode_token(
    epoch=b"12345678", tenant_id=TenantId(1), revision=Revision(7), running_hash=bytes(32)
)
DECIDED = Instant(int(ask.DECIDED.timestamp()) * 1_000_000)


def explain(**fields: object) -> audit.ExplainRequest:
    return audit.ExplainRequest(query=ask.query(), **fields)  # type: ignore[arg-type]  # by the test


def test_explain_asks_for_normalised_subjects() -> None:
    asked = audit.ExplainRequest(query=ask.query("ADA@example.com"))

    read = parse_audit.explain(asked.SerializeToString())

    assert read.subjects == (Subject(type=SubjectType.EMAIL, value="ada@example.com"),)
    assert read.query.channel is Channel.EMAIL
    assert read.as_of is None


def test_explain_is_asked_as_of_a_position() -> None:
    position = pb.Position(revision=7, now=ask.timestamp(), rule_version=1, token=TOKEN)

    read = parse_audit.explain(explain(position=position).SerializeToString())

    assert read.as_of == AsOfPosition(
        revision=Revision(7), now=DECIDED, rule_version=1, token=TOKEN
    )


def test_a_position_may_be_a_revision_alone() -> None:
    read = parse_audit.explain(explain(position=pb.Position()).SerializeToString())

    assert read.as_of == AsOfPosition(revision=Revision(0), now=None, rule_version=0, token="")


def test_explain_is_asked_as_of_an_instant() -> None:
    read = parse_audit.explain(explain(time=ask.timestamp()).SerializeToString())

    assert read.as_of == DECIDED


def test_a_position_that_no_answer_had_is_refused() -> None:
    position = pb.Position(revision=-1, rule_version=-1)
    position.now.seconds = -1

    found = violations_of(parse_audit.explain, explain(position=position))

    assert found.keys() == {
        "position.revision",
        "position.rule_version",
        "position.now.seconds",
    }


def test_a_token_is_of_the_position_it_stands_in() -> None:
    found = violations_of(
        parse_audit.explain, explain(position=pb.Position(revision=8, token=TOKEN))
    )

    assert found == {"position.revision": "is not that of the token; give both as they were told"}


def test_a_token_that_heed_never_made_is_refused() -> None:
    asked = explain(position=pb.Position(revision=7, token="x"))

    with pytest.raises(InvalidArgumentError) as refused:
        parse_audit.explain(asked.SerializeToString())

    assert refused.value.reason is ErrorReason.BAD_TOKEN


def test_an_instant_before_1970_is_refused() -> None:
    found = violations_of(
        parse_audit.explain, explain(time=ask.timestamp(datetime(1969, 1, 1, tzinfo=UTC)))
    )

    assert found == {"time.seconds": "is outside the years 1970 to 9999"}


def test_the_reference_of_what_is_explained_has_its_bound_too() -> None:
    asked = audit.ExplainRequest(query=ask.query())
    asked.query.reference = "x" * (limits.MESSAGE_REFERENCE_CHARACTERS_MAX + 1)

    assert violations_of(parse_audit.explain, asked).keys() == {"query.reference"}


def history(**fields: object) -> audit.GetHistoryRequest:
    return audit.GetHistoryRequest(subjects=[ask.subject()], **fields)  # type: ignore[arg-type]  # by the test


def test_a_history_begins_at_the_start_and_goes_on_where_the_page_before_ended() -> None:
    token = parse_admin.page_token(parse_audit.HISTORY, "17")

    first = parse_audit.get_history(history().SerializeToString())
    next_ = parse_audit.get_history(history(page_token=token, page_size=5).SerializeToString())

    assert (first.after, first.page_size) == (0, limits.PAGE_SIZE_DEFAULT)
    assert (next_.after, next_.page_size) == (17, 5)
    assert next_.subjects == (Subject(type=SubjectType.EMAIL, value="ada@example.com"),)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "٣", "9" * 20])
def test_a_page_that_no_history_had_is_refused(cursor: str) -> None:
    token = parse_admin.page_token(parse_audit.HISTORY, cursor)

    assert violations_of(parse_audit.get_history, history(page_token=token)).keys() == {
        "page_token"
    }


def test_everything_that_is_wrong_with_a_history_is_named() -> None:
    asked = audit.GetHistoryRequest(page_size=-1, page_token="x")

    assert violations_of(parse_audit.get_history, asked).keys() == {
        "subjects",
        "page_size",
        "page_token",
    }


def test_a_person_of_a_history_is_named_once() -> None:
    asked = audit.GetHistoryRequest(subjects=[ask.subject(), ask.subject("ADA@example.com")])

    assert violations_of(parse_audit.get_history, asked).keys() == {"subjects[1]"}
