"""Calls of a server's own handlers, without sockets: thousands in a second.

    async with running_server(tmp_path) as running:
        edge = Edge(running.service, authenticator)
        ended = await edge.call("CheckSuppression", data, metadata)

What gRPC does (bytes over a connection) is left out; all of heed's own code is passed through.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from unittest import mock

from google.protobuf import message_factory
from google.rpc import status_pb2
from grpc import aio

from heed.errors import HeedError
from heed.wire.status import DETAILS_METADATA_KEY, from_refusal, from_status
from heed_server.auth.credentials import Authenticator
from heed_server.rpc import CheckStreams, health_of
from heed_server.rpc import server as rpc_server
from heed_server.service import Service
from tests.support.servers import METHODS

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended; without an error it was let through to its end."""

    error: HeedError | None = None
    answers: tuple[bytes, ...] = ()


class Edge:
    """The handlers of every method, as a server would be given them."""

    def __init__(self, service: Service, authenticator: Authenticator | None) -> None:
        taken: dict[str, rpc_server.Handler] = {}

        def take(_server: object, handlers: Mapping[str, rpc_server.Handler], **_said: Any) -> None:
            taken.update(handlers)

        with mock.patch.object(rpc_server, "add_contract", take):
            rpc_server.build_server(
                service,
                authenticator,
                health=health_of(service),
                check_streams=CheckStreams(),
            )
        self._handlers = taken

    async def call(
        self, name: str, data: bytes, metadata: Metadata, certificate: bytes | None = None
    ) -> Ended:
        """Make a call; of one that never ends by itself, until its first message."""
        handler: Any = self._handlers[name]
        method = METHODS[name]
        context = Context(tuple(metadata), certificate, [data])
        try:
            if method.client_streaming:
                await handler.stream_stream(None, context)
            elif method.server_streaming:
                await handler.unary_stream(data, context)
            else:
                context.written.append(await handler.unary_unary(data, context))
        except AbortedError as aborted:
            return Ended(error=aborted.error)
        except asyncio.CancelledError:
            if not context.is_left:
                raise
        finally:
            context.end()
        answers = tuple(context.written)
        error = self.refusal_within(name, answers) if method.client_streaming else None
        return Ended(error=error, answers=answers)

    @staticmethod
    def refusal_within(name: str, answers: Sequence[bytes]) -> HeedError | None:
        """The first query of a stream that was refused in its place; None: none was."""
        class_ = message_factory.GetMessageClass(METHODS[name].output_type)
        for answer in answers:
            told: Any = class_.FromString(answer)
            for one in told.answers:
                if one.HasField("refusal"):
                    return from_refusal(one.refusal)
        return None


class AbortedError(Exception):
    """A call was ended by a status."""

    def __init__(self, error: HeedError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass
class Context:
    """What a handler is given of a call."""

    metadata: tuple[tuple[str, str | bytes], ...]
    certificate: bytes | None
    requests: list[bytes]
    takes: int = 1
    """So many messages are read of a stream before its caller leaves."""
    written: list[bytes] = field(default_factory=list)
    is_left: bool = False
    ended: list[Callable[["Context"], None]] = field(default_factory=list)

    def add_done_callback(self, callback: Callable[["Context"], None]) -> None:
        self.ended.append(callback)

    def end(self) -> None:
        """Let go of the call, as gRPC does once its status has left."""
        for callback in self.ended:
            callback(self)

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self.metadata

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {} if self.certificate is None else {"x509_pem_cert": [self.certificate]}

    def time_remaining(self) -> float:
        return 20.0

    async def read(self) -> object:
        return self.requests.pop() if self.requests else aio.EOF

    async def write(self, message: bytes) -> None:
        self.written.append(message)
        if len(self.written) < self.takes or not self.requests:
            return
        self.is_left = True  # its caller has heard enough
        raise asyncio.CancelledError

    async def abort(self, _code: object, _said: str, trailing: Metadata) -> NoReturn:
        for name, value in trailing:
            if name == DETAILS_METADATA_KEY and isinstance(value, bytes):
                error = from_status(status_pb2.Status.FromString(value))
                assert error is not None
                raise AbortedError(error)
        raise AssertionError("a call was ended without heed's details")
