"""At which hours of a week a person wants quiet, by the clock of a time zone.

Laws:
- The same hours are the same value: days ascend, periods ascend and stand there once.
- They have one text, which is what is stored: `Europe/Vienna: 22:00-08:00; sat,sun 08:00-10:00`.
- Where two meet that nothing puts in order, both count. What both ask for may be more than can be
  said; then every hour is quiet, which is said by None.

When these hours are is `heed.quiet`'s to tell.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from heed.errors import InvalidArgumentError, invalid_field

DAY_MINUTES: Final = 24 * 60
QUIET_PERIODS_MAX: Final = 7
"""Periods that a person can name at one scope."""
QUIET_PERIODS_MET_MAX: Final = 28
"""Periods that stand where several met that were decided at one instant."""
ZONE_CHARACTERS_MAX: Final = 64
"""Characters of the name of a time zone; the longest there is has 32."""
HOURS_REMEMBERED_MAX: Final = 4_096
"""So many different texts are remembered, read. Some 4 MiB."""

_ZONE: Final = re.compile(rf"[A-Za-z0-9_+/-]{{0,{ZONE_CHARACTERS_MAX}}}")


class DayOfWeek(enum.IntEnum):
    """A day of the week, by the numbers of ISO 8601."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class QuietPeriod:
    """Quiet from one minute of a day to another, on some days of the week.

    `str()` gives it as people write it, and `quiet_period` reads that.
    """

    start_minute: int
    """When it begins, in minutes since midnight, 0 to 1439."""
    end_minute: int
    """When it ends, likewise, not included. Not after the start: on the next day; the same as the
    start: a whole day later."""
    days: tuple[DayOfWeek, ...] = ()
    """The days on which it begins; empty: every day."""

    def __post_init__(self) -> None:
        for name, minute in (("start_minute", self.start_minute), ("end_minute", self.end_minute)):
            if not 0 <= minute < DAY_MINUTES:
                raise invalid_field(name, f"must be 0 to {DAY_MINUTES - 1}, minutes since midnight")
        days = tuple(sorted(set(self.days)))
        object.__setattr__(self, "days", () if len(days) == len(DayOfWeek) else days)

    @property
    def minutes(self) -> int:
        """How long it is, 1 to 1440 minutes by the clock."""
        return (self.end_minute - self.start_minute - 1) % DAY_MINUTES + 1

    def __str__(self) -> str:
        days = ",".join(_WORD_OF[day] for day in self.days)
        return f"{days}{' ' if days else ''}{_time(self.start_minute)}-{_time(self.end_minute)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """When it is quiet. Without periods: never; so it is once a person ended their quiet hours."""

    time_zone: str
    """A name of the IANA database. It need not be known here."""
    periods: tuple[QuietPeriod, ...]

    def __post_init__(self) -> None:
        if _ZONE.fullmatch(self.time_zone) is None:
            raise invalid_field("time_zone", "is no name of a time zone; write `Europe/Vienna`")
        object.__setattr__(self, "periods", tuple(sorted(set(self.periods))))

    def __str__(self) -> str:
        return f"{self.time_zone}: {'; '.join(map(str, self.periods))}" if self.periods else ""


NO_HOURS: Final = Hours(time_zone="", periods=())


def quiet_period(written: str) -> QuietPeriod:
    """Return the period that people write as `22:00-08:00`, `sat,sun 22:00-10:00` or `mon-fri …`.

    Raises:
        InvalidArgumentError: it is none.
    """
    found = _PERIOD.fullmatch(written.strip().lower())
    if found is None:
        raise _unreadable(written)
    days, *times = found.groups()
    start, end = (60 * int(hour) + int(minute) for hour, minute in (times[:2], times[2:]))
    return QuietPeriod(
        start_minute=start, end_minute=end % DAY_MINUTES, days=_days(days or "", written)
    )


@lru_cache(maxsize=HOURS_REMEMBERED_MAX)
def hours_of(text: str) -> Hours:
    """Return the hours whose text this is.

    Raises:
        ValueError: it is of none that this version can say.
    """
    if not text:
        return NO_HOURS
    zone, _, periods = text.partition(": ")
    try:
        hours = Hours(time_zone=zone, periods=tuple(map(quiet_period, periods.split("; "))))
    except InvalidArgumentError as error:
        raise ValueError(f"no hours: {text!r}") from error
    if str(hours) != text:
        raise ValueError(f"no hours: {text!r}")
    return hours


def union(one: Hours | None, other: Hours | None) -> Hours | None:
    """Return what is quiet by either of two; None: every hour, for it cannot be said."""
    if one is None or other is None:
        return None
    if not one.periods or not other.periods:
        return one if one.periods else other
    both = Hours(time_zone=one.time_zone, periods=one.periods + other.periods)
    can_be_said = one.time_zone == other.time_zone and len(both.periods) <= QUIET_PERIODS_MET_MAX
    return both if can_be_said else None


def are_as_quiet(hours: Hours | None, before: Hours | None) -> bool:
    """Whether every minute of a week is quiet by some hours that was before; None: every hour."""
    if hours is None or before is None:
        return hours is None
    if not before.periods:
        return True
    return hours.time_zone == before.time_zone and _week(before) & ~_week(hours) == 0


@lru_cache(maxsize=HOURS_REMEMBERED_MAX)
def _week(hours: Hours) -> int:
    """The minutes of a week as bits; those after Sunday's midnight are Monday's."""
    week = 0
    for period in hours.periods:
        for day in period.days or DayOfWeek:
            start = (day - 1) * DAY_MINUTES + period.start_minute
            week |= ((1 << period.minutes) - 1) << start
    return week & _WHOLE_WEEK | week >> _WEEK_MINUTES


def _days(written: str, whole: str) -> tuple[DayOfWeek, ...]:
    days: list[DayOfWeek] = []
    for part in written.replace(" ", "").split(",") if written else ():
        first, _, last = part.partition("-")
        if first not in _DAY_OF or (last and last not in _DAY_OF):
            raise _unreadable(whole)
        begin = _DAY_OF[first]
        count = (_DAY_OF[last] - begin) % len(DayOfWeek) + 1 if last else 1
        days += (DayOfWeek((begin - 1 + at) % len(DayOfWeek) + 1) for at in range(count))
    return tuple(days)


def _unreadable(written: str) -> InvalidArgumentError:
    return invalid_field(
        "periods",
        f"{written[:40]!r} is no period; write `22:00-08:00`, or with the days on which it begins "
        "`mon-fri 22:00-07:00`",
    )


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _spellings() -> Iterable[tuple[str, DayOfWeek]]:
    for day in DayOfWeek:
        yield day.name.lower(), day
        yield _WORD_OF[day], day


_WEEK_MINUTES: Final = 7 * DAY_MINUTES
_WHOLE_WEEK: Final = (1 << _WEEK_MINUTES) - 1
_CLOCK: Final = r"([01]?\d|2[0-3]|24(?=:00)):([0-5]\d)"
_PERIOD: Final = re.compile(rf"(?:([a-z][a-z, -]*)\s+)?{_CLOCK}\s*-\s*{_CLOCK}")
_WORD_OF: Final = {day: day.name[:3].lower() for day in DayOfWeek}
_DAY_OF: Final = dict(_spellings())
