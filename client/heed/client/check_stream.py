"""Checks over one stream."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from heed.answers import CheckAnswer
from heed.connection.calls import AsyncConversation
from heed.model import TOPIC_ROOT, Channel, Subject
from heed.requests import Identifiers, Query
from heed.wire import ask


class CheckStream:
    """Asks a server about one message after another over one stream; `client.check_stream`.

    Many may ask at the same time: what waits is asked together, and each has its own answer, or its
    own error.
    """

    def __init__(self, conversation: AsyncConversation, *, tenant: str) -> None:
        """`tenant` is meant where a check names none."""
        self._conversation = conversation
        self._tenant = tenant

    async def check(
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
        reference: str = "",
        token: str = "",
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> CheckAnswer:
        """Ask whether one message may be sent now; send only if `answer.allowed`.

        As `check` of the client, but `timeout` is in seconds 1 if not given, which counts the wait
        for a place in the stream.

        Raises:
            UnavailableError: no answer; the safe one is to suppress, that is not to send.
            InvalidArgumentError: something asked is malformed; other checks are none the worse.
            ExhaustedError: OVERLOADED, too many wait for this stream.
            HeedError: any other refusal; whatever it is, do not send.
            RuntimeError: the stream is not open.
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
            reference=reference,
        )
        request = ask.check(self._tenant if tenant is None else tenant, query, token)
        return await self._conversation.ask(request, timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._conversation.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._conversation.close()
