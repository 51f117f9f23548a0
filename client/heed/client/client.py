"""The client: a connection to heed servers, with every call of the contract as a method."""

import uuid
from types import TracebackType
from typing import Self

from heed.client.administration import AdministrationMethods
from heed.client.lists import ListMethods
from heed.client.preferences import PreferenceMethods
from heed.connection.aio import AioCalls
from heed.connection.target import DEFAULT_ADDRESS, Tls, target_of


class Client(PreferenceMethods, AdministrationMethods, ListMethods):
    """Asks heed servers before each message, and tells them what people choose.

        async with Client("heed.example.com:443", api_key=key) as client:
            answer = await client.check(
                email="ada@example.com", channel="email", topic="marketing.weekly"
            )
            if answer.allowed:
                ...

    One client is enough for a process: it is safe to share, keeps its connections, and spreads its
    calls over every address that the name resolves to. It belongs to the event loop of its first
    call.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str | None = None,
        tls: Tls | None = None,
        insecure: bool = False,
        tenant: str = "",
        timeout: float | None = None,
    ) -> None:
        """Say where the server is; nothing is connected before the first call.

        `address` is `host:port`, `unix:/path` or a target of gRPC. This host is reached in
        plaintext, every other by TLS, unless `insecure=True`: then keys and addresses cross the
        network in clear. `tenant` is meant where a call names none; empty: the only one there is.
        `timeout`, in seconds, replaces the methods' own (docs/clients.md).

        Raises:
            InvalidArgumentError: the address or the key is none, or `tls` contradicts `insecure`.
        """
        target = target_of(address, tls=tls, insecure=insecure, api_key=api_key)
        super().__init__(
            AioCalls(target, timeout=timeout), tenant=tenant, new_key=lambda: str(uuid.uuid4())
        )

    async def wait_ready(self, timeout: float = 5.0) -> None:
        """Return once a server is connected to, so that no call's deadline is spent on that.

        Raises:
            UnavailableError: SERVER_UNREACHABLE, none was within `timeout` seconds.
        """
        await self._calls.wait_ready(timeout)

    async def close(self) -> None:
        """Close the connections; calls under way fail. Closing twice does nothing."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
