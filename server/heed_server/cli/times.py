"""Times as commands read and write them."""

import re
from datetime import UTC, datetime, timedelta

from heed.model import Instant

_LIFETIME = re.compile(r"([1-9]\d{0,4})([hd])")
_MICROSECONDS = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(instant: Instant) -> str:
    """Return an instant in ISO 8601, to the second."""
    return (_EPOCH + instant * _MICROSECONDS).isoformat(timespec="seconds")


def lifetime_of(text: str) -> timedelta:
    """Return `90d` or `12h` as a duration.

    Raises:
        ValueError: it is neither.
    """
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no lifetime; write 90d or 12h")
    count = int(match[1])
    return timedelta(days=count) if match[2] == "d" else timedelta(hours=count)
