"""A log's tree at the size that was last signed, and how it grows by the rows of the log.

Laws:
- A tree grows only from what was signed: its edge is believed because it gives the signed root.
- Each row is hashed anew from its entry. One whose leaf hash, running hash, number or tenant does
  not fit stops the growth, and with it the signing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from heed.audit.checkpoints import Checkpoint, read_checkpoint
from heed.audit.failing import ProofError
from heed.audit.notes import require_signed
from heed.audit.receipts import place_of
from heed.audit.signing import SigningKey, verify
from heed.audit.tiles import Edge, FullTile, edge_tiles, hashes_of, tiles_for
from heed.audit.tree import EMPTY_ROOT, Range
from heed.model import TenantId
from heed.proof import EMPTY_LOG_HASH, leaf_hash, running_hash
from heed_server.audit.errors import LogNotSignedError
from heed_server.audit.limits import EDGES_KEPT_MAX
from heed_server.tree_store import Leaf, Signed, TreeStore


class KeyOf:
    """The store's signing key, in the name of each of its logs."""

    def __init__(self, seed: bytes) -> None:
        """`seed` are the 32 secret bytes of the key."""
        # Making the public half costs as much as a signature.
        self._of_log = lru_cache(maxsize=EDGES_KEPT_MAX)(partial(SigningKey, seed))

    def __call__(self, origin: str) -> SigningKey:
        """Return the key in the name of a log."""
        return self._of_log(origin)


@dataclass(slots=True, kw_only=True)
class Grown:
    """A tree that may be larger than what was signed last."""

    signed: Signed | None
    """What it was grown from; None: from nothing."""
    origin: str
    """The log's name in what was signed last."""
    edge: Edge
    running_hash: bytes

    def copy(self) -> "Grown":
        """Return another of the same tree, that grows by itself."""
        return Grown(
            signed=self.signed,
            origin=self.origin,
            edge=self.edge.copy(),
            running_hash=self.running_hash,
        )


def take(grown: Grown, tenant_id: TenantId, leaves: Sequence[Leaf]) -> list[FullTile]:
    """Grow a tree by rows of the log, and return the tiles that became full.

    Raises:
        LogNotSignedError: a row is not what was written, or not the next one.
    """
    running = grown.running_hash
    hashes: list[bytes] = []
    for revision, leaf in enumerate(leaves, start=grown.edge.size + 1):
        hashed = leaf_hash(leaf.entry)
        running = running_hash(running, hashed)
        if (leaf.revision, leaf.leaf_hash, leaf.running_hash) != (revision, hashed, running):
            raise _damaged(tenant_id, revision, "is missing, or its hashes are not its own")
        _require_own(tenant_id, revision, leaf.entry)
        hashes.append(hashed)
    full = grown.edge.extend(hashes)
    grown.running_hash = running
    return full


async def load(store: TreeStore, signed: Signed | None, key: KeyOf, tenant_id: TenantId) -> Grown:
    """Return the tree at the size that was last signed, as far as its tiles give the signed root.

    Raises:
        LogNotSignedError: they do not, or the checkpoint was not signed by this store's key.
        UnavailableError: the database does not answer.
    """
    if signed is None:
        return Grown(signed=None, origin="", edge=Edge(), running_hash=EMPTY_LOG_HASH)
    checkpoint = checked(signed, key)
    partial = [tile for tile in edge_tiles(signed.size) if tile.width]
    found = await store.tiles(tenant_id, partial)
    edge = Edge(
        signed.size,
        [found[tile] if tile.width else () for tile in edge_tiles(signed.size)],
    )
    if edge.root() != checkpoint.root:
        raise LogNotSignedError(
            f"the tree of tenant {tenant_id} at revision {signed.size} is not the one that was "
            "signed: rows of the log or tiles were changed"
        )
    return Grown(
        signed=signed, origin=checkpoint.origin, edge=edge, running_hash=signed.running_hash
    )


async def require_extends(store: TreeStore, before: Signed, now: Signed | None, key: KeyOf) -> None:
    """Return if what is signed now begins with what this process knows to have been signed.

    Raises:
        LogNotSignedError: it does not: the database was put back, or another history signed.
        UnavailableError: the database does not answer.
    """
    earlier = checked(before, key)
    if now is None or now.size < before.size:
        raise LogNotSignedError(
            f"a checkpoint of {before.size} revisions of tenant {before.tenant_id} was signed, and "
            f"the database has one of {0 if now is None else now.size}: it was put back"
        )
    checked(now, key)
    ranges = [Range(0, before.size)] if before.size else []
    tiles = await store.tiles(before.tenant_id, tiles_for(ranges, now.size))
    root = hashes_of(ranges, now.size, tiles)[0] if ranges else EMPTY_ROOT
    if root != earlier.root:
        raise LogNotSignedError(
            f"the log of tenant {before.tenant_id} has another history before revision "
            f"{before.size} than the one that was signed"
        )


def checked(signed: Signed, key: KeyOf) -> Checkpoint:
    """Return a stored checkpoint if this store signed it, of this tenant's log in any epoch.

    Raises:
        LogNotSignedError: it did not.
    """
    try:
        checkpoint, note = read_checkpoint(signed.note)
        require_signed(note, [key(checkpoint.origin).verifier], verify)
    except ProofError as error:
        raise LogNotSignedError(
            f"the checkpoint of tenant {signed.tenant_id} in the database was not signed by this "
            f"store's key: {error}"
        ) from error
    is_of_tenant = checkpoint.origin.rpartition("/")[2] == str(signed.tenant_id)
    if not is_of_tenant or checkpoint.size != signed.size:
        raise LogNotSignedError(
            f"the checkpoint of tenant {signed.tenant_id} in the database is another's"
        )
    return checkpoint


def _require_own(tenant_id: TenantId, revision: int, content: bytes) -> None:
    try:
        of_tenant, own_revision, _ = place_of(content)
    except ProofError as error:
        raise _damaged(tenant_id, revision, str(error)) from error
    if of_tenant != tenant_id or own_revision != revision:
        raise _damaged(tenant_id, revision, "has the entry of another")


def _damaged(tenant_id: TenantId, revision: int, what: str) -> LogNotSignedError:
    return LogNotSignedError(f"change {revision} of tenant {tenant_id} {what}")
