"""A compact range gives the roots of the tree that it grew by, and is kept as it was."""

import hashlib

import pytest

from heed.audit.failing import ProofError
from heed.audit.notes import encode_base64
from heed.audit.ranges import CompactRange, decode_range
from heed.audit.snapshots import filter_hash, keys_hash, snapshot_line, stops_hash
from heed.audit.tree import SIZE_MAX, Range, joined, root_of, subtrees_of
from heed.proof import leaf_hash
from heed.topics import widest

LEAVES = [leaf_hash(bytes([at])) for at in range(70)]


@pytest.mark.parametrize("size", [*range(18), 31, 32, 33, 63, 64, 65, 70])
def test_its_root_is_that_of_the_tree(size: int) -> None:
    at_once, one_by_one = CompactRange(), CompactRange()
    at_once.extend(LEAVES[:size])
    for leaf in LEAVES[:size]:
        one_by_one.extend([leaf])

    assert at_once.root() == one_by_one.root() == root_of(LEAVES[:size])
    assert len(at_once.hashes) == len(subtrees_of(Range(0, size)))
    assert decode_range(at_once.encode()).hashes == at_once.hashes
    if size:
        assert joined(at_once.hashes) == at_once.root()


def test_a_copy_grows_by_itself() -> None:
    tree = CompactRange()
    tree.extend(LEAVES[:5])
    copy = tree.copy()
    copy.extend(LEAVES[5:9])

    assert (tree.size, copy.size) == (5, 9)
    assert tree.root() == root_of(LEAVES[:5])
    assert copy.root() == root_of(LEAVES[:9])


@pytest.mark.parametrize(("size", "hashes"), [(3, 1), (0, 1), (-1, 0), (SIZE_MAX + 1, 1)], ids=str)
def test_a_size_that_its_hashes_are_not_of_is_refused(size: int, hashes: int) -> None:
    with pytest.raises(ProofError):
        CompactRange(size, [bytes(32)] * hashes)


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError):
        CompactRange(1, [b"short"])


@pytest.mark.parametrize("kept", [b"", bytes(7), bytes(9), (1).to_bytes(8) + bytes(31)], ids=len)
def test_what_was_kept_otherwise_is_refused(kept: bytes) -> None:
    with pytest.raises(ProofError):
        decode_range(kept)


def test_a_snapshot_is_named_by_its_records_its_stops_its_filter_and_its_keys() -> None:
    """The forms that docs/audit.md states, made by hand."""
    stops = hashlib.sha256(b"\0\0\0\3abc\0\0\0\0").digest()
    filter_ = hashlib.sha256(b"1,2\nnews\norders").digest()
    keys = hashlib.sha256(b"\0\0\0\1" + b"a" * 32 + b"\0\0\0\2" + b"b" * 32).digest()

    line = snapshot_line(records=bytes(32), stops=stops, filter_=filter_, keys=keys)

    assert stops_hash([b"abc", b""]) == stops
    assert keys_hash([(2, b"b" * 32), (1, b"a" * 32)]) == keys
    assert filter_hash([2, 1, 2], ["orders", "news", "news"]) == filter_
    assert filter_hash([], []) == hashlib.sha256(b"").digest()
    assert line == " ".join(
        (
            "heed.dev/snapshot/v1",
            encode_base64(bytes(32)),
            encode_base64(stops),
            encode_base64(filter_),
            encode_base64(keys),
        )
    )


def test_the_widest_topics_are_beneath_no_other() -> None:
    assert widest(["a.b", "a", "c", "a.b.c"]) == ("a", "c")
    assert widest(["a", ""]) == ()
