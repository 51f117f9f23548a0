"""When it is quiet: the hours as values, the table of time zones, and until when it is."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import InvalidArgumentError
from heed.hours import (
    DAY_MINUTES,
    NO_HOURS,
    QUIET_PERIODS_MET_MAX,
    DayOfWeek,
    Hours,
    QuietPeriod,
    are_as_quiet,
    hours_of,
    quiet_period,
    union,
)
from heed.model import Instant
from heed.quiet import FOLLOWING_MAX, is_quiet, quiet_until
from heed.zones import DAY, zone_names, zone_of
from tests.support import naive_decision
from tests.support.naive_decision import EPOCH

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000
MINUTE = 60 * SECOND
FIRST, LAST = (
    round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * SECOND for year in (2025, 2099)
)
TURNED = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Gaza",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Europe/Vienna",
    "Pacific/Auckland",
)
"""Zones whose clocks are turned, in every way there is: at midnight, by half an hour, backwards in
summer, to the south, and on days that no rule gives."""

some_period = st.builds(
    QuietPeriod,
    start_minute=st.integers(0, DAY_MINUTES - 1)
    | st.sampled_from((0, 60, 90, 120, 150, 180, 1380)),
    end_minute=st.integers(0, DAY_MINUTES - 1) | st.sampled_from((0, 60, 90, 120, 150, 180, 1380)),
    days=st.lists(st.sampled_from(DayOfWeek), max_size=7).map(tuple),
)


def some_hours(zones: tuple[str, ...]) -> st.SearchStrategy[Hours]:
    return st.builds(
        Hours,
        time_zone=st.sampled_from(zones),
        periods=st.lists(some_period, min_size=1, max_size=4).map(tuple),
    )


@st.composite
def hours_near_a_turn(draw: st.DrawFn) -> tuple[list[Hours], Instant]:
    """Hours in one zone or two, and an instant within two days of a turn of the first's clock."""
    name = draw(st.sampled_from(TURNED))
    zone = zone_of(name)
    assert zone is not None
    turn = draw(st.sampled_from([one for one in zone.turns if FIRST <= one < LAST]))
    apart = draw(st.integers(-2 * 24 * 60, 2 * 24 * 60)) * MINUTE + draw(
        st.sampled_from((-1, 0, 1))
    )
    count = draw(st.integers(1, 2))
    return [draw(some_hours((name, "Europe/Vienna"))) for _ in range(count)], Instant(turn + apart)


def at(text: str) -> Instant:
    return Instant((datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1))


class TestPeriods:
    @pytest.mark.parametrize(
        ("written", "start", "end", "days"),
        [
            ("22:00-08:00", 1320, 480, ""),
            ("9:30 - 10:00", 570, 600, ""),
            ("20:00-24:00", 1200, 0, ""),
            ("mon,tue 22:00-08:00", 1320, 480, "mon tue"),
            ("Saturday, SUN 00:00-00:00", 0, 0, "sat sun"),
            ("fri-mon 01:00-02:00", 60, 120, "mon fri sat sun"),
            ("mon-sun 01:00-02:00", 60, 120, ""),
            ("  wed 01:00-02:00 ", 60, 120, "wed"),
        ],
    )
    def test_a_period_is_read_as_people_write_it(
        self, written: str, start: int, end: int, days: str
    ) -> None:
        period = quiet_period(written)

        assert (period.start_minute, period.end_minute) == (start, end)
        assert [day.name[:3].lower() for day in period.days] == days.split()
        assert quiet_period(str(period)) == period

    @pytest.mark.parametrize(
        "written",
        [
            *("", "22:00", "22-8", "25:00-01:00", "24:00-01:00", "22:00-24:30", "22:60-23:00"),
            *("someday 22:00-23:00", "mon-someday 22:00-23:00", "mon,,tue 22:00-23:00"),
            "mon22:00-1:00",
        ],
    )
    def test_what_is_no_period_is_refused_with_what_to_write(self, written: str) -> None:
        with pytest.raises(InvalidArgumentError, match=r"minute|write `22:00-08:00`"):
            quiet_period(written)

    @pytest.mark.parametrize(("start", "end"), [(-1, 0), (0, -1), (1440, 0), (0, 1440)])
    def test_a_minute_that_no_day_has_is_refused(self, start: int, end: int) -> None:
        with pytest.raises(InvalidArgumentError, match="0 to 1439"):
            QuietPeriod(start_minute=start, end_minute=end)

    @pytest.mark.parametrize(
        ("start", "end", "minutes"), [(0, 0, 1440), (0, 1, 1), (1320, 480, 600), (1, 0, 1439)]
    )
    def test_an_end_that_is_not_after_the_start_is_of_the_next_day(
        self, start: int, end: int, minutes: int
    ) -> None:
        assert QuietPeriod(start_minute=start, end_minute=end).minutes == minutes


class TestHours:
    def test_the_same_hours_are_the_same_value_however_they_are_named(self) -> None:
        night, noon = quiet_period("22:00-08:00"), quiet_period("12:00-13:00")

        one = Hours(time_zone="Europe/Vienna", periods=(night, noon, night))

        assert one == Hours(time_zone="Europe/Vienna", periods=(noon, night))
        assert str(one) == "Europe/Vienna: 12:00-13:00; 22:00-08:00"

    @settings(max_examples=200, deadline=None)
    @given(hours=some_hours(TURNED) | st.just(NO_HOURS))
    def test_hours_are_read_back_from_their_text(self, hours: Hours) -> None:
        assert hours_of(str(hours)) == hours

    @pytest.mark.parametrize(
        "text",
        [
            *("x", "UTC", "UTC: ", "UTC: 1:00-2:00", "UTC: 03:00-04:00; 01:00-02:00"),
            *("U T: 01:00-02:00", "UTC: 01:00-02:00 ", "UTC: mon-tue 01:00-02:00"),
        ],
    )
    def test_another_text_is_of_no_hours(self, text: str) -> None:
        with pytest.raises(ValueError, match="no hours"):
            hours_of(text)

    @pytest.mark.parametrize(
        ("hours", "before", "is_as_quiet"),
        [
            ("UTC: 22:00-08:00", "UTC: 22:00-08:00", True),
            ("UTC: 21:00-08:00", "UTC: 22:00-07:00", True),
            ("UTC: 00:00-08:00; 22:00-00:00", "UTC: 22:00-08:00", True),
            ("UTC: 22:00-08:00", "UTC: sun 22:00-08:00", True),
            ("UTC: mon 00:00-08:00; sun 22:00-00:00", "UTC: sun 22:00-08:00", True),
            ("UTC: 22:00-07:59", "UTC: 22:00-08:00", False),
            ("UTC: mon 22:00-08:00", "UTC: sun 22:00-08:00", False),
            ("UTC: 00:00-00:00", "Europe/Vienna: 22:00-08:00", False),
            ("", "UTC: 22:00-08:00", False),
            ("UTC: 22:00-08:00", "", True),
            (None, "UTC: 22:00-08:00", True),
            (None, None, True),
            ("UTC: 22:00-08:00", None, False),
        ],
    )
    def test_hours_are_as_quiet_if_every_minute_is_that_was(
        self, hours: str | None, before: str | None, is_as_quiet: bool
    ) -> None:
        of, of_before = (None if one is None else hours_of(one) for one in (hours, before))

        assert are_as_quiet(of, of_before) is is_as_quiet

    def test_what_two_ask_for_is_what_is_quiet_by_either(self) -> None:
        night, noon = hours_of("UTC: 22:00-08:00"), hours_of("UTC: 12:00-13:00")

        assert union(night, noon) == union(noon, night) == hours_of("UTC: 12:00-13:00; 22:00-08:00")
        assert union(night, NO_HOURS) == union(NO_HOURS, night) == night
        assert union(night, hours_of("Europe/Vienna: 22:00-08:00")) is None
        assert union(night, None) is union(None, night) is None

    def test_more_periods_than_can_be_said_are_every_hour(self) -> None:
        periods = [QuietPeriod(start_minute=at, end_minute=at + 1) for at in range(29)]
        one, other = (
            Hours(time_zone="UTC", periods=tuple(half)) for half in (periods[:15], periods[14:])
        )

        assert len(periods) == QUIET_PERIODS_MET_MAX + 1
        assert union(one, other) is None


class TestZones:
    """The table says what Python's zoneinfo says by the same release of the IANA database."""

    def test_every_zone_has_the_offsets_that_python_finds_at_every_turn_of_its_clock(self) -> None:
        checked = 0
        for name in zone_names():
            zone, clock = zone_of(name), naive_decision.zone(name)
            assert zone is not None
            assert clock is not None
            turns = [one for one in zone.turns if FIRST <= one < LAST]
            instants = [turn + apart for turn in turns for apart in (-SECOND, 0)]
            for instant in (*instants, *range(FIRST, LAST, 97 * DAY)):
                offset = datetime.fromtimestamp(instant // SECOND, clock).utcoffset()
                assert zone.offset_at(instant) == (offset or timedelta()) // timedelta(
                    microseconds=1
                )
                checked += 1
        assert checked > 100_000

    @pytest.mark.parametrize("name", TURNED)
    def test_what_a_clock_shows_near_a_turn_is_read_as_python_reads_it(self, name: str) -> None:
        zone, clock = zone_of(name), naive_decision.zone(name)
        assert zone is not None
        assert clock is not None
        for turn in [one for one in zone.turns if FIRST <= one < LAST][:40]:
            shown = turn + zone.offset_at(turn)
            for apart in range(-200, 201, 15):
                local = (EPOCH + timedelta(microseconds=shown + apart * MINUTE)).replace(
                    tzinfo=None
                )
                readings = naive_decision.readings(local, clock)

                assert zone.readings(shown + apart * MINUTE) == (min(readings), max(readings))

    def test_no_clock_is_turned_twice_within_three_days(self) -> None:
        """What `readings` stands on."""
        zones = [zone for name in zone_names() if (zone := zone_of(name)) is not None]

        assert (
            min(
                later - earlier
                for zone in zones
                for earlier, later in zip(zone.turns, zone.turns[1:], strict=False)
            )
            > 3 * DAY
        )

    def test_a_name_that_is_none_has_no_zone(self) -> None:
        assert zone_of("Europe/Atlantis") is None
        assert zone_of("") is None

    def test_the_table_is_what_the_script_makes_of_the_data_that_is_locked(self) -> None:
        """Other data is another rule version, unless nobody's hours move by it (ADR 0045)."""
        script = ROOT / "scripts" / "generate_zones.py"

        subprocess.run([sys.executable, script, "--check"], check=True)


class TestQuiet:
    @settings(max_examples=250, deadline=None)
    @given(drawn=hours_near_a_turn())
    def test_near_a_turn_it_is_quiet_as_long_as_the_naive_statement_says(
        self, drawn: tuple[list[Hours], Instant]
    ) -> None:
        hours, now = drawn

        assert [is_quiet(one, now) for one in hours] == [
            naive_decision.is_quiet(one, now) for one in hours
        ]
        assert quiet_until(hours, now) == naive_decision.quiet_until(hours, now)

    @settings(max_examples=200, deadline=None)
    @given(
        hours=st.lists(some_hours(("Europe/Vienna",)), min_size=1, max_size=2),
        now=st.integers(FIRST, LAST),
    )
    def test_quiet_ends_at_the_first_instant_that_is_free(
        self, hours: list[Hours], now: int
    ) -> None:
        until = quiet_until(hours, Instant(now))

        if until is not None:
            assert not any(is_quiet(one, until) for one in hours)
            assert until == now or any(is_quiet(one, Instant(until - 1)) for one in hours)
            step = max((until - now) // 50, 1)
            assert all(
                any(is_quiet(one, Instant(between)) for one in hours)
                for between in range(now, until, step)
            )

    def test_no_hours_are_never_quiet(self) -> None:
        assert not is_quiet(NO_HOURS, Instant(FIRST))
        assert quiet_until([NO_HOURS], Instant(FIRST)) == FIRST
        assert quiet_until([], Instant(FIRST)) == FIRST

    def test_periods_that_follow_one_another_without_end_end_the_search(self) -> None:
        """Every minute in turn, by two scopes: until when is not looked for any further."""
        now = at("2026-11-27T00:00:00+00:00")
        chains = [
            Hours(
                time_zone="UTC",
                periods=tuple(
                    QuietPeriod(start_minute=minute, end_minute=minute + 1)
                    for minute in range(first, first + 7)
                ),
            )
            for first in range(0, FOLLOWING_MAX + 7, 7)
        ]

        assert quiet_until(chains, now) is None
        assert quiet_until(chains[:-2], now) == now + 63 * MINUTE
