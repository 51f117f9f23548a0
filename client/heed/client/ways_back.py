"""The client's methods of AdminService that undo: a batch, or suppressions of many people."""

from collections.abc import AsyncIterator
from datetime import datetime

from heed.answers import ReleasesAnswer, RevertAnswer
from heed.batches import Batch
from heed.client.calling import Calling
from heed.connection import methods
from heed.model import Cause
from heed.requests import Origin
from heed.wire import ask_ways_back, read_ways_back


class WaysBackMethods(Calling):
    """Undoes what a list, or a fault of one's own, did."""

    async def list_batches(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Batch]:
        """Yield the batches that calls have named, the one that began last first."""
        page_token = ""
        while True:
            request = ask_ways_back.list_batches(self._tenant_or(tenant), page_token)
            page = await self._calls.unary(methods.LIST_BATCHES, request, timeout=timeout)
            for batch in page.batches:
                yield read_ways_back.batch(batch)
            page_token = page.next_page_token
            if not page_token:
                return

    async def revert_batch(
        self,
        batch_id: str,
        *,
        reason: str,
        origin: Origin,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> RevertAnswer:
        """Undo an import or a batch of choices, as if it had never been; a dry run only counts.

        It needs a second person: once they granted what the error names, send the same call with
        the same `idempotency_key` again. `timeout` is in seconds, 3600 if not given.

        Raises:
            ConflictError: APPROVAL_REQUIRED, nothing was done.
            NotFoundError: BATCH_UNKNOWN.
        """
        key = self._key_or(idempotency_key)
        request = ask_ways_back.revert_batch(
            self._tenant_or(tenant),
            key,
            batch_id=batch_id,
            reason=reason,
            origin=origin,
            dry_run=dry_run,
        )
        answer = await self._calls.unary(
            methods.REVERT_BATCH, request, timeout=timeout, idempotency_key=key
        )
        return read_ways_back.reverted(answer, key)

    async def release_suppressions(
        self,
        *,
        cause: Cause | str,
        from_time: datetime,
        before_time: datetime,
        reason: str,
        origin: Origin,
        batch_id: str = "",
        dry_run: bool = False,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> ReleasesAnswer:
        """Release the suppressions of a cause that were seen within a time; a dry run only counts.

        More than 100 need a second person, as `revert_batch`. `batch_id`: only those that this
        batch last set. `timeout` is in seconds, 3600 if not given.

        Raises:
            ConflictError: APPROVAL_REQUIRED, nothing was done.
            ExhaustedError: LIMIT_REACHED, more than 1,000,000 match.
        """
        key = self._key_or(idempotency_key)
        request = ask_ways_back.release_suppressions(
            self._tenant_or(tenant),
            key,
            cause=cause,
            from_time=from_time,
            before_time=before_time,
            batch_id=batch_id,
            reason=reason,
            origin=origin,
            dry_run=dry_run,
        )
        answer = await self._calls.unary(
            methods.RELEASE_SUPPRESSIONS, request, timeout=timeout, idempotency_key=key
        )
        return read_ways_back.releases(answer, key)
