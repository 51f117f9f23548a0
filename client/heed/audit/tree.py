"""The Merkle tree of a log: roots, and inclusion and consistency proofs.

Laws:
- A tree is over leaf hashes (`heed.proof.leaf_hash`), numbered from 0; leaf n - 1 is revision n.
- A proof is named by the ranges of leaves whose hashes it is made of; who keeps the hashes, and
  how, is not known here.
Source: RFC 6962 §2.1 for the tree and the proofs, RFC 9162 §2.1.3.2 and §2.1.4.2 for checking them.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from heed.audit.failing import ProofError
from heed.proof import HASH_BYTES

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""
SIZE_MAX = 2**63 - 1
"""The most leaves that a tree may claim to have."""

_NODE_PREFIX = b"\x01"


class Range(NamedTuple):
    """The leaves from `start` on and before `end`, whose hash is a node of some tree."""

    start: int
    end: int


class Subtree(NamedTuple):
    """A complete subtree: the leaves from `number` * 2**`level` on, 2**`level` of them."""

    level: int
    number: int


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node by those of its children."""
    return sha256(_NODE_PREFIX + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        # An odd last one rises as it is, which is how RFC 6962 splits a tree that is not complete.
        last = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(_NODE_PREFIX + left + right).digest() for left, right in pairs]
        level += last
    return level[0]


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return what proves that a leaf is in a tree, from its sibling up. Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    ranges: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append(Range(middle, end))
            end = middle
        else:
            ranges.append(Range(start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return what proves that a tree begins with an earlier one, of a leaf at least.

    Raises:
        ProofError: it does not.
    """
    _require_sizes(old_size, new_size)
    ranges: list[Range] = []
    start, end, is_whole = 0, new_size, True
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append(Range(middle, end))
            end = middle
        else:
            ranges.append(Range(start, middle))
            start, is_whole = middle, False
    if not is_whole:
        ranges.append(Range(start, end))
    return ranges[::-1]


def subtrees_of(of: Range) -> list[Subtree]:
    """Return the complete subtrees that a node is made of, from the left, each less than before."""
    found: list[Subtree] = []
    start = of.start
    while start < of.end:
        level = (of.end - start).bit_length() - 1
        found.append(Subtree(level, start >> level))
        start += 1 << level
    return found


def joined(hashes: Sequence[bytes]) -> bytes:
    """Return a node's hash by those of its `subtrees_of`, of which there is at least one."""
    found = hashes[-1]
    for left in hashes[-2::-1]:
        found = node_hash(left, found)
    return found


def verify_inclusion(
    *, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if a tree has this leaf at this place. Raises ProofError."""
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    _require_hashes([leaf, root, *proof])
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            # Up past the levels at which this node has no sibling.
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise ProofError("the inclusion proof is too short")
    if found != root:
        raise ProofError(f"the inclusion proof of leaf {index} gives another root than the tree's")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the later tree begins with the earlier one. Raises ProofError."""
    _require_sizes(old_size, new_size)
    _require_hashes(proof)
    if old_size == new_size:
        if proof:
            raise ProofError("the consistency proof is too long")
        if old_root != new_root:
            raise ProofError(f"there are two trees of {new_size} leaves, with different roots")
        return
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    # An earlier tree that is complete is itself the first node.
    nodes = [*proof] if at else [old_root, *proof]
    if not nodes:
        raise ProofError("the consistency proof is too short")
    found_old = found_new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if at & 1 or at == last:
            found_old = node_hash(sibling, found_old)
            found_new = node_hash(sibling, found_new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found_new = node_hash(found_new, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise ProofError("the consistency proof is too short")
    if found_old != old_root:
        raise ProofError("the consistency proof gives another root than the earlier tree's")
    if found_new != new_root:
        raise ProofError("the consistency proof gives another root than the later tree's")


def _require_sizes(old_size: int, new_size: int) -> None:
    # Of an empty tree there is nothing to prove: every tree begins with it.
    if not 0 < old_size <= new_size <= SIZE_MAX:
        raise ProofError(f"a tree of {new_size} leaves does not begin with one of {old_size}")


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")


def _split(size: int) -> int:
    """The largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
