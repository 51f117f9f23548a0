"""A gRPC server over a heed in memory, and one that fails as it is told: sockets without a store.

For what the library does on the wire; what heed itself does is tested on the real server.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from heed.connection.methods import CHECK_STREAM, EXPORT_RECORDS, METHODS
from heed.errors import HeedError
from heed.testing import FakeService
from heed.wire.status import to_status

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
Serve = Callable[..., str]

UNUSED_ADDRESS = "127.0.0.1:1"
"""A port on which nothing listens."""


class FakeServer:
    """A heed in memory behind a socket. `answers` replace what it says to a method."""

    def __init__(self, server: grpc.Server, service: FakeService) -> None:
        self.service = service
        self.address = ""
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, dict[str, str | bytes]]] = []
        """The methods called, with their metadata, in order."""
        self._server = server

    def stop(self) -> None:
        """Stop at once."""
        self._server.stop(None).wait()

    def unary(self, name: str) -> Answer:
        """What answers a method with one answer."""

        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((name, dict(context.invocation_metadata())))
            replaced = self.answers.get(name)
            if replaced is not None:
                return replaced(data, context)
            try:
                return self.service.answer(name, data)
            except HeedError as error:
                context.abort_with_status(rpc_status.to_status(to_status(error)))
                raise AssertionError from error

        return answer

    def converse(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer StreamCheckSuppression, request by request."""
        self.calls.append((CHECK_STREAM.name, dict(context.invocation_metadata())))
        for data in requests:
            yield (self.answers.get(CHECK_STREAM.name) or self._answer_request)(data, context)

    def _answer_request(self, data: bytes, _context: grpc.ServicerContext) -> bytes:
        return self.service.answer(CHECK_STREAM.name, data)

    def export(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer ExportRecords."""
        self.calls.append(("ExportRecords", dict(context.invocation_metadata())))
        replaced = self.answers.get("ExportRecords")
        if replaced is not None:
            yield replaced(data, context)
            return
        yield from self.service.export(data)


@contextmanager
def fake_server(
    *, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> Generator[FakeServer]:
    """Serve a heed in memory."""
    with futures.ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        serving = FakeServer(server, FakeService())
        for handler in _handlers(serving):
            server.add_generic_rpc_handlers((handler,))
        health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        services = sorted({spec.service for spec in METHODS})
        for name in services:
            health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        host = address.rpartition(":")[0]
        serving.address = address if address.startswith("unix:") else f"{host}:{port}"
        server.start()
        try:
            yield serving
        finally:
            serving.stop()


def _handlers(serving: FakeServer) -> Iterator[grpc.GenericRpcHandler]:
    for service in sorted({spec.service for spec in METHODS}):
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            spec.name: grpc.unary_stream_rpc_method_handler(serving.export)
            if spec.name == EXPORT_RECORDS.name
            else grpc.stream_stream_rpc_method_handler(serving.converse)
            if spec.name == CHECK_STREAM.name
            else grpc.unary_unary_rpc_method_handler(serving.unary(spec.name))
            for spec in METHODS
            if spec.service == service
        }
        yield grpc.method_handlers_generic_handler(service, methods)
