"""A real server in this process: its gRPC edge on port 0, a real store, a real index.

    async with running_server(tmp_path) as server:
        answer = await server.call("CheckSuppression", ask.check())

Calls raise heed's own errors, read from their status as the library reads them. Nothing polls: a
write is answered once the index has it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc import aio

from heed.errors import HeedError
from heed.model import TenantId
from heed.wire.status import DETAILS_METADATA_KEY, from_refusal, from_status
from heed_server.audit import KeyOf, Prover
from heed_server.auth.credentials import Authenticator
from heed_server.background import Background
from heed_server.decisions import DecisionLog
from heed_server.follow import FollowLimits
from heed_server.primary.followers import Followers
from heed_server.propagation import Registry
from heed_server.rpc import (
    CheckStreamLimits,
    CheckStreams,
    Health,
    Observe,
    RpcLimits,
    build_server,
    health_of,
)
from heed_server.rpc.server import services
from heed_server.service import MaxStaleness, Service, Tenants
from heed_server.service.admission import Admission
from heed_server.service.caps import Caps
from heed_server.service.logged import LoggedService
from heed_server.storage import Clock, SqlStore, StorageLimits, SystemClock, open_store
from heed_server.watch import Watches, WatchLimits
from tests.support.roots import root_file_for
from tests.support.stores import LOOKUP_KEY, place_sqlite

ENDLESS = frozenset({"WatchChanges"})
"""Methods whose answer never ends by itself: of these, `send` returns the first message."""

OVERTAKEN = "Internal error from Core"
"""What gRPC says in asyncio of a call whose end overtook its request: how it ended is lost."""
ATTEMPTS = 5

METHODS = {method.name: method for described in services() for method in described.methods}
"""The methods of the contract, by name."""

TENANT = "default"
PUBLIC_URL = "https://news.example.com"
"""Where their links are said to be served."""
CHECKPOINT_KEY = KeyOf(bytes(32))
"""Signs the logs of these servers; a test has its own signer sign them."""


@dataclass
class Running:
    """A server that runs, and what it is made of."""

    address: str
    service: Service
    store: SqlStore
    tenants: Tenants
    health: Health
    check_streams: CheckStreams
    channel: aio.Channel
    observed: "asyncio.Queue[tuple[str, str, str, str]]" = field(default_factory=asyncio.Queue)
    """(method, code, reason, caller) of each call that ended. A caller may hear of the end before
    it is told here."""

    async def next_end(self) -> tuple[str, str, str, str]:
        """Return how the next call ended, waiting for it."""
        async with asyncio.timeout(10):
            return await self.observed.get()

    async def call(
        self,
        name: str,
        request: Message,
        *,
        key: str = "",
        timeout: float | None = 20,
        channel: aio.Channel | None = None,
    ) -> Any:
        """Return the answer of a method; of one that streams, all its messages.

        A stream of checks is sent one request, and what refuses a query of it is raised too.
        """
        try:
            answers = await self.send(
                name, request.SerializeToString(), key=key, timeout=timeout, channel=channel
            )
        except aio.AioRpcError as error:
            raise error_of(error) from error
        class_ = message_factory.GetMessageClass(METHODS[name].output_type)
        if METHODS[name].client_streaming:
            answer: Any = class_.FromString(answers[0])
            for one in answer.answers:
                if one.HasField("refusal"):
                    raise from_refusal(one.refusal)
            return answer
        if METHODS[name].server_streaming:
            return [class_.FromString(answer) for answer in answers]
        return class_.FromString(answers[0])

    async def send(
        self,
        name: str,
        data: bytes,
        *,
        key: str = "",
        timeout: float | None = 20,
        channel: aio.Channel | None = None,
    ) -> Sequence[bytes]:
        """Send bytes to a method and return the bytes of its answers."""
        method = METHODS[name]
        path = f"/{method.containing_service.full_name}/{name}"
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        through = channel or self.channel
        if method.client_streaming:
            conversing: aio.StreamStreamMultiCallable[bytes, bytes] = through.stream_stream(path)
            for left in reversed(range(ATTEMPTS)):
                conversation = conversing(iter([data]), timeout=timeout, metadata=metadata)
                try:
                    return [answer async for answer in conversation]
                except aio.AioRpcError as error:
                    if error.details() != OVERTAKEN or not left:
                        raise
        if method.server_streaming:
            streaming: aio.UnaryStreamMultiCallable[bytes, bytes] = through.unary_stream(path)
            call = streaming(data, timeout=timeout, metadata=metadata)
            if name in ENDLESS:
                first = await anext(aiter(call))
                call.cancel()
                return [first]
            return [answer async for answer in call]
        unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = through.unary_unary(path)
        return [await unary(data, timeout=timeout, metadata=metadata)]

    async def heads(self) -> dict[str, int]:
        """Where every tenant's log ends, as the database says."""
        return {
            tenant.name: (await self.store.head(tenant.tenant_id)).revision
            for tenant in await self.store.tenants()
        }

    async def head(self) -> int:
        """Where the first tenant's log ends."""
        return (await self.store.head(TenantId(1))).revision


def error_of(error: aio.AioRpcError) -> HeedError:
    """Return heed's error of a call that failed; fails when it is the transport's."""
    for name, value in error.trailing_metadata() or ():
        if name == DETAILS_METADATA_KEY and isinstance(value, bytes):
            found = from_status(status_pb2.Status.FromString(value))
            if found is not None:
                return found
    raise AssertionError(f"not an error of heed's: {error.code()} {error.details()}") from error


@asynccontextmanager
async def running_server(
    folder: Path,
    *,
    url: str | None = None,
    clock: Clock | None = None,
    tenant: str | None = TENANT,
    authenticator: Callable[[SqlStore], Authenticator] | None = None,
    max_staleness: MaxStaleness | None = None,
    rpc_limits: RpcLimits | None = None,
    storage_limits: StorageLimits | None = None,
    watch_limits: WatchLimits | None = None,
    check_stream_limits: CheckStreamLimits | None = None,
    observe_checks: bool = False,
    admission: Admission | None = None,
    caps: Caps | None = None,
    decisions: DecisionLog | None = None,
    public_url: str = PUBLIC_URL,
) -> AsyncGenerator[Running]:
    """Run a server on a database (SQLite in the folder unless `url` says otherwise)."""
    clock = clock or SystemClock()
    folder.mkdir(exist_ok=True)
    observed: asyncio.Queue[tuple[str, str, str, str]] = asyncio.Queue()
    async with (
        await _store(url or await _own_sqlite(folder), clock, storage_limits) as store,
        _following(store, folder, clock, tenant) as tenants,
        _answering(
            store,
            tenants,
            folder,
            clock,
            max_staleness,
            watch_limits,
            admission,
            caps,
            decisions,
            public_url,
        ) as service,
    ):
        health = health_of(service)
        check_streams = CheckStreams(check_stream_limits)
        server = build_server(
            service,
            authenticator(store) if authenticator else None,
            health=health,
            check_streams=check_streams,
            rpc_limits=rpc_limits,
            observe=_noting(observed),
            observe_checks=observe_checks,
        )
        async with _listening(server) as address, new_channel(address) as channel:
            yield Running(
                address=address,
                service=service,
                store=store,
                tenants=tenants,
                health=health,
                check_streams=check_streams,
                channel=channel,
                observed=observed,
            )


async def _own_sqlite(folder: Path) -> str:
    """A database of the folder's own, from the second time on what is there."""
    path = folder / "heed.db"
    if not path.exists():
        await place_sqlite(path)
    return f"sqlite:///{path}"


async def _store(url: str, clock: Clock, limits: StorageLimits | None) -> SqlStore:
    return await open_store(
        url, clock=clock, root_file=root_file_for(url), limits=limits or StorageLimits()
    )


def new_channel(address: str) -> aio.Channel:
    """Return a channel with a connection of its own, which takes answers of any size."""
    return aio.insecure_channel(
        address,
        [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ],
    )


@asynccontextmanager
async def _following(
    store: SqlStore, folder: Path, clock: Clock, tenant: str | None
) -> AsyncGenerator[Tenants]:
    """The tenants of a store, each followed; the first is made where there is none."""
    async with (
        Followers(
            store, folder / "index", boot_seconds=clock.boot, limits=FollowLimits()
        ) as followers,
        Background() as background,
    ):
        if tenant is not None and not await store.tenants():
            await store.create_tenant(tenant, LOOKUP_KEY)
        tenants = Tenants(lambda one: followers.follow(one, background))
        store.on_commit(followers.publish)
        await tenants.learn(await store.tenants())
        yield tenants


@asynccontextmanager
async def _answering(
    store: SqlStore,
    tenants: Tenants,
    folder: Path,
    clock: Clock,
    max_staleness: MaxStaleness | None,
    watch_limits: WatchLimits | None,
    admission: Admission | None,
    caps: Caps | None,
    decisions: DecisionLog | None,
    public_url: str,
) -> AsyncGenerator[Service]:
    """What answers calls, and its streams of changes."""
    registry = Registry(
        store,
        node="test",
        run="run-1",
        standing=tenants.standing,
        now=clock.now,
        boot_seconds=clock.boot,
        max_staleness_seconds=60.0,
    )
    prover = Prover(store, CHECKPOINT_KEY, boot_seconds=_impatient())
    async with Watches(store, folder, registry, prover, limits=watch_limits) as watches:
        service = (Service if decisions is None else LoggedService)(
            store=store,
            registry=registry,
            prover=prover,
            tenants=tenants,
            watches=watches,
            now=clock.now,
            new_hold_id=_ids("hold"),
            new_approval_id=_ids("approval"),
            new_lookup_key=lambda: LOOKUP_KEY,
            max_staleness=max_staleness,
            admission=admission,
            caps=caps,
            public_url=public_url,
        )
        if isinstance(service, LoggedService) and decisions is not None:
            service.decisions = decisions
        yield service


@asynccontextmanager
async def _listening(server: aio.Server) -> AsyncGenerator[str]:
    """A server that takes calls at an address of its own."""
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


def _impatient() -> Callable[[], float]:
    """A clock on which every wait is over at once: what no test has signed is not signed."""
    minutes = iter(range(1, 1_000_000))
    return lambda: 60.0 * next(minutes)


def _ids(prefix: str) -> Callable[[], str]:
    numbers = iter(range(1, 1_000_000))
    return lambda: f"{prefix}-{next(numbers)}"


def _noting(observed: "asyncio.Queue[tuple[str, str, str, str]]") -> Observe:
    def observe(method: str, code: str, seconds: float, *, reason: str, caller: str) -> None:
        assert seconds >= 0
        observed.put_nowait((method, code, reason, caller))

    return observe
