"""The client: a connection to heed servers, with every call of the contract as a method."""

import functools
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from heed.client.administration import AdministrationMethods
from heed.client.approvals import ApprovalMethods
from heed.client.audit import AuditMethods
from heed.client.cached import CacheUse
from heed.client.links import LinkMethods
from heed.client.lists import ListMethods
from heed.client.preferences import PreferenceMethods
from heed.client.privacy import PrivacyMethods
from heed.client.proofs import ProofMethods
from heed.client.propagation import PropagationMethods
from heed.client.ways_back import WaysBackMethods
from heed.client.webhooks import WebhookMethods
from heed.connection.aio import AioCalls
from heed.connection.target import DEFAULT_ADDRESS, Tls, target_of
from heed.errors import invalid_field
from heed.model import Channel, TopicClass


class Client(
    PreferenceMethods,
    LinkMethods,
    AuditMethods,
    AdministrationMethods,
    ApprovalMethods,
    ListMethods,
    PrivacyMethods,
    WaysBackMethods,
    PropagationMethods,
    WebhookMethods,
    ProofMethods,
):
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
        api_key: str | Callable[[], str] | None = None,
        tls: Tls | None = None,
        insecure: bool = False,
        tenant: str = "",
        timeout: float | None = None,
        cache: Path | str | None = None,
        channels: Iterable[Channel | str] = (),
        topics: Iterable[str] = (),
        max_staleness: Mapping[TopicClass | str, timedelta] | None = None,
        subscriber: str = "",
        verify: Iterable[str] = (),
    ) -> None:
        """Say where the server is; nothing is connected before the first call.

        `address` is `host:port`, `unix:/path` or a target of gRPC. This host is reached in
        plaintext, every other by TLS, unless `insecure=True`: then keys and addresses cross the
        network in clear. `api_key` is an API key or a JWT; or a function that returns the one of
        the moment, asked at each call, which waits for it. `tenant` is meant where a call names
        none; empty: the only one there is. `timeout`, in seconds, replaces the methods' own
        (docs/clients.md).

        `cache` is a folder of this host in which what the checks need is kept in step
        (docs/cache.md); it needs `heed[cache]`, and the key the right `watch`. The processes that
        name it share it. `channels` and `topics`: what of it is kept, all if empty; a check beyond
        them asks a server. `max_staleness`: how old "allowed" may be, by class of topic.
        `subscriber` names this cache to operators, the host's name and the folder's if empty.
        `verify`: verifier keys of the log; what is kept is then held against its signed checkpoints
        (docs/audit.md), which needs `heed[audit]`, and the right `audit`.

        Raises:
            InvalidArgumentError: the address or the key is none, `tls` contradicts `insecure`,
                `timeout` is no number of seconds, or something said of the cache is none.
        """
        target = target_of(address, tls=tls, insecure=insecure, api_key=api_key)
        open_cache: Callable[[], CacheUse] | None = None
        if cache is not None:
            from heed.connection import caching  # it brings LMDB

            spec = caching.cache_spec(
                cache,
                target,
                tenant=tenant,
                subscriber=subscriber,
                channels=channels,
                topics=topics,
                max_staleness=max_staleness,
                verify=verify,
            )
            open_cache = functools.partial(caching.use, spec)
        elif tuple(verify):
            raise invalid_field("verify", "is what a cache holds to; give cache=path too")
        super().__init__(
            AioCalls(target, timeout=timeout),
            tenant=tenant,
            new_key=lambda: str(uuid.uuid4()),
            open_cache=open_cache,
        )

    async def wait_ready(self, timeout: float = 5.0) -> None:
        """Return once a server is connected to, so that no call's deadline is spent on that.

        Raises:
            UnavailableError: SERVER_UNREACHABLE, none was within `timeout` seconds.
            InvalidArgumentError: `timeout` is no number of seconds.
        """
        await self._calls.wait_ready(timeout)

    async def close(self) -> None:
        """Close the connections; calls under way fail. Closing twice does nothing.

        The cache stays on the disk, and another process may follow from then on.
        """
        await self._close_cache()
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
