"""Which records a stream is sent: those that may bear on the messages its reader asks about."""

from dataclasses import dataclass

from heed.model import RULE_VERSION, Channel, Record
from heed.records import rules_needed
from heed.topics import covers_topic


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """The channels and topics of a stream; empty ones leave nothing out.

    Records of every channel bear on each, and so do those of topics that cover a wanted one, and
    those beneath it.
    """

    channels: frozenset[Channel] = frozenset()
    topics: tuple[str, ...] = ()
    rule_version: int = RULE_VERSION
    """What only later rules decide by is left out: its reader could not read it, and allows nothing
    anyway, once it is told that later rules are needed."""

    @property
    def leaves_nothing_out(self) -> bool:
        """Whether every record is wanted."""
        return not self.channels and not self.topics and self.knows(RULE_VERSION)

    def knows(self, rule_version: int) -> bool:
        """Whether its reader decides by rules of a version."""
        return rule_version <= self.rule_version

    def wants(self, record: Record) -> bool:
        """Whether a record may bear on a message of these channels and topics."""
        if not self.knows(rules_needed((record,))):
            return False
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
