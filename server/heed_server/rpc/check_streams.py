"""StreamCheckSuppression: one call that asks again and again, and how it ends.

Laws:
- Requests are answered in their order. The next one is read only once the transport has taken the
  answer before, so a caller that does not read is not read from: nothing queues here.
- What refuses a query, or a request, is answered in its place. Only what cannot be answered (bytes
  that are no message, no queries, too many) ends the stream, and a credential that is no longer
  good, or may no longer check: both are judged anew for every request.
- A stream ends by itself, idle or busy, sooner than a connection that is old enough to be closed
  would cut it off (`grpc.max_connection_age_grace_ms`), and when the node drains. What was read is
  answered first.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from grpc import aio

from heed.errors import ExhaustedError, HeedError, RightRequiredError
from heed.wire import checks, encoded
from heed_server.auth.policy import Principal
from heed_server.room import Room
from heed_server.rpc.status import Context, send, unforeseen
from heed_server.service.checks import Checks

CHECK_STREAM = "StreamCheckSuppression"

ANSWER_SECONDS_MAX = 4.0
"""How long an answer under way at its stream's end may take to be read, before it is cut off."""

_END: Final[object] = aio.EOF
"""What is read where the caller has no more to ask; the stubs know it only as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStreamLimits:
    """How many streams of checks there are, and how long each lives."""

    check_streams_max: int = 2_000
    """Streams of the process; one more is LIMIT_REACHED. Higher: more memory. Lower: callers are
    refused, and check by single calls."""
    check_streams_of_principal_max: int = 1_000
    """The same of one principal. Higher: one may take all. Lower: its callers are refused."""
    check_stream_seconds_max: float = 25.0
    """How long a stream lives, or down to half of it, idle or busy. Higher: an idle one outlives
    its key by so long; above 25 one may be cut off. Lower: streams are opened more often."""


class CheckStreams:
    """Every stream of checks of one server. Its state is written on the loop only."""

    def __init__(
        self, limits: CheckStreamLimits | None = None, *, chance: random.Random | None = None
    ) -> None:
        """`chance` says how long each lives, so that those opened together do not end together."""
        limits = self._limits = limits or CheckStreamLimits()
        self._chance = chance or random.SystemRandom()
        self._under_way: set[_Stream] = set()
        self._room = Room(
            "streams of checks",
            most=("check_streams_max", limits.check_streams_max),
            most_of_principal=(
                "check_streams_of_principal_max",
                limits.check_streams_of_principal_max,
            ),
        )

    async def converse(
        self, service: Checks, who_now: Callable[[], Principal], context: Context
    ) -> None:
        """Answer what one caller asks, until it has no more to ask or the stream is over.

        Raises:
            UnavailableError: DRAINING.
            ExhaustedError: LIMIT_REACHED, or the caller does not read.
            HeedError: nothing more can be answered.
        """
        principal = who_now().identity
        self._room.require(principal)
        self._room.take(principal)
        stream = _Stream(service, who_now, context)
        seconds = self._limits.check_stream_seconds_max * self._chance.uniform(0.5, 1.0)
        timer = asyncio.get_running_loop().call_later(seconds, stream.end)
        self._under_way.add(stream)
        try:
            await stream.run()
        finally:
            timer.cancel()
            self._under_way.discard(stream)
            self._room.give_back(principal)

    def end(self) -> None:
        """Open no further stream, and end every one there is once what it read is answered."""
        self._room.close()
        for stream in self._under_way:
            stream.end()


class _Stream:
    """One stream, run by the task that made it. `end` may be called at any time, several times."""

    def __init__(self, service: Checks, who_now: Callable[[], Principal], context: Context) -> None:
        self._service = service
        self._who_now = who_now
        self._context = context
        self._task = asyncio.current_task()
        self._is_reading = False
        self._is_over = False
        self._is_interrupted = False
        self._cutting: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Answer until the caller has no more to ask, or the stream is over.

        Raises:
            ExhaustedError: the caller did not take an answer in time.
            HeedError: as `_answer`.
        """
        context = self._context
        try:
            while not self._is_over:
                self._is_reading = True
                data = await context.read()
                self._is_reading = False
                if data is _END:
                    return
                await send(context, await self._answer(data))
        except asyncio.CancelledError:
            if not self._is_interrupted or self._task is None or self._task.uncancel():
                raise  # by the caller, or by the server's stop
            if not self._is_reading:
                raise _not_read() from None
        finally:
            if self._cutting is not None:
                self._cutting.cancel()

    def end(self) -> None:
        """End after the answer that is under way; at once where the stream waits for a request."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_reading:
            # A request that is just arriving may go unanswered: the caller asks it again.
            self._interrupt()
        else:
            loop = asyncio.get_running_loop()
            self._cutting = loop.call_later(ANSWER_SECONDS_MAX, self._interrupt)

    async def _answer(self, data: bytes) -> bytes:
        """The response to one request.

        Raises:
            InvalidArgumentError: there can be none.
            UnauthenticatedError, RightRequiredError: the credential is not good any more.
            UnavailableError: nobody can judge it.
        """
        principal = self._who_now()
        asked = checks.stream_check(data)
        try:
            done = await self._service.stream_check(principal, asked)
        except RightRequiredError:
            raise
        except HeedError as error:
            return encoded.stream_refusal(asked.sequence, asked.count, error)
        except Exception as error:  # noqa: BLE001 - the root of a request
            refusal = unforeseen(CHECK_STREAM, error, is_write=False)
            return encoded.stream_refusal(asked.sequence, asked.count, refusal)
        return encoded.stream_answer(asked.sequence, done.answers, done.position, done.now)

    def _interrupt(self) -> None:
        self._is_interrupted = True
        if self._task is not None:
            self._task.cancel()


def _not_read() -> ExhaustedError:
    return ExhaustedError(
        f"an answer was not read for {ANSWER_SECONDS_MAX:g} s; read while you ask",
        metadata={"limit": "check_stream_seconds_max"},
    )
