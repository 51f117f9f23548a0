"""Which records a stream is sent: those that may bear on the messages its reader asks about."""

from dataclasses import dataclass

from heed.model import Channel, Record
from heed.topics import covers_topic


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """The channels and topics of a stream; empty ones leave nothing out.

    Records of every channel bear on each, and so do those of topics that cover a wanted one, and
    those beneath it.
    """

    channels: frozenset[Channel] = frozenset()
    topics: tuple[str, ...] = ()

    @property
    def leaves_nothing_out(self) -> bool:
        """Whether every record is wanted."""
        return not self.channels and not self.topics

    def wants(self, record: Record) -> bool:
        """Whether a record may bear on a message of these channels and topics."""
        # A channel that this version does not know may cover any.
        if self.channels and record.channel in _NARROW - self.channels:
            return False
        return not self.topics or any(
            covers_topic(wanted, record.topic) or covers_topic(record.topic, wanted)
            for wanted in self.topics
        )


EVERYTHING = WatchFilter()
"""The filter of a stream that asked for none."""

_NARROW = frozenset(Channel) - {Channel.ANY}
