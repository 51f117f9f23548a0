"""The fake's answers about approvals: it has no credentials, so nobody could be a second person."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

from heed.errors import ErrorReason, NotFoundError
from heed.model import Instant
from heed.testing.memory import Memory
from heed.testing.reading import ReadMethod
from heed.wire import parse_approvals as parse
from heed.wire.asked import ApprovalAsked, PageAsked
from heed_proto.v1 import admin_service_pb2 as admin


def _list_approvals(_memory: Memory, _asked: PageAsked, _now: Instant) -> bytes:
    return admin.ListApprovalsResponse().SerializeToString()


def _unknown(_memory: Memory, asked: ApprovalAsked, _now: Instant) -> NoReturn:
    raise NotFoundError(
        f"there is no approval {asked.approval_id!r}; list them",
        reason=ErrorReason.APPROVAL_UNKNOWN,
        metadata={"approval_id": asked.approval_id},
    )


APPROVING: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "ListApprovals": ReadMethod(read=parse.list_approvals, act=_list_approvals),
        "GrantApproval": ReadMethod(read=parse.grant_approval, act=_unknown),
        "RejectApproval": ReadMethod(read=parse.reject_approval, act=_unknown),
    }
)
"""By the method's name."""
