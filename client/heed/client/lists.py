"""The client's methods of AdminService for suppressions, imports and exports."""

from collections.abc import AsyncIterator, Iterable, Sequence

from heed.answers import ImportAnswer, ReleaseAnswer, SubjectRecord, SuppressionsAnswer
from heed.client.calling import Calling
from heed.client.export import RecordExport
from heed.connection import methods
from heed.model import TOPIC_ROOT, Cause, Channel, RecordKind, Subject
from heed.requests import ImportRow, Origin, Suppression
from heed.wire import ask, read


class ListMethods(Calling):
    """Suppressions, imports, exports. Every write raises as `set_preference`."""

    async def add_suppressions(
        self,
        suppressions: Iterable[Suppression],
        *,
        origin: Origin,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SuppressionsAnswer:
        """Add up to 1,000 suppressions, all or none; none ever shortens one that stands.

        `origin.decided_time` is when their causes were seen.
        """
        key = self._key_or(idempotency_key)
        request = ask.add_suppressions(self._tenant_or(tenant), key, suppressions, origin)
        answer = await self._calls.unary(
            methods.ADD_SUPPRESSIONS, request, timeout=timeout, idempotency_key=key
        )
        return read.suppressions_added(answer, key)

    async def release_suppression(
        self,
        *,
        subject: Subject,
        cause: Cause | str,
        reason: str,
        origin: Origin,
        channel: Channel | str | None = None,
        topic: str = TOPIC_ROOT,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> ReleaseAnswer:
        """Release the suppressions of one subject by cause and scope; what they chose stands.

        Without channel and topic it is those at the channels of its type.

        Raises:
            NotFoundError: SUPPRESSION_UNKNOWN, none such stands.
        """
        key = self._key_or(idempotency_key)
        request = ask.release_suppression(
            self._tenant_or(tenant),
            key,
            subject=subject,
            cause=cause,
            channel=channel,
            topic=topic,
            reason=reason,
            origin=origin,
        )
        answer = await self._calls.unary(
            methods.RELEASE_SUPPRESSION, request, timeout=timeout, idempotency_key=key
        )
        return read.suppression_released(answer, key)

    async def list_suppressions(
        self,
        *,
        cause: Cause | str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[SubjectRecord]:
        """Yield the standing suppressions, in a stable order. `timeout` is of each page."""
        page_token = ""
        while True:
            request = ask.list_suppressions(self._tenant_or(tenant), cause, page_token)
            page = await self._calls.unary(methods.LIST_SUPPRESSIONS, request, timeout=timeout)
            for suppression in page.suppressions:
                yield read.subject_record(suppression)
            page_token = page.next_page_token
            if not page_token:
                return

    async def import_records(
        self,
        rows: Sequence[ImportRow],
        *,
        batch_id: str,
        origin: Origin,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> ImportAnswer:
        """Import one chunk, up to 5,000 rows, of the list that `batch_id` names.

        It can only add protection. Malformed rows come back in `rejected`, the others are stored.
        Give each chunk a key of its own that a second run makes again, such as `BATCH_ID/7`.
        """
        key = self._key_or(idempotency_key)
        request = ask.import_records(
            self._tenant_or(tenant),
            key,
            batch_id=batch_id,
            rows=rows,
            origin=origin,
            dry_run=dry_run,
        )
        answer = await self._calls.unary(
            methods.IMPORT_RECORDS, request, timeout=timeout, idempotency_key=key
        )
        return read.imported(answer, key)

    def export_records(
        self,
        *,
        kinds: Iterable[RecordKind | str] = (),
        causes: Iterable[Cause | str] = (),
        channel: Channel | str | None = None,
        topic: str = TOPIC_ROOT,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> RecordExport:
        """Return every standing record that matches, to be iterated over once.

        `timeout` is of the whole export, in seconds, 3,600 if not given.
        """
        request = ask.export_records(
            self._tenant_or(tenant), kinds=kinds, causes=causes, channel=channel, topic=topic
        )
        return RecordExport(self._calls.stream(methods.EXPORT_RECORDS, request, timeout=timeout))
