"""The client's methods of AdminService that undo: a batch, or suppressions of many people."""

from datetime import datetime

from heed.answers import ReleasesAnswer, RevertAnswer
from heed.client.calling import Calling
from heed.connection import methods
from heed.model import Cause
from heed.requests import Origin
from heed.wire import ask_ways_back, read


class WaysBackMethods(Calling):
    """Undoes what a list, or a fault of one's own, did."""

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
        return read.reverted(answer, key)

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
        return read.releases(answer, key)
