"""The client's methods of WatchService that are asked: who has applied what."""

from heed.client.calling import Calling
from heed.connection import methods
from heed.deadlines import DeadlinesPage
from heed.propagation import Propagation
from heed.wire import ask, read


class PropagationMethods(Calling):
    """Who follows a tenant's log, and how far they are."""

    async def get_propagation(
        self,
        *,
        revision: int = 0,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> Propagation:
        """Ask who has applied a revision, that of a write's answer; 0 means the log's head.

        `timeout` is in seconds, 2 if not given.

        Raises:
            UnavailableError: STORE_UNAVAILABLE, the other nodes' subscribers cannot be read.
        """
        request = ask.get_propagation(self._tenant_or(tenant), revision)
        answer = await self._calls.unary(methods.GET_PROPAGATION, request, timeout=timeout)
        return read.propagation(answer)

    async def get_deadlines(
        self,
        *,
        before_revision: int = 0,
        page_size: int = 0,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> DeadlinesPage:
        """Ask by when opt-outs must have reached everyone: a page of them, the newest first.

        `before_revision` is the `next_before_revision` of the page before, 0 the head of the log;
        `page_size` at most 1,000, 0 means 100. `timeout` is in seconds, 10 if not given.

        Raises:
            UnavailableError: STORE_UNAVAILABLE, the log or the subscribers cannot be read.
        """
        request = ask.get_deadlines(self._tenant_or(tenant), before_revision, page_size)
        answer = await self._calls.unary(methods.GET_DEADLINES, request, timeout=timeout)
        return read.deadlines(answer)

    async def declare_subscriber(
        self,
        name: str,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Have a subscriber missed while it is away, also if it never came; again: nothing."""
        request = ask.declare_subscriber(self._tenant_or(tenant), name)
        await self._calls.unary(methods.DECLARE_SUBSCRIBER, request, timeout=timeout)

    async def withdraw_subscriber(
        self,
        name: str,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Take a declaration back: it is missed no more. Its streams go on; again: nothing."""
        request = ask.withdraw_subscriber(self._tenant_or(tenant), name)
        await self._calls.unary(methods.WITHDRAW_SUBSCRIBER, request, timeout=timeout)
