"""One server, put together: what is opened, in which order, and closed in the reverse.

Laws:
- Everything is opened within one block, and whatever fails closes what was open.
- Nothing is answered before every tenant's index is in step with its log.
- Calls end before the loops do, the loops before the indexes are sealed, and these before the
  database is closed.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from heed.keys import LOOKUP_KEY_BYTES
from heed_server.audit import Prover, Signer
from heed_server.auth.certificates import server_credentials
from heed_server.auth.credentials import Authenticator
from heed_server.auth.key_socket import serve_key_socket, socket_path
from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import Address
from heed_server.config.exposure import keys_are_required, require_safe_listening
from heed_server.config.places import (
    FIRST_TENANT,
    database_file,
    database_url,
    index_directory,
)
from heed_server.deadlines import DeadlineRules, DeadlineWatch
from heed_server.decisions import DecisionLog
from heed_server.follow import Follower, FollowLimits
from heed_server.outbox import Outbox
from heed_server.primary.dashboard import open_dashboard
from heed_server.primary.database import ensure_tenant, open_database
from heed_server.primary.deadlines import rules_of, watch_of
from heed_server.primary.deciding import decision_log
from heed_server.primary.edges import HttpEdges
from heed_server.primary.folders import make_data_folder
from heed_server.primary.followers import Followers
from heed_server.primary.identifying import open_identities
from heed_server.primary.ids import new_approval_id, new_hold_id
from heed_server.primary.inbound import open_inbound
from heed_server.primary.limits import admission_of, caps_of, limits_of, max_staleness_of
from heed_server.primary.listening import listen, listen_to_workers, warn_of_exposure
from heed_server.primary.lookup_keys import keep_moved
from heed_server.primary.loops import learn_tenants, prune_keys, renew_keys, watch_store
from heed_server.primary.measures import Measures
from heed_server.primary.observing import observer, open_metrics, tracing
from heed_server.primary.public import open_public
from heed_server.primary.publishing import outbox_of
from heed_server.primary.rest import open_rest
from heed_server.primary.rotations import Rotations
from heed_server.primary.signing import checkpoint_key, prover_of, signer_of
from heed_server.primary.stopping import Stop, drain
from heed_server.primary.webhooks import notices_of, targets_of, webhooks_of
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.tallies import read_tallies
from heed_server.primary.workers.telling import Teller
from heed_server.propagation import Registry
from heed_server.rpc import (
    CheckStreamLimits,
    CheckStreams,
    Health,
    RpcLimits,
    build_server,
    health_of,
)
from heed_server.service import Service, Tenants
from heed_server.service.answering import Began
from heed_server.service.logged import LoggedService
from heed_server.storage import (
    Clock,
    SqlStore,
    StorageLimits,
    SystemClock,
    open_wake_ups,
)
from heed_server.store import Tenant
from heed_server.telemetry.metrics import CallMetrics
from heed_server.watch import Watches, WatchLimits

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities
    from heed_server.storage.wakeups import WakeUps
    from heed_server.webhooks import Webhooks

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
    end_streams: Callable[[float], None]
    """Has the readers of streams go, each within so many seconds; returns at once."""

    @property
    def tenant_names(self) -> tuple[str, ...]:
        """The tenants that it serves, by name."""
        return tuple(context.tenant.name for context in self.tenants.all())


@dataclass(frozen=True, slots=True, kw_only=True)
class Owning:
    """What is other about a node whose calls come through workers."""

    address: Address
    """The unix socket where it listens, and nowhere else."""
    folder: RunFolder
    """Where the workers are told what it knows."""


@asynccontextmanager
async def open_node(
    config: Config, stop: Stop, *, clock: Clock | None = None, owning: Owning | None = None
) -> AsyncGenerator[Node]:
    """Serve within the block; leaving it drains and closes everything.

    The block is cancelled when the node cannot go on safely. `owning`: it is asked by workers.

    Raises:
        InvalidArgumentError: the settings would listen openly, or name a certificate of no use.
        UnavailableError: the database, an address or an index cannot be had.
    """
    require_safe_listening(config)
    rules = rules_of(config)
    certificate = server_credentials(config.tls)
    async with AsyncExitStack() as opened:
        parts = await _open_parts(opened, config, clock or SystemClock(), owning, rules)
        health = health_of(parts.service)
        await health.refresh()
        registry = CollectorRegistry()
        measures = _measures_of(parts, registry)
        check_streams = CheckStreams(limits_of(CheckStreamLimits, config.limits))
        observe = observer(config, CallMetrics(registry))
        server = build_server(
            parts.service,
            parts.authenticator,
            health=health,
            check_streams=check_streams,
            rpc_limits=limits_of(RpcLimits, config.limits),
            observe=observe,
            observe_checks=config.telemetry.check_metrics,
            with_reflection=config.listen.reflection,
            interceptors=await tracing(opened, parts.background, config, registry),
            for_workers=owning is not None,
        )
        opened.push_async_callback(server.stop, None)  # a server that was never started, too
        addresses = (
            listen(server, config, certificate)
            if owning is None
            else listen_to_workers(server, owning.address)
        )
        warn_of_exposure(config, keys_required=parts.authenticator.is_required)
        metrics_port = await open_metrics(opened, config, registry)
        renew_soon = asyncio.Event()
        rotations = Rotations(parts.store, renew_soon=renew_soon.set)
        await _open_key_socket(opened, config, parts.store, rotations, parts.authenticator)
        await server.start()
        edges = HttpEdges(opened, parts.background, config, registry)
        open_public(edges, config, parts.service, registry)
        open_rest(edges, config, parts.service, parts.authenticator, observe)
        open_inbound(edges, config, parts.service, registry, parts.background, parts.clock.now)
        open_dashboard(edges, config, parts.service, parts.authenticator, parts.clock)

        def end_streams(seconds: float) -> None:
            check_streams.end()
            parts.watches.drain(seconds)

        opened.push_async_callback(drain, server, health, end_streams, stop, config.drain, edges)
        _start_loops(parts, health, measures, renew_soon)
        yield Node(
            config=config,
            addresses=addresses,
            metrics_port=metrics_port,
            keys_required=parts.authenticator.is_required,
            key_count=parts.authenticator.key_count,
            tenants=parts.tenants,
            end_streams=end_streams,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What answers calls, before there is a server that takes them."""

    clock: Clock
    store: SqlStore
    authenticator: Authenticator
    identities: "Identities | None"
    followers: Followers
    background: Background
    tenants: Tenants
    wake_ups: "WakeUps | None"
    subscribers: Registry
    watches: Watches
    service: Service
    outbox: Outbox | None
    decisions: DecisionLog | None
    signer: Signer
    deadlines: DeadlineWatch
    webhooks: "Webhooks | None"


def _measures_of(parts: _Parts, registry: CollectorRegistry) -> Measures:
    return Measures(
        identities=parts.identities,
        tenants=parts.tenants,
        followers=parts.followers,
        authenticator=parts.authenticator,
        wake_ups=parts.wake_ups,
        watches=parts.watches,
        outbox=parts.outbox,
        signer=parts.signer,
        admission=parts.service.admission,
        caps=parts.service.caps,
        decisions=parts.decisions,
        deadlines=parts.deadlines,
        webhooks=parts.webhooks,
        registry=registry,
    )


async def _open_parts(
    opened: AsyncExitStack,
    config: Config,
    clock: Clock,
    owning: Owning | None,
    rules: DeadlineRules,
) -> _Parts:
    """Open the database, and bring every tenant's index in step with its log."""
    targets = targets_of(config)
    make_data_folder(config)
    store = await opened.enter_async_context(open_database(config, clock=clock))
    if await ensure_tenant(store):
        _log.info("tenant_created", tenant=FIRST_TENANT)
    identities = await open_identities(config, now=clock.now, boot_seconds=clock.boot)
    authenticator = await _authenticator(
        config, store, clock, identities, is_asked_by_workers=owning is not None
    )
    followers = await opened.enter_async_context(_followers(config, store, clock))
    after_loops = await opened.enter_async_context(AsyncExitStack())
    background = await opened.enter_async_context(Background())
    # Not before the database is open, which on SQLite has one owner.
    teller = None if owning is None else _teller(opened, owning)
    tenants = _tenants(followers, background, teller)
    store.on_commit(followers.publish)
    wake_ups = _wake_ups(config, store, followers)
    await tenants.learn(await store.tenants())
    subscribers = _subscribers(config, store, tenants, clock)
    if owning is None:  # of an owner's workers some may still answer
        after_loops.push_async_callback(subscribers.leave)
    key = await checkpoint_key(store)
    prover = prover_of(store, key, clock)
    watches = await opened.enter_async_context(_watches(config, store, subscribers, prover))
    began = await _began(store, clock)
    # The Checks of an owner are its workers', who keep logs of their own; but for those of REST.
    is_asked = owning is None or config.rest.address
    decisions = decision_log(opened, config) if is_asked else None
    service = _service(
        config,
        store,
        tenants,
        watches,
        subscribers,
        prover,
        clock,
        began,
        decisions,
        rules,
        owning,
    )
    if teller is not None:
        teller.begin(began, authenticator)
    return _Parts(
        clock=clock,
        store=store,
        authenticator=authenticator,
        identities=identities,
        followers=followers,
        background=background,
        tenants=tenants,
        wake_ups=wake_ups,
        subscribers=subscribers,
        watches=watches,
        service=service,
        outbox=outbox_of(config, store, tenants, clock),
        decisions=decisions,
        signer=signer_of(config, store, tenants, key, clock),
        deadlines=watch_of(
            config, store, tenants, subscribers, rules, clock, notices_of(store, clock, targets)
        ),
        webhooks=webhooks_of(config, store, tenants, clock, targets),
    )


def _start_loops(
    parts: _Parts, health: Health, measures: Measures, renew_soon: asyncio.Event
) -> None:
    """Start all that runs beside the calls."""
    keep, store = parts.background.keep, parts.store
    keep("health", health.run())
    keep("keys", parts.authenticator.run())
    if parts.identities is not None:
        keep("identities", parts.identities.run())
    keep("tenants", learn_tenants(store, parts.tenants))
    keep("pruning", prune_keys(store, parts.clock))
    keep("key renewal", renew_keys(store, parts.tenants, secrets.token_hex(8), renew_soon))
    keep("lookup keys", keep_moved(store, parts.tenants, secrets.token_hex(8)))
    keep("measures", measures.run())
    keep("store", watch_store(store))
    keep("subscribers", parts.subscribers.run())
    keep("checkpoints", parts.signer.run())
    keep("deadlines", parts.deadlines.run())
    keep("activity", parts.service.activity.run())
    if parts.wake_ups is not None:
        keep("wake-ups", parts.wake_ups.run())
    if parts.outbox is not None:
        keep("outbox", parts.outbox.run())
    if parts.webhooks is not None:
        keep("webhooks", parts.webhooks.run())


async def _authenticator(
    config: Config,
    store: SqlStore,
    clock: Clock,
    identities: "Identities | None",
    *,
    is_asked_by_workers: bool,
) -> Authenticator:
    authenticator = Authenticator(
        store,
        is_required=keys_are_required(config),
        keys_kept_seconds=config.auth.keys_kept_seconds,
        now=clock.now,
        boot_seconds=clock.boot,
        identities=identities,
        is_asked_by_workers=is_asked_by_workers,
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


def _teller(opened: AsyncExitStack, owning: Owning) -> Teller:
    """What tells the workers what this node knows, until the node is closed."""
    teller = Teller(owning.folder)
    opened.callback(teller.close)
    return teller


def _tenants(followers: Followers, background: Background, teller: Teller | None) -> Tenants:
    """The tenants, each followed from when it is learned, and told of to the workers if any."""

    async def follow(tenant: Tenant) -> Follower:
        follower = await followers.follow(tenant, background)
        if teller is not None:
            teller.follow(tenant, follower)
        return follower

    return Tenants(follow)


def _watches(config: Config, store: SqlStore, subscribers: Registry, prover: Prover) -> Watches:
    limits = limits_of(WatchLimits, config.watch)
    return Watches(store, index_directory(config), subscribers, prover, limits=limits)


def _wake_ups(config: Config, store: SqlStore, followers: Followers) -> "WakeUps | None":
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


async def _began(store: SqlStore, clock: Clock) -> Began:
    """Return this instant by both clocks; by the last commit, if that is later than the wall clock.

    It is where the wall clock went back while no node ran.
    """
    tenants = await store.tenants()
    commit_times = [(await store.head(tenant.tenant_id)).commit_time for tenant in tenants]
    return Began(at=max(clock.now(), *commit_times), boot=clock.boot(), boot_seconds=clock.boot)


def _service(
    config: Config,
    store: SqlStore,
    tenants: Tenants,
    watches: Watches,
    subscribers: Registry,
    prover: Prover,
    clock: Clock,
    began: Began,
    decisions: DecisionLog | None,
    rules: DeadlineRules,
    owning: "Owning | None",
) -> Service:
    service = (Service if decisions is None else LoggedService)(
        store=store,
        tenants=tenants,
        watches=watches,
        registry=subscribers,
        prover=prover,
        now=clock.now,
        new_hold_id=new_hold_id,
        new_approval_id=new_approval_id,
        new_lookup_key=lambda: secrets.token_bytes(LOOKUP_KEY_BYTES),
        max_staleness=max_staleness_of(config),
        now_by_boot=began.now_by_boot,
        admission=admission_of(config),
        caps=caps_of(config),
        public_url=config.web.public_url,
        page_link_hours=config.pages.link_hours,
        rules=rules,
        tallies_of_workers=None if owning is None else partial(read_tallies, owning.folder),
    )
    if isinstance(service, LoggedService) and decisions is not None:
        service.decisions = decisions
    return service


async def _open_key_socket(
    opened: AsyncExitStack,
    config: Config,
    store: SqlStore,
    rotations: Rotations,
    authenticator: Authenticator,
) -> None:
    """On SQLite, let `heed-server keys` reach this process, which owns the database."""
    database = database_file(config)
    if database is None:
        return
    path = socket_path(database)
    try:
        await opened.enter_async_context(
            serve_key_socket(path, store, rotations, on_change=authenticator.refresh)
        )
    except OSError as error:
        # Too long a path, most likely. Keys are then managed while the server is stopped.
        _log.warning("key_socket_not_opened", path=str(path), why=str(error))
