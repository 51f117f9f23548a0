"""A whole log as files, in the layout of tlog-tiles, and the check that it is what was signed.

    log/key                        the verifier key, for convenience: bring your own
    log/checkpoint                 the signed checkpoint
    log/tile/entries/000 …         every entry
    log/tile/0/000 …               the hashes

Laws:
- Nothing of a log is believed but what leads to the signed root: every entry is hashed, every tile
  compared with what the entries give.
- Each entry says its own revision and tenant, and commit times strictly increase.
"""

from collections.abc import Callable, Sequence

from heed.audit.checkpoints import Checkpoint, open_checkpoint
from heed.audit.failing import ProofError
from heed.audit.notes import VerifierKey, Verify
from heed.audit.receipts import place_of
from heed.audit.tiles import (
    ENTRIES,
    TILE_WIDTH,
    Edge,
    Tile,
    edge_tiles,
    split_entries,
    split_hashes,
    width_of,
)
from heed.proof import leaf_hash

CHECKPOINT_PATH = "checkpoint"
KEY_PATH = "key"

ReadFile = Callable[[str], bytes]
"""Returns the content of a file of the log by its path; raises ProofError where there is none."""


def verify_export(read: ReadFile, keys: Sequence[VerifierKey], verify: Verify) -> Checkpoint:
    """Return the checkpoint of a whole log, whose every entry leads to it. Raises ProofError."""
    checkpoint = open_checkpoint(_text(read(CHECKPOINT_PATH)), keys, verify)
    edge = Edge()
    tenant_id, commit_time = None, -1
    while edge.size < checkpoint.size:
        number = edge.size // TILE_WIDTH
        tile = Tile(ENTRIES, number, width_of(ENTRIES, number, checkpoint.size))
        entries = split_entries(tile, read(tile.path))
        for revision, content in enumerate(entries, start=edge.size + 1):
            of_tenant, own_revision, own_time = place_of(content)
            if tenant_id is None:
                tenant_id = of_tenant
            if own_revision != revision or of_tenant != tenant_id:
                raise ProofError(
                    f"the entry of revision {revision} says that it is revision {own_revision} "
                    f"of tenant {of_tenant}"
                )
            if own_time <= commit_time:
                raise ProofError(f"revision {revision} was not committed after the one before")
            commit_time = own_time
        for full in edge.extend([leaf_hash(one) for one in entries]):
            _require_same(full.tile, full.hashes, read)
    for level, partial in enumerate(edge_tiles(checkpoint.size)):
        if partial.width:
            _require_same(partial, edge.levels[level], read)
    if edge.root() != checkpoint.root:
        raise ProofError(
            f"the {checkpoint.size} entries have another root than the checkpoint's: an entry was "
            "changed, added, removed or moved, or the checkpoint is of another log"
        )
    return checkpoint


def _require_same(tile: Tile, hashes: Sequence[bytes], read: ReadFile) -> None:
    content = read(tile.path)
    if content == b"".join(hashes):
        return
    found = zip(split_hashes(tile, content), hashes, strict=True)
    at = next(at for at, (one, expected) in enumerate(found) if one != expected)
    raise ProofError(f"hash {at} of {tile.path} is not that of what is beneath it")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ProofError("the checkpoint is no text") from error
