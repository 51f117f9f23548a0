"""One call: who calls, what is answered, and how it ends. All the code there is around a method.

A Check's handler has nothing in it but that. Counting and timing stand around the other methods,
and around Checks only where they are asked for.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, Self, TypeVar

from heed.errors import ExhaustedError, HeedError, UnauthenticatedError
from heed.wire import parse_watch
from heed.wire.status import code_of
from heed_server.auth.credentials import Authenticator
from heed_server.auth.policy import OPEN, Principal, require
from heed_server.rates import RateKind
from heed_server.room import Room
from heed_server.rpc.methods import UnaryMethod
from heed_server.rpc.status import STATUS_CODES, Context, abort, send, unforeseen
from heed_server.service import Service
from heed_server.service.answering import Answering
from heed_server.service.checks import Checks
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.watch.stream import CREDENTIAL_SECONDS

S = TypeVar("S", bound=Answering)

UnaryHandler = Callable[[bytes, Context], Awaitable[bytes]]
StreamHandler = Callable[[bytes, Context], Awaitable[None]]
ConversationHandler = Callable[[object, Context], Awaitable[None]]
Stream = Callable[[Service, Principal, bytes], AsyncGenerator[bytes, None]]
Conversation = Callable[[Checks, Callable[[], Principal], Context], Awaitable[None]]


class Observe(Protocol):
    """Told of each call that ended."""

    def __call__(self, method: str, code: str, seconds: float, *, reason: str, caller: str) -> None:
        """Take note. `code` is OK, INVALID_ARGUMENT …; `reason` is empty unless heed refused."""
        ...


def unobserved(
    method: UnaryMethod[S], service: S, authenticator: Authenticator | None
) -> UnaryHandler:
    """Return the handler of a method that nobody counts."""
    answer, has_room_always = method.answer, method.has_room_always

    async def handler(request: bytes, context: Context) -> bytes:
        try:
            principal = _principal(authenticator, context)
            if not has_room_always:
                _take_place(service, principal, context)
            answered = answer(service, principal, request, context.time_remaining)
            if isinstance(answered, bytes):
                return answered
            if method.rate is not None:
                _take_of_rate(service, method.rate, principal, answered)
            return await answered
        except HeedError as error:
            await abort(context, error)
        except Exception as error:  # noqa: BLE001 - the root of a call
            await abort(context, unforeseen(method.name, error, is_write=method.is_write))

    return handler


def observed(
    method: UnaryMethod[S], service: S, authenticator: Authenticator | None, observe: Observe
) -> UnaryHandler:
    """Return the handler of a method that is counted and timed."""

    async def handler(request: bytes, context: Context) -> bytes:
        async with _Call(method.name, context, observe, is_write=method.is_write) as call:
            principal = _principal(authenticator, context)
            call.caller = principal.name
            if not method.has_room_always:
                _take_place(service, principal, context)
            answered = method.answer(service, principal, request, context.time_remaining)
            if isinstance(answered, bytes):
                return answered
            if method.rate is not None:
                _take_of_rate(service, method.rate, principal, answered)
            return await answered

    return handler


def streamed(
    name: str,
    stream: Stream,
    service: Service,
    authenticator: Authenticator | None,
    observe: Observe,
    *,
    streams_max: int,
    write_seconds_max: float,
) -> StreamHandler:
    """Return the handler of a method that answers with many messages, a few calls at a time.

    The caller's reading sets the pace; one that takes nothing for `write_seconds_max` is cut off,
    because what it reads is held open for it. Every `CREDENTIAL_SECONDS` the credential is judged
    again.
    """
    under_way = 0

    async def handler(request: bytes, context: Context) -> None:
        nonlocal under_way
        async with _Call(name, context, observe, is_write=False) as call:
            principal = _principal(authenticator, context)
            call.caller = principal.name
            judged_at = time.monotonic()
            _take_place(service, principal, context)
            service.admission.rates.take(RateKind.READS, principal)
            if under_way >= streams_max:
                raise _too_much(f"{streams_max} calls of {name} are under way", "streams_max")
            under_way += 1
            try:
                async with aclosing(stream(service, principal, request)) as messages:
                    async for message in messages:
                        if time.monotonic() - judged_at >= CREDENTIAL_SECONDS:
                            _require_still(name, principal, authenticator, context)
                            judged_at = time.monotonic()
                        await _send(context, message, write_seconds_max)
            finally:
                under_way -= 1

    return handler


def watched(
    service: Service, authenticator: Authenticator | None, observe: Observe
) -> StreamHandler:
    """Return the handler of WatchChanges, whose stream bounds and times itself."""

    async def handler(request: bytes, context: Context) -> None:
        async with _Call("WatchChanges", context, observe, is_write=False) as call:
            who_now = partial(_principal, authenticator, context)
            principal = who_now()
            call.caller = principal.name
            _take_place(service, principal, context)
            service.admission.rates.take(RateKind.STREAMS, principal)
            asked = parse_watch.watch_changes(request)
            async with service.watch_changes(principal, asked, who_now) as stream:
                await stream.run(partial(send, context))

    return handler


def conversed(
    name: str,
    converse: Conversation,
    service: Checks,
    authenticator: Authenticator | None,
    observe: Observe,
) -> ConversationHandler:
    """Return the handler of a method that reads and writes many messages."""

    async def handler(_requests: object, context: Context) -> None:
        async with _Call(name, context, observe, is_write=False) as call:
            who_now = partial(_principal, authenticator, context)
            principal = who_now()
            call.caller = principal.name
            _take_place(service, principal, context)
            service.admission.rates.take(RateKind.STREAMS, principal)
            await converse(service, who_now, context)

    return handler


class _Call:
    """What stands around a call that is counted: it is observed, and its refusal told, at its end.

    A class, because a generator's context manager costs as much as the counting.
    """

    __slots__ = ("_began", "_context", "_is_write", "_name", "_observe", "caller")

    def __init__(self, name: str, context: Context, observe: Observe, *, is_write: bool) -> None:
        self.caller = ""
        self._name = name
        self._context = context
        self._observe = observe
        self._is_write = is_write

    async def __aenter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        seconds = time.perf_counter() - self._began
        refusal: HeedError | None = None
        if isinstance(error, HeedError):
            refusal = error
        elif isinstance(error, Exception):
            refusal = unforeseen(self._name, error, is_write=self._is_write)
        code, reason = "OK" if error is None else "CANCELLED", ""
        if refusal is not None:
            code, reason = STATUS_CODES[code_of(refusal)].name, refusal.reason.value
        self._observe(self._name, code, seconds, reason=reason, caller=self.caller)
        if refusal is not None:
            # Told last: a stream's status waits behind the messages that its reader does not take.
            await abort(self._context, refusal)


def _take_place(service: Answering, principal: Principal, context: Context) -> None:
    """Hold a place for a call until its end has left: a caller that does not read has it still.

    Raises:
        ExhaustedError: OVERLOADED, there is none.
    """
    calls, whose = service.admission.calls, principal.identity
    calls.require(whose)
    calls.take(whose)
    ended: Any = partial(_give_back, calls, whose)  # the stubs want a class of their own
    context.add_done_callback(ended)


def _give_back(calls: Room, whose: tuple[str, str], _: Context) -> None:
    calls.give_back(whose)


def _take_of_rate(
    service: Answering,
    kind: RateKind,
    principal: Principal,
    answering: Coroutine[None, None, bytes],
) -> None:
    """Take one call of its caller's rate.

    Raises:
        ExhaustedError: RATE_LIMITED; the call is not begun.
    """
    try:
        service.admission.rates.take(kind, principal)
    except ExhaustedError:
        answering.close()
        raise


async def _send(context: Context, message: bytes, seconds_max: float) -> None:
    try:
        async with asyncio.timeout(seconds_max):
            await send(context, message)
    except TimeoutError:
        raise _too_much(f"nothing was read for {seconds_max} s", "write_seconds_max") from None


def _principal(authenticator: Authenticator | None, context: Context) -> Principal:
    """Who calls; without an authenticator everybody is open."""
    if authenticator is None:
        return OPEN
    return authenticator.principal(context.invocation_metadata() or (), context)


def _require_still(
    name: str, principal: Principal, authenticator: Authenticator | None, context: Context
) -> None:
    """Return if whoever began a call that lasts may go on with it.

    Raises:
        HeedError: the credential is good no more, or is less than it was.
    """
    if authenticator is None:
        return
    now = _principal(authenticator, context)
    require(now, RIGHT_OF_METHOD[name])
    if now.tenant != principal.tenant:
        raise UnauthenticatedError("this credential is for another tenant by now; call again")


def _too_much(said: str, limit: str) -> ExhaustedError:
    return ExhaustedError(f"{said}; wait and try again", metadata={"limit": limit})
