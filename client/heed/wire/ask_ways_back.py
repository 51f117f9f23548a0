"""Requests that undo what was a mistake, and about the second person whom they may need."""

from datetime import datetime

from heed.model import Cause
from heed.names import named
from heed.requests import Origin, require_zone
from heed.wire import said
from heed.wire.limits import PAGE_SIZE_MAX
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb


@said.of_unicode
def revert_batch(
    tenant: str, key: str, *, batch_id: str, reason: str, origin: Origin, dry_run: bool
) -> admin.RevertBatchRequest:
    """Undo a batch."""
    return admin.RevertBatchRequest(
        tenant=tenant,
        idempotency_key=key,
        batch_id=batch_id,
        reason=reason,
        origin=said.origin(origin),
        dry_run=dry_run,
    )


@said.of_unicode
def release_suppressions(
    tenant: str,
    key: str,
    *,
    cause: Cause | str,
    from_time: datetime,
    before_time: datetime,
    batch_id: str,
    reason: str,
    origin: Origin,
    dry_run: bool,
) -> admin.ReleaseSuppressionsRequest:
    """Release suppressions of many people."""
    require_zone(from_time, "from_time")
    require_zone(before_time, "before_time")
    return admin.ReleaseSuppressionsRequest(
        tenant=tenant,
        idempotency_key=key,
        cause=pb.Cause.ValueType(named(Cause, cause, "cause")),
        from_time=said.timestamp(from_time),
        before_time=said.timestamp(before_time),
        batch_id=batch_id,
        reason=reason,
        origin=said.origin(origin),
        dry_run=dry_run,
    )


@said.of_unicode
def list_batches(tenant: str, page_token: str) -> admin.ListBatchesRequest:
    """Ask for the batches."""
    return admin.ListBatchesRequest(tenant=tenant, page_size=PAGE_SIZE_MAX, page_token=page_token)


@said.of_unicode
def list_approvals(tenant: str, page_token: str) -> admin.ListApprovalsRequest:
    """Ask for the approvals."""
    return admin.ListApprovalsRequest(tenant=tenant, page_size=PAGE_SIZE_MAX, page_token=page_token)


@said.of_unicode
def grant_approval(tenant: str, approval_id: str) -> admin.GrantApprovalRequest:
    """Grant an approval."""
    return admin.GrantApprovalRequest(tenant=tenant, approval_id=approval_id)


@said.of_unicode
def reject_approval(tenant: str, approval_id: str) -> admin.RejectApprovalRequest:
    """Reject an approval."""
    return admin.RejectApprovalRequest(tenant=tenant, approval_id=approval_id)
