"""The client's methods of AuditService that ask for proofs: checkpoints, receipts, tiles.

What comes back is checked by nobody here: `heed.audit` and `heed audit verify` do, offline, with a
verifier key that the caller brings.
"""

from heed.answers import SignedText
from heed.audit.claims import ReceiptClaim
from heed.audit.consistency import ConsistencyProof
from heed.client.calling import Calling
from heed.connection import methods
from heed.wire import ask_proofs, read


class ProofMethods(Calling):
    """What is in a tenant's log, so that a stranger believes it."""

    async def get_checkpoint(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> SignedText:
        """Return the last signed checkpoint of the log.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN, none was signed yet.
        """
        request = ask_proofs.get_checkpoint(self._tenant_or(tenant))
        return read.signed_text(
            await self._calls.unary(methods.GET_CHECKPOINT, request, timeout=timeout)
        )

    async def get_receipt(
        self,
        claim: ReceiptClaim,
        *,
        revision: int = 0,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SignedText:
        """Return the receipt of a change of one's own write, by the `receipt_claim` of its answer.

        `revision` is one of the claim's, 0 means the first. It is to be had within a second of the
        write's answer; sooner, the call waits. `timeout` is in seconds, 5 if not given.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN, the log has no write of this claim, or none signed.
        """
        request = ask_proofs.get_receipt(self._tenant_or(tenant), claim, revision)
        return read.signed_text(
            await self._calls.unary(methods.GET_RECEIPT, request, timeout=timeout)
        )

    async def get_inclusion_proof(
        self, revision: int, *, tenant: str | None = None, timeout: float | None = None
    ) -> SignedText:
        """Return the receipt of any change; it needs the right `audit`. Raises as `get_receipt`."""
        request = ask_proofs.get_inclusion_proof(self._tenant_or(tenant), revision)
        return read.signed_text(
            await self._calls.unary(methods.GET_INCLUSION_PROOF, request, timeout=timeout)
        )

    async def get_consistency_proof(
        self,
        old_size: int,
        *,
        new_size: int = 0,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> ConsistencyProof:
        """Return the proof that the log begins with what it was at `old_size`.

        `new_size` 0 means that of the last checkpoint, which the proof then holds.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN, nothing so large was signed.
        """
        request = ask_proofs.get_consistency_proof(self._tenant_or(tenant), old_size, new_size)
        answer = await self._calls.unary(methods.GET_CONSISTENCY_PROOF, request, timeout=timeout)
        return read.consistency_proof(answer, old_size=old_size)

    async def get_tile(
        self, path: str, *, tenant: str | None = None, timeout: float | None = None
    ) -> bytes:
        """Return a tile of the log's tree, or the entries of one, by its path of tlog-tiles.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN, the signed tree has no such tile.
        """
        request = ask_proofs.get_tile(self._tenant_or(tenant), path)
        answer = await self._calls.unary(methods.GET_TILE, request, timeout=timeout)
        return answer.content
