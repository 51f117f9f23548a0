"""Of what a target is told.

Laws:
- What touches a channel or a topic that a target names is told, also where it covers more or less:
  a stop of everything touches every topic.
- What has neither (an erasure, another key) is told whatever the target names.
"""

from dataclasses import dataclass

from heed.model import Change, Channel
from heed.topics import MESSAGE_CHANNELS, covers_topic
from heed_server.webhooks.events import EventType, type_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a target asks for."""

    events: frozenset[EventType]
    channels: frozenset[Channel] = frozenset()
    """Empty: all."""
    topics: tuple[str, ...] = ()
    """Empty: all."""

    def is_told(self, change: Change) -> bool:
        """Whether the target is told of a change."""
        type_ = type_of(change)
        return type_ is not None and type_ in self.events and self._touches(change)

    def _touches(self, change: Change) -> bool:
        if change.topic is not None:
            return self._touches_topic(change.topic.name)
        if change.hold is not None:
            return self._touches_channel(change.hold.channel) and self._touches_topic(
                change.hold.topic
            )
        record = change.slot_record
        if record is None:
            return True
        return self._touches_channel(record.channel) and self._touches_topic(record.topic)

    def _touches_channel(self, channel: Channel | None) -> bool:
        if not self.channels or channel is None:
            return True
        if channel is Channel.ANY:
            return bool(self.channels & MESSAGE_CHANNELS)
        return channel in self.channels

    def _touches_topic(self, topic: str) -> bool:
        return not self.topics or any(
            covers_topic(topic, named) or covers_topic(named, topic) for named in self.topics
        )
