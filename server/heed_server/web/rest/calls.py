"""One call over HTTP: who calls, what is held meanwhile, and how it is told that it ended.

Law: a call is taken on as one over gRPC is: its rate, and a place from when its caller is known
until its answer is taken; a single opt-out needs neither.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec

from heed.errors import ExhaustedError, HeedError, OutcomeUnknownError, UnavailableError
from heed.wire.status import code_of
from heed_server.auth.credentials import Authenticator
from heed_server.auth.policy import Principal
from heed_server.rpc import Observe
from heed_server.rpc.methods import CHECK_METHODS, UnaryMethod
from heed_server.rpc.status import STATUS_CODES, unforeseen
from heed_server.service import Service
from heed_server.web.limits import BODY_BYTES_OF_ONE_MAX, RestLimits
from heed_server.web.rest import problems, reading
from heed_server.web.rest.callers import caller_of
from heed_server.web.rest.exchange import JSON, Exchange, GoneError, encode
from heed_server.web.rest.operations import Operation
from heed_server.web.rest.problems import Place, RefusedError

_CHECKS: Final = frozenset(method.name for method in CHECK_METHODS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What calls are answered by."""

    service: Service
    authenticator: Authenticator | None
    limits: RestLimits
    observe: Observe
    """Told of every call but Checks, and of those with `observes_checks`."""
    observes_checks: bool


class Call:
    """One call, from when its request is here until its answer is taken."""

    __slots__ = ("_began", "_caller", "_method", "_serving", "_whose", "exchange")

    def __init__(self, serving: Serving, exchange: Exchange, method: str) -> None:
        self.exchange = exchange
        self._method = method
        self._caller = ""
        self._serving = serving
        self._whose: tuple[str, str] | None = None
        self._began = time.perf_counter()

    def who_now(self) -> Principal:
        """Return who calls, judged anew. Raises: as `caller_of`."""
        return caller_of(self._serving.authenticator, self.exchange.scope)

    def enter(self) -> Principal:
        """Return who calls. Raises: as `caller_of`."""
        principal = self.who_now()
        self._caller = principal.name
        return principal

    def take_place(self, principal: Principal) -> None:
        """Hold a place among the calls under way.

        Raises:
            ExhaustedError: OVERLOADED, there is none.
        """
        calls = self._serving.service.admission.calls
        calls.require(principal.identity)
        calls.take(principal.identity)
        self._whose = principal.identity

    def seconds_left(self) -> float:
        """Return how long its answer may still take."""
        return self._began + self._serving.limits.answer_seconds_max - time.perf_counter()

    def note(self, error: HeedError | None) -> None:
        """Say how it ended."""
        serving, method = self._serving, self._method
        if method in _CHECKS and not serving.observes_checks:
            return
        serving.observe(
            method,
            "OK" if error is None else STATUS_CODES[code_of(error)].name,
            time.perf_counter() - self._began,
            reason="" if error is None else error.reason.value,
            caller=self._caller,
        )

    async def fail(self, error: HeedError, place: Place) -> None:
        """Answer with a problem, if nothing was answered yet."""
        self.note(error)
        if not self.exchange.has_begun:
            await self.exchange.tell_problem(*problems.problem_of(error, place))

    def end(self) -> None:
        """Give the place back."""
        if self._whose is not None:
            self._serving.service.admission.calls.give_back(self._whose)
            self._whose = None


Act = Callable[[Call], Awaitable[None]]


async def run_call(
    serving: Serving, exchange: Exchange, method: str, act: Act, place: Place, *, is_write: bool
) -> None:
    """Run one call to its end, and answer whatever goes wrong in it as a problem.

    `place` is from a path of the contract's message to where the caller said it.
    """
    call = Call(serving, exchange, method)
    try:
        try:
            await act(call)
        except GoneError:
            return  # nobody is there to be answered
        except RefusedError as refusal:
            await exchange.refuse(refusal)
        except HeedError as error:
            await call.fail(error, place)
        except Exception as mistake:  # noqa: BLE001 - the root of a request
            await call.fail(unforeseen(method, mistake, is_write=is_write), place)
    finally:
        call.end()


async def run_operation(serving: Serving, operation: Operation[Any], exchange: Exchange) -> None:
    """Answer one POST, by its row."""
    method = operation.method

    async def act(call: Call) -> None:
        status, body = await _answered(serving, call, operation)
        call.note(None)
        await exchange.answer(status, b"" if body is None else encode(body))

    await run_call(
        serving,
        exchange,
        method.name,
        act,
        problems.in_body(operation.pointer),
        is_write=method.is_write,
    )


async def _answered(
    serving: Serving, call: Call, operation: Operation[Any]
) -> tuple[HTTPStatus, msgspec.Struct | None]:
    exchange, method = call.exchange, operation.method
    principal = call.enter()
    if not method.has_room_always:
        call.take_place(principal)
    exchange.require_no_query()
    exchange.require_json_body()
    exchange.require_accepted(JSON)
    key = exchange.idempotency_key() if operation.is_keyed else ""
    data = await exchange.body(
        BODY_BYTES_OF_ONE_MAX if operation.is_of_one else serving.limits.body_bytes_max
    )
    message = operation.message(reading.read(operation.body, data), key).SerializeToString()
    answer = method.answer(serving.service, principal, message, call.seconds_left)
    if not isinstance(answer, bytes):
        if method.rate is not None:
            try:
                serving.service.admission.rates.take(method.rate, principal)
            except ExhaustedError:
                answer.close()
                raise
        answer = await _in_time(answer, method, serving.limits.answer_seconds_max)
    return operation.answered(answer)


async def _in_time(
    answer: Awaitable[bytes], method: UnaryMethod[Service], seconds_max: float
) -> bytes:
    """Return an answer; a commit that takes too long is finished all the same.

    Raises:
        OutcomeUnknownError: a write took too long.
        UnavailableError: a read did.
    """
    try:
        async with asyncio.timeout(seconds_max):
            return await answer
    except TimeoutError:
        if method.is_write:
            raise OutcomeUnknownError(
                f"the write took more than {seconds_max:g} s and may still be made; send the same "
                "request with the same key again"
            ) from None
        raise UnavailableError(f"no answer within {seconds_max:g} s; ask another node") from None
