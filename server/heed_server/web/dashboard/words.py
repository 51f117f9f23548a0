"""The words of the log as people read them: scopes, origins. Pure."""

from heed.model import TOPIC_ROOT, Channel, Origin
from heed.names import word_of


def channel_word(channel: Channel) -> str:
    """Return a channel's word; of `any` what it means."""
    return "every message channel" if channel is Channel.ANY else word_of(channel)


def topic_word(topic: str) -> str:
    """Return a topic; of the root what it means."""
    return "every topic" if topic == TOPIC_ROOT else topic


def by_whom(origin: Origin | None) -> str | None:
    """Return who said so and through what; None: nobody did, or it was erased."""
    if origin is None:
        return None
    return f"{origin.actor} ({origin.source})" if origin.actor else origin.source
