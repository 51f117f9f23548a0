"""What auditors and holders of a claim ask: checkpoints, receipts, consistency, tiles.

A receipt tells what was written and of whom, as a keyed hash. So it is given to who may audit, and
to who writes and has the claim of that write, which nobody guesses.
"""

from collections.abc import Sequence

from heed.audit.consistency import ConsistencyProof
from heed.wire.asked import ClaimedAsked, ConsistencyAsked, RevisionAsked, TileAsked
from heed_server.audit import Proven
from heed_server.audit.chain import ChainLink
from heed_server.auth.policy import Principal
from heed_server.service.node import Node
from heed_server.tree_store import KeptCheckpoint


class Proofs(Node):
    """Proves what is in the logs."""

    async def get_checkpoint(self, principal: Principal, tenant: str) -> Proven:
        """Return the last checkpoint of a log. Raises NotFoundError CHECKPOINT_UNKNOWN."""
        context = self.enter("GetCheckpoint", principal, tenant)
        return await self.prover.checkpoint(context.tenant_id)

    async def kept_checkpoints(
        self, principal: Principal, tenant: str, limit: int
    ) -> Sequence[KeptCheckpoint]:
        """Return the last checkpoints that were kept of a log, the newest first.

        Needs the right that GetCheckpoint needs.
        """
        context = self.enter("GetCheckpoint", principal, tenant)
        return await self.prover.kept(context.tenant_id, limit)

    async def verify_checkpoints(
        self, principal: Principal, tenant: str, limit: int
    ) -> Sequence[ChainLink]:
        """Verify the same, each by its signature and as what begins with the one before it.

        Returns them the earliest first. Needs the right that GetCheckpoint needs.
        """
        context = self.enter("GetCheckpoint", principal, tenant)
        return await self.prover.chain(context.tenant_id, limit)

    async def get_receipt(self, principal: Principal, asked: ClaimedAsked) -> Proven:
        """Return the receipt of a change of the write that made a claim.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN.
        """
        context = self.enter("GetReceipt", principal, asked.tenant)
        return await self.prover.claimed_receipt(context.tenant_id, asked.claim, asked.revision)

    async def get_inclusion_proof(self, principal: Principal, asked: RevisionAsked) -> Proven:
        """Return the receipt of any change. Raises NotFoundError CHECKPOINT_UNKNOWN."""
        context = self.enter("GetInclusionProof", principal, asked.tenant)
        return await self.prover.receipt(context.tenant_id, asked.revision)

    async def get_consistency_proof(
        self, principal: Principal, asked: ConsistencyAsked
    ) -> ConsistencyProof:
        """Return the proof that a log begins with what it was. Raises as `Prover.consistency`."""
        context = self.enter("GetConsistencyProof", principal, asked.tenant)
        return await self.prover.consistency(context.tenant_id, asked.old_size, asked.new_size)

    async def get_tile(self, principal: Principal, asked: TileAsked) -> bytes:
        """Return a tile of a signed tree, or its entries. Raises as `Prover.tile`."""
        context = self.enter("GetTile", principal, asked.tenant)
        return await self.prover.tile(context.tenant_id, asked.path)
