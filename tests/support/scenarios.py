"""Random scenarios in a world small enough that records meet.

Everything is drawn by one `Pick`, so that Hypothesis (which shrinks) and a seeded random (which is
quick) draw from the same world.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from hypothesis import strategies as st

from heed.hours import NO_HOURS, hours_of
from heed.model import (
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Hold,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Revision,
    Topic,
    TopicClass,
)
from tests.support.naive_decision import Scenario

T = TypeVar("T")

TOPICS = ("", "a", "a.b", "a.b.c", "a.bb", "d", "d.e")
CHANNELS = (Channel.ANY, Channel.EMAIL, Channel.SMS, Channel.PROCESSING)
QUERY_CHANNELS = (Channel.EMAIL, Channel.EMAIL, Channel.SMS, Channel.PROCESSING)
TIMES = tuple(Instant(time) for time in range(8))
ENDS = (None, None, *(Instant(time) for time in range(1, 10)))
CAMPAIGNS = ("", "spring")
HOURS = (
    None,
    NO_HOURS,
    *map(
        hours_of,
        (
            "UTC: 00:00-08:00",
            "UTC: 08:00-12:00",
            "UTC: 23:00-00:00",
            "UTC: thu 00:00-00:00",
            "UTC: wed,fri 00:00-12:00",
            "Europe/Paris: 00:30-01:30; thu 12:00-13:00",
            "America/New_York: wed 18:00-20:00",
            "Pacific/Auckland: fri 10:00-14:00",
            "Moon/Tranquility: 22:00-08:00",
        ),
    ),
)
"""At the TIMES, which are of a Thursday's midnight, some have quiet."""
LATER = 12
"""A number of a version that is not known here."""


class Pick(Protocol):
    """Draws one of some options."""

    def __call__(self, options: Sequence[T], /) -> T: ...


def record(pick: Pick, kinds: Sequence[RecordKind] = tuple(RecordKind)) -> Record:
    """A record such as the store can hold."""
    kind = pick(kinds)
    cause, reach, end_time, quiet_hours, no_ask_until = Cause.NONE, Reach.ALL, None, None, None
    match kind:
        case RecordKind.OPT_OUT:
            reach = pick(tuple(Reach))
            no_ask_until = pick(ENDS)
        case RecordKind.OPT_IN:
            end_time = pick(ENDS)
        case RecordKind.PAUSE:
            reach = pick((Reach.PROMOTIONAL, Reach.TRANSACTIONAL))
            end_time = pick(ENDS[2:])
        case RecordKind.QUIET_HOURS:
            reach = pick((Reach.PROMOTIONAL, Reach.TRANSACTIONAL))
            quiet_hours = pick(HOURS)
        case _:
            cause = pick(tuple(REACH_OF_CAUSE))
            reach = REACH_OF_CAUSE[cause]
            end_time = pick(ENDS)
            if cause is Cause.LEGAL:
                reach = pick((Reach.ALL, Reach.PROMOTIONAL))
    return Record(
        kind=kind,
        cause=cause,
        reach=reach,
        channel=pick(CHANNELS),
        topic=pick(TOPICS),
        decided_time=pick(TIMES),
        end_time=end_time,
        revision=Revision(pick(range(1, 50))),
        quiet_hours=quiet_hours,
        no_ask_until=no_ask_until,
    )


def later_record(pick: Pick) -> Record:
    """A record with numbers that this version may not know."""
    return Record(
        kind=pick((*RecordKind, cast("RecordKind", LATER))),
        cause=pick((*Cause, cast("Cause", LATER))),
        reach=pick((*Reach, cast("Reach", 0), cast("Reach", 7))),
        channel=pick((*CHANNELS, cast("Channel", LATER), cast("Channel", 0))),
        topic=pick(TOPICS),
        decided_time=pick(TIMES),
        end_time=pick(ENDS),
        revision=Revision(1),
    )


def topic(pick: Pick, name: str) -> Topic:
    """A declaration, of a class not known here now and then."""
    return Topic(
        name=name,
        topic_class=pick((*TopicClass, *TopicClass, cast("TopicClass", LATER))),
        mandatory_channels=pick(
            (
                frozenset[Channel](),
                frozenset({Channel.EMAIL}),
                frozenset({Channel.SMS, Channel.PROCESSING}),
            )
        ),
        requires_opt_in=pick((False, False, True)),
        suppress_undeclared=pick((False, False, True)),
        retired=pick((False, False, True)),
    )


def hold(pick: Pick) -> Hold:
    """A hold, of a channel not known here now and then."""
    return Hold(
        hold_id=f"hold-{pick(range(3))}",
        channel=pick((None, *CHANNELS, cast("Channel", LATER))),
        topic=pick(TOPICS),
        campaign=pick(CAMPAIGNS),
        end_time=pick(ENDS),
        spares_mandatory=pick((False, True)),
    )


def some(pick: Pick, make: Callable[[Pick], T], most: int) -> tuple[T, ...]:
    """A few of something."""
    return tuple(make(pick) for _ in range(pick(range(most + 1))))


def scenario(pick: Pick) -> Scenario:
    """Whom, what, when, and all that stands; one in four with numbers of a later version."""
    make_record = pick((record, record, record, later_record))
    declared = [name for name in TOPICS if pick((False, True))]
    subjects = 1 + pick(range(3))
    return Scenario(
        topics=tuple(topic(pick, name) for name in declared),
        holds=some(pick, hold, 2) if pick((False, False, True)) else (),
        subjects=tuple(some(pick, make_record, 4) for _ in range(subjects)),
        query=Query(
            channel=pick(QUERY_CHANNELS), topic=pick(TOPICS), campaign=pick((*CAMPAIGNS, "fall"))
        ),
        now=pick(TIMES),
    )


def seeded(seed: int) -> Pick:
    """A quick pick, the same for the same seed."""
    return cast("Pick", random.Random(seed).choice)


def drawn(make: Callable[[Pick], T]) -> st.SearchStrategy[T]:
    """A Hypothesis strategy of what is made by picking."""

    @st.composite
    def strategy(draw: st.DrawFn) -> T:
        def pick(options: Sequence[Any], /) -> Any:
            return draw(st.sampled_from(options))

        return make(cast("Pick", pick))

    return strategy()
