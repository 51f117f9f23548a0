"""Forms of the preference page, read: what they may say, and that nothing else is ever more."""

from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heed.hours import DayOfWeek, Hours, QuietPeriod
from heed.model import Channel, ChoiceKind, Instant, Revision, Scope
from heed_server.web.public.forms import (
    PAUSE_DAYS_MAX,
    URLENCODED,
    FormError,
    day_after,
    read_form,
    read_scope,
    said_of,
    said_of_day,
)

NOW = Instant(1_795_788_180_000_000)  # 2026-11-27T14:03Z
DAY = 86_400_000_000

FIELDS = st.dictionaries(
    st.sampled_from(["act", "scope", "stood", "until", "day", "zone", "begin", "end", "d1", "x"]),
    st.one_of(
        st.sampled_from(
            [
                "stop",
                "start",
                "pause",
                "quiet",
                "any/",
                "email/news",
                "other",
                "2026-12-01",
                "22:00",
            ]
        ),
        st.text(alphabet="abz09:-/ .\u00e9\u0661%&=+\x00", max_size=40),
    ),
)


@given(FIELDS)
@example({"act": "pause", "scope": "any/", "until": "0001-01-01"})
@example({"act": "quiet", "scope": "any/", "zone": "Etc/GMT+1", "begin": "22:00", "end": "22:00"})
def test_whatever_fields_say_they_are_a_form_or_none(fields: dict[str, str]) -> None:
    try:
        form = read_form(URLENCODED, urlencode(fields).encode(), NOW)
    except FormError:
        return

    choice = form.choice
    assert read_scope(said_of(choice.scope)) == choice.scope
    assert form.problem or choice.kind is not ChoiceKind.PAUSE or choice.end_time is not None
    assert form.problem or choice.kind is not ChoiceKind.QUIET_HOURS or choice.quiet_hours
    assert choice.end_time is None or NOW < choice.end_time <= NOW + (PAUSE_DAYS_MAX + 1) * DAY


@given(st.binary(max_size=200), st.sampled_from([URLENCODED, "multipart/form-data", ""]))
def test_whatever_bytes_are_sent_they_are_a_form_or_none(body: bytes, kind: str) -> None:
    try:
        read_form(kind, body, NOW)
    except FormError:
        return


def test_a_form_says_one_choice() -> None:
    body = b"act=quiet&scope=sms%2Fnews&stood=7&zone=Europe%2FVienna&begin=22:30&end=07:00&d5=yes"

    form = read_form(URLENCODED, body, NOW)

    period = QuietPeriod(start_minute=1350, end_minute=420, days=(DayOfWeek.FRIDAY,))
    assert form.choice.kind is ChoiceKind.QUIET_HOURS
    assert form.choice.scope == Scope(channel=Channel.SMS, topic="news")
    assert form.choice.quiet_hours == Hours(time_zone="Europe/Vienna", periods=(period,))
    assert form.stood == Revision(7)
    assert not form.problem


@pytest.mark.parametrize(
    ("days", "said"), [(0, "2026-11-27"), (7, "2026-12-04"), (35, "2027-01-01")]
)
def test_a_day_is_said_as_it_begins_by_utc(days: int, said: str) -> None:
    begins = day_after(NOW, days)

    assert said_of_day(begins) == said
    assert begins % DAY == 0
