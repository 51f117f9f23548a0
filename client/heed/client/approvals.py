"""The client's methods of AdminService for what needs a second person."""

from collections.abc import AsyncIterator

from heed.answers import Approval
from heed.client.calling import Calling
from heed.connection import methods
from heed.wire import ask_ways_back, read_ways_back


class ApprovalMethods(Calling):
    """What a call asked for that needs a second person, and their word."""

    async def list_approvals(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Approval]:
        """Yield the approvals asked for in the last 30 days, the newest first."""
        page_token = ""
        while True:
            request = ask_ways_back.list_approvals(self._tenant_or(tenant), page_token)
            page = await self._calls.unary(methods.LIST_APPROVALS, request, timeout=timeout)
            for approval in page.approvals:
                yield read_ways_back.approval(approval)
            page_token = page.next_page_token
            if not page_token:
                return

    async def grant_approval(
        self, approval_id: str, *, tenant: str | None = None, timeout: float | None = None
    ) -> Approval:
        """Grant what another's call asked for; sent again by them, that call is then made.

        Raises:
            NotFoundError: APPROVAL_UNKNOWN.
            ConflictError: APPROVAL_REQUIRED, the caller is who asked, or it is too late.
        """
        request = ask_ways_back.grant_approval(self._tenant_or(tenant), approval_id)
        answer = await self._calls.unary(methods.GRANT_APPROVAL, request, timeout=timeout)
        return read_ways_back.approval(answer.approval)

    async def reject_approval(
        self, approval_id: str, *, tenant: str | None = None, timeout: float | None = None
    ) -> Approval:
        """Reject what a call asked for: sent again, it asks anew.

        Raises:
            NotFoundError: APPROVAL_UNKNOWN.
            ConflictError: APPROVAL_REQUIRED, it was granted already.
        """
        request = ask_ways_back.reject_approval(self._tenant_or(tenant), approval_id)
        answer = await self._calls.unary(methods.REJECT_APPROVAL, request, timeout=timeout)
        return read_ways_back.approval(answer.approval)
