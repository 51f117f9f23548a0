"""What vouches for a snapshot: one extension line of a checkpoint of exactly its revision.

    heed.dev/snapshot/v1 <records> <stops> <filter> <keys>

Four SHA-256 in base64: of the records as they were sent (`SnapshotEnd.checksum`); of the topics
and holds, each as its message serialised in the order of its fields, after its length in 4 bytes;
of the filter that left the rest out, as `filter_hash` writes it down; and of the lookup keys, by
which alone anybody is found in it.

It is the log's word, signed: who was told another snapshot of that revision and filter by the same
key can show both. It is not proved by the tree, which has changes and not what stands after them.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from heed.audit.notes import encode_base64

SNAPSHOT_LINE: Final = "heed.dev/snapshot/v1"

_LENGTH_BYTES: Final = 4


class Vouched(NamedTuple):
    """What vouches for a snapshot."""

    checkpoint: str
    """The signed note."""
    subtree_hashes: tuple[bytes, ...]
    """Of the log's tree at that size, as `heed.audit.ranges.CompactRange` has them."""


def snapshot_line(*, records: bytes, stops: bytes, filter_: bytes, keys: bytes) -> str:
    """Return the extension line of a snapshot by its four hashes."""
    return " ".join((SNAPSHOT_LINE, *map(encode_base64, (records, stops, filter_, keys))))


def keys_hash(keys: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the hash of lookup keys, each after its id in 4 bytes, ascending by it.

    They are random, so that nobody learns one by it.
    """
    hashing = sha256()
    for key_id, key in sorted(keys):
        hashing.update(key_id.to_bytes(_LENGTH_BYTES) + key)
    return hashing.digest()


def stops_hash(messages: Iterable[bytes]) -> bytes:
    """Return the hash of the topics and then the holds of a snapshot, each serialised."""
    hashing = sha256()
    for one in messages:
        hashing.update(len(one).to_bytes(_LENGTH_BYTES) + one)
    return hashing.digest()


def filter_hash(channels: Iterable[int], topics: Iterable[str]) -> bytes:
    """Return the hash of a filter: the numbers of its channels, ascending, and its topics, sorted.

    The first line has the numbers, with commas between them; then each topic is a line.
    """
    numbers = ",".join(map(str, sorted(set(channels))))
    return sha256("\n".join((numbers, *sorted(set(topics)))).encode()).digest()
