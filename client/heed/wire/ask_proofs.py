"""Requests for what proves a log: checkpoints, receipts, consistency, tiles."""

from heed.audit.claims import ReceiptClaim
from heed.wire import said
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import types_pb2 as pb


@said.of_unicode
def get_checkpoint(tenant: str) -> audit.GetCheckpointRequest:
    """Ask what a log says it is."""
    return audit.GetCheckpointRequest(tenant=tenant)


@said.of_unicode
def get_receipt(tenant: str, claim: ReceiptClaim, revision: int) -> audit.GetReceiptRequest:
    """Ask for the receipt of a write of one's own."""
    return audit.GetReceiptRequest(
        tenant=tenant,
        claim=pb.ReceiptClaim(
            origin=claim.origin,
            first_revision=claim.first_revision,
            count=claim.count,
            leaves_hash=claim.leaves_hash,
        ),
        revision=revision,
    )


@said.of_unicode
def get_inclusion_proof(tenant: str, revision: int) -> audit.GetInclusionProofRequest:
    """Ask for the receipt of any change."""
    return audit.GetInclusionProofRequest(tenant=tenant, revision=revision)


@said.of_unicode
def get_consistency_proof(
    tenant: str, old_size: int, new_size: int
) -> audit.GetConsistencyProofRequest:
    """Ask whether a log still begins with what it was."""
    return audit.GetConsistencyProofRequest(tenant=tenant, old_size=old_size, new_size=new_size)


@said.of_unicode
def get_tile(tenant: str, path: str) -> audit.GetTileRequest:
    """Ask for a tile."""
    return audit.GetTileRequest(tenant=tenant, path=path)
