"""The settings of a channel; docs/clients.md says what each costs.

The server's smallest interval between pings is 10 s, which is well below ours: a client that pings
as often as it may is cut off (ENHANCE_YOUR_CALM). Only UNAVAILABLE is retried, and CANCELLED: so
gRPC's servers end a call that comes while they stop, and which no handler saw. Retries stop by
themselves when one in ten calls fails.
Source: gRFC A6 (retries), A8 (keepalive), gRPC's keepalive guide.
"""

import json
from typing import Final

import grpc
from google.protobuf.message import Message

from heed.connection.methods import METHODS
from heed.connection.spec import Kind, MethodSpec
from heed.connection.target import Target

KEEPALIVE_MILLISECONDS: Final = 20_000
KEEPALIVE_TIMEOUT_MILLISECONDS: Final = 5_000
RECONNECT_FIRST_MILLISECONDS: Final = 250
RECONNECT_MAX_MILLISECONDS: Final = 10_000
CONNECT_SECONDS_MAX: Final = 1.0
"""How long the first call of a client waits for its connection before its own deadline begins.

The 50 ms of a check are for a check: a handshake over TLS may take longer, and is made once. A
timeout that the caller names counts everything.
"""
RECEIVED_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest answer that is taken; a server sends no more than 4 MiB."""

ATTEMPTS_MAX: Final = 3
READ_BACKOFF_SECONDS: Final = (0.02, 0.2)
WRITE_BACKOFF_SECONDS: Final = (0.1, 1.0)
"""The wait before the second attempt, doubled for each further one, and its upper end."""

CONNECTING: Final = frozenset({grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING})
"""The states in which a first connection is neither made nor has failed."""

ChannelOption = tuple[str, str | int]


def channel_options(target: Target) -> tuple[ChannelOption, ...]:
    """Return the settings of a channel to this target."""
    from importlib.metadata import version  # a tenth of the time that `import heed` takes

    options: list[ChannelOption] = [
        ("grpc.service_config", service_config()),
        ("grpc.primary_user_agent", f"heed-python/{version('heed')}"),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
        # Of every ping: one that gRPC sent to measure the connection would be waited for, for a
        # minute, by the one that asks whether it lives.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_FIRST_MILLISECONDS),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MILLISECONDS),
        ("grpc.max_receive_message_length", RECEIVED_BYTES_MAX),
    ]
    if target.is_local:
        options.append(("grpc.enable_http_proxy", 0))
    if target.tls is not None and target.tls.server_name:
        options.append(("grpc.ssl_target_name_override", target.tls.server_name))
    return tuple(options)


def service_config() -> str:
    """Return the retries of every call, and round robin over the addresses of a name."""
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                _method_config(READ_BACKOFF_SECONDS, [s for s in _RETRIED if _is_read(s)]),
                _method_config(WRITE_BACKOFF_SECONDS, [s for s in _RETRIED if not _is_read(s)]),
            ],
            "retryThrottling": {"maxTokens": 50, "tokenRatio": 0.1},
        }
    )


_RETRIED: Final = tuple(spec for spec in METHODS if spec.is_retried)


def _is_read(spec: MethodSpec[Message, Message]) -> bool:
    return spec.kind is not Kind.WRITE


def _method_config(
    backoff: tuple[float, float], specs: list[MethodSpec[Message, Message]]
) -> dict[str, object]:
    first, most = backoff
    return {
        "name": [{"service": spec.service, "method": spec.name} for spec in specs],
        "retryPolicy": {
            "maxAttempts": ATTEMPTS_MAX,
            "initialBackoff": f"{first}s",
            "maxBackoff": f"{most}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
        },
    }
