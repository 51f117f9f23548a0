"""Requests of operators to values."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import Cause, Channel, Reach, RecordKind, Scope, Subject, SubjectType, TopicClass
from heed.wire import limits, parse_admin
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of


def test_a_tenant_is_named_by_lower_case_letters_digits_and_hyphens() -> None:
    assert (
        parse_admin.create_tenant(admin.CreateTenantRequest(name="shop-2").SerializeToString())
        == "shop-2"
    )

    for name in ("", "2shop", "Shop", "s" * 64, "shop\n", "a b"):
        asked = admin.CreateTenantRequest(name=name)
        assert violations_of(parse_admin.create_tenant, asked).keys() == {"name"}


def test_a_mandatory_topic_is_read_with_its_channels() -> None:
    asked = ask.declare_topic("security.login", topic_class=pb.TOPIC_CLASS_MANDATORY)
    asked.topic.mandatory_channels.append(pb.CHANNEL_SMS)

    read = parse_admin.declare_topic(asked.SerializeToString())

    assert read.topic.name == "security.login"
    assert read.topic.topic_class is TopicClass.MANDATORY
    assert read.topic.mandatory_channels == {Channel.EMAIL, Channel.SMS}
    assert (read.loosens, read.reason) == (False, "")


def test_the_root_may_require_opt_ins_and_suppress_what_is_undeclared() -> None:
    asked = ask.declare_topic("")
    asked.topic.requires_opt_in = asked.topic.suppress_undeclared = True

    read = parse_admin.declare_topic(asked.SerializeToString())

    assert (read.topic.name, read.topic.requires_opt_in, read.topic.suppress_undeclared) == (
        "",
        True,
        True,
    )


TOPIC_WRONG: list[tuple[str, pb.Topic | None, set[str]]] = [
    ("absent", None, {"topic"}),
    ("no class", pb.Topic(name="a"), {"topic.topic_class"}),
    ("unknown class", pb.Topic(name="a", topic_class=pb.TopicClass.ValueType(9)), {"topic.topic_class"}),
    ("bad name", pb.Topic(name="A b", topic_class=pb.TOPIC_CLASS_PROMOTIONAL), {"topic.name"}),
    ("transactional root", pb.Topic(topic_class=pb.TOPIC_CLASS_TRANSACTIONAL), {"topic.topic_class"}),
    ("mandatory root", pb.Topic(topic_class=pb.TOPIC_CLASS_MANDATORY, mandatory_channels=[pb.CHANNEL_EMAIL]), {"topic.topic_class"}),
    ("mandatory nowhere", pb.Topic(name="a", topic_class=pb.TOPIC_CLASS_MANDATORY), {"topic.mandatory_channels"}),
    ("mandatory on any", pb.Topic(name="a", topic_class=pb.TOPIC_CLASS_MANDATORY, mandatory_channels=[pb.CHANNEL_EMAIL, pb.CHANNEL_ANY, pb.CHANNEL_UNSPECIFIED]), {"topic.mandatory_channels[1]", "topic.mandatory_channels[2]"}),
    ("channels of another class", pb.Topic(name="a", topic_class=pb.TOPIC_CLASS_PROMOTIONAL, mandatory_channels=[pb.CHANNEL_EMAIL]), {"topic.mandatory_channels"}),
    ("mandatory opt-in", pb.Topic(name="a", topic_class=pb.TOPIC_CLASS_MANDATORY, mandatory_channels=[pb.CHANNEL_EMAIL], requires_opt_in=True), {"topic.requires_opt_in"}),
    ("long title", pb.Topic(name="a", topic_class=pb.TOPIC_CLASS_PROMOTIONAL, title="t" * 201), {"topic.title"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "paths"),
    [(topic, paths) for _, topic, paths in TOPIC_WRONG],
    ids=[n for n, _, _ in TOPIC_WRONG],
)
def test_a_wrong_topic_is_refused(topic: pb.Topic | None, paths: set[str]) -> None:
    asked = admin.DeclareTopicRequest(idempotency_key="k", topic=topic, origin=ask.origin())

    assert violations_of(parse_admin.declare_topic, asked).keys() == paths


def test_loosening_needs_a_reason() -> None:
    asked = ask.loosen_topic()
    assert parse_admin.loosen_topic(asked.SerializeToString()).loosens
    asked.ClearField("reason")

    assert violations_of(parse_admin.loosen_topic, asked).keys() == {"reason"}


def test_the_root_cannot_be_retired() -> None:
    asked = ask.retire_topic("")

    assert violations_of(parse_admin.retire_topic, asked).keys() == {"name"}
    assert parse_admin.retire_topic(ask.retire_topic("a").SerializeToString()).name == "a"


def test_a_hold_is_read_as_it_was_placed() -> None:
    asked = ask.place_hold("marketing")
    asked.hold.channel = pb.CHANNEL_ANY
    asked.hold.campaign = "spring"
    asked.hold.end_time.CopyFrom(ask.timestamp())

    hold = parse_admin.place_hold(asked.SerializeToString()).hold

    assert (hold.channel, hold.topic, hold.campaign) == (Channel.ANY, "marketing", "spring")
    assert hold.end_time is not None
    assert parse_admin.place_hold(ask.place_hold().SerializeToString()).hold.channel is None


def test_a_wrong_hold_is_refused() -> None:
    asked = ask.place_hold("A")
    asked.hold.MergeFrom(
        pb.Hold(hold_id="mine", channel=pb.Channel.ValueType(12), campaign="c" * 201)
    )
    asked.hold.reason = "r" * 501
    empty = admin.PlaceHoldRequest(idempotency_key="k", origin=ask.origin())

    assert violations_of(parse_admin.place_hold, asked).keys() == {
        "hold.hold_id",
        "hold.channel",
        "hold.topic",
        "hold.campaign",
        "hold.reason",
    }
    assert violations_of(parse_admin.place_hold, empty).keys() == {"hold", "hold.reason"}


def test_lifting_a_hold_names_it_and_says_why() -> None:
    read = parse_admin.lift_hold(ask.lift_hold("hold-7").SerializeToString())

    assert (read.name, read.reason) == ("hold-7", "it is mended")
    assert violations_of(parse_admin.lift_hold, admin.LiftHoldRequest()).keys() == {
        "idempotency_key",
        "hold_id",
        "reason",
        "origin",
    }


def test_a_suppression_without_a_scope_covers_the_channels_of_the_subject() -> None:
    asked = ask.add_suppressions()
    asked.suppressions[0].subject.phone = "+43 660 1234567"
    asked.suppressions[0].suppression.scope.topic = "news"

    read = parse_admin.add_suppressions(asked.SerializeToString())

    assert [one.scope for one in read.protections] == [
        Scope(channel=channel, topic="news")
        for channel in (Channel.SMS, Channel.VOICE, Channel.WHATSAPP)
    ]
    assert {(one.cause, one.reach, one.row) for one in read.protections} == {
        (Cause.BOUNCE, Reach.ALL, 0)
    }


def test_a_suppression_with_a_channel_covers_that_channel() -> None:
    asked = ask.add_suppressions(cause=pb.CAUSE_LEGAL)
    asked.suppressions[0].suppression.scope.channel = pb.CHANNEL_POSTAL
    asked.suppressions[0].suppression.reach = pb.REACH_PROMOTIONAL

    (one,) = parse_admin.add_suppressions(asked.SerializeToString()).protections

    assert (one.scope.channel, one.reach) == (Channel.POSTAL, Reach.PROMOTIONAL)


def test_a_suppression_is_dated_when_its_cause_was_seen() -> None:
    asked = ask.add_suppressions(cause=pb.CAUSE_TEMPORARY_FAILURE)
    asked.origin.decided_time.CopyFrom(ask.timestamp())
    asked.suppressions[0].suppression.end_time.CopyFrom(
        ask.timestamp(ask.DECIDED + timedelta(days=1))
    )

    (one,) = parse_admin.add_suppressions(asked.SerializeToString()).protections

    assert one.decided_time is not None
    assert one.end_time == one.decided_time + 86_400_000_000


def test_every_wrong_suppression_is_named_and_none_is_taken() -> None:
    asked = ask.add_suppressions()
    asked.origin.decided_time.CopyFrom(ask.timestamp())
    ended = ask.suppression()
    ended.end_time.CopyFrom(ask.timestamp())
    asked.suppressions.extend(
        [
            admin.SubjectSuppression(),
            admin.SubjectSuppression(
                subject=ask.subject("b@example.com"),
                suppression=admin.Suppression(cause=pb.CAUSE_TEMPORARY_FAILURE, reason="r\0"),
            ),
            admin.SubjectSuppression(
                subject=ask.subject("c@example.com"),
                suppression=admin.Suppression(cause=pb.CAUSE_BOUNCE, reach=pb.REACH_PROMOTIONAL),
            ),
            admin.SubjectSuppression(subject=ask.subject("d@example.com"), suppression=ended),
        ]
    )

    assert violations_of(parse_admin.add_suppressions, asked).keys() == {
        "suppressions[1].suppression",
        "suppressions[1].subject",
        "suppressions[1].suppression.cause",
        "suppressions[2].suppression.end_time",
        "suppressions[2].suppression.reason",
        "suppressions[3].suppression.reach",
        "suppressions[4].suppression.end_time",
    }


def test_the_same_suppression_twice_in_one_call_is_refused() -> None:
    asked = ask.add_suppressions()
    asked.suppressions.append(asked.suppressions[0])

    assert violations_of(parse_admin.add_suppressions, asked).keys() == {"suppressions[1]"}


def test_no_suppressions_or_too_many_are_refused() -> None:
    asked = ask.add_suppressions()
    del asked.suppressions[:]
    assert violations_of(parse_admin.add_suppressions, asked).keys() == {"suppressions"}
    asked.suppressions.extend([admin.SubjectSuppression()] * (limits.SUPPRESSIONS_MAX + 1))

    with pytest.raises(InvalidArgumentError) as refused:
        parse_admin.add_suppressions(asked.SerializeToString())

    assert refused.value.reason is ErrorReason.BATCH_TOO_LARGE


def test_a_release_names_the_scopes_of_the_subject_unless_it_says_one() -> None:
    asked = ask.release_suppression()
    asked.subject.phone = "+436601234567"
    everywhere = parse_admin.release_suppression(asked.SerializeToString())
    asked.scope.channel = pb.CHANNEL_SMS

    one = parse_admin.release_suppression(asked.SerializeToString())

    assert [scope.channel for scope in everywhere.scopes] == [
        Channel.SMS,
        Channel.VOICE,
        Channel.WHATSAPP,
    ]
    assert [scope.channel for scope in one.scopes] == [Channel.SMS]
    assert one.subject == Subject(type=SubjectType.PHONE, value="+436601234567")


def test_an_erasure_names_one_person_by_every_identifier() -> None:
    asked = ask.erase_subject("ada@example.com", "Ada@Example.org")

    read = parse_admin.erase_subject(asked.SerializeToString())

    assert [one.value for one in read.subjects] == ["ada@example.com", "ada@example.org"]
    assert (read.reason, read.call.idempotency_key) == ("asked by mail", "key-e")


def test_an_erasure_says_of_whom_and_why() -> None:
    asked = ask.erase_subject("ada@example.com", "ADA@example.com")
    missing = violations_of(parse_admin.erase_subject, admin.EraseSubjectRequest())

    assert missing.keys() == {"idempotency_key", "subjects", "reason", "origin"}
    assert violations_of(parse_admin.erase_subject, asked).keys() == {"subjects[1]"}


def test_a_release_says_of_whom_of_what_and_why() -> None:
    assert violations_of(
        parse_admin.release_suppression, admin.ReleaseSuppressionRequest()
    ).keys() == {
        "idempotency_key",
        "subject",
        "cause",
        "reason",
        "origin",
    }


@pytest.mark.parametrize(
    ("read", "request_class", "list_name"),
    [
        (parse_admin.list_tenants, admin.ListTenantsRequest, "tenants"),
        (parse_admin.list_topics, admin.ListTopicsRequest, "topics"),
        (parse_admin.list_holds, admin.ListHoldsRequest, "holds"),
        (parse_admin.list_suppressions, admin.ListSuppressionsRequest, "suppressions/0"),
    ],
)
def test_a_list_goes_on_where_its_token_says(
    read: Callable[[bytes], Any], request_class: type[Message], list_name: str
) -> None:
    token = parse_admin.page_token(list_name, "cursor: ü")

    first = read(request_class().SerializeToString())
    second = read(request_class(page_size=1_000, page_token=token).SerializeToString())

    assert (first.page_size, first.cursor) == (limits.PAGE_SIZE_DEFAULT, "")
    assert (second.page_size, second.cursor) == (1_000, "cursor: ü")
    assert parse_admin.page_token(list_name, "") == ""


@pytest.mark.parametrize(
    "token",
    [
        "not base64!",
        "é",
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        parse_admin.page_token("holds", "7"),
        base64.urlsafe_b64encode(b"topics:").decode(),
        base64.urlsafe_b64encode(b"topics:" + b"x" * 1_024).decode(),
    ],
    ids=["alphabet", "not ASCII", "not UTF-8", "of another list", "of no place", "too long"],
)
def test_a_token_that_is_none_of_this_list_is_refused(token: str) -> None:
    asked = admin.ListTopicsRequest(page_token=token)

    assert violations_of(parse_admin.list_topics, asked).keys() == {"page_token"}


@pytest.mark.parametrize("page_size", [-1, 1_001, 2**31 - 1])
def test_a_page_has_1_to_1000_items(page_size: int) -> None:
    asked = admin.ListHoldsRequest(page_size=page_size)

    assert violations_of(parse_admin.list_holds, asked).keys() == {"page_size"}


def test_a_token_of_suppressions_is_of_their_cause() -> None:
    token = parse_admin.page_token(parse_admin.suppressions_list(Cause.BOUNCE), "x")
    asked = admin.ListSuppressionsRequest(cause=pb.CAUSE_BOUNCE, page_token=token)
    assert parse_admin.list_suppressions(asked.SerializeToString()).cause is Cause.BOUNCE
    asked.cause = pb.CAUSE_LEGAL
    assert violations_of(parse_admin.list_suppressions, asked).keys() == {"page_token"}
    asked.cause = pb.Cause.ValueType(99)

    assert violations_of(parse_admin.list_suppressions, asked).keys() == {"cause", "page_token"}


def test_an_export_says_what_it_wants() -> None:
    asked = admin.ExportRecordsRequest(
        kinds=[pb.RECORD_KIND_SUPPRESSION],
        causes=[pb.CAUSE_BOUNCE, pb.CAUSE_BOUNCE],
        scope=pb.Scope(topic="news"),
    )

    read = parse_admin.export_records(asked.SerializeToString())

    assert read.kinds == {RecordKind.SUPPRESSION}
    assert read.causes == {Cause.BOUNCE}
    assert read.scope == Scope(channel=Channel.ANY, topic="news")
    everything = parse_admin.export_records(b"")
    assert (everything.kinds, everything.causes, everything.scope) == (
        frozenset(),
        frozenset(),
        None,
    )


def test_what_an_export_cannot_want_is_named() -> None:
    asked = admin.ExportRecordsRequest(
        kinds=[pb.RECORD_KIND_OPT_IN, pb.RecordKind.ValueType(9)],
        causes=[pb.CAUSE_UNSPECIFIED],
        scope=pb.Scope(topic="A"),
    )

    assert violations_of(parse_admin.export_records, asked).keys() == {
        "kinds[1]",
        "causes[0]",
        "scope.topic",
    }
