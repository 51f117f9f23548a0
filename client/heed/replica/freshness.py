"""How old a cache may be for what: the promise's table (docs/cache.md), as pure functions.

Laws:
- Age counts from the sending of a probe that came back, plus the age that the source itself had
  then; both ends are read from the boot clock of this host. No wall clock is compared, so none that
  is set wrong makes an old answer young, and neither does a stream that stalled: what comes out of
  it late echoes a probe that was sent early.
- "Suppressed" is served at any age. "Allowed" only up to the max_staleness of the message's class,
  which is included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

from heed.answers import CacheState
from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import TopicClass
from heed.names import named

MAX_STALENESS: Final[Mapping[TopicClass, timedelta]] = {
    TopicClass.PROMOTIONAL: timedelta(seconds=5),
    TopicClass.TRANSACTIONAL: timedelta(seconds=60),
    TopicClass.MANDATORY: timedelta(minutes=15),
}
"""How old "allowed" may be, unless the caller says otherwise."""

MAX_STALENESS_MIN: Final = timedelta(seconds=1)
MAX_STALENESS_MAX: Final = timedelta(hours=1)
"""What a class may be given, both ends included."""

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The max_staleness of each class, in nanoseconds."""

    by_class: Mapping[TopicClass, int]
    least: int
    greatest: int

    @property
    def least_time(self) -> timedelta:
        """The smallest of them."""
        return timedelta(microseconds=self.least // 1_000)


def bounds_of(said: Mapping[TopicClass | str, timedelta] | None) -> Bounds:
    """Return the bounds that a caller names; the others are `MAX_STALENESS`.

    Raises:
        InvalidArgumentError: a class is none, or a time is outside its limits.
    """
    by_class = dict(MAX_STALENESS)
    for word, longest in (said or {}).items():
        # A bare number is no timedelta, whatever the types say.
        is_time = isinstance(cast("object", longest), timedelta)
        if not is_time or not MAX_STALENESS_MIN <= longest <= MAX_STALENESS_MAX:
            description = f"is {longest}; say timedelta(seconds=1) to timedelta(seconds=3600)"
            raise InvalidArgumentError(
                f"max_staleness of {word} {description}",
                violations=[FieldViolation("max_staleness", description)],
                metadata={"field": "max_staleness"},
            )
        by_class[named(TopicClass, word, "max_staleness")] = longest
    nanoseconds = {one: longest // _MICROSECOND * 1_000 for one, longest in by_class.items()}
    return Bounds(
        by_class=nanoseconds, least=min(nanoseconds.values()), greatest=max(nanoseconds.values())
    )


def state_of(age: int | None, bounds: Bounds) -> CacheState:
    """Return the state of a whole cache of this age, in nanoseconds; None: it is not known."""
    if age is None or age > bounds.greatest:
        return CacheState.EXPIRED
    return CacheState.LIVE if age <= bounds.least else CacheState.STALE


def may_allow(age: int | None, topic_class: TopicClass, bounds: Bounds) -> bool:
    """Whether a cache of this age may allow messages of a class; of an unknown class it may not."""
    return age is not None and age <= bounds.by_class.get(topic_class, -1)
