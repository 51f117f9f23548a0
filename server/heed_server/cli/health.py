"""`heed-server health`: the probe of containers, without further programs.

Law: it asks the server like any client does, over the address it serves; it reads no settings, so
that a probe is quick and says the same everywhere.
"""

import json
import sys
from pathlib import Path
from typing import cast

import grpc
from grpc_health.v1 import health_pb2

from heed_server.cli.exits import Exit


def probe(
    *,
    address: str,
    service: str,
    timeout_seconds: float,
    ca_file: Path | None,
    server_name: str,
    as_json: bool,
) -> Exit:
    """Print what the server says of a service's health, and return how the command ends."""
    try:
        status, said = status_of(address, service, timeout_seconds, ca_file, server_name)
    except OSError as error:
        print(f"heed-server: {ca_file} cannot be read: {error.strerror}", file=sys.stderr)
        return Exit.USAGE
    if as_json:
        print(json.dumps({"address": address, "service": service, "status": status, "why": said}))
    else:
        print(f"{status}: {said}" if said else status)
    match status:
        case "SERVING":
            return Exit.OK
        case "UNREACHABLE":
            return Exit.UNAVAILABLE
        case _:
            return Exit.NO


def status_of(
    address: str, service: str, timeout_seconds: float, ca_file: Path | None, server_name: str
) -> tuple[str, str]:
    """Return the status's name, and why if there was none.

    Raises:
        OSError: `ca_file` cannot be read.
    """
    roots = None if ca_file is None else ca_file.read_bytes()
    options: list[tuple[str, object]] = [("grpc.enable_http_proxy", 0)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    if roots is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options)
    with channel:
        check: grpc.UnaryUnaryMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.RpcError as error:
            code = cast("grpc.Call", error).code()  # every error of a call is both
            if code is grpc.StatusCode.NOT_FOUND:
                return "UNKNOWN", f"the server has no service {service!r}"
            return "UNREACHABLE", f"no answer from {address} ({code.name})"
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status), ""
