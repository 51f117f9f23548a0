"""The RPCs that prove what is in a log: parse, act, format."""

from heed.wire import parse_proofs as parse
from heed_proto.v1 import audit_service_pb2 as audit
from heed_server.auth.policy import Principal
from heed_server.service import Service


async def get_checkpoint(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetCheckpoint."""
    proven = await service.get_checkpoint(principal, parse.get_checkpoint(data))
    return audit.GetCheckpointResponse(
        checkpoint=proven.text, verifier_key=proven.verifier_key
    ).SerializeToString()


async def get_receipt(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetReceipt."""
    proven = await service.get_receipt(principal, parse.get_receipt(data))
    return audit.GetReceiptResponse(
        receipt=proven.text, verifier_key=proven.verifier_key
    ).SerializeToString()


async def get_inclusion_proof(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetInclusionProof."""
    proven = await service.get_inclusion_proof(principal, parse.get_inclusion_proof(data))
    return audit.GetInclusionProofResponse(
        receipt=proven.text, verifier_key=proven.verifier_key
    ).SerializeToString()


async def get_consistency_proof(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetConsistencyProof."""
    proof = await service.get_consistency_proof(principal, parse.get_consistency_proof(data))
    return audit.GetConsistencyProofResponse(
        hashes=proof.proof, new_size=proof.new_size, checkpoint=proof.checkpoint
    ).SerializeToString()


async def get_tile(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetTile."""
    content = await service.get_tile(principal, parse.get_tile(data))
    return audit.GetTileResponse(content=content).SerializeToString()
