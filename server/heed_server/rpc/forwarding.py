"""Handing calls on to another server, as bytes: what this process does not answer by itself.

Laws:
- What is handed on keeps its bytes, its metadata (the caller's credential with it) and its
  deadline, and is cancelled with the call; what comes back keeps its bytes, its status and its
  details. Who calls is judged where it is handed on to.
- No credential of this process ever goes with a caller's call. The connection that it goes by may
  show a certificate of this process, so each call says that it is handed on, and that certificate
  then speaks for nobody. A worker, whose owner believes it, tells the caller's certificate instead.
- A write whose answer did not come back may have happened: OUTCOME_UNKNOWN. Any other call without
  an answer is UNAVAILABLE; none is turned into an answer.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from heed.errors import HeedError, OutcomeUnknownError, UnavailableError
from heed.wire.status import DETAILS_METADATA_KEY, code_of
from heed_server.auth.credentials import CALLER_CERTIFICATE, HANDED_ON, certificate_of
from heed_server.room import limit_reached
from heed_server.rpc.calls import Observe
from heed_server.rpc.methods import UNARY_METHODS
from heed_server.rpc.status import STATUS_CODES, Context, abort, send

_OWN_HEADERS: Final = frozenset(
    {"user-agent", "content-type", "te", "host", "connection", CALLER_CERTIFICATE}
)
"""What every hop says for itself. A caller that says what only a worker may is not heard."""

_OF_THE_TRANSPORT: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)
"""The statuses of a connection that broke, where no details say that a server meant them."""

STREAMS_MAX: Final = 512
"""Streams without an end that go through at a time: half of the calls that a server takes on one
connection (`limits.calls_of_connection_max`), so that they leave room for all others."""

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Tell = Callable[[Context], tuple[tuple[str, str | bytes], ...]]
"""What this hop says of a caller, as metadata."""
Farewell = Callable[[], bytes]
"""Makes the last message of a stream that would go on for ever."""


def handed_on_told(_context: Context) -> tuple[tuple[str, str | bytes], ...]:
    """Say that the connection is not the caller's own."""
    return ((HANDED_ON, "1"),)


def certificate_told(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    """Say which certificate the caller's connection showed, to an owner that believes it."""
    pem = certificate_of(context)
    return () if pem is None else ((CALLER_CERTIFICATE, pem),)


class HandOn(Protocol):
    """Hands one request on."""

    async def __call__(
        self, request: bytes, context: Context, *, seconds_max: float | None = None
    ) -> bytes:
        """Return its answer, within what the call has left and at most `seconds_max`.

        Raises:
            aio.AioRpcError: there is none; `Forwarding.end` ends the call by it.
        """
        ...


class Forwarding:
    """Hands calls on through one channel, which its maker opens and closes."""

    def __init__(
        self,
        channel: aio.Channel,
        *,
        whom: str,
        observe: Observe | None = None,
        admit: Callable[[Context], None] | None = None,
        tells: Tell = handed_on_told,
        streams_max: int = STREAMS_MAX,
    ) -> None:
        """`whom` names the other side in messages; `observe` is told of each end of a call.

        `tells` says who calls, as far as this hop knows it and the credential does not say it.

        `admit` raises HeedError where a call is not even to be handed on. `streams_max` bounds
        those that have a farewell: all calls share a connection, which takes so many at a time.
        """
        self._channel = channel
        self._whom = whom
        self._observe = observe
        self._admit = admit
        self._tells = tells
        self._streams_max = streams_max
        self._endless: set[_Answers] = set()
        self._is_ending = False

    def end_streams(self, seconds: float) -> None:
        """End every stream that has a farewell, each at its own time within so long."""
        self._is_ending = True
        loop = asyncio.get_running_loop()
        for answers in self._endless:
            loop.call_later(random.uniform(0, seconds), answers.cancel)  # noqa: S311 - to spread them

    def handler(self, method: MethodDescriptor, *, farewell: Farewell | None = None) -> Handler:
        """Return the handler of a method that is all the other side's.

        `farewell` is for a stream that never ends by itself.
        """
        match method.client_streaming, method.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._told(method, self.unary(method)))
            case False, True:
                return grpc.unary_stream_rpc_method_handler(self._one_to_many(method, farewell))
            case True, True:
                return grpc.stream_stream_rpc_method_handler(self.many_to_many(method))
            case _:
                raise RuntimeError(f"{method.name} is of a kind that is not handed on")

    def unary(self, method: MethodDescriptor) -> HandOn:
        """Return what hands one request on, whoever sends it."""
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path_of(method))

        async def hand_on(
            request: bytes, context: Context, *, seconds_max: float | None = None
        ) -> bytes:
            left = _seconds_left(context)
            if seconds_max is not None:
                left = seconds_max if left is None else min(left, seconds_max)
            return await call(request, timeout=left, metadata=self._metadata(context))

        return hand_on

    def many_to_many(
        self, method: MethodDescriptor
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        """Return what hands on a stream in both directions, to its end."""
        call: aio.StreamStreamMultiCallable[bytes, bytes]
        call = self._channel.stream_stream(path_of(method))

        async def handler(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._require_admitted(context)
            timeout = context.time_remaining()
            answers = call(requests, timeout=timeout, metadata=self._metadata(context))
            await self._pass_on(answers, method, context, None)

        return handler

    async def end(
        self,
        method: MethodDescriptor,
        context: Context,
        error: aio.AioRpcError,
        *,
        otherwise: HeedError | None = None,
    ) -> NoReturn:
        """End a call as the other side ended it, or, where that is gone, as it must be without it.

        `otherwise` is what is then told; None: what fits the method.
        """
        if not _is_told(error) and error.code() in _OF_THE_TRANSPORT:
            await abort(context, otherwise or self._away(method))
        trailing = tuple(error.trailing_metadata() or ())
        await context.abort(error.code(), error.details() or "", trailing)

    def _told(
        self, method: MethodDescriptor, hand_on: HandOn
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """A unary method that is handed on and whose end is told of."""

        async def handler(request: bytes, context: Context) -> bytes:
            began, code = time.perf_counter(), "CANCELLED"
            try:
                await self._require_admitted(context)
                answer = await hand_on(request, context)
                code = "OK"
                return answer
            except aio.AioRpcError as error:
                code = self._code(method, error)
                await self.end(method, context, error)
            finally:
                self._note(method, code, began)

        return handler

    def _one_to_many(
        self, method: MethodDescriptor, farewell: Farewell | None
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        call: aio.UnaryStreamMultiCallable[bytes, bytes]
        call = self._channel.unary_stream(path_of(method))

        async def handler(request: bytes, context: Context) -> None:
            await self._require_admitted(context)
            count, most = len(self._endless), self._streams_max
            if farewell is not None and count >= most:
                said = f"{count} streams go through here"
                await abort(context, limit_reached(said, "streams_max", count, most))
            timeout = context.time_remaining()
            answers = call(request, timeout=timeout, metadata=self._metadata(context))
            await self._pass_on(answers, method, context, farewell)

        return handler

    async def _pass_on(
        self,
        answers: "_Answers",
        method: MethodDescriptor,
        context: Context,
        farewell: Farewell | None,
    ) -> None:
        """Pass messages on; the caller's reading sets the pace of the other side's sending."""
        began, code = time.perf_counter(), "CANCELLED"
        if farewell is not None:
            self._endless.add(answers)
        try:
            async for message in answers:
                await send(context, message)
            code = "OK"
        except aio.AioRpcError as error:
            code = self._code(method, error)
            await self.end(method, context, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if farewell is None or not self._is_ending or (task is not None and task.cancelling()):
                raise
            await send(context, farewell())
            code = "OK"
        finally:
            self._endless.discard(answers)
            answers.cancel()
            self._note(method, code, began)

    def _metadata(self, context: Context) -> tuple[tuple[str, str | bytes], ...]:
        return handed_on(context) + self._tells(context)

    async def _require_admitted(self, context: Context) -> None:
        if self._admit is None:
            return
        try:
            self._admit(context)
        except HeedError as error:
            await abort(context, error)

    def _code(self, method: MethodDescriptor, error: aio.AioRpcError) -> str:
        is_gone = not _is_told(error) and error.code() in _OF_THE_TRANSPORT
        return STATUS_CODES[code_of(self._away(method))].name if is_gone else error.code().name

    def _note(self, method: MethodDescriptor, code: str, began: float) -> None:
        if self._observe is not None:
            self._observe(method.name, code, time.perf_counter() - began, reason="", caller="")

    def _away(self, method: MethodDescriptor) -> HeedError:
        """What is told of a call whose answer did not come."""
        unary = UNARY_METHODS.get(method.name)
        if unary is not None and unary.is_write:
            return OutcomeUnknownError(
                f"{self._whom} went away during the call, which may or may not have been written; "
                "send the same call with the same key again"
            )
        return UnavailableError(f"{self._whom} does not answer; ask again, or do not send")


def _is_told(error: aio.AioRpcError) -> bool:
    """Whether a heed server meant it, and says why."""
    return any(name == DETAILS_METADATA_KEY for name, _ in error.trailing_metadata() or ())


class _Answers(Protocol):
    """A call under way that answers with many messages."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def cancel(self) -> bool: ...


def handed_on(context: Context) -> tuple[tuple[str, str | bytes], ...]:
    """Return the caller's metadata but for what each hop says for itself."""
    return tuple(
        (name, value)
        for name, value in context.invocation_metadata() or ()
        if name not in _OWN_HEADERS and not name.startswith("grpc-")
    )


def _seconds_left(context: Context) -> float | None:
    """How long a call may still take; None: for ever, which gRPC's stubs leave out."""
    return context.time_remaining()


def path_of(method: MethodDescriptor) -> str:
    """Return a method's path: `/heed.v1.PreferenceService/CheckSuppression`."""
    return f"/{method.containing_service.full_name}/{method.name}"
