"""What callers hand in, and what they get back."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import heed
from heed.names import named, words_of
from heed.testing import FakeClient, FakeSyncClient
from heed.wire import ask, heard, read
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

NAIVE = datetime(2026, 3, 1, 9)  # noqa: DTZ001 - what a caller forgets
EVIDENCE = heed.Evidence(notice="n", notice_version="1", act="pressed Save", language="en")


@pytest.mark.parametrize("word", ["in_app", "IN_APP", "in-app", " In_App ", heed.Channel.IN_APP])
def test_a_channel_is_known_by_its_word_whatever_its_case(word: str) -> None:
    assert named(heed.Channel, word, "channel") is heed.Channel.IN_APP


@pytest.mark.parametrize(
    ("word", "nearest"), [("emial", "email"), ("whats_app", "whatsapp"), ("SSM", "sms")]
)
def test_a_word_that_is_none_of_the_list_is_refused_with_the_nearest(
    word: str, nearest: str
) -> None:
    with pytest.raises(heed.InvalidArgumentError) as caught:
        heed.Query(channel=word, email="ada@example.com")

    assert caught.value.reason == "INVALID_FIELD"
    assert caught.value.metadata == {"field": "channel", "nearest": nearest}
    assert f"did you mean {nearest!r}" in str(caught.value)


def test_a_word_that_is_near_nothing_is_refused_with_the_whole_list() -> None:
    with pytest.raises(heed.InvalidArgumentError, match="any, email, sms") as caught:
        heed.Query(channel="zzzzzz")

    assert "nearest" not in caught.value.metadata


def test_what_means_not_said_is_no_word() -> None:
    assert "none" not in words_of(heed.Cause)
    assert "unspecified" not in words_of(heed.Method)
    with pytest.raises(heed.InvalidArgumentError):
        heed.Suppression(subject=heed.user("u"), cause="none")


@pytest.mark.parametrize(
    "make",
    [
        lambda: heed.Origin(source="s", decided_time=NAIVE),
        lambda: heed.OptIn(channel="email", topic="t", evidence=EVIDENCE, end_time=NAIVE),
        lambda: heed.Pause(end_time=NAIVE),
        lambda: heed.OptOut(no_ask_until=NAIVE),
        lambda: heed.Suppression(subject=heed.user("u"), cause="bounce", end_time=NAIVE),
        lambda: heed.ImportRow(
            row=1, protection=heed.ImportedOptOut(subject=heed.user("u")), decided_time=NAIVE
        ),
        lambda: ask.place_hold(
            "",
            "k",
            channel=None,
            topic="",
            campaign="",
            end_time=NAIVE,
            reason="r",
            origin=heed.Origin(source="s"),
        ),
    ],
    ids=["origin", "opt-in", "pause", "no ask", "suppression", "row", "hold"],
)
def test_a_time_without_a_zone_is_refused_with_what_to_do(make: object) -> None:
    assert callable(make)

    with pytest.raises(
        heed.InvalidArgumentError, match=r"has no time zone; give one.*datetime\.now"
    ):
        make()


def test_a_time_is_sent_as_the_instant_that_it_is_whatever_its_zone() -> None:
    vienna = timezone(timedelta(hours=1))
    when = datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=vienna)

    request = ask.set_preferences("", "k", [], heed.Origin(source="s", decided_time=when))

    assert request.origin.decided_time.ToDatetime(UTC) == when
    assert request.origin.decided_time.nanos == 123_456_000


def test_every_identifier_of_a_person_is_named_in_one_order() -> None:
    query = heed.Query(
        channel="email",
        subjects=[heed.user("u-2")],
        device="d",
        user="u-1",
        phone=["+43 1", "+43 2"],
        email="a@example.com",
    )

    request = ask.check("shop", query, "")

    said = [(one.WhichOneof("identifier"), *one.ListFields()) for one in request.query.subjects]
    assert [kind for kind, *_ in said] == ["email", "phone", "phone", "user", "device", "user"]
    assert request.query.subjects[-1].user == "u-2"


def test_none_names_nobody_and_an_empty_string_is_kept_to_be_refused() -> None:
    query = heed.Query(channel="email", email="", phone=None)

    request = ask.check("", query, "")

    assert [one.WhichOneof("identifier") for one in request.query.subjects] == ["email"]


@pytest.mark.parametrize(
    "asked",
    [
        lambda client: client.check(email="\ud800@example.com", channel="email"),
        lambda client: client.check(email="a@example.com", channel="email", topic="\udfff"),
        lambda client: client.opt_out(user="\udc80", source="tests"),
        lambda client: client.get_preferences(device="\ud800"),
        lambda client: client.lift_hold("\ud800", reason="r", origin=heed.Origin(source="s")),
    ],
    ids=["check", "topic", "write", "read", "hold"],
)
def test_what_is_no_unicode_is_refused_and_not_repeated(asked: Any) -> None:
    with pytest.raises(heed.InvalidArgumentError, match="half a surrogate pair") as caught:
        asked(FakeSyncClient())

    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "value",
    [
        heed.Query(channel="email", email="ada@example.com"),
        heed.PersonChoices(choices=[heed.OptOut()], email="ada@example.com"),
        heed.Suppression(subject=heed.email("ada@example.com"), cause="bounce"),
        heed.ImportedOptOut(subject=heed.email("ada@example.com")),
        heed.SubjectRecord(
            subject=heed.email("ada@example.com"), record=heard.record(pb.Record(revision=1))
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_repr_shows_whom_a_value_is_about(value: object) -> None:
    assert "ada" not in repr(value)


def test_an_answer_is_neither_true_nor_false() -> None:
    answer = read.check(preference.CheckSuppressionResponse())

    with pytest.raises(TypeError, match=r"say answer\.allowed"):
        bool(answer)


@pytest.mark.parametrize("verdict", [0, 2, 3, 99])
def test_only_the_verdict_allowed_is_allowed(verdict: int) -> None:
    answer = preference.CheckSuppressionResponse()
    answer.decision.verdict = verdict  # type: ignore[assignment]  # a newer server's

    assert read.check(answer).allowed is False
    assert read.check(answer).verdict is heed.Verdict.SUPPRESSED


def test_an_answer_without_a_decision_is_not_allowed() -> None:
    assert read.check(preference.CheckSuppressionResponse()).allowed is False


def test_the_verdict_allowed_is_allowed() -> None:
    answer = preference.CheckSuppressionResponse()
    answer.decision.verdict = pb.VERDICT_ALLOWED

    assert read.check(answer).allowed is True


@pytest.mark.parametrize("count", [0, 1, 3])
def test_answers_that_are_not_as_many_as_the_questions_are_none(count: int) -> None:
    answer = preference.BatchCheckSuppressionResponse(
        decisions=[pb.Decision(verdict=pb.VERDICT_ALLOWED)] * count
    )

    with pytest.raises(heed.UnavailableError, match="suppress: do not send"):
        read.check_many(answer, asked=2)


def test_words_of_a_newer_server_are_read_on_the_protective_side() -> None:
    stop = heard.record(_newer(pb.Record(active=True), kind=77, cause=77, reach=77, channel=77))

    assert stop.kind is heed.RecordKind.SUPPRESSION
    assert stop.cause is heed.Cause.MANUAL
    assert stop.reach is heed.Reach.ALL
    assert stop.scope.channel is heed.Channel.ANY
    assert stop.active


def test_an_opt_in_on_an_unknown_channel_is_told_as_not_active() -> None:
    opt_in = heard.record(_newer(pb.Record(active=True), kind=pb.RECORD_KIND_OPT_IN, channel=77))

    assert opt_in.kind is heed.RecordKind.OPT_IN
    assert not opt_in.active


def test_a_topic_is_not_mandatory_on_a_channel_that_is_unknown() -> None:
    topic = pb.Topic(name="t", topic_class=pb.TOPIC_CLASS_MANDATORY)
    topic.mandatory_channels.extend([2, 77])  # type: ignore[list-item]  # a newer server's

    assert read.topic(topic).mandatory_channels == {heed.Channel.EMAIL}


def test_an_unknown_class_is_promotional_and_an_unknown_rule_is_none() -> None:
    answer = preference.CheckSuppressionResponse()
    answer.decision.topic_class = 77  # type: ignore[assignment]  # a newer server's
    answer.decision.reasons.add(rule=77)

    told = read.check(answer)

    assert told.topic_class is heed.TopicClass.PROMOTIONAL
    assert told.rule is None


def test_a_subject_of_an_unknown_type_is_none() -> None:
    assert read.subject_record(admin.SubjectRecord(subject=pb.Subject())).subject is None


def test_a_time_beyond_what_python_holds_does_not_make_a_reader_fail() -> None:
    answer = preference.CheckSuppressionResponse()
    answer.position.now.seconds = 2**62

    assert read.check(answer).now.year == 9999


def _newer(record: pb.Record, **numbers: int) -> pb.Record:
    """A record with numbers that this version does not know."""
    for name, number in numbers.items():
        setattr(record.scope if name == "channel" else record, name, number)
    return record


WRONG_SECONDS = [
    pytest.param(timedelta(seconds=5), "not a timedelta; give its `total_seconds()`", id="time"),
    pytest.param("5", "a number of seconds, not a str", id="text"),
    pytest.param(True, "a number of seconds, not a bool", id="bool"),
    pytest.param(float("nan"), "nan is none", id="nan"),
]
NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(("wrong", "advice"), WRONG_SECONDS)
@pytest.mark.parametrize("make", [lambda: heed.SyncClient(NOWHERE), FakeSyncClient])
def test_what_is_no_number_of_seconds_is_refused_by_its_argument(
    make: Callable[[], heed.SyncClient], wrong: Any, advice: str
) -> None:
    with make() as client:
        calls: list[tuple[str, Callable[[], object]]] = [
            (
                "wait_propagated",
                lambda: client.opt_out(user="u", source="s", wait_propagated=wrong),
            ),
            ("timeout", lambda: client.opt_out(user="u", source="s", timeout=wrong)),
            ("timeout", lambda: client.check(user="u", channel="email", timeout=wrong)),
            ("timeout", lambda: list(client.export_records(timeout=wrong))),
            ("timeout", lambda: client.check_stream(timeout=wrong)),
            ("timeout", lambda: client.wait_ready(wrong)),
        ]
        for field, call in calls:
            with pytest.raises(heed.InvalidArgumentError) as caught:
                call()

            assert caught.value.metadata == {"field": field}
            assert [one.field for one in caught.value.violations] == [field]
            assert advice in caught.value.message
            assert caught.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(("wrong", "advice"), WRONG_SECONDS)
@pytest.mark.parametrize("make", [lambda: heed.Client(NOWHERE), FakeClient])
async def test_what_is_no_number_of_seconds_is_refused_where_it_is_awaited(
    make: Callable[[], heed.Client], wrong: Any, advice: str
) -> None:
    async with make() as client:
        calls: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            (
                "wait_propagated",
                lambda: client.opt_out(user="u", source="s", wait_propagated=wrong),
            ),
            ("timeout", lambda: client.opt_out(user="u", source="s", timeout=wrong)),
            ("timeout", lambda: client.check(user="u", channel="email", timeout=wrong)),
            ("timeout", lambda: anext(aiter(client.export_records(timeout=wrong)))),
            ("timeout", lambda: client.wait_ready(wrong)),
        ]
        for field, call in calls:
            with pytest.raises(heed.InvalidArgumentError) as caught:
                await call()

            assert caught.value.metadata == {"field": field}
            assert advice in caught.value.message


@pytest.mark.parametrize("make", [heed.Client, heed.SyncClient])
def test_a_timeout_of_a_client_that_is_no_number_is_refused_where_it_is_made(
    make: Callable[..., object],
) -> None:
    with pytest.raises(heed.InvalidArgumentError, match=r"^timeout: .*not a timedelta"):
        make(NOWHERE, timeout=timedelta(seconds=5))


@pytest.mark.parametrize(
    "seconds",
    [1e300, pytest.param(10**400, id="no float"), float("inf"), float("-inf")],
)
def test_a_wait_that_no_message_can_hold_is_refused(seconds: float) -> None:
    with FakeSyncClient() as client, pytest.raises(heed.InvalidArgumentError) as caught:
        client.opt_out(user="u", source="s", wait_propagated=seconds)

    assert [one.field for one in caught.value.violations] == ["wait_propagated"]
    assert "give 30 s at most" in caught.value.message


@pytest.mark.parametrize("seconds", [0, 2, 2.5])
def test_a_number_of_seconds_may_be_whole(seconds: float) -> None:
    with FakeSyncClient() as client:
        answer = client.opt_out(user="u", source="s", wait_propagated=seconds, timeout=seconds)

    assert answer.propagated


@pytest.mark.parametrize(
    ("time_zone", "periods"),
    [
        ("Europe/Vienna", ["at night"]),
        ("Europe/Vienna", "22:00-08:00"),
        ("half past ten", ["22:00-08:00"]),
    ],
)
def test_quiet_hours_that_nobody_can_read_are_refused_with_what_to_write(
    time_zone: str, periods: Any
) -> None:
    with pytest.raises(heed.InvalidArgumentError, match=r"write|give"):
        heed.QuietHours(time_zone=time_zone, periods=periods)


def test_quiet_hours_of_an_answer_that_nobody_can_read_are_every_hour() -> None:
    told = pb.Record(
        kind=pb.RECORD_KIND_QUIET_HOURS,
        quiet_hours=pb.QuietHours(time_zone="UTC", periods=[pb.QuietPeriod(start_minute=-1)]),
        active=True,
    )

    assert heard.record(told).quiet_hours is None
