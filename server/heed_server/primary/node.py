"""One server, put together: what is opened, in which order, and closed in the reverse.

Laws:
- Everything is opened within one block, and whatever fails closes what was open.
- Nothing is answered before every tenant's index is in step with its log.
- Calls end before the loops do, the loops before the indexes are sealed, and these before the
  database is closed.
"""

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from grpc import aio
from prometheus_client import CollectorRegistry

from heed.keys import LOOKUP_KEY_BYTES
from heed.model import Instant
from heed_server.auth.certificates import server_credentials
from heed_server.auth.credentials import Authenticator
from heed_server.auth.key_socket import serve_key_socket, socket_path
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address
from heed_server.config.exposure import keys_are_required, require_safe_listening
from heed_server.config.places import (
    FIRST_TENANT,
    database_file,
    database_url,
    index_directory,
)
from heed_server.follow import FollowLimits
from heed_server.primary.background import Background
from heed_server.primary.database import ensure_tenant, limits_of, open_database
from heed_server.primary.followers import Followers
from heed_server.primary.ids import new_hold_id
from heed_server.primary.listening import listen, warn_of_exposure
from heed_server.primary.loops import learn_tenants, prune_keys, watch_store
from heed_server.primary.measures import Measures
from heed_server.primary.publishing import outbox_of
from heed_server.primary.stopping import Stop, drain
from heed_server.propagation import Registry
from heed_server.rpc import (
    CheckStreamLimits,
    CheckStreams,
    Observe,
    RpcLimits,
    build_server,
    health_of,
)
from heed_server.service import MaxStaleness, Service, Tenants
from heed_server.storage import (
    Clock,
    SqlStore,
    StorageLimits,
    SystemClock,
    WakeUps,
    open_wake_ups,
)
from heed_server.telemetry import otlp_is_asked_for
from heed_server.telemetry.metrics import CallMetrics
from heed_server.telemetry.scrape import serve_metrics
from heed_server.watch import Watches, WatchLimits

_log = structlog.stdlib.get_logger("heed_server.primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A server that serves."""

    config: Config
    addresses: tuple[Address, ...]
    """Where it listens, with the ports that it got."""
    metrics_port: int | None
    keys_required: bool
    key_count: int
    tenants: Tenants


@asynccontextmanager
async def open_node(
    config: Config, stop: Stop, *, clock: Clock | None = None
) -> AsyncGenerator[Node]:
    """Serve within the block; leaving it drains and closes everything.

    The block is cancelled when the node cannot go on safely.

    Raises:
        InvalidArgumentError: the settings would listen openly, or name a certificate of no use.
        UnavailableError: the database, an address or an index cannot be had.
    """
    require_safe_listening(config)
    certificate = server_credentials(config.tls)
    clock = clock or SystemClock()
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(open_database(config, clock=clock))
        if await ensure_tenant(store):
            _log.info("tenant_created", tenant=FIRST_TENANT)
        authenticator = await _authenticator(config, store, clock)
        followers = await opened.enter_async_context(_followers(config, store, clock))
        background = await opened.enter_async_context(Background())
        tenants = Tenants(lambda tenant: followers.follow(tenant, background))
        store.on_commit(followers.publish)
        wake_ups = _wake_ups(config, store, followers)
        await tenants.learn(await store.tenants())
        subscribers = _subscribers(config, store, tenants, clock)
        watches = await opened.enter_async_context(
            Watches(
                store,
                index_directory(config),
                limits=limits_of(WatchLimits, config.watch),
                registrar=subscribers,
            )
        )
        service = _service(
            config,
            store,
            tenants,
            watches,
            subscribers,
            clock,
            now_by_boot=await _time_by_boot(store, clock),
        )
        health = health_of(service)
        await health.refresh()

        outbox = outbox_of(config, store, tenants, clock)

        registry = CollectorRegistry()
        measures = Measures(
            tenants=tenants,
            followers=followers,
            authenticator=authenticator,
            wake_ups=wake_ups,
            watches=watches,
            outbox=outbox,
            registry=registry,
        )
        interceptors = await _tracing(opened, background, config, registry)
        check_streams = CheckStreams(limits_of(CheckStreamLimits, config.limits))
        server = build_server(
            service,
            authenticator,
            health=health,
            check_streams=check_streams,
            rpc_limits=limits_of(RpcLimits, config.limits),
            observe=_observer(config, CallMetrics(registry)),
            observe_checks=config.telemetry.check_metrics,
            with_reflection=config.listen.reflection,
            interceptors=interceptors,
        )
        opened.push_async_callback(server.stop, None)  # a server that was never started, too
        addresses = listen(server, config, certificate)
        warn_of_exposure(config, keys_required=authenticator.is_required)
        metrics_port = await _open_metrics(opened, config, registry)
        await _open_key_socket(opened, config, store, authenticator)
        await server.start()

        def end_streams(seconds: float) -> None:
            check_streams.end()
            watches.drain(seconds)

        opened.push_async_callback(drain, server, health, end_streams, stop, config.drain)

        background.start("health", health.run())
        background.start("keys", authenticator.run())
        background.start("tenants", learn_tenants(store, tenants))
        background.start("pruning", prune_keys(store, clock))
        background.start("measures", measures.run())
        background.start("store", watch_store(store))
        background.start("subscribers", subscribers.run())
        if wake_ups is not None:
            background.start("wake-ups", wake_ups.run())
        if outbox is not None:
            background.start("outbox", outbox.run())
        yield Node(
            config=config,
            addresses=addresses,
            metrics_port=metrics_port,
            keys_required=authenticator.is_required,
            key_count=authenticator.key_count,
            tenants=tenants,
        )


async def _authenticator(config: Config, store: SqlStore, clock: Clock) -> Authenticator:
    authenticator = Authenticator(
        store,
        is_required=keys_are_required(config),
        keys_kept_seconds=config.auth.keys_kept_seconds,
        now=clock.now,
        boot_seconds=clock.boot,
    )
    await authenticator.refresh()
    return authenticator


def _followers(config: Config, store: SqlStore, clock: Clock) -> Followers:
    return Followers(
        store,
        index_directory(config),
        boot_seconds=clock.boot,
        limits=limits_of(FollowLimits, config.index),
    )


def _wake_ups(config: Config, store: SqlStore, followers: Followers) -> WakeUps | None:
    """Tell other nodes of this one's commits, and hear of theirs, where nodes share a database."""
    if not config.storage.wake_ups:
        return None
    made = open_wake_ups(
        database_url(config),
        limits=limits_of(StorageLimits, config.storage),
        on_heard=followers.wake,
        on_open=followers.wake_all,
    )
    if made is not None:
        store.on_commit(lambda one: made.tell(one.tenant_id, one.head.revision))
    return made


def _subscribers(config: Config, store: SqlStore, tenants: Tenants, clock: Clock) -> Registry:
    """Who follows, of all nodes. A node is named by its host and where it is asked to listen."""
    return Registry(
        store,
        node=f"{socket.gethostname()}:{config.listen.address[0].rpartition(':')[2]}",
        run=secrets.token_hex(8),
        standing=tenants.standing,
        now=clock.now,
        boot_seconds=clock.boot,
        max_staleness_seconds=config.staleness.transactional_seconds,
    )


async def _time_by_boot(store: SqlStore, clock: Clock) -> Callable[[], Instant]:
    """Return the time by the boot clock, counted from now, or from the last commit if later.

    It is where the wall clock went back while no node ran.
    """
    tenants = await store.tenants()
    commit_times = [(await store.head(tenant.tenant_id)).commit_time for tenant in tenants]
    began, began_boot = max(clock.now(), *commit_times), clock.boot()

    def now_by_boot() -> Instant:
        return Instant(began + round((clock.boot() - began_boot) * 1_000_000))

    return now_by_boot


def _service(
    config: Config,
    store: SqlStore,
    tenants: Tenants,
    watches: Watches,
    subscribers: Registry,
    clock: Clock,
    *,
    now_by_boot: Callable[[], Instant],
) -> Service:
    return Service(
        store=store,
        tenants=tenants,
        watches=watches,
        registry=subscribers,
        now=clock.now,
        new_hold_id=new_hold_id,
        new_lookup_key=lambda: secrets.token_bytes(LOOKUP_KEY_BYTES),
        max_staleness=MaxStaleness(
            promotional=config.staleness.promotional_seconds,
            transactional=config.staleness.transactional_seconds,
            mandatory=config.staleness.mandatory_seconds,
        ),
        now_by_boot=now_by_boot,
    )


def _observer(config: Config, calls: CallMetrics) -> Observe:
    if not config.telemetry.log_calls:
        return calls.observe

    def observe(method: str, code: str, seconds: float, *, reason: str, caller: str) -> None:
        calls.observe(method, code, seconds, reason=reason, caller=caller)
        _log.info(
            "call",
            method=method,
            code=code,
            milliseconds=round(seconds * 1000, 3),
            reason=reason,
            caller=caller,
        )

    return observe


async def _tracing(
    opened: AsyncExitStack, background: Background, config: Config, registry: CollectorRegistry
) -> tuple[aio.ServerInterceptor, ...]:
    """Start what OpenTelemetry needs, if it is asked for; its libraries are loaded only then."""
    if not otlp_is_asked_for(config.telemetry.otlp, os.environ):
        return ()
    from heed_server.telemetry.otlp import export_metrics, export_traces
    from heed_server.telemetry.tracing import TracingInterceptor

    running = version("heed-server")
    tracer = await opened.enter_async_context(export_traces(running))
    background.start("otlp", export_metrics(registry, running))
    return (TracingInterceptor(tracer),)


async def _open_metrics(
    opened: AsyncExitStack, config: Config, registry: CollectorRegistry
) -> int | None:
    if not config.telemetry.metrics_address:
        return None
    address = parse_address(config.telemetry.metrics_address)
    return await opened.enter_async_context(serve_metrics(address, registry))


async def _open_key_socket(
    opened: AsyncExitStack, config: Config, store: SqlStore, authenticator: Authenticator
) -> None:
    """On SQLite, let `heed-server keys` reach this process, which owns the database."""
    database = database_file(config)
    if database is None:
        return
    path = socket_path(database)
    try:
        await opened.enter_async_context(
            serve_key_socket(path, store, on_change=authenticator.refresh)
        )
    except OSError as error:
        # Too long a path, most likely. Keys are then managed while the server is stopped.
        _log.warning("key_socket_not_opened", path=str(path), why=str(error))
