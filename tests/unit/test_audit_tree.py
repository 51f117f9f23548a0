"""Trees and tiles: RFC 6962, by published vectors and by a tree that is made the slow way."""

import json
from base64 import b64decode
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.audit.failing import ProofError
from heed.audit.tiles import (
    ENTRIES,
    TILE_WIDTH,
    Edge,
    Tile,
    edge_tiles,
    hashes_of,
    join_entries,
    split_entries,
    split_hashes,
    tile_at,
    tiles_for,
    width_of,
)
from heed.audit.tree import (
    EMPTY_ROOT,
    Range,
    consistency_ranges,
    inclusion_ranges,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.support.logged import tiles_of

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "cases" / "merkle.json").read_text(encoding="utf-8")
)
SIZES = (1, 2, 3, 7, 8, 255, 256, 257, 511, 513, 700, 65_535, 65_536, 65_537)


def leaf(number: int) -> bytes:
    return sha256(b"leaf %d" % number).digest()


def slow_root(leaves: list[bytes]) -> bytes:
    """As RFC 6962 §2.1 says it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(slow_root(leaves[:split]), slow_root(leaves[split:]))


def grown(size: int) -> tuple[Edge, dict[Tile, list[bytes]]]:
    """A tree with all its tiles."""
    edge = Edge()
    tiles = {full.tile: list(full.hashes) for full in edge.extend([leaf(n) for n in range(size)])}
    for level, tile in enumerate(edge_tiles(size)):
        if tile.width:
            tiles[tile] = list(edge.levels[level])
    return edge, tiles


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda one: one["case"])
def test_inclusion_is_verified_as_published(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_inclusion(
            index=case["leafIdx"],
            size=case["treeSize"],
            leaf=_bytes(case["leafHash"]),
            proof=list(map(_bytes, case["proof"] or [])),
            root=_bytes(case["root"]),
        )

    _expect(verify, fails=case["wantErr"])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda one: one["case"])
def test_consistency_is_verified_as_published(case: dict[str, Any]) -> None:
    def verify() -> None:
        verify_consistency(
            old_size=case["size1"],
            old_root=_bytes(case["root1"]),
            new_size=case["size2"],
            new_root=_bytes(case["root2"]),
            proof=list(map(_bytes, case["proof"] or [])),
        )

    _expect(verify, fails=case["wantErr"])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 100])
def test_a_root_is_that_of_the_definition(size: int) -> None:
    leaves = [leaf(number) for number in range(size)]

    assert root_of(leaves) == slow_root(leaves)


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_that_grows_by_tiles_has_the_root_of_its_leaves(size: int) -> None:
    edge, tiles = grown(size)

    assert edge.size == size
    assert edge.root() == root_of([leaf(number) for number in range(size)])
    assert sorted(tiles) == sorted(tiles_of(size))
    assert all(len(hashes) == tile.width for tile, hashes in tiles.items())


@pytest.mark.parametrize("size", SIZES)
def test_every_proof_out_of_tiles_verifies(size: int) -> None:
    edge, tiles = grown(size)
    places = sorted({0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)))

    for index in places:
        ranges = inclusion_ranges(index, size)
        needed = {tile: tiles[tile] for tile in tiles_for(ranges, size)}
        verify_inclusion(
            index=index,
            size=size,
            leaf=leaf(index),
            proof=hashes_of(ranges, size, needed),
            root=edge.root(),
        )
        old_size = index + 1
        verify_consistency(
            old_size=old_size,
            old_root=root_of([leaf(number) for number in range(old_size)]),
            new_size=size,
            new_root=edge.root(),
            proof=hashes_of(consistency_ranges(old_size, size), size, tiles),
        )


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 600), min_size=1, max_size=6))
def test_a_tree_is_the_same_in_whatever_portions_it_grows(sizes: list[int]) -> None:
    leaves = [leaf(number) for number in range(sum(sizes))]
    edge = Edge()
    full: list[Tile] = []
    for start, end in pairwise([0, *(sum(sizes[: n + 1]) for n in range(len(sizes)))]):
        full += [one.tile for one in edge.extend(leaves[start:end])]
    at_once = Edge()

    assert full == [one.tile for one in at_once.extend(leaves)]
    assert edge.levels == at_once.levels
    assert edge.root() == at_once.root() == root_of(leaves)


def test_an_edge_taken_up_again_grows_on() -> None:
    edge, _ = grown(70_000)
    again = Edge(edge.size, edge.levels)
    copied = edge.copy()

    again.extend([leaf(70_000)])

    assert again.root() == root_of([leaf(number) for number in range(70_001)])
    assert copied.root() == edge.root() != again.root()


def test_an_edge_of_another_size_is_refused() -> None:
    with pytest.raises(ProofError, match="has \\[1\\] hashes"):
        Edge(1, [[]])


def test_the_example_of_the_specification_has_its_tiles() -> None:
    tiles = tiles_of(70_000)

    assert len([one for one in tiles if one.level == 0 and one.width == TILE_WIDTH]) == 273
    assert [one for one in tiles if one.width != TILE_WIDTH] == [
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert width_of(0, 273, 70_000) == 112
    assert width_of(ENTRIES, 273, 70_000) == 112
    assert width_of(0, 274, 70_000) == 0


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(2, 5, 17), "tile/2/005.p/17"),
        (Tile(ENTRIES, 1_000, 1), "tile/entries/x001/000.p/1"),
        (Tile(63, 12), "tile/63/012"),
    ],
)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert tile_at(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/64/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000/",
        "../tile/0/000",
        "tile/data/000",
        "tile/0/" + "x999/" * 7 + "999",
        "tile/0/\u0660\u0660\u0660",
    ],
)
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(ProofError, match="no tile's path"):
        tile_at(path)


def test_entries_are_joined_and_split() -> None:
    entries = [b"", b"a", b"b" * 300]
    tile = Tile(ENTRIES, 0, 3)

    assert split_entries(tile, join_entries(entries)) == entries


@pytest.mark.parametrize("content", [b"\x00", b"\x00\x05abcd", b"\x00\x01a", b"\x00\x00" * 3])
def test_entries_that_are_not_whole_are_refused(content: bytes) -> None:
    with pytest.raises(ProofError, match="tile/entries/000"):
        split_entries(Tile(ENTRIES, 0, 2), content)


def test_a_tile_of_another_width_is_refused() -> None:
    with pytest.raises(ProofError, match="has 31 bytes"):
        split_hashes(Tile(0, 0, 1), bytes(31))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="has no leaf"):
        inclusion_ranges(index, size)


def test_there_is_no_proof_that_a_tree_begins_with_a_larger_one() -> None:
    with pytest.raises(ProofError, match="does not begin"):
        consistency_ranges(4, 3)
    with pytest.raises(ProofError, match="does not begin"):
        consistency_ranges(0, 3)
    assert consistency_ranges(3, 3) == []


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(ProofError, match="a hash has 32 bytes"):
        verify_consistency(
            old_size=1, old_root=leaf(0), new_size=2, new_root=leaf(1), proof=[b"short"]
        )


def test_a_node_is_hashed_apart_from_a_leaf() -> None:
    _, tiles = grown(2)

    assert hashes_of([Range(0, 2)], 2, tiles) == [sha256(b"\x01" + leaf(0) + leaf(1)).digest()]


def _bytes(said: str | None) -> bytes:
    return b64decode(said or "")


def _expect(verify: Any, *, fails: bool) -> None:
    if fails:
        with pytest.raises(ProofError):
            verify()
    else:
        verify()
