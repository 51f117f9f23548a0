"""One agent, put together: what is opened, in which order, and closed in the reverse.

Laws:
- It listens at once: what its replica cannot answer yet, its upstream answers.
- Sockets are bound before a thread of the follower runs, with no more than their mode at any time.
- Calls end before the follower does, and the follower before the agent's channel is closed.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from grpc import ChannelConnectivity, aio
from prometheus_client import CollectorRegistry

from heed.connection.caching import CacheSpec, cache_spec, make_follower
from heed.connection.target import Target
from heed.connection.watching import WatchCalls
from heed.errors import FieldViolation, InvalidArgumentError, UnavailableError
from heed.model import Instant, TopicClass
from heed.replica.clock import boot_clock
from heed.replica.follower import Follower
from heed.replica.freshness import MAX_STALENESS_MAX
from heed.replica.replica import Replica
from heed_server.agent.callers import Callers
from heed_server.agent.edge import Asked, build_agent_server
from heed_server.agent.following import ReplicaFollower
from heed_server.agent.measures import declared
from heed_server.agent.service import agent_checks
from heed_server.agent.upstream import open_channel, upstream_target
from heed_server.auth.certificates import server_credentials
from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address
from heed_server.config.exposure import keys_are_required, require_safe_listening
from heed_server.primary.deciding import decision_log, of_decisions
from heed_server.primary.limits import limits_of, max_staleness_of
from heed_server.primary.listening import listen, warn_of_exposure
from heed_server.primary.observing import open_metrics
from heed_server.primary.stopping import Stop, drain
from heed_server.rpc import CheckStreamLimits, CheckStreams, Health, RpcLimits
from heed_server.rpc.forwarding import Forwarding, path_of
from heed_server.rpc.server import methods
from heed_server.rpc.status import Context
from heed_server.telemetry.metrics import CallMetrics, Gauges

LOOK_SECONDS = 1.0
"""How often it is looked whether the upstream is followed, for the log."""

_log = structlog.stdlib.get_logger("heed_server.agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentNode:
    """An agent that serves."""

    config: Config
    addresses: tuple[Address, ...]
    """Where it listens, with the ports that it got."""
    metrics_port: int | None
    keys_required: bool
    trusts_sockets: bool
    known: ReplicaFollower
    asked: Asked


@asynccontextmanager
async def open_agent(config: Config, stop: Stop) -> AsyncGenerator[AgentNode]:
    """Serve within the block; leaving it drains and closes everything.

    Raises:
        InvalidArgumentError: the settings name no upstream, or would listen openly.
        UnavailableError: an address or the replica's folder cannot be had.
    """
    require_safe_listening(config)
    _require_of_an_agent(config)
    certificate = server_credentials(config.tls)
    target = upstream_target(config.agent)
    spec = _spec(config, target)
    _make_private(spec)
    is_required = bool(keys_are_required(config))
    trusts_sockets = not is_required and _listens_on_sockets_alone(config)
    async with AsyncExitStack() as opened:
        background = await opened.enter_async_context(Background())
        channel = await opened.enter_async_context(open_channel(target))
        replica, follower = make_follower(spec, WatchCalls(target))
        known = ReplicaFollower(replica, follower)
        callers = _callers(
            config, channel, background, is_required=is_required, trusts_sockets=trusts_sockets
        )
        registry = CollectorRegistry()
        calls, asked = CallMetrics(registry), Asked()
        decisions = decision_log(opened, config)
        registry.register(
            Gauges([*declared(known, follower, callers, asked), *of_decisions(decisions)])
        )
        forwarding = _forwarding(config, channel, callers, calls)
        health = _health(config, known, channel)
        check_streams = CheckStreams(limits_of(CheckStreamLimits, config.limits))

        def end_streams(seconds: float) -> None:
            check_streams.end()
            forwarding.end_streams(seconds)

        server = build_agent_server(
            agent_checks(known, max_staleness_of(config), decisions),
            callers,
            forwarding,
            health=health,
            check_streams=check_streams,
            rpc_limits=limits_of(RpcLimits, config.limits),
            ask_seconds_max=config.agent.ask_seconds_max,
            asked=asked,
            observe_checks=calls.observe if config.telemetry.check_metrics else None,
            with_reflection=config.listen.reflection,
        )
        opened.push_async_callback(server.stop, None)  # a server that was never started, too
        with _sockets_of_mode(config):
            addresses = listen(server, config, certificate)
        warn_of_exposure(config, keys_required=is_required)
        metrics_port = await open_metrics(opened, config, registry)
        follower.start()
        opened.push_async_callback(asyncio.to_thread, _close, follower, replica)
        await health.refresh()
        await server.start()
        opened.push_async_callback(drain, server, health, end_streams, stop, config.drain)
        background.keep("health", health.run())
        background.keep("replica", _tell_of_following(config, known, follower))
        yield AgentNode(
            config=config,
            addresses=addresses,
            metrics_port=metrics_port,
            keys_required=is_required,
            trusts_sockets=trusts_sockets,
            known=known,
            asked=asked,
        )


def _spec(config: Config, target: Target) -> CacheSpec:
    least = min(_max_staleness_seconds(config), MAX_STALENESS_MAX.total_seconds())
    return cache_spec(
        config.agent.cache_dir,
        target,
        tenant=config.agent.tenant,
        subscriber=config.agent.subscriber,
        channels=(),
        topics=(),
        max_staleness={TopicClass.PROMOTIONAL: timedelta(seconds=least)},
    )


def _max_staleness_seconds(config: Config) -> float:
    staleness = config.staleness
    return min(
        staleness.promotional_seconds, staleness.transactional_seconds, staleness.mandatory_seconds
    )


def _make_private(spec: CacheSpec) -> None:
    try:
        spec.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{spec.path} cannot be made: {error.strerror}") from error
    if not os.access(spec.path, os.W_OK | os.X_OK):
        raise UnavailableError(f"{spec.path} cannot be written by this user")


def _require_of_an_agent(config: Config) -> None:
    """Refuse settings that are a server's alone."""
    if config.listen.workers != 1:
        said = "an agent is one process; run one a core, or leave it at 1"
        raise InvalidArgumentError(
            f"listen.workers: {said}", violations=[FieldViolation("listen.workers", said)]
        )
    if config.auth.grants_file is not None:
        said = "is a server's: an agent's upstream judges who calls"
        raise InvalidArgumentError(
            f"auth.grants_file {said}", violations=[FieldViolation("auth.grants_file", said)]
        )


def _listens_on_sockets_alone(config: Config) -> bool:
    return all(parse_address(text).path for text in config.listen.address)


def _callers(
    config: Config,
    channel: aio.Channel,
    background: Background,
    *,
    is_required: bool,
    trusts_sockets: bool,
) -> Callers:
    check = path_of(methods()["CheckSuppression"])
    ask: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(check)
    return Callers(
        ask,
        is_required=is_required,
        trusts_sockets=trusts_sockets,
        credential_seconds=config.agent.credential_seconds,
        kept_seconds=config.auth.keys_kept_seconds,
        credentials_max=config.agent.credentials_max,
        ask_seconds_max=config.agent.ask_seconds_max,
        boot_seconds=lambda: boot_clock() / 1e9,
        now=lambda: Instant(time.time_ns() // 1_000),
        start=background.start,
    )


def _forwarding(
    config: Config, channel: aio.Channel, callers: Callers, calls: CallMetrics
) -> Forwarding:
    def admit(context: Context) -> None:
        callers.credential(context.invocation_metadata() or ())

    return Forwarding(
        channel,
        whom="the upstream",
        observe=calls.observe,
        admit=admit,
        streams_max=config.agent.streams_max,
    )


def _health(config: Config, known: ReplicaFollower, channel: aio.Channel) -> Health:
    def can_check() -> bool:
        return known.is_young(config.staleness.promotional_seconds)

    async def can_write() -> bool:
        state = channel.get_state(try_to_connect=True)
        return state is ChannelConnectivity.READY

    return Health(can_check=can_check, can_write=can_write)


@contextmanager
def _sockets_of_mode(config: Config) -> Generator[None]:
    """Give the unix sockets that are made within the block their mode."""
    mode = int(config.agent.socket_mode, 8)
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _close(follower: Follower, replica: Replica) -> None:
    """End the follower's threads; a stream under way is cancelled."""
    follower.close()
    replica.close()


async def _tell_of_following(config: Config, known: ReplicaFollower, follower: Follower) -> None:
    """Log when the replica begins to be in step, and why it is not, or no more."""
    told: bool | None = None
    while True:
        is_young = known.is_young(config.staleness.promotional_seconds)
        why = follower.counts.last_error
        if is_young and not told:
            _log.info("replica_in_step", revision=known.revision, is_owner=follower.is_owner)
            told = True
        elif not is_young and (told or (told is None and why)):
            _log.warning("replica_behind", why=why)
            told = False
        await asyncio.sleep(LOOK_SECONDS)
