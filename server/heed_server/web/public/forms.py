"""What a form of the preference page says, read.

Laws:
- One act a form. Where a field is unknown, given twice, or not what it may be, nothing of the form
  is done.
- A pause ends on a day that stands in the form. The same form, sent again later, means the same.

Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from heed.errors import HeedError
from heed.hours import DayOfWeek, Hours, QuietPeriod
from heed.model import Channel, Choice, ChoiceKind, Instant, Revision, Scope
from heed.names import named, word_of
from heed.records import REVISION_MAX
from heed.topics import validate_topic
from heed.zones import zone_of

PAUSE_DAYS_MAX: Final = 366
"""Days that a pause from the page may last. Higher: a pause is forgotten. Lower: people who are
away for long stop everything instead."""

URLENCODED: Final = "application/x-www-form-urlencoded"
DATE: Final = "%Y-%m-%d"
OTHER: Final = "other"
"""The choice of `until` that says: the day stands in `day`."""

_DAYS: Final = {f"d{int(day)}": day for day in DayOfWeek}
_FIELDS: Final = frozenset(
    {"act", "scope", "stood", "until", "day", "agreed", "version", "zone", "begin", "end", *_DAYS}
)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_REVISION: Final = re.compile(r"[0-9]{1,15}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FormError(Exception):
    """A form that is none of the page's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What somebody asked for."""

    choice: Choice
    """Of an opt-in without evidence, which is of what was shown."""
    stood: Revision | None
    """The newest revision that stood when its page was made; None: it does not say."""
    agreed: bool = False
    """Of an opt-in: whether the box was ticked."""
    version: str = ""
    """Of an opt-in: what names all that was shown."""
    problem: str = ""
    """Why it cannot be taken as it is, the name of a text; empty: it can."""


def read_form(content_type: str, body: bytes, now: Instant) -> Form:
    """Return what a form asks for.

    Raises:
        FormError: it is none of the page's.
    """
    if content_type.partition(";")[0].strip().lower() != URLENCODED:
        raise FormError
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(_FIELDS),
        )
    except (ValueError, UnicodeError):
        raise FormError from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or not fields.keys() <= _FIELDS:
        raise FormError
    scope = read_scope(fields.get("scope", ""))
    kind = _KINDS.get(fields.get("act", ""))
    if scope is None or kind is None:
        raise FormError
    end_time, hours, problem = None, None, ""
    if kind is ChoiceKind.PAUSE:
        end_time = _end_of(fields, now)
        problem = "" if end_time is not None else "day"
    if kind is ChoiceKind.QUIET_HOURS:
        hours = _hours_of(fields)
        problem = "" if hours is not None else "hours"
    return Form(
        choice=Choice(kind=kind, scope=scope, end_time=end_time, quiet_hours=hours),
        problem=problem,
        stood=_stood(fields.get("stood")),
        agreed=fields.get("agreed") == "yes",
        version=fields.get("version", ""),
    )


def read_scope(said: str) -> Scope | None:
    """Return the scope that a field says: `email/news`; None: it says none."""
    channel, slash, topic = said.partition("/")
    try:
        validate_topic(topic)
        return Scope(channel=named(Channel, channel, "scope"), topic=topic) if slash else None
    except HeedError:
        return None


def said_of(scope: Scope) -> str:
    """Return what a field says of a scope."""
    return f"{word_of(scope.channel)}/{scope.topic}"


def day_after(now: Instant, days: int) -> Instant:
    """Return the beginning, by UTC, of the day so many days after an instant's."""
    today = _day_of(now)
    return _begin_of(today + timedelta(days=days))


def said_of_day(instant: Instant) -> str:
    """Return what a field says of a day that begins at an instant."""
    return _day_of(instant).strftime(DATE)


def _end_of(fields: dict[str, str], now: Instant) -> Instant | None:
    """When a pause ends; None: on no day, or on one that is past or too far ahead."""
    said = fields.get("until", "")
    if said == OTHER:
        said = fields.get("day", "")
    try:
        day = datetime.strptime(said, DATE).replace(tzinfo=UTC).date()
    except ValueError:
        return None
    end = _begin_of(day)
    return end if now < end <= day_after(now, PAUSE_DAYS_MAX) else None


def _hours_of(fields: dict[str, str]) -> Hours | None:
    """When it is to be quiet; None: in a zone that is not known, or at what is no time."""
    zone = fields.get("zone", "").strip()
    begin, end = (_TIME.fullmatch(fields.get(name, "")) for name in ("begin", "end"))
    if begin is None or end is None or zone_of(zone) is None:
        return None
    start_minute, end_minute = (60 * int(one[1]) + int(one[2]) for one in (begin, end))
    days = tuple(day for name, day in _DAYS.items() if name in fields)
    period = QuietPeriod(start_minute=start_minute, end_minute=end_minute, days=days)
    return Hours(time_zone=zone, periods=(period,))


def _stood(said: str | None) -> Revision | None:
    if said is None:
        return None
    if _REVISION.fullmatch(said) is None or int(said) > REVISION_MAX:
        raise FormError
    return Revision(int(said))


def _day_of(instant: Instant) -> date:
    return (_EPOCH + timedelta(microseconds=instant)).date()


def _begin_of(day: date) -> Instant:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Instant((begin - _EPOCH) // timedelta(microseconds=1))


_KINDS: Final = {
    "stop": ChoiceKind.OPT_OUT,
    "start": ChoiceKind.OPT_IN,
    "pause": ChoiceKind.PAUSE,
    "end-pause": ChoiceKind.END_PAUSE,
    "quiet": ChoiceKind.QUIET_HOURS,
    "end-quiet": ChoiceKind.END_QUIET_HOURS,
}
