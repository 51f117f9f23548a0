"""A clock that tests set."""

from datetime import UTC, datetime, timedelta

from heed.model import Instant
from heed.requests import require_zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FakeClock:
    """The time of a fake: real until it is advanced or frozen."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """Return the fake's time."""
        return (self._frozen or datetime.now(UTC)) + self._ahead

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._ahead += by

    def freeze(self, at: datetime | None = None) -> None:
        """Stop the clock, now or at a time; it then moves by `advance` alone.

        Raises:
            InvalidArgumentError: the time has no zone.
        """
        require_zone(at, "at")
        self._frozen = (at or self.now()).astimezone(UTC)
        self._ahead = timedelta()

    def instant(self) -> Instant:
        """Return the fake's time as heed counts it."""
        return Instant((self.now() - _EPOCH) // _MICROSECOND)
