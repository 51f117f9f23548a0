"""The requests of proofs, of AuditService, to values."""

from heed.audit.claims import ReceiptClaim
from heed.model import Revision
from heed.proof import HASH_BYTES
from heed.wire import limits
from heed.wire.asked import ClaimedAsked, ConsistencyAsked, RevisionAsked, TileAsked
from heed.wire.parse import message
from heed.wire.violations import Violations
from heed_proto.v1 import audit_service_pb2 as audit


def get_checkpoint(data: bytes) -> str:
    """Read a GetCheckpointRequest, which names a tenant and no more."""
    return message(audit.GetCheckpointRequest, data).tenant


def get_receipt(data: bytes) -> ClaimedAsked:
    """Read a GetReceiptRequest."""
    asked = message(audit.GetReceiptRequest, data)
    violations = Violations()
    said = asked.claim
    if not 1 <= len(said.origin) <= limits.ORIGIN_CHARACTERS_MAX:
        violations.add("claim.origin", f"must have 1 to {limits.ORIGIN_CHARACTERS_MAX} characters")
    if said.first_revision < 1:
        violations.add("claim.first_revision", "must be at least 1")
    if not 1 <= said.count <= limits.BATCH_RECORDS_MAX:
        violations.add("claim.count", f"must be 1 to {limits.BATCH_RECORDS_MAX}")
    if len(said.leaves_hash) != HASH_BYTES:
        violations.add("claim.leaves_hash", f"must have {HASH_BYTES} bytes")
    claim = ReceiptClaim(
        origin=said.origin,
        first_revision=Revision(said.first_revision),
        count=said.count,
        leaves_hash=said.leaves_hash,
    )
    revision = Revision(asked.revision or claim.first_revision)
    if not claim.first_revision <= revision <= claim.last_revision:
        violations.add("revision", "must be one of the claim's, or 0 for the first of them")
    violations.raise_if_any()
    return ClaimedAsked(tenant=asked.tenant, claim=claim, revision=revision)


def get_inclusion_proof(data: bytes) -> RevisionAsked:
    """Read a GetInclusionProofRequest."""
    asked = message(audit.GetInclusionProofRequest, data)
    violations = Violations()
    if asked.revision < 1:
        violations.add("revision", "must be at least 1")
    violations.raise_if_any()
    return RevisionAsked(tenant=asked.tenant, revision=Revision(asked.revision))


def get_consistency_proof(data: bytes) -> ConsistencyAsked:
    """Read a GetConsistencyProofRequest."""
    asked = message(audit.GetConsistencyProofRequest, data)
    violations = Violations()
    if asked.old_size < 1:
        violations.add("old_size", "must be at least 1: every log begins with an empty one")
    if asked.new_size and asked.new_size < asked.old_size:
        violations.add("new_size", "must be at least old_size, or 0 for the last checkpoint's")
    violations.raise_if_any()
    return ConsistencyAsked(tenant=asked.tenant, old_size=asked.old_size, new_size=asked.new_size)


def get_tile(data: bytes) -> TileAsked:
    """Read a GetTileRequest; whether it is a tile's path is for whoever knows the tree."""
    asked = message(audit.GetTileRequest, data)
    violations = Violations()
    if not 1 <= len(asked.path) <= limits.TILE_PATH_CHARACTERS_MAX:
        violations.add("path", f"must have 1 to {limits.TILE_PATH_CHARACTERS_MAX} characters")
    violations.raise_if_any()
    return TileAsked(tenant=asked.tenant, path=asked.path)
