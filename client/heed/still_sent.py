"""What a person's choices still let through, for the answer that tells them.

Per class of message the question is put to `decide` itself, about a topic of that class that might
be declared just beneath each scope named (and beneath each standing opt-in within it), so that this
and a later Check cannot disagree. Holds are left out: they are no choice, and they pass; and so are
quiet hours, since what they stop is sent at another hour.

Laws:
- All that does not depend on what stands is made before the log is locked (`plan`); `within` runs
  under the lock, and asks about each channel that a record names and about one other. What was
  asked before is remembered, where no time plays a part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from heed.decide import Facts, decide
from heed.model import (
    STILL_SENT_TOPICS_MAX,
    Channel,
    Choice,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Scope,
    Topic,
    TopicClass,
)
from heed.topics import (
    MESSAGE_CHANNELS,
    QUERY_CHANNELS,
    TOPIC_CHARACTERS_MAX,
    TOPIC_LABELS_MAX,
    TopicTable,
    covers,
    covers_channel,
    lineage_of,
)

Standing = Sequence[tuple[int, int, Record]]
"""(item, subject index, record), as `Outcome.standing`."""

_CHILD_LABEL = "still-sent"
_Shape = tuple[tuple[int, int, int, int, int, str], ...]
_Said = tuple[list[TopicClass], list[str]]

_TABLES_KEPT_MAX = 1_024
"""How many tables with a child are remembered; three a scope that people choose at."""
_PLANS_KEPT_MAX = 256
"""How many sets of scopes that people choose at are remembered."""
_SHAPES_KEPT_MAX = 256
"""Of how many shapes of what stands the answer is remembered, for each of these."""
_MESSAGE_CHANNELS = sorted(MESSAGE_CHANNELS)


class StillSent:
    """What is asked about the scopes that a call names. Safe to share between threads."""

    __slots__ = ("_mandatory", "_remembered", "_scopes", "_topics")

    def __init__(self, topics: TopicTable, scopes: tuple[Scope, ...]) -> None:
        self._topics = topics
        self._scopes = scopes
        self._mandatory = _mandatory_within(topics, scopes)
        # Only ever what `_ask` returned for the same shape; emptied when full.
        self._remembered: dict[_Shape, _Said] = {}

    def within(self, standing: Standing, now: Instant) -> "_Said":
        """Return the classes still let through, and the mandatory topics that are."""
        standing = [one for one in standing if one[2].kind is not RecordKind.QUIET_HOURS]
        shape = _timeless_shape(standing)
        if shape is None:
            return self._ask(standing, now)
        known = self._remembered.get(shape)
        if known is None:
            if len(self._remembered) >= _SHAPES_KEPT_MAX:
                self._remembered.clear()
            known = self._remembered[shape] = self._ask(standing, now)
        return known

    def _ask(self, standing: Standing, now: Instant) -> "_Said":
        facts = Facts(records=_by_subject(standing), holds=(), topics=self._topics)
        points = _points(self._scopes, standing)
        channels = {record.channel for _, _, record in standing}
        classes = [
            topic_class
            for topic_class in TopicClass
            if any(_is_let_through(facts, topic_class, point, channels, now) for point in points)
        ]
        return classes, self._mandatory_topics(facts, standing, now)

    def _mandatory_topics(self, facts: Facts, standing: Standing, now: Instant) -> list[str]:
        if not any(_may_stop_mandatory(record) for _, _, record in standing):
            return [name for name, _ in self._mandatory[:STILL_SENT_TOPICS_MAX]]
        passing = (
            name
            for name, channels in self._mandatory
            if any(_is_allowed(facts, channel, name, now) for channel in channels)
        )
        return [name for name, _ in zip(passing, range(STILL_SENT_TOPICS_MAX), strict=False)]


def plan(topics: TopicTable, choices: Iterable[Choice]) -> StillSent:
    """Return what to ask about the scopes of some choices; the same for the same."""
    return plan_at(topics, tuple(dict.fromkeys(choice.scope for choice in choices)))


@lru_cache(maxsize=_PLANS_KEPT_MAX)
def plan_at(topics: TopicTable, scopes: tuple[Scope, ...]) -> StillSent:
    """Return what to ask about some scopes; the same for the same."""
    return StillSent(topics, scopes)


def _mandatory_within(
    topics: TopicTable, scopes: Sequence[Scope]
) -> tuple[tuple[str, tuple[Channel, ...]], ...]:
    """The declared mandatory topics within some scopes, with the channels to ask about."""
    mandatory: dict[str, tuple[Channel, ...]] = {}
    for scope in scopes:
        for name in topics.mandatory_within(scope):
            topic = topics.get(name)
            declared = topic.mandatory_channels if topic else ()
            channels = [one for one in sorted(declared) if covers_channel(scope.channel, one)]
            mandatory[name] = (*mandatory.get(name, ()), *channels)
    return tuple(sorted(mandatory.items()))


def _timeless_shape(standing: Standing) -> _Shape | None:
    """What stands but for its times, where these say nothing: without opt-ins and without ends."""
    shape: list[tuple[int, int, int, int, int, str]] = []
    for _, subject, record in standing:
        if record.kind is RecordKind.OPT_IN or record.end_time is not None:
            return None
        shape.append(
            (subject, record.kind, record.cause, record.reach, record.channel, record.topic)
        )
    return tuple(shape)


def _by_subject(standing: Standing) -> tuple[tuple[Record, ...], ...]:
    count = 1 + max((subject for _, subject, _ in standing), default=0)
    return tuple(
        tuple(record for _, subject, record in standing if subject == at) for at in range(count)
    )


def _points(scopes: Sequence[Scope], standing: Standing) -> list[Scope]:
    """Where to ask: at each scope, and at each opt-in within one, which may lift a part of it."""
    points = dict.fromkeys(scopes)
    for _, _, record in standing:
        if record.kind is RecordKind.OPT_IN:
            given = Scope(channel=record.channel, topic=record.topic)
            if any(covers(scope, given) for scope in scopes):
                points[given] = None
    return list(points)


def _is_let_through(
    facts: Facts, topic_class: TopicClass, point: Scope, named: set[Channel], now: Instant
) -> bool:
    """Whether a message of this class may be sent at a scope or right beneath it."""
    channels = _channels(point.channel, named)
    beneath = _child_of(facts.topics, point.topic, topic_class)
    if beneath is None:
        return any(
            facts.topics.resolve(channel, point.topic).topic_class is topic_class
            and _is_allowed(facts, channel, point.topic, now)
            for channel in channels
        )
    name, topics = beneath
    facts = replace(facts, topics=topics)
    return any(_is_allowed(facts, channel, name, now) for channel in channels)


def _channels(channel: Channel, named: set[Channel]) -> list[Channel]:
    """The channel; of ANY those that a record names, and one of the others, which are alike."""
    if channel is not Channel.ANY:
        return [channel]
    others = [one for one in _MESSAGE_CHANNELS if one not in named]
    return [one for one in _MESSAGE_CHANNELS if one in named] + others[:1]


@lru_cache(maxsize=_TABLES_KEPT_MAX)
def _child_of(
    topics: TopicTable, parent: str, topic_class: TopicClass
) -> tuple[str, TopicTable] | None:
    """A topic of this class beneath another, in a table where it is declared; None: no room."""
    name = f"{parent}.{_CHILD_LABEL}" if parent else _CHILD_LABEL
    if parent.count(".") + 2 > TOPIC_LABELS_MAX or len(name) > TOPIC_CHARACTERS_MAX:
        return None
    is_mandatory = topic_class is TopicClass.MANDATORY
    requires_opt_in = topics.resolve(Channel.EMAIL, parent).requires_opt_in
    child = Topic(
        name=name,
        topic_class=topic_class,
        mandatory_channels=QUERY_CHANNELS if is_mandatory else frozenset(),
        requires_opt_in=requires_opt_in and not is_mandatory,
    )
    lineage = (topics.get(one) for one in lineage_of(parent))
    return name, TopicTable([*(one for one in lineage if one is not None), child])


def _may_stop_mandatory(record: Record) -> bool:
    return record.kind is not RecordKind.OPT_IN and record.reach is Reach.ALL


def _is_allowed(facts: Facts, channel: Channel, topic: str, now: Instant) -> bool:
    return decide(facts, Query(channel=channel, topic=topic), now).is_allowed
