"""A growing tree by its complete subtrees alone: what is enough to grow it, and to know its root.

Laws:
- The hashes are those of `heed.audit.tree.subtrees_of` the whole tree, from the left: as many as
  its size has binary ones, 63 at most.
Source: RFC 6962 §2.1; the name is that of transparency-dev's merkle library.
"""

from collections.abc import Iterable, Sequence

from heed.audit.failing import ProofError
from heed.audit.tree import EMPTY_ROOT, SIZE_MAX, joined, node_hash
from heed.proof import HASH_BYTES

_SIZE_BYTES = 8


class CompactRange:
    """The leaves from the first on, in at most 63 hashes."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """`hashes` are those of the complete subtrees, from the left. Raises ProofError."""
        if not 0 <= size <= SIZE_MAX or len(hashes) != size.bit_count():
            raise ProofError(
                f"a tree of {size} leaves is not made of {len(hashes)} complete subtrees"
            )
        if any(len(one) != HASH_BYTES for one in hashes):
            raise ProofError(f"a hash has {HASH_BYTES} bytes")
        self.size = size
        self._hashes = list(hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The hashes of the complete subtrees, from the left."""
        return tuple(self._hashes)

    def copy(self) -> "CompactRange":
        """Return another of the same tree, that grows by itself."""
        return CompactRange(self.size, self._hashes)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes."""
        hashes, size = self._hashes, self.size
        for leaf in leaves:
            found, at = leaf, size
            while at & 1:
                found = node_hash(hashes.pop(), found)
                at >>= 1
            hashes.append(found)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """Return the root of the tree."""
        return joined(self._hashes) if self._hashes else EMPTY_ROOT

    def encode(self) -> bytes:
        """Return it as it is kept: its size in 8 bytes, and the hashes."""
        return self.size.to_bytes(_SIZE_BYTES) + b"".join(self._hashes)


def decode_range(kept: bytes) -> CompactRange:
    """Return what was kept. Raises ProofError."""
    hashes = kept[_SIZE_BYTES:]
    if len(kept) < _SIZE_BYTES or len(hashes) % HASH_BYTES:
        raise ProofError("the tree that was kept cannot be read")
    return CompactRange(
        int.from_bytes(kept[:_SIZE_BYTES]),
        [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)],
    )
