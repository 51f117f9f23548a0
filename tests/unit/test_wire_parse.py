"""Choices and questions about people, to values: each read as it was meant, or refused in full."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import (
    Channel,
    ChoiceKind,
    Evidence,
    Method,
    Reach,
    Scope,
    Subject,
    SubjectType,
)
from heed.wire import checks, limits, parse, values
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x0a\x05ab", b"\x0a\x03\xed\xa0\x80", b"\x0a\x02\xc3\x28"],
    ids=["no field", "cut short", "surrogate", "not UTF-8"],
)
def test_bytes_that_are_no_message_are_refused_by_its_name(data: bytes) -> None:
    for read, name in ((checks.check, "CheckSuppression"), (parse.set_preference, "SetPreference")):
        with pytest.raises(InvalidArgumentError) as refused:
            read(data)

        assert refused.value.reason is ErrorReason.MALFORMED_MESSAGE
        assert refused.value.metadata == {"message": f"heed.v1.{name}Request"}


def test_get_preferences_asks_for_each_identifier() -> None:
    asked = preference.GetPreferencesRequest(
        tenant="shop", subjects=[ask.subject(), pb.Subject(user="u-1")]
    )

    read = parse.get_preferences(asked.SerializeToString())

    assert read.tenant == "shop"
    assert [one.type for one in read.subjects] == [SubjectType.EMAIL, SubjectType.USER]


def test_get_preferences_refuses_an_identifier_named_twice() -> None:
    asked = preference.GetPreferencesRequest(
        subjects=[ask.subject(), ask.subject("ADA@example.com"), pb.Subject(), pb.Subject()]
    )

    found = violations_of(parse.get_preferences, asked)

    assert found.keys() == {"subjects[1]", "subjects[2]", "subjects[3]"}
    assert "subjects[0]" in found["subjects[1]"]


def test_an_opt_out_is_read_as_it_was_asked() -> None:
    read = parse.set_preference(ask.set_preference(ask.opt_out("news")).SerializeToString())

    (person,) = read.people
    (choice,) = person.choices
    assert choice.kind is ChoiceKind.OPT_OUT
    assert choice.scope == Scope(channel=Channel.EMAIL, topic="news")
    assert choice.reach is Reach.PROMOTIONAL
    assert person.subjects == (Subject(type=SubjectType.EMAIL, value="ada@example.com"),)
    assert (person.origin.source, person.origin.method) == ("preference-page", Method.WEB_FORM)
    assert person.origin.jurisdiction == "DE"
    assert person.origin.decided_time is None
    assert read.call.idempotency_key == "key-1"


def test_a_choice_without_a_scope_is_about_everything() -> None:
    asked = ask.set_preference(pb.Choice(opt_out=pb.OptOut(reach=pb.REACH_ALL)))

    (choice,) = parse.set_preference(asked.SerializeToString()).people[0].choices

    assert choice.scope == Scope(channel=Channel.ANY, topic="")
    assert choice.reach is Reach.ALL


def test_an_opt_in_carries_its_evidence_its_time_and_its_end() -> None:
    asked = ask.set_preference(ask.opt_in("news"))
    asked.choices[0].opt_in.end_time.CopyFrom(ask.timestamp(ask.DECIDED + timedelta(days=1)))

    (person,) = parse.set_preference(asked.SerializeToString()).people

    (choice,) = person.choices
    assert choice.kind is ChoiceKind.OPT_IN
    assert choice.evidence == Evidence(
        notice="newsletter-consent",
        notice_version="2026-03",
        act="ticked the box and pressed Save",
        language="de-AT",
        truncated_ip="192.0.2.0/24",
    )
    assert person.origin.decided_time is not None
    assert choice.end_time == person.origin.decided_time + 86_400_000_000


def test_a_pause_and_its_end_are_read_as_they_were_asked() -> None:
    ends = pb.Choice(scope=pb.Scope(topic="news"), end_pause=pb.EndPause())
    asked = ask.set_preference(ask.pause(datetime(2026, 5, 1, tzinfo=UTC)), ends)

    pause, end = parse.set_preference(asked.SerializeToString()).people[0].choices

    assert (pause.kind, pause.reach) == (ChoiceKind.PAUSE, Reach.PROMOTIONAL)
    assert pause.end_time == datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1_000_000
    assert end.kind is ChoiceKind.END_PAUSE


def test_quiet_hours_and_their_end_are_read_as_they_were_asked() -> None:
    hours = pb.QuietHours(
        time_zone="Europe/Vienna",
        periods=[
            pb.QuietPeriod(start_minute=1320, end_minute=480),
            pb.QuietPeriod(days=[pb.DAY_OF_WEEK_SUNDAY], start_minute=480, end_minute=600),
        ],
        reach=pb.REACH_TRANSACTIONAL,
    )
    ends = pb.Choice(scope=pb.Scope(topic="news"), end_quiet_hours=pb.EndQuietHours())
    asked = ask.set_preference(pb.Choice(quiet_hours=hours), ends)

    quiet, end = parse.set_preference(asked.SerializeToString()).people[0].choices

    assert (quiet.kind, quiet.reach) == (ChoiceKind.QUIET_HOURS, Reach.TRANSACTIONAL)
    assert str(quiet.quiet_hours) == "Europe/Vienna: sun 08:00-10:00; 22:00-08:00"
    assert (end.kind, end.quiet_hours) == (ChoiceKind.END_QUIET_HOURS, None)


def test_an_opt_out_says_until_when_not_to_ask() -> None:
    asked = ask.set_preference(
        pb.Choice(opt_out=pb.OptOut(no_ask_until=ask.timestamp(ask.DECIDED + timedelta(days=365))))
    )

    (choice,) = parse.set_preference(asked.SerializeToString()).people[0].choices

    assert choice.no_ask_until == (ask.DECIDED + timedelta(days=365)).timestamp() * 1_000_000


def test_times_lose_what_is_finer_than_a_microsecond() -> None:
    asked = ask.set_preference()
    asked.origin.decided_time.CopyFrom(Timestamp(seconds=7, nanos=1_999))

    (person,) = parse.set_preference(asked.SerializeToString()).people

    assert person.origin.decided_time == 7_000_001


def test_an_empty_set_names_all_that_is_missing() -> None:
    found = violations_of(parse.set_preference, preference.SetPreferenceRequest())

    assert found.keys() == {"idempotency_key", "origin", "subjects", "choices"}


SET_WRONG: list[tuple[str, Callable[[preference.SetPreferenceRequest], Any], set[str]]] = [
    ("key too long", lambda r: setattr(r, "idempotency_key", "k" * 129), {"idempotency_key"}),
    ("key with NUL", lambda r: setattr(r, "idempotency_key", "k\0"), {"idempotency_key"}),
    ("key not ASCII", lambda r: setattr(r, "idempotency_key", "é"), {"idempotency_key"}),
    ("9 subjects", lambda r: r.subjects.extend([ask.subject()] * 8), {"subjects"}),
    ("51 choices", lambda r: r.choices.extend([ask.opt_out()] * 50), {"choices"}),
    ("unknown channel", lambda r: setattr(r.choices[0].scope, "channel", 44), {"choices[0].scope.channel"}),
    ("11 labels", lambda r: setattr(r.choices[0].scope, "topic", ".".join("a" * 11)), {"choices[0].scope.topic"}),
    ("unknown reach", lambda r: setattr(r.choices[0].opt_out, "reach", 9), {"choices[0].opt_out.reach"}),
    ("no act", lambda r: r.choices[0].ClearField("opt_out"), {"choices[0]"}),
    ("no source", lambda r: setattr(r.origin, "source", " "), {"origin.source"}),
    ("source too long", lambda r: setattr(r.origin, "source", "s" * 129), {"origin.source"}),
    ("NUL in the actor", lambda r: setattr(r.origin, "actor", "a\0"), {"origin.actor"}),
    ("unknown method", lambda r: setattr(r.origin, "method", 99), {"origin.method"}),
    ("odd jurisdiction", lambda r: setattr(r.origin, "jurisdiction", "Germany"), {"origin.jurisdiction"}),
    ("reference too long", lambda r: setattr(r.origin, "reference", "r" * 257), {"origin.reference"}),
    ("before 1970", lambda r: setattr(r.origin.decided_time, "seconds", -1), {"origin.decided_time.seconds"}),
    ("after 9999", lambda r: setattr(r.origin.decided_time, "seconds", 2**62), {"origin.decided_time.seconds"}),
    ("negative nanos", lambda r: setattr(r.origin.decided_time, "nanos", -1), {"origin.decided_time.nanos"}),
    ("a second of nanos", lambda r: setattr(r.origin.decided_time, "nanos", 10**9), {"origin.decided_time.nanos"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "paths"),
    [(spoil, paths) for _, spoil, paths in SET_WRONG],
    ids=[n for n, _, _ in SET_WRONG],
)
def test_a_wrong_field_of_a_set_is_named(
    spoil: Callable[[preference.SetPreferenceRequest], Any], paths: set[str]
) -> None:
    asked = ask.set_preference()
    spoil(asked)

    assert violations_of(parse.set_preference, asked).keys() == paths


OPT_IN_WRONG: list[tuple[str, Callable[[preference.SetPreferenceRequest], Any], set[str]]] = [
    ("no evidence", lambda r: r.choices[0].opt_in.ClearField("evidence"), {"choices[0].opt_in.evidence"}),
    (
        "empty evidence",
        lambda r: r.choices[0].opt_in.evidence.Clear(),
        {f"choices[0].opt_in.evidence.{name}" for name in ("notice", "notice_version", "act", "language")},
    ),
    ("no language", lambda r: setattr(r.choices[0].opt_in.evidence, "language", "?"), {"choices[0].opt_in.evidence.language"}),
    ("no time", lambda r: r.origin.ClearField("decided_time"), {"origin.decided_time"}),
    ("no method", lambda r: r.origin.ClearField("method"), {"origin.method"}),
    (
        "ends when decided",
        lambda r: r.choices[0].opt_in.end_time.CopyFrom(r.origin.decided_time),
        {"choices[0].opt_in.end_time"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "paths"),
    [(spoil, paths) for _, spoil, paths in OPT_IN_WRONG],
    ids=[name for name, _, _ in OPT_IN_WRONG],
)
def test_a_wrong_field_of_an_opt_in_is_named(
    spoil: Callable[[preference.SetPreferenceRequest], Any], paths: set[str]
) -> None:
    asked = ask.set_preference(ask.opt_in())
    spoil(asked)

    assert violations_of(parse.set_preference, asked).keys() == paths


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:DB8:0::/48", "2001:db8::/48"),
        ("", ""),
    ],
)
def test_a_network_is_stored_in_its_canonical_form(written: str, stored: str) -> None:
    asked = ask.set_preference(ask.opt_in())
    asked.choices[0].opt_in.evidence.truncated_ip = written

    (choice,) = parse.set_preference(asked.SerializeToString()).people[0].choices

    assert choice.evidence is not None
    assert choice.evidence.truncated_ip == stored


@pytest.mark.parametrize(
    "written",
    [
        "192.0.2.7",
        "192.0.2.7/24",
        "192.0.2.0/25",
        "192.0.2.7/32",
        "2001:db8::/49",
        "2001:db8::1",
        "fe80::%eth0/48",
        "/24",
        "nowhere/24",
    ],
)
def test_a_network_that_may_name_a_host_is_refused(written: str) -> None:
    asked = ask.set_preference(ask.opt_in())
    asked.choices[0].opt_in.evidence.truncated_ip = written

    found = violations_of(parse.set_preference, asked)

    assert found.keys() == {"choices[0].opt_in.evidence.truncated_ip"}
    assert "192.0.2.7" not in str(found)


def test_a_pause_needs_an_end_and_never_stops_mandatory_messages() -> None:
    asked = ask.set_preference(
        pb.Choice(pause=pb.Pause(reach=pb.REACH_ALL)),
        ask.pause(ask.DECIDED - timedelta(days=1), topic="news"),
    )
    asked.origin.decided_time.CopyFrom(ask.timestamp())

    assert violations_of(parse.set_preference, asked).keys() == {
        "choices[0].pause.end_time",
        "choices[0].pause.reach",
        "choices[1].pause.end_time",
    }


def test_quiet_hours_name_a_zone_and_periods_that_there_are() -> None:
    none = pb.QuietHours(time_zone="Europe/Viena", reach=pb.REACH_ALL)
    odd = pb.QuietHours(
        time_zone="x" * 10_000,
        periods=[
            pb.QuietPeriod(start_minute=-1, end_minute=1440),
            pb.QuietPeriod(days=[pb.DAY_OF_WEEK_MONDAY, pb.DayOfWeek.ValueType(8)]),
            pb.QuietPeriod(days=[pb.DAY_OF_WEEK_TUESDAY] * 2),
            pb.QuietPeriod(days=[pb.DAY_OF_WEEK_MONDAY] * 10_000),
        ],
    )
    many = pb.QuietHours(time_zone="UTC", periods=[pb.QuietPeriod(end_minute=1)] * 8)
    asked = ask.set_preference(
        *(
            pb.Choice(scope=pb.Scope(topic=topic), quiet_hours=hours)
            for topic, hours in (("a", none), ("b", odd), ("c", many))
        )
    )

    found = violations_of(parse.set_preference, asked)

    assert found.keys() == {
        "choices[0].quiet_hours.time_zone",
        "choices[0].quiet_hours.periods",
        "choices[0].quiet_hours.reach",
        "choices[1].quiet_hours.time_zone",
        "choices[1].quiet_hours.periods[0].start_minute",
        "choices[1].quiet_hours.periods[0].end_minute",
        "choices[1].quiet_hours.periods[1].days[1]",
        "choices[1].quiet_hours.periods[2].days",
        "choices[1].quiet_hours.periods[3].days",
        "choices[2].quiet_hours.periods",
    }
    assert "did you mean `Europe/Vienna`?" in found["choices[0].quiet_hours.time_zone"]
    assert "write `Europe/Vienna`" in found["choices[1].quiet_hours.time_zone"]


def test_asking_again_is_put_off_until_after_the_decision() -> None:
    asked = ask.set_preference(pb.Choice(opt_out=pb.OptOut(no_ask_until=ask.timestamp())))
    asked.origin.decided_time.CopyFrom(ask.timestamp())

    assert violations_of(parse.set_preference, asked).keys() == {"choices[0].opt_out.no_ask_until"}


@pytest.mark.parametrize(
    "ends", [pb.Choice(end_quiet_hours=pb.EndQuietHours()), pb.Choice(end_pause=pb.EndPause())]
)
def test_ending_quiet_hours_or_a_pause_needs_a_method(ends: pb.Choice) -> None:
    asked = ask.set_preference(ends)
    asked.origin.ClearField("method")

    assert violations_of(parse.set_preference, asked).keys() == {"origin.method"}


def test_two_choices_of_one_kind_at_one_scope_are_refused() -> None:
    asked = ask.set_preference(
        ask.opt_out("news"),
        ask.opt_out("news", reach=pb.REACH_ALL),
        ask.pause(topic="news"),
        pb.Choice(scope=pb.Scope(channel=pb.CHANNEL_EMAIL, topic="news"), end_pause=pb.EndPause()),
        ask.opt_out("other"),
    )

    found = violations_of(parse.set_preference, asked)

    assert found.keys() == {"choices[1]", "choices[3]"}
    assert "choices[2]" in found["choices[3]"]


def test_what_is_malformed_is_refused_each_time_and_never_remembered() -> None:
    asked = ask.set_preference(ask.opt_out("A"))
    asked.origin.source = ""
    long = ask.set_preference(ask.opt_out("a" * 100_000))
    long.origin.reference = "r" * 100_000

    for _ in range(2):
        assert violations_of(parse.set_preference, asked).keys() == {
            "choices[0].scope.topic",
            "origin.source",
        }
        before = (
            values._known_scope.cache_info().currsize,
            values._known_origin.cache_info().currsize,
        )
        assert violations_of(parse.set_preference, long).keys() == {
            "choices[0].scope.topic",
            "origin.reference",
        }
        after = (
            values._known_scope.cache_info().currsize,
            values._known_origin.cache_info().currsize,
        )
        assert after == before


def test_people_take_the_origin_of_the_batch_or_their_own() -> None:
    asked = ask.batch_set_preferences(2)
    asked.people[1].origin.CopyFrom(pb.Origin(source="call-centre"))

    read = parse.batch_set_preferences(asked.SerializeToString())

    assert [person.origin.source for person in read.people] == ["preference-page", "call-centre"]


def test_a_batch_needs_no_origin_where_everybody_has_one() -> None:
    asked = ask.batch_set_preferences(1)
    asked.people[0].origin.CopyFrom(asked.origin)
    asked.ClearField("origin")

    (person,) = parse.batch_set_preferences(asked.SerializeToString()).people

    assert person.origin.source == "preference-page"


def test_wrong_fields_of_people_are_named_by_their_place() -> None:
    asked = ask.batch_set_preferences(3)
    asked.people[0].choices[0].opt_out.reach = pb.Reach.ValueType(8)
    asked.people[1].subjects[0].email = "nobody"
    asked.people[2].origin.CopyFrom(pb.Origin(method=pb.Method.ValueType(77)))
    asked.ClearField("origin")

    assert violations_of(parse.batch_set_preferences, asked).keys() == {
        "origin",
        "people[0].choices[0].opt_out.reach",
        "people[1].subjects[0].email",
        "people[2].origin.source",
        "people[2].origin.method",
    }


def test_a_batch_of_nobody_is_refused() -> None:
    asked = ask.batch_set_preferences(0)

    assert violations_of(parse.batch_set_preferences, asked).keys() == {"people"}


def test_more_people_or_records_than_a_batch_may_carry_are_refused() -> None:
    many = ask.batch_set_preferences(limits.PEOPLE_MAX + 1)
    heavy = ask.batch_set_preferences(251)
    for person in heavy.people:
        person.choices.extend(ask.opt_out(f"t{at}") for at in range(39))

    for asked, items in ((many, "1001"), (heavy, str(251 * 40))):
        with pytest.raises(InvalidArgumentError) as refused:
            parse.batch_set_preferences(asked.SerializeToString())
        assert refused.value.reason is ErrorReason.BATCH_TOO_LARGE
        assert refused.value.metadata["items"] == items


def hash_of(asked: preference.SetPreferenceRequest) -> bytes:
    """What the key of this call names."""
    return parse.set_preference(asked.SerializeToString()).call.payload_hash


def test_equal_payloads_have_one_hash_whatever_the_key_the_tenant_and_the_bytes() -> None:
    asked = ask.set_preference()
    other = ask.set_preference(key="key-2")
    other.tenant = "shop"
    fields = [
        preference.SetPreferenceRequest(origin=asked.origin),
        preference.SetPreferenceRequest(choices=asked.choices, idempotency_key="key-3"),
        preference.SetPreferenceRequest(subjects=asked.subjects),
    ]
    shuffled = b"".join(part.SerializeToString() for part in fields)

    assert hash_of(asked) == hash_of(other)
    assert parse.set_preference(shuffled).call.payload_hash == hash_of(asked)


def test_another_payload_or_method_has_another_hash() -> None:
    asked = ask.set_preference()
    others = [ask.set_preference(ask.opt_out("news")), ask.set_preference(email="b@example.com")]
    as_batch = preference.BatchSetPreferencesRequest(
        idempotency_key="key-1",
        people=[preference.PersonChoices(subjects=asked.subjects, choices=asked.choices)],
        origin=asked.origin,
    )

    hashes = {hash_of(one) for one in (asked, *others)} | {
        parse.batch_set_preferences(as_batch.SerializeToString()).call.payload_hash
    }

    assert len(hashes) == 4
