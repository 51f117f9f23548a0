"""Messages of AdminService about approvals to values, by the laws of `heed.wire.parse`."""

from heed.wire import limits, values
from heed.wire.asked import ApprovalAsked, PageAsked
from heed.wire.parse import message
from heed.wire.parse_admin import page
from heed.wire.violations import Violations
from heed_proto.v1 import admin_service_pb2 as admin


def list_approvals(data: bytes) -> PageAsked:
    """Read a ListApprovalsRequest."""
    asked = message(admin.ListApprovalsRequest, data)
    return page(asked.tenant, asked.page_size, asked.page_token, "approvals")


def grant_approval(data: bytes) -> ApprovalAsked:
    """Read a GrantApprovalRequest."""
    asked = message(admin.GrantApprovalRequest, data)
    return _approval(asked.tenant, asked.approval_id)


def reject_approval(data: bytes) -> ApprovalAsked:
    """Read a RejectApprovalRequest."""
    asked = message(admin.RejectApprovalRequest, data)
    return _approval(asked.tenant, asked.approval_id)


def _approval(tenant: str, approval_id: str) -> ApprovalAsked:
    violations = Violations()
    values.ascii_name(approval_id, "approval_id", violations, limits.APPROVAL_ID_CHARACTERS_MAX)
    violations.raise_if_any()
    return ApprovalAsked(tenant=tenant, approval_id=approval_id)
