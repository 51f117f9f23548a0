"""The RPCs about approvals: parse, act, format."""

from heed.model import Instant
from heed.wire import format as told
from heed.wire import parse_approvals as parse
from heed.wire.parse_admin import page_token
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.approvals import Approval
from heed_server.auth.policy import Principal
from heed_server.service import Service


async def list_approvals(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListApprovals."""
    page = await service.list_approvals(principal, parse.list_approvals(data))
    now = service.now()
    return admin.ListApprovalsResponse(
        approvals=[_approval(one, now) for one in page.items],
        next_page_token=page_token("approvals", page.next_cursor),
    ).SerializeToString()


async def grant_approval(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GrantApproval."""
    granted = await service.grant_approval(principal, parse.grant_approval(data))
    return admin.GrantApprovalResponse(
        approval=_approval(granted, service.now())
    ).SerializeToString()


async def reject_approval(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer RejectApproval."""
    rejected = await service.reject_approval(principal, parse.reject_approval(data))
    return admin.RejectApprovalResponse(
        approval=_approval(rejected, service.now())
    ).SerializeToString()


def _approval(one: Approval, now: Instant) -> admin.Approval:
    return admin.Approval(
        approval_id=one.approval_id,
        method=one.method,
        idempotency_key=one.idempotency_key,
        state=admin.ApprovalState.ValueType(one.state_at(now)),
        asked_by=one.asked_by,
        ask_time=told.timestamp(one.ask_time),
        expire_time=told.timestamp(one.expire_time),
        decided_by=one.decided_by,
        decide_time=None if one.decide_time is None else told.timestamp(one.decide_time),
        reason=one.reason,
        shown=one.shown,
        about=one.about,
    )
