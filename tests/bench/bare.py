"""The bare handler that calls are measured against: it parses nothing and gives a fixed reply.

Everything else is as in heed's server: the library, its options, the event loop, bytes in and bytes
out. So the ratio of the two says what heed adds to what grpc.aio costs. It reads a `BareSpec` as
JSON from standard input and prints its port.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc
import uvloop
from grpc import aio

from heed_server.primary.loop import freeze_what_stays
from heed_server.rpc.server import RpcLimits, new_server


@dataclass(frozen=True, slots=True, kw_only=True)
class BareSpec:
    """What to reply, and where to run."""

    replies: dict[str, str]
    """By method (`/heed.v1.PreferenceService/SetPreference`): the reply, as hex."""
    core: int | None = None
    address: str = "127.0.0.1:0"
    certificate: str | None = None
    """A PEM file with the certificate; None: no TLS."""
    private_key: str | None = None
    client_authority: str | None = None
    """A PEM file with the authority of callers' certificates; None: none is asked for."""


async def serve(spec: BareSpec) -> None:
    """Serve until killed."""
    server = new_server(RpcLimits())
    for method, reply in spec.replies.items():
        service, name = method.strip("/").split("/")
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {name: _fixed(bytes.fromhex(reply))}),)
        )
    if spec.certificate and spec.private_key:
        pair = (Path(spec.private_key).read_bytes(), Path(spec.certificate).read_bytes())
        authority = spec.client_authority
        credentials = grpc.ssl_server_credentials(
            [pair],
            root_certificates=None if authority is None else Path(authority).read_bytes(),
            require_client_auth=authority is not None,
        )
        port = server.add_secure_port(spec.address, credentials)
    else:
        port = server.add_insecure_port(spec.address)
    await server.start()
    freeze_what_stays()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


def _fixed(reply: bytes) -> "grpc.RpcMethodHandler[bytes, bytes]":
    async def handler(_request: bytes, _context: "aio.ServicerContext[bytes, bytes]") -> bytes:
        return reply

    return grpc.unary_unary_rpc_method_handler(handler)


def main() -> None:
    """Serve what standard input asks for."""
    spec = BareSpec(**json.load(sys.stdin))
    if spec.core is not None:
        os.sched_setaffinity(0, {spec.core})
    uvloop.run(serve(spec))


if __name__ == "__main__":
    main()
