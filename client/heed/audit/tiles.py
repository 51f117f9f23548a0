"""A tree in tiles of 256 hashes: their names, how a tree grows by them, and proofs out of them.

Laws:
- A full tile never changes; a partial one is the beginning of the full one.
- A tile's root is a hash of the tile above.
Source: C2SP tlog-tiles, https://c2sp.org/tlog-tiles.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from heed.audit.failing import ProofError
from heed.audit.tree import EMPTY_ROOT, SIZE_MAX, Range, Subtree, joined, root_of, subtrees_of
from heed.proof import HASH_BYTES

TILE_WIDTH = 256
"""The hashes of a full tile."""
TILE_HEIGHT = 8
"""The levels of a tree that a tile stands for."""
LEVEL_MAX = 63
ENTRIES = -1
"""In the place of a tile's level: the entries themselves, whose hashes are the tile of level 0."""

_ENTRY_SIZE_BYTES = 2
_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """The name of a tile; of less than `TILE_WIDTH` it is partial."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Return where it stands under a log's address: `tile/0/x001/x234/067.p/112`."""
        digits = f"{self.number:03d}"
        digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"


class FullTile(NamedTuple):
    """A tile that a growing tree has filled."""

    tile: Tile
    hashes: tuple[bytes, ...]
    root: bytes
    """The hash of the tile above."""


def tile_at(path: str) -> Tile:
    """Return the tile that a path names. Raises ProofError."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise ProofError(f"{path[:100]!r} is no tile's path")
    level, number, width = found.groups()
    tile = Tile(
        ENTRIES if level == "entries" else int(level),
        int(number.replace("x", "").replace("/", "")),
        TILE_WIDTH if width is None else int(width),
    )
    # One spelling: no zeroes too many, nothing beyond what a tree may have.
    is_known = tile.level <= LEVEL_MAX and tile.number <= SIZE_MAX and tile.width <= TILE_WIDTH
    if tile.path != path or not is_known:
        raise ProofError(f"{path[:100]!r} is no tile's path")
    return tile


def width_of(level: int, number: int, size: int) -> int:
    """Return how many hashes a tile has in a tree; 0: it is not there."""
    hashes = size >> (TILE_HEIGHT * max(level, 0))
    return max(0, min(TILE_WIDTH, hashes - number * TILE_WIDTH))


def tiles_for(ranges: Iterable[Range], size: int) -> list[Tile]:
    """Return the tiles of a tree that the hashes of some nodes are made of."""
    needed: dict[Tile, None] = {}
    for of in ranges:
        for subtree in subtrees_of(of):
            level, number, _, _ = _place(subtree)
            needed[Tile(level, number, width_of(level, number, size))] = None
    return list(needed)


def hashes_of(
    ranges: Iterable[Range], size: int, tiles: Mapping[Tile, Sequence[bytes]]
) -> list[bytes]:
    """Return the hashes of some nodes of a tree, by `tiles_for` them."""
    found: list[bytes] = []
    for of in ranges:
        parts: list[bytes] = []
        for subtree in subtrees_of(of):
            level, number, start, count = _place(subtree)
            tile = tiles[Tile(level, number, width_of(level, number, size))]
            parts.append(root_of(tile[start : start + count]))
        found.append(joined(parts))
    return found


def split_hashes(tile: Tile, content: bytes) -> list[bytes]:
    """Return the hashes of a tile by its bytes. Raises ProofError."""
    if len(content) != tile.width * HASH_BYTES:
        raise ProofError(
            f"{tile.path} has {len(content)} bytes, and {tile.width} hashes would be "
            f"{tile.width * HASH_BYTES}"
        )
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def join_entries(entries: Iterable[bytes]) -> bytes:
    """Return the bytes of a tile of entries."""
    return b"".join(len(one).to_bytes(_ENTRY_SIZE_BYTES) + one for one in entries)


def split_entries(tile: Tile, content: bytes) -> list[bytes]:
    """Return the entries of a tile by its bytes. Raises ProofError."""
    entries: list[bytes] = []
    at = 0
    while at < len(content):
        start = at + _ENTRY_SIZE_BYTES
        end = start + int.from_bytes(content[at:start])
        if start > len(content) or end > len(content):
            raise ProofError(f"{tile.path} ends within an entry")
        entries.append(content[start:end])
        at = end
    if len(entries) != tile.width:
        raise ProofError(f"{tile.path} has {len(entries)} entries, not {tile.width}")
    return entries


class Edge:
    """The right edge of a growing tree: of each level the hashes that are not a full tile yet."""

    def __init__(self, size: int = 0, levels: Iterable[Sequence[bytes]] = ()) -> None:
        """`levels` are the partial tiles of a tree of this size, from level 0 up."""
        self.size = size
        self._levels = [list(one) for one in levels]
        expected = [width % TILE_WIDTH for width in _widths(size)]
        if [len(one) for one in self._levels] != expected:
            raise ProofError(f"the edge of a tree of {size} leaves has {expected} hashes a level")

    @property
    def levels(self) -> tuple[tuple[bytes, ...], ...]:
        """The partial tiles, from level 0 up; an empty one where all tiles are full."""
        return tuple(map(tuple, self._levels))

    def copy(self) -> "Edge":
        """Return another of the same tree, that grows by itself."""
        return Edge(self.size, self._levels)

    def extend(self, leaves: Sequence[bytes]) -> list[FullTile]:
        """Add leaf hashes, and return the tiles that became full, each after those beneath it."""
        full: list[FullTile] = []
        at = 0
        while at < len(leaves):
            room = TILE_WIDTH - self.size % TILE_WIDTH
            part = leaves[at : at + room]
            at += len(part)
            self._level(0).extend(part)
            self.size += len(part)
            self._fill(full)
        return full

    def root(self) -> bytes:
        """Return the root of the tree."""
        parts: list[bytes] = []
        for hashes in reversed(self._levels):
            parts += [
                root_of(hashes[one.number << one.level : (one.number + 1) << one.level])
                for one in subtrees_of(Range(0, len(hashes)))
            ]
        return joined(parts) if parts else EMPTY_ROOT

    def _fill(self, full: list[FullTile]) -> None:
        level = 0
        while len(self._level(level)) == TILE_WIDTH:
            hashes = self._levels[level]
            self._levels[level] = []
            number = (self.size >> (TILE_HEIGHT * (level + 1))) - 1
            root = root_of(hashes)
            full.append(FullTile(Tile(level, number), tuple(hashes), root))
            level += 1
            self._level(level).append(root)

    def _level(self, level: int) -> list[bytes]:
        if level == len(self._levels):
            self._levels.append([])
        return self._levels[level]


def edge_tiles(size: int) -> list[Tile]:
    """Return the partial tiles of a tree from level 0 up, of width 0 where all tiles are full."""
    return [
        Tile(level, width // TILE_WIDTH, width % TILE_WIDTH)
        for level, width in enumerate(_widths(size))
    ]


def _widths(size: int) -> list[int]:
    """How many hashes each level of tiles has."""
    found: list[int] = []
    while size:
        found.append(size)
        size >>= TILE_HEIGHT
    return found


def _place(of: Subtree) -> tuple[int, int, int, int]:
    """Where a subtree's hashes stand: level and number of the tile, first hash, how many."""
    level, height = divmod(of.level, TILE_HEIGHT)
    first = of.number << height
    return level, first // TILE_WIDTH, first % TILE_WIDTH, 1 << height
