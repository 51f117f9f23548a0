"""The client's methods of AuditService: why, and what happened."""

from collections.abc import AsyncIterator, Sequence

from heed.answers import AsOf, CheckAnswer, HistoricChange
from heed.client.calling import Calling
from heed.connection import methods
from heed.model import TOPIC_ROOT, Channel, Subject
from heed.requests import Identifiers, Query, subjects_of
from heed.wire import ask, read


class AuditMethods(Calling):
    """Why a message is or was allowed or suppressed, and what the log has of a person."""

    async def explain(
        self,
        *,
        channel: Channel | str,
        topic: str = TOPIC_ROOT,
        campaign: str = "",
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        as_of: AsOf | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> CheckAnswer:
        """Ask the same as `check`, and for every rule that spoke, with who said so and when.

        With `as_of` it is the decision of then: of an earlier answer, of its position (a line of
        the decision log has one), or of an instant. Slower than a check: it reads the store, and
        for the past the log. `timeout` is in seconds, 2 if not given.

        Raises:
            NotFoundError: REVISION_UNKNOWN, the log is not there yet; RULES_UNKNOWN.
            ConflictError: STORE_MISMATCH, the answer was given by another history than this log's.
            HeedError: as `check`.
        """
        query = Query(
            channel=channel,
            topic=topic,
            campaign=campaign,
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
        )
        request = ask.explain(self._tenant_or(tenant), query, as_of)
        return read.check(await self._calls.unary(methods.EXPLAIN, request, timeout=timeout))

    async def get_history(
        self,
        *,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[HistoricChange]:
        """Yield every change of the log about a person, oldest first: who, what, when and why.

        What is written meanwhile may come too. `timeout` is in seconds of each page, 5 if not
        given.

        Raises:
            UnavailableError: the server or its database does not answer.
            HeedError: any other refusal.
        """
        named = subjects_of(email=email, phone=phone, user=user, device=device, subjects=subjects)
        page_token = ""
        while True:
            request = ask.get_history(self._tenant_or(tenant), named, page_token)
            page = await self._calls.unary(methods.GET_HISTORY, request, timeout=timeout)
            for change in page.changes:
                yield read.historic_change(change)
            page_token = page.next_page_token
            if not page_token:
                return
