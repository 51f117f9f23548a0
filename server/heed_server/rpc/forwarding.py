"""Handing calls on to another server, as bytes: what this process does not answer by itself.

Laws:
- What is handed on keeps its bytes, its metadata (the caller's credential with it) and its
  deadline, and is cancelled with the call; what comes back keeps its bytes, its status and its
  details. Who calls is judged where it is handed on to.
- Nothing is added: no credential of this process ever goes with a caller's call.
- A write whose answer did not come back may have happened: OUTCOME_UNKNOWN. Any other call without
  an answer is UNAVAILABLE; none is turned into an answer.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from heed.errors import HeedError, OutcomeUnknownError, UnavailableError
from heed.wire.status import DETAILS_METADATA_KEY, code_of
from heed_server.rpc.calls import Observe
from heed_server.rpc.methods import UNARY_METHODS
from heed_server.rpc.status import STATUS_CODES, Context, abort

_OWN_HEADERS: Final = frozenset({"user-agent", "content-type", "te", "host", "connection"})
"""What every hop says for itself."""

_OF_THE_TRANSPORT: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
)
"""The statuses of a connection that broke, where no details say that a server meant them."""

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
HandOn = Callable[[bytes, Context], Awaitable[bytes]]


class Forwarding:
    """Hands calls on through one channel, which its maker opens and closes."""

    def __init__(self, channel: aio.Channel, *, whom: str, observe: Observe | None = None) -> None:
        """`whom` names the other side in messages; `observe` is told of each end of a call."""
        self._channel = channel
        self._whom = whom
        self._observe = observe

    def handler(self, method: MethodDescriptor) -> Handler:
        """Return the handler of a method that is all the other side's."""
        match method.client_streaming, method.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._told(method, self.unary(method)))
            case False, True:
                return grpc.unary_stream_rpc_method_handler(self._one_to_many(method))
            case True, True:
                return grpc.stream_stream_rpc_method_handler(self._many_to_many(method))
            case _:
                raise RuntimeError(f"{method.name} is of a kind that is not handed on")

    def unary(self, method: MethodDescriptor) -> HandOn:
        """Return what hands one request on and returns its answer.

        It raises aio.AioRpcError where there is none, which `end` ends the call by.
        """
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path_of(method))

        async def hand_on(request: bytes, context: Context) -> bytes:
            return await call(
                request, timeout=context.time_remaining(), metadata=handed_on(context)
            )

        return hand_on

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
        trailing = tuple(error.trailing_metadata() or ())
        is_told = any(name == DETAILS_METADATA_KEY for name, _ in trailing)
        if not is_told and error.code() in _OF_THE_TRANSPORT:
            await abort(context, otherwise or self._away(method))
        await context.abort(error.code(), error.details() or "", trailing)

    def _told(self, method: MethodDescriptor, hand_on: HandOn) -> HandOn:
        """A unary method that is handed on and whose end is told of."""

        async def handler(request: bytes, context: Context) -> bytes:
            began, code = time.perf_counter(), "CANCELLED"
            try:
                answer = await hand_on(request, context)
                code = "OK"
                return answer
            except aio.AioRpcError as error:
                code = self._code(method, error)
                await self.end(method, context, error)
            finally:
                self._note(method, code, began)

        return handler

    def _one_to_many(self, method: MethodDescriptor) -> Callable[[bytes, Context], Awaitable[None]]:
        call: aio.UnaryStreamMultiCallable[bytes, bytes]
        call = self._channel.unary_stream(path_of(method))

        async def handler(request: bytes, context: Context) -> None:
            timeout = context.time_remaining()
            answers = call(request, timeout=timeout, metadata=handed_on(context))
            await self._pass_on(answers, method, context)

        return handler

    def _many_to_many(
        self, method: MethodDescriptor
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        call: aio.StreamStreamMultiCallable[bytes, bytes]
        call = self._channel.stream_stream(path_of(method))

        async def handler(requests: AsyncIterator[bytes], context: Context) -> None:
            timeout = context.time_remaining()
            answers = call(requests, timeout=timeout, metadata=handed_on(context))
            await self._pass_on(answers, method, context)

        return handler

    async def _pass_on(
        self, answers: "_Answers", method: MethodDescriptor, context: Context
    ) -> None:
        """Pass messages on; the caller's reading sets the pace of the other side's sending."""
        began, code = time.perf_counter(), "CANCELLED"
        try:
            async for message in answers:
                await context.write(message)
            code = "OK"
        except aio.AioRpcError as error:
            code = self._code(method, error)
            await self.end(method, context, error)
        finally:
            answers.cancel()
            self._note(method, code, began)

    def _code(self, method: MethodDescriptor, error: aio.AioRpcError) -> str:
        is_gone = error.code() in _OF_THE_TRANSPORT
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


def path_of(method: MethodDescriptor) -> str:
    """Return a method's path: `/heed.v1.PreferenceService/CheckSuppression`."""
    return f"/{method.containing_service.full_name}/{method.name}"
