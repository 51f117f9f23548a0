"""The running hashes of the last revisions, by which tokens are checked (ADR 0008).

A ring of 8 bytes a revision, dense up to the newest. A revision that is ahead, or that has left the
ring, has no hash here.
"""

from heed.model import Revision
from heed.tokens import TOKEN_HASH_BYTES

HASHES_KEPT_MAX = 65_536
"""So many revisions a tenant, 512 KiB: higher checks older tokens against the log's history."""


class HashRing:
    """The hashes of the newest revisions."""

    __slots__ = ("_hashes", "_kept", "_kept_max", "newest")

    def __init__(
        self, revision: Revision, running_hash: bytes, *, kept_max: int = HASHES_KEPT_MAX
    ) -> None:
        """Begin with one revision; hashes may be given whole or cut."""
        self._kept_max = kept_max
        self._hashes = bytearray(TOKEN_HASH_BYTES * kept_max)
        self._kept = 0
        self.newest = revision - 1
        self.push(running_hash)

    def push(self, running_hash: bytes) -> None:
        """Add the hash of the revision after the newest."""
        self.newest += 1
        self._kept = min(self._kept + 1, self._kept_max)
        start = self.newest % self._kept_max * TOKEN_HASH_BYTES
        self._hashes[start : start + TOKEN_HASH_BYTES] = running_hash[:TOKEN_HASH_BYTES]

    def get(self, revision: Revision) -> bytes | None:
        """Return the hash at a revision, or None when it is not kept (any more, or yet)."""
        if not self.newest - self._kept < revision <= self.newest:
            return None
        start = revision % self._kept_max * TOKEN_HASH_BYTES
        return bytes(self._hashes[start : start + TOKEN_HASH_BYTES])

    def dump(self) -> bytes:
        """Return the hashes kept, oldest first."""
        hashes, start = bytes(self._hashes), (self.newest + 1) % self._kept_max * TOKEN_HASH_BYTES
        return (hashes[start:] + hashes[:start])[-self._kept * TOKEN_HASH_BYTES :]


def load(newest: Revision, dumped: bytes, *, kept_max: int = HASHES_KEPT_MAX) -> HashRing:
    """Make a ring of dumped hashes, the last of which is `newest`'s.

    Raises:
        ValueError: there are none, or a part of one.
    """
    count, rest = divmod(len(dumped), TOKEN_HASH_BYTES)
    if rest or not count:
        raise ValueError(f"{len(dumped)} bytes are not hashes of {TOKEN_HASH_BYTES} bytes each")
    first = Revision(newest - count + 1)
    ring = HashRing(first, dumped[:TOKEN_HASH_BYTES], kept_max=kept_max)
    for start in range(TOKEN_HASH_BYTES, len(dumped), TOKEN_HASH_BYTES):
        ring.push(dumped[start : start + TOKEN_HASH_BYTES])
    return ring
