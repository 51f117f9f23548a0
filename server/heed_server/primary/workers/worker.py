"""A worker: what it opens, in which order, and closes in the reverse.

Laws:
- It answers Checks by the owner's indexes, and hands every other call on to the owner, with the
  caller's own credential, or the certificate that the caller showed. It opens no database.
- Grants, and the keys of issuers, it reads by itself, as the owner does.
- An index that it cannot read it tells the owner of, who makes it anew.
- Health tells of this worker: Checks by what it knows, writes by what the owner says.
"""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2
from prometheus_client import CollectorRegistry

from heed.errors import UnavailableError
from heed.model import Instant
from heed.replica.clock import boot_clock
from heed_server.auth.certificates import server_credentials
from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address
from heed_server.decisions import DecisionLog
from heed_server.primary.deciding import decision_log
from heed_server.primary.identifying import open_identities
from heed_server.primary.limits import admission_of, limits_of, max_staleness_of
from heed_server.primary.listening import listen
from heed_server.primary.observing import observer, open_metrics, tracing
from heed_server.primary.stopping import Stop, drain
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.known import Known, KnownKeys, WorkerChecks
from heed_server.primary.workers.measures import register_measures
from heed_server.primary.workers.tallies import WorkerTallies
from heed_server.rpc import CheckStreamLimits, CheckStreams, Health, Observe, RpcLimits
from heed_server.rpc.calls import conversed, observed, unobserved
from heed_server.rpc.check_streams import CHECK_STREAM
from heed_server.rpc.forwarding import Forwarding, certificate_told
from heed_server.rpc.health import PING_SECONDS_MAX, WRITE
from heed_server.rpc.methods import CHECK_METHODS
from heed_server.rpc.server import Handler, add_contract, methods, new_server, unheard
from heed_server.rpc.standard import HEALTH_NAME
from heed_server.service import Checks
from heed_server.service.logged import LoggedChecks
from heed_server.telemetry.metrics import CallMetrics

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities

RECONNECT_MILLISECONDS_MAX = 500
"""How long it waits before it tries an owner again that was not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNode:
    """A worker that serves."""

    metrics_port: int | None


@asynccontextmanager
async def open_worker(
    config: Config,
    folder: RunFolder,
    stop: Stop,
    *,
    addresses: tuple[Address, ...],
    number: int,
    restarts: int,
    closing: Callable[[], None],
) -> AsyncGenerator[WorkerNode]:
    """Serve within the block; leaving it drains and closes everything.

    `closing` is called when it takes no calls any more, and those under way are seen to their end.

    Raises:
        InvalidArgumentError: the certificate is of no use.
        UnavailableError: an address cannot be had, or no owner has told anything yet.
    """
    config = _config_of(config, addresses, number)
    certificate = server_credentials(config.tls)
    async with AsyncExitStack() as opened:
        background = await opened.enter_async_context(Background())
        known = _known(folder)
        opened.callback(known.close)
        identities = await open_identities(config, now=_now, boot_seconds=_boot_seconds)
        keys = _keys(known, config, identities)
        address = opened.enter_context(folder.socket_address())
        channel = await opened.enter_async_context(_channel(address))
        registry = CollectorRegistry()
        decisions = decision_log(opened, config, worker=number)
        checks = _checks(known, config, decisions)
        register_measures(
            registry, known, keys, identities, checks.admission, decisions, restarts=restarts
        )
        calls = observer(config, CallMetrics(registry))
        bounds = limits_of(RpcLimits, config.limits)
        server = new_server(
            bounds,
            interceptors=await tracing(opened, background, config, registry),
            shares_port=True,
        )
        health = _health(config, known, channel)
        check_streams = CheckStreams(limits_of(CheckStreamLimits, config.limits))
        add_contract(
            server,
            _handlers(
                checks,
                keys,
                check_streams,
                Forwarding(channel, whom="the process that owns the log", tells=certificate_told),
                calls if config.telemetry.check_metrics else None,
            ),
            health=health,
            with_reflection=config.listen.reflection,
        )
        opened.push_async_callback(server.stop, None)  # a server that was never started, too
        listen(server, config, certificate)
        metrics_port = await open_metrics(opened, config, registry)
        await health.refresh()
        await server.start()

        def end_streams(_seconds: float) -> None:
            check_streams.end()
            closing()  # those of changes are the owner's to end

        opened.push_async_callback(drain, server, health, end_streams, stop, config.drain)
        tallies = WorkerTallies(folder, number, known.tallies)
        opened.callback(tallies.write)
        background.keep("tallies", tallies.run())
        background.keep("health", health.run())
        if identities is not None:
            background.keep("identities", identities.run())
        yield WorkerNode(metrics_port=metrics_port)


def _config_of(config: Config, addresses: tuple[Address, ...], number: int) -> Config:
    """Return the settings of one worker: where all listen, and where its own metrics are."""
    listening = config.listen.model_copy(update={"address": tuple(map(str, addresses))})
    pairs = zip(config.listen.address, addresses, strict=True)
    asking = tuple(str(got) for asked, got in pairs if asked in config.tls.client_addresses)
    tls = config.tls.model_copy(update={"client_addresses": asking})
    telemetry = config.telemetry
    if telemetry.metrics_address:
        asked = parse_address(telemetry.metrics_address)
        at = replace(asked, port=asked.port + number if asked.port else 0)
        telemetry = telemetry.model_copy(update={"metrics_address": str(at)})
    return config.model_copy(update={"listen": listening, "telemetry": telemetry, "tls": tls})


def _known(folder: RunFolder) -> Known:
    try:
        return Known(folder, boot_seconds=_boot_seconds)
    except OSError as error:
        raise UnavailableError(f"the owner of the log told nothing yet: {error}") from error


def _keys(known: Known, config: Config, identities: "Identities | None") -> KnownKeys:
    return KnownKeys(
        known,
        keys_kept_seconds=config.auth.keys_kept_seconds,
        now=_now,
        boot_seconds=_boot_seconds,
        identities=identities,
    )


def _checks(known: Known, config: Config, decisions: DecisionLog | None) -> WorkerChecks:
    checks = (WorkerChecks if decisions is None else _LoggedWorkerChecks)(
        known,
        now=_now,
        max_staleness=max_staleness_of(config),
        admission=admission_of(config),
    )
    if isinstance(checks, _LoggedWorkerChecks) and decisions is not None:
        checks.decisions = decisions
    return checks


class _LoggedWorkerChecks(LoggedChecks, WorkerChecks):
    """A worker's answers, each noted."""


def _channel(address: str) -> aio.Channel:
    return aio.insecure_channel(
        address,
        [
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MILLISECONDS_MAX // 5),
            ("grpc.min_reconnect_backoff_ms", RECONNECT_MILLISECONDS_MAX // 5),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MILLISECONDS_MAX),
        ],
    )


def _handlers(
    service: Checks,
    keys: KnownKeys,
    check_streams: CheckStreams,
    forwarding: Forwarding,
    observe_checks: Observe | None,
) -> dict[str, Handler]:
    """The handler of each method of the contract, by name."""
    handlers = {name: forwarding.handler(method) for name, method in methods().items()}
    for check in CHECK_METHODS:
        handlers[check.name] = grpc.unary_unary_rpc_method_handler(
            unobserved(check, service, keys)
            if observe_checks is None
            else observed(check, service, keys, observe_checks)
        )
    handlers[CHECK_STREAM] = grpc.stream_stream_rpc_method_handler(
        conversed(CHECK_STREAM, check_streams.converse, service, keys, observe_checks or unheard)
    )
    return handlers


def _health(config: Config, known: Known, channel: aio.Channel) -> Health:
    age_max = config.staleness.promotional_seconds
    ask: aio.UnaryUnaryMultiCallable[bytes, health_pb2.HealthCheckResponse] = channel.unary_unary(
        f"/{HEALTH_NAME}/Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )
    about_writes = health_pb2.HealthCheckRequest(service=WRITE).SerializeToString()

    def can_check() -> bool:
        return all(
            tenant.follower.is_usable and tenant.follower.told_age_seconds() <= age_max
            for tenant in known.tenants.values()
        )

    async def can_write() -> bool:
        try:
            answer = await ask(about_writes, timeout=PING_SECONDS_MAX)
        except aio.AioRpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    return Health(can_check=can_check, can_write=can_write)


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000)


def _boot_seconds() -> float:
    return boot_clock() / 1e9
