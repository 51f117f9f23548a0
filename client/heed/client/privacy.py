"""The client's methods of AdminService for what is known of one person."""

from collections.abc import Iterable, Sequence

from heed.answers import ErasureAnswer, SubjectExport
from heed.client.calling import Calling
from heed.connection import methods
from heed.model import Subject
from heed.requests import Origin
from heed.wire import ask, read


class PrivacyMethods(Calling):
    """What is known of one person: all of it, or all of it erased but the stops."""

    async def export_subject(
        self,
        subjects: Sequence[Subject],
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SubjectExport:
        """Return all that is known of one person under each of these identifiers.

        What is known under other identifiers of theirs is not told: name them all. `timeout` is in
        seconds of each page of their changes.
        """
        pages = []
        page_token = ""
        while True:
            request = ask.export_subject(self._tenant_or(tenant), subjects, page_token)
            page = await self._calls.unary(methods.EXPORT_SUBJECT, request, timeout=timeout)
            pages.append(page)
            page_token = page.next_page_token
            if not page_token:
                return read.subject_exported(pages)

    async def erase_subject(
        self,
        subjects: Iterable[Subject],
        *,
        reason: str,
        origin: Origin,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> ErasureAnswer:
        """Erase what is known of one person under each of these identifiers; every stop stands on.

        What is known under other identifiers of theirs stays: name them all. `reason` and `origin`
        are kept, and no address belongs in them. It raises as `set_preference`.
        """
        key = self._key_or(idempotency_key)
        request = ask.erase_subject(self._tenant_or(tenant), key, subjects, reason, origin)
        answer = await self._calls.unary(
            methods.ERASE_SUBJECT, request, timeout=timeout, idempotency_key=key
        )
        return read.subject_erased(answer, key)
