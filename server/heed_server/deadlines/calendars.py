"""Business days of a jurisdiction: which dates are none, by rules that are data.

Laws:
- A calendar names only the holidays that all of a jurisdiction has, and no substitute day where one
  falls on a weekend: a holiday that is left out makes a deadline earlier, never later (ADR 0044).
- Pure: a date and the rules go in, whatever day it is today.
"""

from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from heed_server.config.section import Section

_DAY = timedelta(days=1)


class Holiday(Section):
    """One day of each year that is no business day: exactly one way to find it."""

    name: str
    month: Annotated[int, Field(ge=1, le=12)] | None = None
    day: Annotated[int, Field(ge=1, le=31)] | None = None
    """With `month`: that date of each year."""
    weekday: Annotated[int, Field(ge=0, le=6)] | None = None
    """0 is Monday. With `month` and `nth`: the nth such day of the month."""
    nth: Annotated[int, Field(ge=-1, le=5)] | None = None
    """1 is the first, -1 the last."""
    easter: Annotated[int, Field(ge=-100, le=100)] | None = None
    """So many days after the Easter Sunday of the Western churches."""
    on: date | None = None
    """This date alone."""
    since: int = 1
    """The first year that has it."""

    @model_validator(mode="after")
    def _require_one_way(self) -> Self:
        ways = (
            (self.month, self.day),
            (self.month, self.weekday, self.nth),
            (self.easter,),
            (self.on,),
        )
        named = [way for way in ways if None not in way]
        fields = (self.month, self.day, self.weekday, self.nth, self.easter, self.on)
        given = sum(one is not None for one in fields)
        if len(named) != 1 or given != len(named[0]) or self.nth == 0:
            raise ValueError(
                f"the holiday {self.name} is found in no one way; give month and day, or month, "
                "weekday and nth, or easter, or on"
            )
        return self

    def is_on(self, day: date) -> bool:
        """Whether it falls on a date."""
        if self.on is not None:
            return day == self.on
        if day.year < self.since:
            return False
        if self.easter is not None:
            return day == easter_sunday(day.year) + self.easter * _DAY
        if day.month != self.month:
            return False
        if self.day is not None:
            return day.day == self.day
        if day.weekday() != self.weekday:
            return False
        if self.nth == -1:
            return (day + 7 * _DAY).month != day.month
        return (day.day - 1) // 7 + 1 == self.nth


class Calendar(Section):
    """The business days of a jurisdiction: all but its weekends and holidays."""

    version: str
    weekend: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(max_length=6)] = (5, 6)
    """The days of a week that are none; 0 is Monday."""
    holidays: tuple[Holiday, ...]

    def is_business_day(self, day: date) -> bool:
        """Whether a date is a business day."""
        return day.weekday() not in self.weekend and not any(
            one.is_on(day) for one in self.holidays
        )

    def after(self, day: date, count: int) -> date:
        """Return the business day that is the `count`-th after a date, which itself is not one."""
        while count:
            day += _DAY
            count -= self.is_business_day(day)
        return day


def easter_sunday(year: int) -> date:
    """Return the Easter Sunday of a year (Meeus, Jones and Butcher's Gregorian algorithm)."""
    golden = year % 19
    century, of_century = divmod(year, 100)
    leaps, rest = divmod(century, 4)
    correction = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leaps - correction + 15) % 30
    quads, ones = divmod(of_century, 4)
    weekday = (32 + 2 * rest + 2 * quads - epact - ones) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)
