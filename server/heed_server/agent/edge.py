"""The gRPC edge of an agent: Checks are answered here, everything else is handed on.

Laws:
- A Check that the replica cannot answer (it is too old or being made, a token is of a revision it
  has not seen, the tenant is another) is asked of the upstream, with the caller's own credential.
  Where that gives no answer the agent's own refusal stands; never is it turned into an answer.
- A stream of Checks is the replica's from its begin to its end, or the upstream's; what the replica
  cannot answer in it is refused in its place.
- Watching goes through to the upstream stream by stream, so that the lookup key goes to those alone
  whom the upstream gives it, and their reports count there.
Source: ADR 0020.
"""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from heed.errors import ErrorReason, HeedError
from heed_server.agent.callers import Callers
from heed_server.agent.service import CALLER, AgentChecks
from heed_server.auth.policy import Principal
from heed_server.rpc import CheckStreams, Health, Observe, RpcLimits
from heed_server.rpc.check_streams import CHECK_STREAM
from heed_server.rpc.forwarding import Forwarding
from heed_server.rpc.methods import Answer, batch_check, check
from heed_server.rpc.server import WATCH, add_contract, methods, new_server
from heed_server.rpc.status import Context, abort, unforeseen
from heed_server.service.checks import Checks, SecondsLeft, patience_seconds
from heed_server.watch.stream import draining
from heed_server.watch.watches import RECONNECT_SECONDS_MAX

UPSTREAM_MAY_KNOW: Final = frozenset(
    {
        ErrorReason.STATE_STALE,
        ErrorReason.NODE_BEHIND,
        ErrorReason.EPOCH_CHANGED,
        ErrorReason.STORE_MISMATCH,
        ErrorReason.TENANT_UNKNOWN,
    }
)
"""The reasons for which a Check that the replica cannot answer is asked of the upstream."""

_Converse = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
_CheckAnswer = Callable[[Checks, Principal, bytes, SecondsLeft], Answer]

_CHECKS: Final[dict[str, _CheckAnswer]] = {
    "CheckSuppression": check,
    "BatchCheckSuppression": batch_check,
}
"""What is answered here, by the method's name."""

_NO_ANSWER: Final = frozenset(
    {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
_NOT_LET_IN: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})


@dataclass(slots=True)
class Asked:
    """How often the upstream was asked for a Check, since the start."""

    answered: int = 0
    unanswered: int = 0


def build_agent_server(
    service: AgentChecks,
    callers: Callers,
    forwarding: Forwarding,
    *,
    health: Health,
    check_streams: CheckStreams,
    rpc_limits: RpcLimits,
    ask_seconds_max: float,
    asked: Asked,
    observe_checks: Observe | None,
    with_reflection: bool,
) -> aio.Server:
    """Return a server with every RPC, ready for its ports. `observe_checks` is told of Checks."""
    contract = methods()
    handlers = {
        name: forwarding.handler(method, farewell=_draining if name == WATCH else None)
        for name, method in contract.items()
    }
    for name, answer in _CHECKS.items():
        here = _AnsweredHere(
            contract[name], answer, service, callers, forwarding, ask_seconds_max, asked
        )
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            here.handle if observe_checks is None else _observed(here, observe_checks)
        )
    through = forwarding.many_to_many(contract[CHECK_STREAM])
    handlers[CHECK_STREAM] = grpc.stream_stream_rpc_method_handler(
        _conversed(service, callers, check_streams, through)
    )
    server = new_server(rpc_limits)
    add_contract(server, handlers, health=health, with_reflection=with_reflection)
    return server


class _AnsweredHere:
    """A method of Checks: by the replica, or else by the upstream."""

    def __init__(
        self,
        method: MethodDescriptor,
        answer: _CheckAnswer,
        service: AgentChecks,
        callers: Callers,
        forwarding: Forwarding,
        ask_seconds_max: float,
        asked: Asked,
    ) -> None:
        self.method = method
        self._answer = answer
        self._service = service
        self._callers = callers
        self._forwarding = forwarding
        self._hand_on = forwarding.unary(method)
        self._ask_seconds_max = ask_seconds_max
        self._asked = asked

    async def handle(self, request: bytes, context: Context) -> bytes:
        """Answer one call."""
        refusal: HeedError | None = None
        callers, left = self._callers, context.time_remaining
        try:
            given = callers.credential(context.invocation_metadata() or ())
        except HeedError as error:
            await abort(context, error)
        try:
            follower = self._service.follower
            tenant = follower.last or follower.tenant()
            if await callers.may_check(given, tenant.name, left):
                answered = self._answer(self._service, CALLER, request, left)
                return answered if isinstance(answered, bytes) else await answered
        except HeedError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - the root of a call
            await abort(context, unforeseen(self.method.name, error, is_write=False))
        if refusal is not None and refusal.reason not in UPSTREAM_MAY_KNOW:
            await abort(context, refusal)
        return await self._ask(request, context, refusal, has_credential=bool(given))

    async def _ask(
        self, request: bytes, context: Context, refusal: HeedError | None, *, has_credential: bool
    ) -> bytes:
        """Have the upstream answer. Without a refusal the call is its alone, for all its time."""
        seconds_max = (
            None
            if refusal is None
            else patience_seconds(context.time_remaining, self._ask_seconds_max)
        )
        try:
            answer = await self._hand_on(request, context, seconds_max=seconds_max)
        except aio.AioRpcError as error:
            self._asked.unanswered += 1
            await self._end(context, error, refusal, has_credential=has_credential)
        self._asked.answered += 1
        return answer

    async def _end(
        self,
        context: Context,
        error: aio.AioRpcError,
        refusal: HeedError | None,
        *,
        has_credential: bool,
    ) -> NoReturn:
        """End a call that nobody answered; where the agent knows the reason, by that."""
        is_no_answer = error.code() in _NO_ANSWER
        # Who is trusted by the socket alone is not told that the upstream wants a key.
        is_stranger = not has_credential and error.code() in _NOT_LET_IN
        if refusal is not None and (is_no_answer or is_stranger):
            await abort(context, refusal)
        await self._forwarding.end(self.method, context, error, otherwise=refusal)


def _conversed(
    service: AgentChecks,
    callers: Callers,
    check_streams: CheckStreams,
    through: _Converse,
) -> _Converse:
    """Return the handler of a stream of Checks; `through` has the upstream answer one."""

    async def handler(requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            given = callers.credential(context.invocation_metadata() or ())
        except HeedError as error:
            await abort(context, error)
        try:
            tenant = service.follower.tenant().name
            is_ours = await callers.may_check(given, tenant, context.time_remaining)
        except HeedError:
            tenant, is_ours = "", False
        if not is_ours:
            await through(requests, context)
            return

        def who_now() -> Principal:
            callers.require_still(given, tenant)
            return CALLER

        try:
            await check_streams.converse(service, who_now, context)
        except HeedError as error:
            await abort(context, error)
        except Exception as error:  # noqa: BLE001 - the root of a call
            await abort(context, unforeseen(CHECK_STREAM, error, is_write=False))

    return handler


def _observed(
    here: _AnsweredHere, observe: Observe
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def handler(request: bytes, context: Context) -> bytes:
        began, code = time.perf_counter(), "CANCELLED"
        try:
            answer = await here.handle(request, context)
            code = "OK"
            return answer
        except Exception:
            # Nothing but an abort comes this far, and the context knows by which status.
            code = code_name(context)
            raise
        finally:
            observe(here.method.name, code, time.perf_counter() - began, reason="", caller="")

    return handler


def code_name(context: Context) -> str:
    """Return the name of the code that a call was ended by."""
    code: object = context.code()  # a number, whatever the stubs say
    return next(one.name for one in grpc.StatusCode if code in {one, one.value[0]})


def _draining() -> bytes:
    return draining(random.uniform(0, RECONNECT_SECONDS_MAX))  # noqa: S311 - to spread them
