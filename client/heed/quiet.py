"""Whether it is quiet for a person, and until when.

Laws:
- A period begins at the first instant that its start may mean, and ends at the last that its end
  may: where a clock is turned, quiet is never shorter than its period by either reading.
- Hours that are not known, or of a time zone that is not known here, are quiet without end.
- Nothing is read but the arguments and `heed.zones`.

Source: ADR 0045.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from heed.hours import HOURS_REMEMBERED_MAX, DayOfWeek, Hours
from heed.model import Instant
from heed.zones import DAY, Zone, zone_of

UNTIL_DAYS_MAX: Final = 8
"""How far ahead the end of quiet is looked for: what lasts for a week and a day lasts for ever."""
FOLLOWING_MAX: Final = 64
"""So many periods that follow one another are taken together; where one more does, until when is
not known."""

_MINUTE: Final = 60_000_000
_FOREVER: Final = 2**63
"""Later than every end there is."""
_THURSDAY: Final = 3
"""Days from a Monday to the first day of 1970."""

_Days = tuple[tuple[tuple[int, int], ...], ...]
"""By the day of the week from Monday: when periods begin and end, in microseconds of the clock
since its midnight."""


def is_quiet(hours: Hours | None, now: Instant) -> bool:
    """Whether these hours have quiet at an instant."""
    return _end(hours, now) > now


def quiet_until(hours: Sequence[Hours | None], now: Instant) -> Instant | None:
    """Return the first instant, from `now` on, that none of these hours has quiet.

    None: it is not within `UNTIL_DAYS_MAX`, or not known.
    """
    until: int = now
    for _ in range(FOLLOWING_MAX):
        later = max((_end(one, until) for one in hours), default=until)
        if later == until:
            return Instant(until)
        until = later
        if until - now > UNTIL_DAYS_MAX * DAY:
            break
    return None


def _end(hours: Hours | None, at: int) -> int:
    """The last end of the periods that an instant is in; the instant itself, if it is in none."""
    zone = None if hours is None else zone_of(hours.time_zone)
    if hours is None or (zone is None and hours.periods):
        return _FOREVER
    if zone is None:
        return at
    days = _days(hours)
    today = (at + zone.offset_at(at)) // DAY
    # Two days back: a whole day's end may be read as of an hour later, after the next midnight.
    return max(_end_of_day(days, day, zone, at) for day in range(today - 2, today + 2))


def _end_of_day(days: _Days, day: int, zone: Zone, at: int) -> int:
    """The same, of the periods that begin on one day since 1970."""
    last = at
    midnight = day * DAY
    for begins, ends in days[(day + _THURSDAY) % len(days)]:
        end = zone.readings(midnight + ends)[1]
        if end > last and zone.readings(midnight + begins)[0] <= at:
            last = end
    return last


@lru_cache(maxsize=HOURS_REMEMBERED_MAX)
def _days(hours: Hours) -> _Days:
    return tuple(
        tuple(
            (one.start_minute * _MINUTE, (one.start_minute + one.minutes) * _MINUTE)
            for one in hours.periods
            if not one.days or day in one.days
        )
        for day in DayOfWeek
    )
