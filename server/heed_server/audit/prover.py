"""Answers what auditors and holders of a claim ask of a log: checkpoints, proofs, tiles.

Laws:
- Every proof is checked against the signed root before it is given: what was changed in the
  database beneath it is found here, and never handed out.
- What is proved is of a checkpoint that was signed; nothing is signed here.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.claims import ReceiptClaim, leaves_hash
from heed.audit.consistency import ConsistencyProof
from heed.audit.failing import ProofError
from heed.audit.receipts import Receipt
from heed.audit.snapshots import Vouched
from heed.audit.tiles import (
    ENTRIES,
    TILE_WIDTH,
    hashes_of,
    join_entries,
    tile_at,
    tiles_for,
    width_of,
)
from heed.audit.tree import (
    EMPTY_ROOT,
    Range,
    consistency_ranges,
    inclusion_ranges,
    joined,
    subtrees_of,
    verify_consistency,
    verify_inclusion,
)
from heed.errors import ErrorReason, NotFoundError, invalid_field
from heed.model import Head, Revision, TenantId
from heed.proof import leaf_hash
from heed_server.audit.chain import ChainLink, verify_chain
from heed_server.audit.errors import LogNotSignedError
from heed_server.audit.grown import KeyOf, checked
from heed_server.audit.limits import EDGES_KEPT_MAX, RECEIPT_WAIT_SECONDS_MAX
from heed_server.tree_store import KeptCheckpoint, LoggedChange, Signed, TreeStore

_POLL_SECONDS = 0.05


class Proven(NamedTuple):
    """A text that proves something, and the key that checks it."""

    text: str
    verifier_key: str


class Prover:
    """Reads what was signed: every node has the same."""

    def __init__(self, store: TreeStore, key: KeyOf, *, boot_seconds: Callable[[], float]) -> None:
        self._store = store
        self._key = key
        self._boot_seconds = boot_seconds
        # A signature is verified once for all the proofs that are of it.
        self._checked = lru_cache(maxsize=EDGES_KEPT_MAX)(partial(checked, key=key))

    async def checkpoint(self, tenant_id: TenantId) -> Proven:
        """Return the last checkpoint of a log.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN: none was signed yet.
            LogNotSignedError: what is there was not signed by this store.
            UnavailableError: the database does not answer.
        """
        signed, checkpoint = await self._signed(tenant_id, 1)
        return Proven(signed.note, self._verifier(checkpoint))

    async def receipt(self, tenant_id: TenantId, revision: Revision) -> Proven:
        """Return the receipt of a change, with its salt, subject and content where they are kept.

        Waits a moment for the checkpoint that has it.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN: no checkpoint has such a revision.
            LogNotSignedError: the change, or something beneath the root, is not what was signed.
            UnavailableError: the database does not answer.
        """
        signed, checkpoint = await self._signed(tenant_id, revision)
        change = await self._store.logged_change(tenant_id, revision)
        if change is None:
            raise _damaged(tenant_id, f"change {revision} is missing")
        index = revision - 1
        hashes = await self._hashes(tenant_id, inclusion_ranges(index, signed.size), signed.size)
        try:
            verify_inclusion(
                index=index,
                size=signed.size,
                leaf=leaf_hash(change.leaf.entry),
                proof=hashes,
                root=checkpoint.root,
            )
        except ProofError as error:
            raise _damaged(tenant_id, f"of change {revision} {error}") from error
        return Proven(str(_receipt(index, change, hashes, signed)), self._verifier(checkpoint))

    async def logged(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[LoggedChange]:
        """Return up to `limit` rows of a log after a revision, as its readers verify them.

        Raises:
            UnavailableError: the database does not answer.
        """
        return await self._store.logged_changes(tenant_id, after, limit)

    async def vouched(self, tenant_id: TenantId, head: Head, line: str) -> Vouched:
        """Return a checkpoint of exactly where a log stood, with an extension line.

        The last one that was signed has to begin with it: no two of them contradict each other. It
        takes the place of none. Waits a moment for one of that size. Raises: as `receipt`.
        """
        origin, size = origin_of(head.epoch, tenant_id), int(head.revision)
        hashes: list[bytes] = []
        if size:
            signed, checkpoint = await self._signed(tenant_id, size)
            if checkpoint.origin != origin:
                raise _unknown(f"no checkpoint of {origin} was signed yet")
            ranges = [
                Range(one.number << one.level, (one.number + 1) << one.level)
                for one in subtrees_of(Range(0, size))
            ]
            hashes = await self._hashes(tenant_id, ranges, size)
            proof = await self._hashes(
                tenant_id, consistency_ranges(size, signed.size), signed.size
            )
            try:
                verify_consistency(
                    old_size=size,
                    old_root=joined(hashes),
                    new_size=signed.size,
                    new_root=checkpoint.root,
                    proof=proof,
                )
            except ProofError as error:
                raise _damaged(tenant_id, str(error)) from error
        root = joined(hashes) if hashes else EMPTY_ROOT
        vouched = Checkpoint(origin=origin, size=size, root=root, extensions=(line,))
        return Vouched(self._key(origin).sign(vouched), tuple(hashes))

    async def claimed_receipt(
        self, tenant_id: TenantId, claim: ReceiptClaim, revision: Revision
    ) -> Proven:
        """Return the receipt of a change of the write whose answer made this claim.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN: no such write of this log is known.
            HeedError: as `receipt`.
        """
        signed, checkpoint = await self._signed(tenant_id, claim.last_revision)
        leaves = await self._store.leaves(
            tenant_id, Revision(claim.first_revision - 1), claim.count
        )
        if (
            checkpoint.origin.rpartition("/")[2] != claim.origin.rpartition("/")[2]
            or leaves_hash([one.leaf_hash for one in leaves]) != claim.leaves_hash
        ):
            raise _unknown(
                f"the log has no write that left {claim} in it, up to revision {signed.size}"
            )
        return await self.receipt(tenant_id, revision)

    async def consistency(
        self, tenant_id: TenantId, old_size: int, new_size: int
    ) -> ConsistencyProof:
        """Return the proof that a log of `new_size` (0: as last signed) begins with an earlier one.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN: nothing so large was signed.
            HeedError: as `receipt`.
        """
        signed, checkpoint = await self._signed(tenant_id, max(old_size, new_size))
        size = new_size or signed.size
        if old_size > size:
            raise invalid_field("old_size", f"is more than the {size} of the later one")
        proof = await self._hashes(tenant_id, consistency_ranges(old_size, size), size)
        await self._require_consistent(tenant_id, old_size, size, proof, checkpoint)
        return ConsistencyProof(
            old_size=old_size, new_size=size, proof=tuple(proof), checkpoint=signed.note
        )

    async def kept(self, tenant_id: TenantId, limit: int) -> Sequence[KeptCheckpoint]:
        """Return the last checkpoints that were kept, the newest first, unverified.

        Raises:
            UnavailableError: the database does not answer.
        """
        return await self._store.kept_checkpoints(tenant_id, limit)

    async def chain(self, tenant_id: TenantId, limit: int) -> list[ChainLink]:
        """Verify the last checkpoints that were kept, and return them, the earliest first.

        Raises:
            UnavailableError: the database does not answer.
        """
        kept = await self._store.kept_checkpoints(tenant_id, limit)
        return await verify_chain(self.consistency, self._key, tenant_id, kept[::-1])

    async def tile(self, tenant_id: TenantId, path: str) -> bytes:
        """Return a tile of a signed tree, by its path in the layout of tlog-tiles.

        Raises:
            InvalidArgumentError: it is no path of a tile.
            NotFoundError: CHECKPOINT_UNKNOWN: no signed tree has it.
            LogDamagedError: it is not there whole.
            UnavailableError: the database does not answer.
        """
        try:
            tile = tile_at(path)
        except ProofError as error:
            raise invalid_field("path", str(error)) from error
        signed, _ = await self._signed(tenant_id, 1)
        if not 0 < tile.width <= width_of(tile.level, tile.number, signed.size):
            raise _unknown(f"the tree of {signed.size} revisions has no {path}")
        if tile.level != ENTRIES:
            found = await self._store.tiles(tenant_id, [tile])
            return b"".join(found[tile])
        after = Revision(tile.number * TILE_WIDTH)
        leaves = await self._store.leaves(tenant_id, after, tile.width)
        return join_entries(one.entry for one in leaves)

    async def _signed(self, tenant_id: TenantId, size: int) -> tuple[Signed, Checkpoint]:
        """The last checkpoint, of such a size at least; what is not signed yet is waited for."""
        deadline = self._boot_seconds() + RECEIPT_WAIT_SECONDS_MAX
        while True:
            signed = await self._store.signed(tenant_id)
            if signed is not None and signed.size >= size:
                return signed, self._checked(signed)
            if self._boot_seconds() >= deadline:
                there = 0 if signed is None else signed.size
                raise _unknown(f"no checkpoint has revision {size} yet; the last has {there}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _hashes(self, tenant_id: TenantId, ranges: Sequence[Range], size: int) -> list[bytes]:
        tiles = await self._store.tiles(tenant_id, tiles_for(ranges, size))
        return hashes_of(ranges, size, tiles)

    async def _root(self, tenant_id: TenantId, size: int) -> bytes:
        return (await self._hashes(tenant_id, [Range(0, size)], size))[0]

    async def _require_consistent(
        self,
        tenant_id: TenantId,
        old_size: int,
        new_size: int,
        proof: Sequence[bytes],
        checkpoint: Checkpoint,
    ) -> None:
        new_root = await self._root(tenant_id, new_size)
        later = await self._hashes(
            tenant_id, consistency_ranges(new_size, checkpoint.size), checkpoint.size
        )
        try:
            verify_consistency(
                old_size=old_size,
                old_root=await self._root(tenant_id, old_size),
                new_size=new_size,
                new_root=new_root,
                proof=proof,
            )
            verify_consistency(
                old_size=new_size,
                old_root=new_root,
                new_size=checkpoint.size,
                new_root=checkpoint.root,
                proof=later,
            )
        except ProofError as error:
            raise _damaged(tenant_id, str(error)) from error

    def _verifier(self, checkpoint: Checkpoint) -> str:
        return str(self._key(checkpoint.origin).verifier)


def _receipt(index: int, change: LoggedChange, hashes: Sequence[bytes], signed: Signed) -> Receipt:
    # Without the salt, which an erasure took, nothing else that is kept can be held to the entry.
    is_told = bool(change.salt)
    return Receipt(
        index=index,
        entry=change.leaf.entry,
        proof=tuple(hashes),
        checkpoint=signed.note,
        salt=change.salt,
        subject_key=(change.subject_key or b"") if is_told else b"",
        content=change.content if is_told else b"",
    )


def _unknown(what: str) -> NotFoundError:
    return NotFoundError(what, reason=ErrorReason.CHECKPOINT_UNKNOWN)


def _damaged(tenant_id: TenantId, what: str) -> LogNotSignedError:
    return LogNotSignedError(f"the log of tenant {tenant_id} is not what was signed: {what}")
