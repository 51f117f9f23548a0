"""Reading the times that vendors write.

Laws:
- A stop counts from when it was decided, so that a later reading protects more: a time without a
  zone is read as late as it can mean (UTC-12), a date without a time as the end of its day there.
- The zero of Go (year 1), of MySQL (year 0) and of Unix (1970-01-01T00:00:00) mean "not known", as
  an empty cell does: None, the time of the import.
- What is neither is refused; day and month are never guessed.

Sources: RFC 3339, RFC 2822, Go's `time.Time.String`, seconds since the epoch.
"""

import re
from datetime import date
from typing import Final

from heed.model import SECONDS_MAX, Instant

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
_LATEST_ZONE: Final = 12 * 3_600 * _SECOND
"""From a local time to UTC where the clocks are furthest behind, UTC-12."""
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MILLISECONDS_MIN: Final = 100_000_000_000
"""A number of seconds from here on would be of the year 5138; it is of milliseconds, or finer."""
_NUMBER_MAX: Final = 10**19
"""No time is this many of anything."""
_UNKNOWN_YEARS: Final = frozenset({"0000", "0001"})

_ZONE = r"Z|UTC|GMT|[+-]\d\d(?::?\d\d(?::?\d\d)?)?"
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?"
    rf"\s*({_ZONE})?"
    r"(?: (?:[A-Z]{2,6}|[+-]\d{2,4}))?(?: m=[+-][\d.]+)?",  # what Go appends
    re.ASCII | re.IGNORECASE,
)
_MAIL = re.compile(
    r"(?:[A-Z]{3},?\s+)?(\d{1,2})\s+([A-Z]{3})[A-Z]*\s+(\d{4})\s+"
    rf"(\d\d):(\d\d)(?::(\d\d))?\s*({_ZONE}|[A-Z]{{1,5}})?(?:\s*\([^)]*\))?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,19}(?:\.\d{1,9})?", re.ASCII)
_MONTHS: Final = {
    name: month
    for month, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_CHARACTERS_MAX: Final = 80


def instant(written: object) -> Instant | None:
    """Return the time that a cell or a JSON value names; None: it names none.

    Raises:
        ValueError: it cannot be read; the message says what to do, and quotes nothing.
    """
    if written is None:
        return None
    if isinstance(written, str):
        text = written.strip()
        if not text:
            return None
        if len(text) > _CHARACTERS_MAX:
            raise ValueError(_REFUSAL)
        if (stamp := _STAMP.fullmatch(text)) is not None:
            return _of_stamp(stamp)
        if (mail := _MAIL.fullmatch(text)) is not None:
            return _of_mail(mail)
        if _NUMBER.fullmatch(text) is None:
            raise ValueError(_REFUSAL)
        return _of_number(float(text) if "." in text else int(text))
    if not isinstance(written, int | float) or isinstance(written, bool):
        raise ValueError(_REFUSAL)  # noqa: TRY004 - what is refused is a value of a file
    return _of_number(written)


_REFUSAL: Final = (
    "is no time that heed reads; write it as 2026-01-31T14:05:00Z, or leave it empty to take the "
    "time of the import"
)


def _of_stamp(match: re.Match[str]) -> Instant | None:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if year in _UNKNOWN_YEARS:
        return None
    days = _days(int(year), int(month), int(day))
    if hour is None:
        return _known(days * _DAY + _DAY - 1 + _zone(zone))
    local = days * _DAY + _of_clock(hour, minute, second)
    if fraction is not None:
        local += int(fraction[:6].ljust(6, "0"))
    return _known(local + _zone(zone))


def _of_mail(match: re.Match[str]) -> Instant | None:
    day, month_name, year, hour, minute, second, zone = match.groups()
    if year in _UNKNOWN_YEARS:
        return None
    month = _MONTHS.get(month_name.lower())
    if month is None:
        raise ValueError(_REFUSAL)
    days = _days(int(year), month, int(day))
    return _known(days * _DAY + _of_clock(hour, minute, second) + _zone(zone))


def _of_number(number: float) -> Instant | None:
    if not 0 <= number < _NUMBER_MAX:  # so is no number that is none
        raise ValueError(_REFUSAL)
    scale = _SECOND
    while scale > 1 and number >= _MILLISECONDS_MIN * (_SECOND // scale):
        scale //= 1_000
    return _known(round(number * scale))


def _days(year: int, month: int, day: int) -> int:
    try:
        return date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise ValueError(_REFUSAL) from None


def _of_clock(hour: str, minute: str, second: str | None) -> int:
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if hours > 24 or minutes > 59 or seconds > 60:  # noqa: PLR2004 - 24:00 and leap seconds are
        raise ValueError(_REFUSAL)
    return (hours * 3_600 + minutes * 60 + seconds) * _SECOND


def _zone(zone: str | None) -> int:
    """Return what leads from local time to UTC, the latest that can be meant."""
    if zone is None:
        return _LATEST_ZONE
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(6, "0")
        ahead = int(digits[:2]) * 3_600 + int(digits[2:4]) * 60 + int(digits[4:])
        return (-ahead if zone[0] == "+" else ahead) * _SECOND
    if zone.upper() in {"Z", "UTC", "GMT", "UT"}:
        return 0
    return _LATEST_ZONE  # a name such as CST means several zones


def _known(microseconds: int) -> Instant | None:
    """Return the instant, None for a zero that means "not known"."""
    if microseconds in {0, _LATEST_ZONE}:
        return None
    if not 0 < microseconds <= SECONDS_MAX * _SECOND:
        raise ValueError("is outside the years 1970 to 9999; correct it, or leave it empty")
    return Instant(microseconds)
