"""The second person: who may grant what, and when a call that needs one goes on.

The laws are those of `heed_server.approvals`.
"""

from collections.abc import Mapping

import structlog

from heed.errors import ConflictError, ErrorReason, NotFoundError
from heed.model import ApprovalState, Instant
from heed.wire.asked import ApprovalAsked, PageAsked, WriteCall
from heed_server.approvals import EXPIRES_MICROSECONDS, Approval, AskedCall
from heed_server.auth.policy import OPEN, Principal, require
from heed_server.service.node import Node
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.service.tenants import TenantContext
from heed_server.store import Page

_log = structlog.stdlib.get_logger("heed_server.approvals")


class Approvals(Node):
    """Asks for a second person, and takes their word."""

    async def list_approvals(self, principal: Principal, asked: PageAsked) -> Page[Approval]:
        """Return a page of the approvals of the last 30 days, the newest first."""
        context = self.enter("ListApprovals", principal, asked.tenant)
        return await self.store.approvals(context.tenant.tenant_id, asked.cursor, asked.page_size)

    async def grant_approval(self, principal: Principal, asked: ApprovalAsked) -> Approval:
        """Grant what another principal's call asked for; granting again changes nothing.

        Raises:
            RightRequiredError: `admin`, or the right of the call, is missing.
            NotFoundError: APPROVAL_UNKNOWN.
            ConflictError: APPROVAL_REQUIRED, the principal is who asked, or it is too late.
        """
        context = self.enter("GrantApproval", principal, asked.tenant)
        approval = await self._approval(context, asked.approval_id)
        require(principal, RIGHT_OF_METHOD[approval.method])
        if principal is OPEN:
            raise _nobody_else(approval.method)
        if principal.name == approval.asked_by:
            raise _required(
                f"{principal.name!r} asked for {approval.approval_id} and cannot grant it; "
                "another principal can",
                approval.method,
                approval.approval_id,
            )
        if approval.state_at(self.now()) is ApprovalState.GRANTED:
            return approval
        return await self._close(approval, ApprovalState.GRANTED, principal)

    async def reject_approval(self, principal: Principal, asked: ApprovalAsked) -> Approval:
        """Reject what a call asked for; rejecting again changes nothing.

        Raises:
            NotFoundError: APPROVAL_UNKNOWN.
            ConflictError: APPROVAL_REQUIRED, it was granted already.
        """
        context = self.enter("RejectApproval", principal, asked.tenant)
        approval = await self._approval(context, asked.approval_id)
        if approval.state_at(self.now()) in {ApprovalState.REJECTED, ApprovalState.EXPIRED}:
            return approval
        return await self._close(approval, ApprovalState.REJECTED, principal)

    async def require_second_person(
        self,
        context: TenantContext,
        principal: Principal,
        method: str,
        call: WriteCall,
        *,
        about: str,
        reason: str,
        shown: Mapping[str, int],
        good_for_microseconds: int = EXPIRES_MICROSECONDS,
    ) -> Approval:
        """Return the approval by which a call may go on, or note that it needs one.

        `shown` is what the call would do now; it holds no address, nor does `about`. One that was
        granted is good for `good_for_microseconds`.

        Raises:
            ConflictError: APPROVAL_REQUIRED, nothing was done; the metadata names what to grant.
            ExhaustedError: LIMIT_REACHED, too many calls wait for a second person.
        """
        if principal is OPEN:
            raise _nobody_else(method)
        now = self.now()
        new = Approval(
            tenant_id=context.tenant.tenant_id,
            approval_id=self.new_approval_id(),
            method=method,
            idempotency_key=call.idempotency_key,
            payload_hash=call.payload_hash,
            about=about,
            reason=reason,
            shown=shown,
            asked_by=principal.name,
            ask_time=now,
            expire_time=Instant(now + EXPIRES_MICROSECONDS),
        )
        granted_from = Instant(now - good_for_microseconds)
        approval = await self.store.ask_approval(new, granted_from)
        if approval.state is ApprovalState.GRANTED:
            return approval
        if approval.approval_id == new.approval_id:
            _log.info("approval_asked", approval=new.approval_id, method=method, by=principal.name)
        raise _waits(approval)

    async def granted_before(
        self, context: TenantContext, principal: Principal, method: str, call: WriteCall
    ) -> Approval | None:
        """Return the approval that a call was granted already, if it was."""
        asked = AskedCall(
            context.tenant.tenant_id,
            method,
            call.idempotency_key,
            call.payload_hash,
            principal.name,
        )
        return await self.store.granted_approval(asked, self.now())

    async def _approval(self, context: TenantContext, approval_id: str) -> Approval:
        found = await self.store.approval(context.tenant.tenant_id, approval_id)
        if found is None:
            raise NotFoundError(
                f"there is no approval {approval_id!r}; list them",
                reason=ErrorReason.APPROVAL_UNKNOWN,
                metadata={"approval_id": approval_id},
            )
        return found

    async def _close(
        self, approval: Approval, state: ApprovalState, principal: Principal
    ) -> Approval:
        now = self.now()
        found = approval.state_at(now)
        decided = None
        if found is ApprovalState.PENDING:
            decided = await self.store.decide_approval(approval, state, principal.name, now)
        if decided is None:
            said = found.name.lower() if found is not ApprovalState.PENDING else "decided just now"
            raise _required(
                f"{approval.approval_id} is {said}; send the call again, which asks anew where it "
                "has to",
                approval.method,
                approval.approval_id,
            )
        _log.info(
            "approval_decided",
            approval=approval.approval_id,
            method=approval.method,
            state=state.name.lower(),
            by=principal.name,
        )
        return decided


def _waits(approval: Approval) -> ConflictError:
    return _required(
        f"{approval.method} needs a second person and nothing was done; have another principal "
        f"grant {approval.approval_id}, then send the same call with the same key again",
        approval.method,
        approval.approval_id,
    )


def _nobody_else(method: str) -> ConflictError:
    return _required(
        f"{method} needs a second person, and a server that asks for no credentials cannot tell "
        "two apart; serve with keys, certificates or tokens",
        method,
        "",
    )


def _required(said: str, method: str, approval_id: str) -> ConflictError:
    metadata = {"method": method}
    if approval_id:
        metadata["approval_id"] = approval_id
    return ConflictError(said, reason=ErrorReason.APPROVAL_REQUIRED, metadata=metadata)
