"""A stream of checks over `grpc.aio`.

Laws:
- One task opens streams, one after the other, each when there is something to ask; within it one
  writes and one reads, so that neither waits for the other.
- A check that is cancelled, or late, is dropped alone; the stream goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import grpc
import grpc.aio

from heed.answers import CheckAnswer
from heed.connection.asking import Asking, Question
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import Failed, failure
from heed.connection.target import Target
from heed.errors import HeedError
from heed.task_group import TaskGroup
from heed_proto.v1 import preference_service_pb2 as preference


class AioConversation:
    """A `heed.connection.calls.AsyncConversation`. Its state is written on its loop only."""

    def __init__(
        self,
        spec: CheckStreamSpec,
        target: Target,
        *,
        connected: Callable[[], Awaitable[grpc.aio.Channel]],
        seconds: float,
    ) -> None:
        """`connected` returns the channel; `seconds` is how long a check may take."""
        self._spec = spec
        self._target = target
        self._connected = connected
        self._seconds = seconds
        self._asking = Asking(spec, target.address)
        self._changed = asyncio.Event()
        """Set when there may be something to send."""
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Be ready to be asked."""
        await self._connected()
        # Held here, and waited for by `close`: a group would cancel whoever uses the stream.
        self._running = asyncio.create_task(self._run(), name="heed-check-stream")

    async def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        """Ask about one message."""
        if self._running is None:
            raise RuntimeError("this stream is not open: use it in `async with`")
        seconds = self._seconds if timeout is None else self._spec.seconds_within(timeout)
        answer: asyncio.Future[CheckAnswer | HeedError] = asyncio.get_running_loop().create_future()

        def settle(told: CheckAnswer | HeedError) -> None:
            if not answer.done():  # whoever waited was cancelled just now
                answer.set_result(told)

        question = Question(request=request, settle=settle)
        self._asking.add(question)
        self._changed.set()
        try:
            async with asyncio.timeout(seconds):
                told = await answer
        except TimeoutError:
            raise self._asking.late(seconds) from None
        finally:
            question.is_over = True
        if isinstance(told, HeedError):
            raise told
        return told

    async def close(self) -> None:
        """End the stream."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.wait({running})
        self._asking.refuse(self._asking.broken("the stream was closed"))

    async def _run(self) -> None:
        while True:
            while not self._asking.has_waiting:
                self._changed.clear()
                await self._changed.wait()
            self._asking.ended(await self._converse())
            await asyncio.sleep(self._asking.pause_seconds)

    async def _converse(self) -> HeedError | None:
        """Ask over one stream until it ends; return the error that it ended with."""
        start: Any = (await self._connected()).stream_stream(self._spec.path)
        call = start(metadata=self._target.metadata)
        try:
            async with TaskGroup() as group:
                writing = group.create_task(self._write(call))
                error = await self._read(call)
                writing.cancel()
        finally:
            call.cancel()
        return error

    async def _write(self, call: Any) -> None:
        # A stream that ended is noticed, and told of, by whoever reads it.
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                request = self._asking.next_request()
                if request is None:
                    self._changed.clear()
                    await self._changed.wait()
                else:
                    await call.write(request)

    async def _read(self, call: Any) -> HeedError | None:
        try:
            while (data := await call.read()) is not grpc.aio.EOF:
                self._asking.take(data)
                self._changed.set()  # one more request may be sent
        except grpc.RpcError as error:
            return failure(
                cast("Failed", error),
                self._spec,
                address=self._target.address,
                timeout_seconds=self._seconds,
                idempotency_key="",
            )
        except HeedError as error:
            return error
        return None
