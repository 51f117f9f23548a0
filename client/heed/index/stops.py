"""How topics and holds stand in an index: JSON, one entry each, by name and by hold id.

They are few and read once, when the index is opened; records, which are many, have a binary
encoding of their own (`heed.records`).
"""

import json
from collections.abc import Iterable
from typing import Any, cast

from heed.index.faults import Fault, IndexUnusableError
from heed.model import Channel, Hold, Instant, Revision, Topic, TopicClass


def topic_entry_key(name: str) -> bytes:
    """Return the key of a topic's entry: LMDB takes no empty one, and the root's name is empty."""
    return b"/" + name.encode()


def hold_entry_key(hold_id: str) -> bytes:
    """Return the key of a hold's entry."""
    return b"/" + hold_id.encode()


def encode_topic(topic: Topic) -> bytes:
    """Return a topic's entry."""
    return _dump(
        {
            "name": topic.name,
            "class": topic.topic_class.value,
            "mandatory_channels": sorted(channel.value for channel in topic.mandatory_channels),
            "requires_opt_in": topic.requires_opt_in,
            "suppress_undeclared": topic.suppress_undeclared,
            "retired": topic.retired,
            "title": topic.title,
            "revision": topic.revision,
        }
    )


def decode_topic(entry: bytes) -> Topic:
    """Read a topic's entry.

    Raises:
        ValueError: it is not one.
    """
    try:
        fields = _load(entry)
        return Topic(
            name=fields["name"],
            topic_class=TopicClass(fields["class"]),
            mandatory_channels=frozenset(map(Channel, fields["mandatory_channels"])),
            requires_opt_in=fields["requires_opt_in"],
            suppress_undeclared=fields["suppress_undeclared"],
            retired=fields["retired"],
            title=fields["title"],
            revision=Revision(fields["revision"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a topic's entry: {error}") from error


def encode_hold(hold: Hold) -> bytes:
    """Return a hold's entry."""
    return _dump(
        {
            "hold_id": hold.hold_id,
            "channel": None if hold.channel is None else hold.channel.value,
            "topic": hold.topic,
            "campaign": hold.campaign,
            "end_time": hold.end_time,
            "reason": hold.reason,
            "revision": hold.revision,
            # Left out where it is not: an index of before knows no hold that has it.
            **({"spares_mandatory": True} if hold.spares_mandatory else {}),
        }
    )


def decode_hold(entry: bytes) -> Hold:
    """Read a hold's entry.

    Raises:
        ValueError: it is not one.
    """
    try:
        fields = _load(entry)
        return Hold(
            hold_id=fields["hold_id"],
            channel=None if fields["channel"] is None else Channel(fields["channel"]),
            topic=fields["topic"],
            campaign=fields["campaign"],
            end_time=None if fields["end_time"] is None else Instant(fields["end_time"]),
            reason=fields["reason"],
            revision=Revision(fields["revision"]),
            spares_mandatory=fields.get("spares_mandatory", False),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a hold's entry: {error}") from error


def read_stops(
    topics: Iterable[tuple[bytes, bytes]], holds: Iterable[tuple[bytes, bytes]]
) -> tuple[list[Topic], list[Hold]]:
    """Read all that stands of both, as keys and entries.

    Raises:
        IndexUnusableError: DAMAGED.
    """
    try:
        return (
            [decode_topic(entry) for _, entry in topics],
            [decode_hold(entry) for _, entry in holds],
        )
    except ValueError as error:
        raise IndexUnusableError(
            Fault.DAMAGED, f"a topic or hold in the index cannot be read: {error}"
        ) from error


def in_order(holds: Iterable[Hold]) -> tuple[Hold, ...]:
    """Return holds in the order in which they were placed, by which the first is told."""
    return tuple(sorted(holds, key=lambda hold: hold.revision))


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _load(entry: bytes) -> dict[str, Any]:
    fields = json.loads(entry)
    if not isinstance(fields, dict):
        raise TypeError("not an object")
    return cast("dict[str, Any]", fields)
