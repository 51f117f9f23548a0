"""A log in memory, made as the server makes one, with its tiles and its signed checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from hashlib import sha256

from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.claims import ReceiptClaim, leaves_hash
from heed.audit.consistency import ConsistencyProof
from heed.audit.exports import CHECKPOINT_PATH
from heed.audit.failing import ProofError
from heed.audit.receipts import Receipt
from heed.audit.signing import SigningKey
from heed.audit.tiles import ENTRIES, TILE_WIDTH, Tile, hashes_of, join_entries, tiles_for
from heed.audit.tree import consistency_ranges, inclusion_ranges, root_of
from heed.model import ChangeKind, Instant, Revision, SubjectKey, TenantId
from heed.proof import (
    NO_SUBJECT,
    SALT_BYTES,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
)

EPOCH = bytes.fromhex("0123456789abcdef")
TENANT = TenantId(1)


class LoggedFiles:
    """So many changes, every seventh of them about nobody, and the files of an export."""

    def __init__(
        self,
        size: int,
        *,
        seed: bytes = bytes(32),
        changed: Mapping[int, Mapping[str, int]] | None = None,
    ) -> None:
        """`changed` replaces what some entries, by index, say of themselves."""
        self.key = SigningKey(seed, origin_of(EPOCH, TENANT))
        self.salts = [sha256(b"salt %d" % at).digest()[:SALT_BYTES] for at in range(size)]
        self.contents = [b'{"v":1,"number":%d}' % at for at in range(size)]
        self.subjects = [
            None if at % 7 == 0 else SubjectKey(sha256(b"%d" % at).digest()[:16])
            for at in range(size)
        ]
        self.entries = [self._entry(at, (changed or {}).get(at, {})) for at in range(size)]
        self._lay_out()

    def rewritten(self, entries: Sequence[bytes]) -> "LoggedFiles":
        """Return a log of these entries, signed by the same key; what they were made of stays."""
        other = copy(self)
        other.entries = list(entries)
        other._lay_out()
        return other

    @staticmethod
    def reading(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
        """Return what reads these files by name."""

        def read(path: str) -> bytes:
            if path not in files:
                raise ProofError(f"there is no {path}")
            return files[path]

        return read

    def at(self, size: int) -> Checkpoint:
        """Return the log as it was at a size."""
        return Checkpoint(
            origin=self.key.verifier.name, size=size, root=root_of(self._leaves[:size])
        )

    def receipt(self, index: int) -> Receipt:
        """Return the receipt of a change."""
        size = len(self.entries)
        ranges = inclusion_ranges(index, size)
        tiles = {tile: self._tile(tile) for tile in tiles_for(ranges, size)}
        return Receipt(
            index=index,
            entry=self.entries[index],
            proof=tuple(hashes_of(ranges, size, tiles)),
            checkpoint=self.files[CHECKPOINT_PATH].decode(),
            salt=self.salts[index],
            subject_key=self.subjects[index] or b"",
            content=self.contents[index],
        )

    def claim(self, index: int, count: int) -> ReceiptClaim:
        """Return the claim of a write of so many changes."""
        return ReceiptClaim(
            origin=self.checkpoint.origin,
            first_revision=Revision(index + 1),
            count=count,
            leaves_hash=leaves_hash(self._leaves[index : index + count]),
        )

    def consistency(self, old_size: int) -> ConsistencyProof:
        """Return the proof that it began with what it was at a size."""
        size = len(self.entries)
        ranges = consistency_ranges(old_size, size)
        tiles = {tile: self._tile(tile) for tile in tiles_for(ranges, size)}
        return ConsistencyProof(
            old_size=old_size,
            new_size=size,
            proof=tuple(hashes_of(ranges, size, tiles)),
            checkpoint=self.files[CHECKPOINT_PATH].decode(),
        )

    def _lay_out(self) -> None:
        size = len(self.entries)
        self._leaves = [leaf_hash(one) for one in self.entries]
        self._levels = self._all_levels()
        self.checkpoint = self.at(size)
        self.files = {CHECKPOINT_PATH: self.key.sign(self.checkpoint).encode()}
        for tile in tiles_of(size):
            self.files[tile.path] = b"".join(self._tile(tile))
            if tile.level == 0:
                start = tile.number * TILE_WIDTH
                entries = self.entries[start : start + tile.width]
                self.files[Tile(ENTRIES, tile.number, tile.width).path] = join_entries(entries)
        self.read = self.reading(self.files)

    def _entry(self, at: int, changed: Mapping[str, int]) -> bytes:
        salt, subject = self.salts[at], self.subjects[at]
        return canonical_entry(
            kind=ChangeKind(1),
            tenant_id=TenantId(changed.get("tenant_id", TENANT)),
            revision=Revision(changed.get("revision", at + 1)),
            commit_time=Instant(changed.get("commit_time", 1_795_219_200_000_000 + at)),
            subject_commitment=NO_SUBJECT if subject is None else commit_subject(salt, subject),
            content_commitment=commit_content(salt, self.contents[at]),
        )

    def _all_levels(self) -> list[list[bytes]]:
        levels = [self._leaves]
        while len(levels[-1]) >= TILE_WIDTH:
            below = levels[-1]
            full = len(below) // TILE_WIDTH
            levels.append(
                [root_of(below[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]) for n in range(full)]
            )
        return levels

    def _tile(self, tile: Tile) -> list[bytes]:
        start = tile.number * TILE_WIDTH
        return self._levels[tile.level][start : start + tile.width]


def tiles_of(size: int) -> list[Tile]:
    """Return every tile of hashes of a tree, level by level."""
    found: list[Tile] = []
    level, hashes = 0, size
    while hashes:
        full, width = divmod(hashes, TILE_WIDTH)
        found += [Tile(level, number) for number in range(full)]
        if width:
            found.append(Tile(level, full, width))
        level, hashes = level + 1, full
    return found
