"""The upstream of an agent as gRPC opens it: once to follow, once to hand calls on.

The two share nothing: a stream that stalls holds up no call. One connection carries all that is
handed on, so that a stream's reports reach the node that has the stream. Nothing is retried here:
whoever calls does.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from grpc import aio

from heed.connection.blocking import channel_credentials
from heed.connection.options import channel_options
from heed.connection.target import Target, Tls, target_of
from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.config.agent import AgentConfig

_OWN: Final = {
    # Shuffled, so that not every agent goes to the first of several nodes.
    "grpc.service_config": json.dumps(
        {"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]}
    ),
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_receive_message_length": -1,
    # A call finds an upstream that came back within so long.
    "grpc.max_reconnect_backoff_ms": 2_000,
}


def upstream_target(config: AgentConfig) -> Target:
    """Return where the upstream is, with the agent's own credential.

    Raises:
        InvalidArgumentError: none is named, or it is not an address.
    """
    if not config.upstream:
        raise _refusal("names no server; give --upstream host:port")
    chain_file, key_file = config.upstream_certificate_file, config.upstream_private_key_file
    if (chain_file is None) != (key_file is None):
        raise _refusal("needs upstream_certificate_file and upstream_private_key_file together")
    tls: Tls | None = None
    if config.upstream_ca_file is not None or config.upstream_server_name or chain_file is not None:
        tls = Tls(
            root_certificates=_content(config.upstream_ca_file),
            certificate_chain=_content(chain_file),
            private_key=_content(key_file),
            server_name=config.upstream_server_name,
        )
    return target_of(
        config.upstream,
        tls=tls,
        insecure=config.upstream_insecure,
        api_key=config.api_key.get_secret_value() or None,
    )


@asynccontextmanager
async def open_channel(target: Target) -> AsyncGenerator[aio.Channel]:
    """Open a channel for the calls of others, within the block."""
    options = [
        *((name, value) for name, value in channel_options(target) if name not in _OWN),
        *_OWN.items(),
    ]
    credentials = channel_credentials(target)
    if credentials is None:
        channel = aio.insecure_channel(target.name, options)
    else:
        channel = aio.secure_channel(target.name, credentials, options)
    try:
        yield channel
    finally:
        await channel.close()


def _content(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise _refusal(f"has a file that cannot be read: {file}: {error.strerror}") from error


def _refusal(description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"agent.upstream {description}",
        violations=[FieldViolation("agent.upstream", description)],
    )
