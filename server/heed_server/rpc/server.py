"""The gRPC server, put together: every RPC of the contract, health and reflection.

Laws:
- Handlers take bytes and give bytes, so that what is malformed is answered by us.
- No interceptor stands on the way unless one is handed in.
- A method of the contract without a row or a right keeps the server from being made.
- Nothing here binds a port or knows a certificate; the composition root does.
Source of the settings: grpc doc/keepalive.md, gRFC A8 and A9, and the names in
grpc/impl/channel_arg_names.h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from grpc import aio

from heed.wire import limits
from heed_proto.v1 import (
    admin_service_pb2,
    audit_service_pb2,
    preference_service_pb2,
    watch_service_pb2,
)
from heed_server.auth.credentials import CERTIFICATE_BYTES_MAX, Authenticator
from heed_server.rpc.calls import Observe, conversed, observed, streamed, unobserved, watched
from heed_server.rpc.check_streams import CHECK_STREAM, CheckStreams
from heed_server.rpc.health import Health
from heed_server.rpc.methods import UNARY_METHODS
from heed_server.rpc.reads import export_records
from heed_server.rpc.standard import HEALTH_NAME, add_health, add_reflection
from heed_server.service import Service
from heed_server.service.rights import RIGHT_OF_METHOD

CONTRACT: tuple[FileDescriptor, ...] = (
    preference_service_pb2.DESCRIPTOR,
    admin_service_pb2.DESCRIPTOR,
    audit_service_pb2.DESCRIPTOR,
    watch_service_pb2.DESCRIPTOR,
)
"""The files of the contract that hold services."""

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

STREAMS = {"ExportRecords": export_records}
"""The methods that answer with many messages and end by themselves."""

WATCH = "WatchChanges"
"""The method whose messages have no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """What one server takes on; each says what going higher or lower costs."""

    message_bytes_max: int = limits.MESSAGE_BYTES_MAX
    """The largest request. Higher: a caller may occupy more memory. Lower: batches are refused."""
    metadata_bytes_max: int = 8 * 1024
    """Metadata of a call, softly: above it calls are refused more and more, at twice it all."""
    calls_max: int = 8_192
    """Calls under way in the process; one more is RESOURCE_EXHAUSTED. Higher: more memory."""
    calls_pending_max: int = 3_000
    """Calls that have arrived and wait for the process's loop; one more is refused, and from half
    of it on some are. Higher: a flood of large headers fills more memory. Lower: bursts are refused
    that a busy loop would have got to."""
    calls_of_connection_max: int = 1_024
    """Calls under way on one connection; the caller's library holds back the others."""
    connections_max: int = 4_000
    """Connections; one more is closed. Higher: more memory and file descriptors."""
    streams_max: int = 2
    """Exports under way. Each holds a view of the database open, of which the store has a few for
    rebuilding indexes too. Higher: a rebuild may have to wait. Lower: exports are refused."""
    write_seconds_max: float = 60.0
    """How long an export waits for its reader before it is cut off."""


def build_server(
    service: Service,
    authenticator: Authenticator | None,
    *,
    health: Health,
    check_streams: CheckStreams,
    rpc_limits: RpcLimits | None = None,
    observe: Observe | None = None,
    observe_checks: bool = False,
    with_reflection: bool = True,
    interceptors: Sequence[aio.ServerInterceptor] = (),
    for_workers: bool = False,
) -> aio.Server:
    """Return a server with every RPC, ready for its ports.

    `authenticator` None: every call is `OPEN`, for loopback. `observe` is told of every call but
    Checks, and of those with `observe_checks`; of a stream of checks when it ends. `for_workers`:
    as in `new_server`.
    """
    bounds = rpc_limits or RpcLimits()
    server = new_server(bounds, interceptors=interceptors, for_workers=for_workers)
    handlers = _handlers(service, authenticator, bounds, observe, observe_checks=observe_checks)
    handlers[CHECK_STREAM] = grpc.stream_stream_rpc_method_handler(
        conversed(CHECK_STREAM, check_streams.converse, service, authenticator, observe or unheard)
    )
    add_contract(server, handlers, health=health, with_reflection=with_reflection)
    return server


def add_contract(
    server: aio.Server,
    handlers: Mapping[str, Handler],
    *,
    health: Health,
    with_reflection: bool,
) -> None:
    """Have a server answer every method of the contract, by its name, and what is told of it."""
    for described in services():
        of_service = {method.name: handlers[method.name] for method in described.methods}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(described.full_name, of_service),)
        )
    add_health(server, health.servicer, health.watches_ended)
    if with_reflection:
        names = [described.full_name for described in services()]
        add_reflection(server, [*names, HEALTH_NAME])


def new_server(
    bounds: RpcLimits,
    *,
    interceptors: Sequence[aio.ServerInterceptor] = (),
    shares_port: bool = False,
    for_workers: bool = False,
) -> aio.Server:
    """Return a server that answers nothing yet; `shares_port` with other processes on purpose.

    `for_workers`: a few connections of this server's own processes carry all its calls, and last.
    """
    return aio.server(
        interceptors=tuple(interceptors) or None,
        options=[
            *_options(bounds),
            # Another server on this port is a mistake unless several processes share it on purpose.
            ("grpc.so_reuseport", int(shares_port)),
            *(_of_workers(bounds) if for_workers else _of_callers(bounds)),
        ],
        maximum_concurrent_rpcs=bounds.calls_max,
    )


def services() -> list[ServiceDescriptor]:
    """Return the services of the contract."""
    return [described for file in CONTRACT for described in file.services_by_name.values()]


def methods() -> dict[str, MethodDescriptor]:
    """Return the methods of the contract, by their names."""
    return {method.name: method for described in services() for method in described.methods}


def _handlers(
    service: Service,
    authenticator: Authenticator | None,
    bounds: RpcLimits,
    observe: Observe | None,
    *,
    observe_checks: bool,
) -> dict[str, Handler]:
    """The handler of each method of the contract that is asked once, by name."""
    _require_rows()
    handlers: dict[str, Handler] = {}
    for method in UNARY_METHODS.values():
        counted = observe is not None and (observe_checks or not method.is_check)
        handlers[method.name] = grpc.unary_unary_rpc_method_handler(
            observed(method, service, authenticator, observe)
            if observe is not None and counted
            else unobserved(method, service, authenticator)
        )
    for name, stream in STREAMS.items():
        handlers[name] = grpc.unary_stream_rpc_method_handler(
            streamed(
                name,
                stream,
                service,
                authenticator,
                observe or unheard,
                streams_max=bounds.streams_max,
                write_seconds_max=bounds.write_seconds_max,
            )
        )
    handlers[WATCH] = grpc.unary_stream_rpc_method_handler(
        watched(service, authenticator, observe or unheard)
    )
    return handlers


def _require_rows() -> None:
    """Refuse to serve a contract that this code does not answer whole."""
    told = set(methods())
    answered = {*UNARY_METHODS, *STREAMS, WATCH, CHECK_STREAM}
    odd = (told ^ answered) | (told ^ set(RIGHT_OF_METHOD))
    if odd:
        raise RuntimeError(
            f"methods without a handler or a right, or not of the contract: {sorted(odd)}"
        )


def unheard(method: str, code: str, seconds: float, *, reason: str, caller: str) -> None:
    """Take no note."""


def _options(bounds: RpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", bounds.message_bytes_max),
        ("grpc.max_allowed_incoming_connections", bounds.connections_max),
        # What gRPC holds of a call before we see it can be a MiB, if its headers were made for it.
        ("grpc.server.max_pending_requests", bounds.calls_pending_max // 2),
        ("grpc.server.max_pending_requests_hard_limit", bounds.calls_pending_max),
        # Half-open connections are found; callers may ping every 10 s, and ours do every 20 s.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.server_handshake_timeout_ms", 10_000),
        # What floods of resets and of small frames may take of one read (faults F25).
        ("grpc.http2.ping_on_rst_stream_percent", 5),
        ("grpc.http2.max_requests_per_read", 32),
    ]


def _of_callers(bounds: RpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_metadata_size", bounds.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", 2 * bounds.metadata_bytes_max),
        ("grpc.max_concurrent_streams", bounds.calls_of_connection_max),
        # Callers come back to another node now and then, each at its own time (C-core adds 10 %).
        ("grpc.max_connection_age_ms", 30 * 60_000),
        ("grpc.max_connection_age_grace_ms", 30_000),
    ]


def _of_workers(bounds: RpcLimits) -> list[tuple[str, int]]:
    certificate_bytes_max = 2 * CERTIFICATE_BYTES_MAX  # as base64, in a header
    return [
        ("grpc.max_concurrent_streams", bounds.calls_max),
        # Beside a caller's metadata there is the certificate that its connection showed.
        ("grpc.max_metadata_size", bounds.metadata_bytes_max + certificate_bytes_max),
        ("grpc.absolute_max_metadata_size", 2 * bounds.metadata_bytes_max + certificate_bytes_max),
    ]
