"""What a process that serves tells about itself: metrics, traces, a line a call."""

import os
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from grpc import aio
from prometheus_client import CollectorRegistry

from heed_server.auth.credentials import Authenticator
from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import parse_address
from heed_server.rpc import Observe
from heed_server.service.admission import Admission
from heed_server.telemetry import otlp_is_asked_for
from heed_server.telemetry.metrics import CallMetrics, Declaration, Reading, single
from heed_server.telemetry.scrape import serve_metrics

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities

_log = structlog.stdlib.get_logger("heed_server.primary")


def observer(config: Config, calls: CallMetrics) -> Observe:
    """Return what is told of calls: the counters, and the log where that is asked for."""
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


def of_keys(authenticator: Authenticator) -> list[Declaration]:
    """Return the metrics of who may call."""
    return [
        single(
            "heed_api_keys",
            "API keys known to this node, revoked and expired ones too.",
            lambda: authenticator.key_count,
        ),
        single(
            "heed_credentials_refused_total",
            "Calls refused for want of a good credential.",
            lambda: authenticator.refused,
            is_counter=True,
        ),
    ]


def of_identities(identities: "Identities | None") -> list[Declaration]:
    """Return the metrics of what certificates and JWTs are judged by; without, of nothing."""
    if identities is None:
        return []
    return [
        single(
            "heed_grants",
            "Grants to certificates and JWTs that are in force.",
            lambda: identities.grant_count,
        ),
        single(
            "heed_grants_age_seconds",
            "How long ago the grants were last seen to be what is in their file.",
            lambda: identities.grants_age_seconds,
        ),
        Declaration(
            name="heed_jwks_age_seconds",
            meaning="How long ago an issuer's keys were last read.",
            labels=("issuer",),
            read=lambda: [
                Reading(value=age, labels=(issuer,))
                for issuer, age in identities.jwks_ages_seconds.items()
            ],
        ),
    ]


def of_admission(admission: Admission) -> list[Declaration]:
    """Return the metrics of what was not taken on."""
    return [
        Declaration(
            name="heed_rate_limited_total",
            meaning="Calls refused because their caller asks for more a second than one may.",
            labels=("limit",),
            read=lambda: [
                Reading(value=refused, labels=(limit,))
                for limit, refused in admission.rates.refused().items()
            ],
            is_counter=True,
        ),
        single(
            "heed_calls_crowded_out_total",
            "Calls refused because too many were under way, of their caller or in all.",
            lambda: admission.calls.refused,
            is_counter=True,
        ),
    ]


async def tracing(
    opened: AsyncExitStack, background: Background, config: Config, registry: CollectorRegistry
) -> tuple[aio.ServerInterceptor, ...]:
    """Start what OpenTelemetry needs, if it is asked for; its libraries are loaded only then."""
    if not otlp_is_asked_for(config.telemetry.otlp, os.environ):
        return ()
    from heed_server.telemetry.otlp import export_metrics, export_traces
    from heed_server.telemetry.tracing import TracingInterceptor

    running = version("heed-server")
    tracer = await opened.enter_async_context(export_traces(running))
    background.keep("otlp", export_metrics(registry, running))
    return (TracingInterceptor(tracer),)


async def open_metrics(
    opened: AsyncExitStack, config: Config, registry: CollectorRegistry
) -> int | None:
    """Serve /metrics, if that is asked for, until the stack is closed; return its port.

    Raises:
        UnavailableError: the address cannot be listened on.
    """
    if not config.telemetry.metrics_address:
        return None
    address = parse_address(config.telemetry.metrics_address)
    return await opened.enter_async_context(serve_metrics(address, registry))
