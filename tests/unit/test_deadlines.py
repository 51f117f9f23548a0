"""By when an opt-out must have been honoured: by tables, and for any instant."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import TZPATH

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.deadlines import DeadlineStanding
from heed.errors import InvalidArgumentError
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Instant,
    Method,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
)
from heed_server.deadlines import (
    DeadlineRules,
    OptOut,
    Policies,
    deadlines_of,
    opt_out_of,
    policies_of,
)
from heed_server.deadlines.calendars import Holiday, easter_sunday
from heed_server.deadlines.policies import Policy

SHIPPED = policies_of()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
HOUR = 3_600_000_000
PLACES = ["", "US", "US-CA", "US-NY", "CA", "CA-QC", "AU", "NZ", "DE", "GB", "BR", "EU"]


def instant(text: str) -> Instant:
    return Instant((datetime.fromisoformat(text) - EPOCH) // MICROSECOND)


def opt_out(
    decided: str | Instant, jurisdiction: str = "US", channel: Channel = Channel.EMAIL
) -> OptOut:
    time = instant(decided) if isinstance(decided, str) else decided
    return OptOut(
        revision=Revision(7),
        commit_time=time,
        decided_time=time,
        channel=channel,
        topic="",
        jurisdiction=jurisdiction,
    )


def by(policy: str, one: OptOut, policies: Policies = SHIPPED, tenant: str = "shop") -> datetime:
    found = {deadline.policy: deadline for deadline in deadlines_of(one, policies, tenant)}
    return EPOCH + found[policy].time * MICROSECOND


def policies_by(one: OptOut, policies: Policies = SHIPPED, tenant: str = "shop") -> list[str]:
    return [deadline.policy for deadline in deadlines_of(one, policies, tenant)]


ENDS = [
    # a Monday: to the end of the second Monday after it, by when New York has summer time
    ("can-spam", "2026-03-02T15:00:00-05:00", "US", "2026-03-17T00:00:00-04:00"),
    # a Saturday in New York is a Sunday in Guam, whose days end first
    ("can-spam", "2026-03-07T15:00:00-05:00", "US", "2026-03-21T00:00:00+10:00"),
    # over Thanksgiving, the fourth Thursday of November
    ("can-spam", "2026-11-16T12:00:00-05:00", "US", "2026-12-02T00:00:00-04:00"),
    # over Christmas and New Year's Day
    ("can-spam", "2026-12-21T12:00:00-05:00", "US", "2027-01-07T00:00:00-04:00"),
    # past midnight in New York, and still Monday in Chicago
    ("can-spam", "2026-03-03T00:30:00-05:00", "US", "2026-03-17T00:00:00-05:00"),
    # a Wednesday, the first of five, over Good Friday, Easter Monday and the end of summer time
    ("au-spam-act", "2026-04-01T12:00:00+11:00", "AU", "2026-04-10T00:00:00+10:30"),
    # a Saturday is none of the five
    ("au-spam-act", "2026-03-07T12:00:00+11:00", "AU", "2026-03-14T00:00:00+11:00"),
    # over Waitangi Day, to the beginning of the fifth
    ("nz-uema", "2026-02-02T12:00:00+13:00", "NZ", "2026-02-10T00:00:00+13:45"),
    # Saturdays are business days of California's Civil Code
    ("ccpa", "2026-03-02T12:00:00-08:00", "US-CA", "2026-03-20T00:00:00-07:00"),
    # over Canada Day
    ("casl", "2026-06-26T12:00:00-02:30", "CA", "2026-07-14T00:00:00-02:30"),
    ("mailbox-providers", "2026-03-08T01:30:00-05:00", "US", "2026-03-10T02:30:00-04:00"),
    ("gdpr-objection", "2026-03-29T01:59:59+01:00", "DE", "2026-03-29T01:59:59+01:00"),
    # a month after the 31st: the last day of the next month, in the zone whose day ends first
    ("gdpr-answer", "2026-01-31T12:00:00+01:00", "DE", "2026-03-01T00:00:00+04:00"),
]


@pytest.mark.parametrize(("policy", "decided", "place", "ends"), ENDS)
def test_a_policy_counts_as_its_table_says(
    policy: str, decided: str, place: str, ends: str
) -> None:
    channel = Channel.PROCESSING if policy == "ccpa" else Channel.EMAIL

    assert by(policy, opt_out(decided, place, channel)) == datetime.fromisoformat(ends)


COUNTRIES = {
    "can-spam": ["US", "PR", "GU", "VI", "AS", "MP"],
    "casl": ["CA"],
    "au-spam-act": ["AU"],
    "nz-uema": ["NZ"],
    "gdpr-answer": [*SHIPPED.regions["EEA"], "GB", "AX", "GF", "GP", "MF", "MQ", "RE", "SJ", "YT"],
}
"""With what is part of one and has a code of its own."""
QUARTERS = st.integers(2026 - 1970, 2045 - 1970).flatmap(
    lambda years: st.integers(years * 35_064, years * 35_064 + 35_064)
)


def with_policy(name: str, **other: object) -> Policies:
    """The shipped policies, one of them with other fields."""
    changed = Policy.model_validate(SHIPPED.policies[name].model_dump() | other)
    return Policies.model_validate(
        SHIPPED.model_dump() | {"policies": {**SHIPPED.policies, name: changed}}
    )


def by_all_zones(name: str) -> Policies:
    """A policy by every time zone of its countries, of the table that comes with the zones."""
    tables = [table for path in TZPATH if (table := Path(path, "zone.tab")).exists()]
    if not tables:
        pytest.skip("this host has no zone.tab")
    rows = [row.split("\t") for row in tables[0].read_text().splitlines() if row[:1] != "#"]
    zones = tuple(row[2] for row in rows if row[0] in COUNTRIES[name])
    return with_policy(name, time_zones=zones)


@pytest.mark.parametrize("name", COUNTRIES)
def test_no_zone_that_is_left_out_has_an_earlier_end(name: str) -> None:
    whole = by_all_zones(name)

    @given(QUARTERS)
    def ends_as_early(quarter: int) -> None:
        assert SHIPPED.ends(name, quarter) == whole.ends(name, quarter)

    ends_as_early()


EASTERS = ["2024-03-31", "2025-04-20", "2026-04-05", "2027-03-28", "2038-04-25", "2285-03-22"]


@pytest.mark.parametrize("sunday", EASTERS)
def test_easter_is_when_it_is(sunday: str) -> None:
    assert easter_sunday(int(sunday[:4])).isoformat() == sunday


HOLIDAYS = [
    ("US", "2026-01-19", "2026-02-16", "2026-05-25", "2026-06-19", "2026-09-07", "2026-10-12"),
    ("CA", "2026-01-01", "2026-04-03", "2026-07-01", "2026-09-07", "2026-12-25"),
    ("AU", "2026-01-26", "2026-04-03", "2026-04-06", "2025-04-25", "2025-12-26"),
    ("NZ", "2026-01-02", "2026-02-06", "2026-06-01", "2026-10-26", "2026-12-25"),
]


@pytest.mark.parametrize("row", HOLIDAYS, ids=lambda row: str(row[0]))
def test_a_calendar_knows_the_holidays_that_all_of_its_country_has(row: tuple[str, ...]) -> None:
    calendar = SHIPPED.calendars[row[0]]
    for day in map(date.fromisoformat, row[1:]):
        assert not calendar.is_business_day(day)
    assert calendar.is_business_day(date(2026, 3, 3))
    assert not calendar.is_business_day(date(2026, 3, 1))


def test_a_holiday_begins_with_its_first_year() -> None:
    calendar = SHIPPED.calendars["US"]
    assert calendar.is_business_day(date(2020, 6, 19))
    assert not calendar.is_business_day(date(2023, 6, 19))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"month": 1},
        {"month": 1, "day": 1, "easter": 1},
        {"month": 1, "weekday": 0},
        {"month": 1, "weekday": 0, "nth": 0},
        {"month": 1, "day": 1, "nth": 1},
    ],
    ids=str,
)
def test_a_holiday_is_found_in_one_way(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="found in no one way"):
        Holiday.model_validate({"name": "Some Day", **fields})


PLACED = [
    ("US-CA", Channel.EMAIL, ["mailbox-providers", "can-spam"]),
    ("US-CA", Channel.PROCESSING, ["ccpa"]),
    ("US", Channel.PROCESSING, ["ccpa"]),
    ("US", Channel.SMS, ["tcpa"]),
    ("US", Channel.ANY, ["mailbox-providers", "can-spam", "tcpa"]),
    ("FR", Channel.EMAIL, ["gdpr-objection", "mailbox-providers", "gdpr-answer"]),
    ("FR", Channel.POSTAL, ["gdpr-objection", "gdpr-answer"]),
]


@pytest.mark.parametrize(("place", "channel", "names"), PLACED, ids=str)
def test_the_policies_of_a_place_and_a_channel_speak(
    place: str, channel: Channel, names: list[str]
) -> None:
    assert policies_by(opt_out("2026-03-02T12:00:00Z", place, channel)) == names


@pytest.mark.parametrize("place", ["", "BR", "JP-13"])
def test_an_unknown_jurisdiction_takes_the_strictest_of_the_defaults(place: str) -> None:
    one = opt_out("2026-03-02T12:00:00Z", place)
    own = Policies.model_validate(
        SHIPPED.model_dump() | {"tenants": {"shop": {"default": ("casl", "can-spam")}}}
    )

    assert policies_by(one)[0] == "gdpr-objection"
    assert policies_by(one, own) == ["mailbox-providers", "can-spam", "casl"]
    assert policies_by(one, own, tenant="other")[0] == "gdpr-objection"


def test_a_policy_holds_from_its_date_on() -> None:
    before = opt_out("2025-04-10T23:59:59Z", "US", Channel.SMS)
    since = opt_out("2025-04-11T00:00:00Z", "US", Channel.SMS)

    assert policies_by(before) == []
    assert policies_by(since) == ["tcpa"]


INSTANTS = st.integers(
    min_value=instant("1990-01-01T00:00:00Z"), max_value=instant("2100-01-01T00:00:00Z")
).map(Instant)


@given(INSTANTS, st.sampled_from(PLACES), st.sampled_from(list(Channel)))
def test_a_deadline_is_never_before_the_opt_out(
    decided: Instant, place: str, channel: Channel
) -> None:
    found = deadlines_of(opt_out(decided, place, channel), SHIPPED, "shop")

    assert all(deadline.time >= decided for deadline in found)
    assert list(found) == sorted(found)


@given(INSTANTS, st.integers(0, 40 * 24 * HOUR), st.sampled_from(PLACES))
def test_who_decides_later_has_no_earlier_deadline(
    decided: Instant, later: int, place: str
) -> None:
    first = deadlines_of(opt_out(decided, place), SHIPPED, "shop")
    second = {
        one.policy: one.time
        for one in deadlines_of(opt_out(Instant(decided + later), place), SHIPPED, "shop")
    }

    assert all(second[one.policy] >= one.time for one in first)


@given(INSTANTS)
def test_business_days_are_a_weeks_days_at_least(decided: Instant) -> None:
    """Ten of them end no sooner than 13 days later, less what Guam is ahead, and within 20."""
    ends = by("can-spam", opt_out(decided))

    passed = ends - (EPOCH + decided * MICROSECOND)
    assert timedelta(days=12) < passed < timedelta(days=20)


def change(kind: RecordKind = RecordKind.OPT_OUT, effect: Effect = Effect.APPLIED) -> Change:
    record = Record(
        kind,
        Cause.NONE,
        Reach.PROMOTIONAL,
        Channel.EMAIL,
        "news",
        Instant(5 * HOUR),
        None,
        Revision(3),
    )
    return Change(
        revision=Revision(3),
        commit_time=Instant(6 * HOUR),
        kind=ChangeKind.CHOICE,
        effect=effect,
        running_hash=bytes(32),
        record=record,
        origin=Origin(source="page", method=Method.WEB_FORM, jurisdiction="US-CA"),
    )


def test_only_opt_outs_that_changed_something_run_a_clock() -> None:
    made = opt_out_of(change())

    assert made is not None
    assert (made.decided_time, made.jurisdiction, made.topic) == (5 * HOUR, "US-CA", "news")
    assert opt_out_of(change(RecordKind.OPT_IN)) is None
    assert opt_out_of(change(RecordKind.PAUSE)) is None
    assert opt_out_of(change(effect=Effect.SUPERSEDED)) is None


def test_an_opt_out_is_near_within_the_margin_and_over_at_its_deadline() -> None:
    rules = DeadlineRules(margin_seconds=3_600, grace_seconds=60)
    clocked = rules.clocked(change(), "shop")
    assert clocked is not None
    ends = clocked.deadlines[0].time

    def standing(now: int, *, is_applied: bool = False) -> DeadlineStanding:
        return rules.standing(clocked, Instant(now), is_applied=is_applied)

    assert ends == 53 * HOUR
    assert standing(ends - HOUR - 1) is DeadlineStanding.WAITING
    assert standing(ends - HOUR) is DeadlineStanding.NEAR
    assert standing(ends - 1) is DeadlineStanding.NEAR
    assert standing(ends) is DeadlineStanding.OVER
    assert standing(ends, is_applied=True) is DeadlineStanding.APPLIED


def test_what_was_just_committed_is_spared_for_the_grace() -> None:
    rules = DeadlineRules(margin_seconds=HOUR, grace_seconds=60)
    clocked = rules.clocked(change(), "shop")
    assert clocked is not None

    assert rules.near_time(clocked) == 6 * HOUR + 60_000_000


OWN = """
version = "7"
default = ["house"]
[policies.house]
title = "Our own promise: a day"
jurisdictions = ["*"]
hours = 24
source = "the board"
[policies.can-spam]
title = "CAN-SPAM, as our lawyers read it"
jurisdictions = ["US"]
channels = ["email"]
business_days = 5
calendar = "US"
time_zones = ["America/New_York"]
source = "them"
[tenants.other]
default = ["casl"]
"""


def test_an_operators_file_adds_and_replaces_by_name(tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(OWN)

    own = policies_of(file)

    assert own.version == f"{SHIPPED.version}+7"
    assert own.policies["can-spam"].business_days == 5
    assert own.policies["tcpa"] == SHIPPED.policies["tcpa"]
    assert policies_by(opt_out("2026-03-02T12:00:00Z", ""), own)[0] == "house"
    assert own.default_of("other") == ("casl",)
    assert DeadlineRules(policies=own).digest != DeadlineRules().digest
    assert DeadlineRules().digest == DeadlineRules(policies=policies_of()).digest


BOTH = 'calendar = "US"\nwith_first_day = true\nwithout_last_day = true'
WRONG = [
    ("this is no TOML", "cannot be read"),
    ("colour = 1", "colour"),
    ('default = ["gone"]', "'gone', which is no policy"),
    (OWN.replace('calendar = "US"\n', ""), "must name a calendar"),
    (OWN.replace('calendar = "US"', 'calendar = "UT"'), "'UT', which is no calendar"),
    (OWN.replace("America/New_York", "America/New_Yrok"), "America/New_Yrok"),
    (OWN.replace("hours = 24", "hours = 24\ndays = 1"), "one of hours, days"),
    (OWN.replace('["email"]', '["emial"]'), "emial"),
    (OWN.replace('["*"]', '["EAA"]'), "'EAA', which is no region"),
    (OWN + '[regions]\nNORTH = ["us-ak"]', "'us-ak', which is no region"),
    (OWN.replace("hours = 24", "hours = 24\nwith_first_day = true"), "which of them count"),
    (OWN.replace('calendar = "US"', BOTH), "not both"),
    (OWN.replace("hours = 24", "hours = 24\ntime_zones = ['UTC']"), "must name time_zones"),
    ("#" * (1 << 20) + "#", "is larger than"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_file_that_cannot_be_is_refused_and_says_why(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(text)

    with pytest.raises(InvalidArgumentError) as refused:
        policies_of(file)

    assert said in refused.value.message
    assert str(file) in refused.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        policies_of(tmp_path / "none.toml")
