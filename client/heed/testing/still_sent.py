"""What a person's choices still let through, asked of `decide` itself.

Per class, the question is about a topic of that class just beneath each scope named, and beneath
each opt-in within one. Holds are left out: they are no choice.
"""

from collections.abc import Iterable, Sequence

from heed.decide import Facts, decide
from heed.model import Channel, Instant, Query, Record, RecordKind, Scope, Topic, TopicClass
from heed.topics import (
    MESSAGE_CHANNELS,
    QUERY_CHANNELS,
    TOPIC_CHARACTERS_MAX,
    TOPIC_LABELS_MAX,
    TopicTable,
    covers,
    lineage_of,
)
from heed.wire.limits import STILL_SENT_TOPICS_MAX

_CHILD_LABEL = "still-sent"


def still_sent(
    topics: TopicTable,
    scopes: Iterable[Scope],
    standing: Sequence[tuple[Record, ...]],
    now: Instant,
) -> tuple[list[TopicClass], list[str]]:
    """Return the classes that pass within these scopes, and the mandatory topics that do."""
    scopes = tuple(dict.fromkeys(scopes))
    points = dict.fromkeys(scopes)
    for record in (one for records in standing for one in records):
        given = Scope(channel=record.channel, topic=record.topic)
        if record.kind is RecordKind.OPT_IN and any(covers(scope, given) for scope in scopes):
            points[given] = None
    classes = [
        topic_class
        for topic_class in TopicClass
        if any(_passes(topics, topic_class, point, standing, now) for point in points)
    ]
    mandatory = sorted({name for scope in scopes for name in topics.mandatory_within(scope)})
    passing = [
        name
        for name in mandatory
        if any(
            _is_allowed(topics, channel, name, standing, now)
            for scope in scopes
            if name in topics.mandatory_within(scope)
            for channel in _mandatory_channels(topics, name, scope)
        )
    ]
    return classes, passing[:STILL_SENT_TOPICS_MAX]


def _passes(
    topics: TopicTable,
    topic_class: TopicClass,
    point: Scope,
    standing: Sequence[tuple[Record, ...]],
    now: Instant,
) -> bool:
    name = f"{point.topic}.{_CHILD_LABEL}" if point.topic else _CHILD_LABEL
    channels = _channels(point.channel)
    if name.count(".") >= TOPIC_LABELS_MAX or len(name) > TOPIC_CHARACTERS_MAX:
        return any(
            topics.resolve(channel, point.topic).topic_class is topic_class
            and _is_allowed(topics, channel, point.topic, standing, now)
            for channel in channels
        )
    is_mandatory = topic_class is TopicClass.MANDATORY
    parent = topics.resolve(Channel.EMAIL, point.topic)
    child = Topic(
        name=name,
        topic_class=topic_class,
        mandatory_channels=QUERY_CHANNELS if is_mandatory else frozenset(),
        requires_opt_in=parent.requires_opt_in and not is_mandatory,
    )
    lineage = (topics.get(one) for one in lineage_of(point.topic))
    table = TopicTable([*(one for one in lineage if one is not None), child])
    return any(_is_allowed(table, channel, name, standing, now) for channel in channels)


def _channels(channel: Channel) -> list[Channel]:
    return sorted(MESSAGE_CHANNELS) if channel is Channel.ANY else [channel]


def _mandatory_channels(topics: TopicTable, name: str, scope: Scope) -> list[Channel]:
    topic = topics.get(name)
    declared = topic.mandatory_channels if topic is not None else frozenset[Channel]()
    return [channel for channel in _channels(scope.channel) if channel in declared]


def _is_allowed(
    topics: TopicTable,
    channel: Channel,
    topic: str,
    standing: Sequence[tuple[Record, ...]],
    now: Instant,
) -> bool:
    facts = Facts(records=tuple(standing), holds=(), topics=topics)
    return decide(facts, Query(channel=channel, topic=topic), now).is_allowed
