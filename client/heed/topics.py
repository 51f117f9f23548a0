"""What a topic is: declared, or like the nearest ancestor that is.

Laws (design, section 3):
- Every topic resolves. An undeclared one takes its class (save mandatory, which becomes
  transactional) and its opt-in default from the nearest declared ancestor; the root is there
  without being declared, promotional and opt-out, and is promotional however it is declared.
- Mandatory is a topic's own, per channel, and never inherited.
- A class that this version does not know is promotional.
- A table never changes; another declaration makes another table.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import TOPIC_ROOT, Channel, Scope, Topic, TopicClass

TOPIC_CHARACTERS_MAX = 200
TOPIC_LABELS_MAX = 10
TOPIC_LABEL_CHARACTERS_MAX = 63
TOPICS_RESOLVED_MAX = 16_384
"""How many resolved topics a table remembers; undeclared ones come from callers."""

MESSAGE_CHANNELS = frozenset(Channel) - {Channel.ANY, Channel.PROCESSING}
"""The channels that ANY means."""
QUERY_CHANNELS = frozenset(Channel) - {Channel.ANY}
"""The channels that a message can travel on."""

_LABEL = rf"[a-z0-9_-]{{1,{TOPIC_LABEL_CHARACTERS_MAX}}}"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTopic:
    """What one topic is on one channel."""

    name: str
    channel: Channel
    topic_class: TopicClass
    requires_opt_in: bool
    undeclared: bool
    suppressed_as_undeclared: bool
    retired: bool
    lineage: frozenset[str]
    """The topic and all its ancestors, the root included."""
    channels: frozenset[Channel]
    """The channels of scopes that cover the channel: itself, and ANY save for PROCESSING."""
    raising: frozenset[str]
    """Those of the lineage that are themselves transactional or mandatory on this channel: a
    promotional stop named there reaches transactional messages."""


class TopicTable:
    """A tenant's declared topics. Safe to share between threads."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self._declared = {topic.name: topic for topic in topics}
        # Only ever a memory of `_resolve`; emptied when full.
        self._resolved: dict[tuple[Channel, str], ResolvedTopic] = {}

    @property
    def declared(self) -> tuple[Topic, ...]:
        """Every declared topic, retired ones too, by name."""
        return tuple(self._declared[name] for name in sorted(self._declared))

    def get(self, name: str) -> Topic | None:
        """Return a topic as it was declared."""
        return self._declared.get(name)

    def resolve(self, channel: Channel, topic: str) -> ResolvedTopic:
        """Return what a topic is for messages on a channel.

        Raises:
            InvalidArgumentError: the topic's name is malformed, or messages do not travel on this
                channel.
        """
        return self._resolved.get((channel, topic)) or self._remember(channel, topic)

    def mandatory_within(self, scope: Scope) -> list[str]:
        """Return the topics within a scope that are mandatory on a channel of it, by name."""
        return [
            topic.name
            for topic in self.declared
            if covers_topic(scope.topic, topic.name)
            and any(
                covers_channel(scope.channel, channel)
                and self.resolve(channel, topic.name).topic_class is TopicClass.MANDATORY
                for channel in topic.mandatory_channels
            )
        ]

    def _remember(self, channel: Channel, name: str) -> ResolvedTopic:
        if channel not in QUERY_CHANNELS:
            said = f"is {channel!r}, on which no message travels; name one channel"
            raise InvalidArgumentError(
                f"the channel {said}", violations=[FieldViolation("channel", said)]
            )
        validate_topic(name)
        resolved = self._resolve(channel, name)
        if len(self._resolved) >= TOPICS_RESOLVED_MAX:
            self._resolved.clear()
        self._resolved[channel, name] = resolved
        return resolved

    def _resolve(self, channel: Channel, name: str) -> ResolvedTopic:
        lineage = lineage_of(name)
        nearest = next(
            (self._declared[one] for one in lineage if one in self._declared), _UNDECLARED_ROOT
        )
        undeclared = nearest.name != name
        return ResolvedTopic(
            name=name,
            channel=channel,
            topic_class=self._class_of(channel, name),
            requires_opt_in=nearest.requires_opt_in,
            undeclared=undeclared,
            suppressed_as_undeclared=undeclared and nearest.suppress_undeclared,
            retired=nearest.retired and not undeclared,
            lineage=frozenset(lineage),
            channels=frozenset(one for one in Channel if covers_channel(one, channel)),
            raising=frozenset(
                one for one in lineage if self._class_of(channel, one) is not TopicClass.PROMOTIONAL
            ),
        )

    def _class_of(self, channel: Channel, name: str) -> TopicClass:
        for one in lineage_of(name):
            topic = self._declared.get(one)
            if topic is None:
                continue
            if one == TOPIC_ROOT:
                break
            match topic.topic_class:
                case TopicClass.MANDATORY if one == name and channel in topic.mandatory_channels:
                    return TopicClass.MANDATORY
                case TopicClass.MANDATORY | TopicClass.TRANSACTIONAL:
                    return TopicClass.TRANSACTIONAL
                case _:
                    break
        return TopicClass.PROMOTIONAL


def lineage_of(name: str) -> tuple[str, ...]:
    """Return a topic and its ancestors, the nearest first and the root last."""
    lineage: list[str] = []
    while name:
        lineage.append(name)
        name = name.rpartition(".")[0]
    return (*lineage, TOPIC_ROOT)


def covers_topic(ancestor: str, topic: str) -> bool:
    """Whether a topic is another or an ancestor of it."""
    return not ancestor or ancestor == topic or topic.startswith(f"{ancestor}.")


def widest(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some topics that are beneath no other, sorted; none if the root is one."""
    named = set(names)
    if TOPIC_ROOT in named:
        return ()
    return tuple(
        sorted(
            name
            for name in named
            if not any(other != name and covers_topic(other, name) for other in named)
        )
    )


def covers_channel(wider: Channel, channel: Channel) -> bool:
    """Whether a scope's channel is another's, or ANY where the other is no PROCESSING."""
    return wider == channel or (wider == Channel.ANY and channel in MESSAGE_CHANNELS)


def covers(wider: Scope, narrower: Scope) -> bool:
    """Whether all that the second scope covers is covered by the first."""
    return covers_channel(wider.channel, narrower.channel) and covers_topic(
        wider.topic, narrower.topic
    )


def validate_topic(name: str) -> None:
    """Accept the name of a topic, declared or not; the root's is empty.

    Raises:
        InvalidArgumentError: it is malformed.
    """
    if not name:
        return
    if (
        len(name) > TOPIC_CHARACTERS_MAX
        or name.count(".") >= TOPIC_LABELS_MAX
        or _NAME.fullmatch(name) is None
    ):
        said = (
            f"is not 1 to {TOPIC_LABELS_MAX} labels of 1 to {TOPIC_LABEL_CHARACTERS_MAX} of a-z, "
            f"0-9, '_' and '-' joined by dots, {TOPIC_CHARACTERS_MAX} characters in all; write it "
            "like marketing.weekly"
        )
        raise InvalidArgumentError(f"the topic {said}", violations=[FieldViolation("topic", said)])


def loosened_fields(declared: Mapping[str, Topic], after: Topic) -> tuple[str, ...]:
    """Return the fields by which a declaration may let more messages through than the one before.

    `declared` are all topics that are declared, by name.

    Every change of class counts but mandatory to transactional: also promotional to mandatory, and
    transactional to promotional, because opt-outs named at the topic then reach less beneath it. A
    first declaration loosens nothing but that last: as promotional, a topic that was transactional
    without being declared.
    """
    before = declared.get(after.name)
    if before is None:
        is_promotional = after.topic_class is TopicClass.PROMOTIONAL
        return (
            ("topic_class",)
            if is_promotional and _is_transactional_undeclared(declared, after.name)
            else ()
        )
    tightens_class = (before.topic_class, after.topic_class) == (
        TopicClass.MANDATORY,
        TopicClass.TRANSACTIONAL,
    )
    looser = {
        "topic_class": before.topic_class != after.topic_class and not tightens_class,
        "mandatory_channels": bool(after.mandatory_channels - before.mandatory_channels),
        "requires_opt_in": before.requires_opt_in and not after.requires_opt_in,
        "suppress_undeclared": before.suppress_undeclared and not after.suppress_undeclared,
    }
    return tuple(name for name, is_looser in looser.items() if is_looser)


def _is_transactional_undeclared(declared: Mapping[str, Topic], name: str) -> bool:
    """Whether an undeclared topic is transactional by its nearest declared ancestor."""
    nearest = next((declared[one] for one in lineage_of(name)[1:-1] if one in declared), None)
    return nearest is not None and nearest.topic_class in {
        TopicClass.TRANSACTIONAL,
        TopicClass.MANDATORY,
    }


_UNDECLARED_ROOT = Topic(name=TOPIC_ROOT)
