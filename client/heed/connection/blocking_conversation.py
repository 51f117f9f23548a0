"""A stream of checks over `grpc`, for threads.

Laws:
- One thread opens streams, one after the other, each when there is something to ask, and reads
  them; gRPC's own sends what waits. Neither waits for the other.
- A check that is late is dropped alone; the stream goes on.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, cast

import grpc

from heed.answers import CheckAnswer
from heed.connection.asking import Asking, Question
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import Failed, failure
from heed.connection.target import Target
from heed.errors import HeedError
from heed_proto.v1 import preference_service_pb2 as preference


class GrpcConversation:
    """A `heed.connection.calls.BlockingConversation`."""

    def __init__(
        self,
        spec: CheckStreamSpec,
        target: Target,
        *,
        connected: Callable[[], grpc.Channel],
        seconds: float,
    ) -> None:
        """`connected` returns the channel; `seconds` is how long a check may take."""
        self._spec = spec
        self._target = target
        self._connected = connected
        self._seconds = seconds
        # Guards all below; told of whenever there may be something to send, or nothing more is.
        self._changed = threading.Condition()
        self._asking = Asking(spec, target.address)
        self._is_open = False
        self._call: Any = None
        """The stream that is read; None between two."""
        self._running: threading.Thread | None = None

    def open(self) -> None:
        """Be ready to be asked."""
        self._connected()
        self._is_open = True
        self._running = threading.Thread(target=self._run, name="heed-check-stream", daemon=True)
        self._running.start()

    def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        """Ask about one message."""
        seconds = self._seconds if timeout is None else self._spec.seconds_within(timeout)
        answer: Future[CheckAnswer | HeedError] = Future()
        question = Question(request=request, settle=answer.set_result)
        with self._changed:
            if not self._is_open:
                raise RuntimeError("this stream is not open: use it in `with`")
            self._asking.add(question)
            self._changed.notify_all()
        try:
            told = answer.result(seconds)
        except TimeoutError:
            with self._changed:
                question.is_over = True
            raise self._asking.late(seconds) from None
        if isinstance(told, HeedError):
            raise told
        return told

    def close(self) -> None:
        """End the stream."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
            call, running = self._call, self._running
            self._running = None
        if call is not None:
            call.cancel()
        if running is not None:
            running.join()
            with self._changed:
                self._asking.refuse(self._asking.broken("the stream was closed"))

    def _run(self) -> None:
        while self._has_more():
            error = self._converse()
            with self._changed:
                self._asking.ended(error)
                pause_seconds = self._asking.pause_seconds
                self._changed.wait_for(lambda: not self._is_open, pause_seconds)

    def _has_more(self) -> bool:
        """Wait until something is to be asked; False once nothing is to be any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._asking.has_waiting or not self._is_open)
            return self._is_open

    def _converse(self) -> HeedError | None:
        """Ask over one stream until it ends; return the error that it ended with."""
        is_over = threading.Event()
        start: Any = self._connected().stream_stream(self._spec.path)
        try:
            call = start(self._requests(is_over), metadata=self._target.metadata)
            with self._changed:
                self._call = call
                if not self._is_open:
                    call.cancel()
            return self._read(call)
        finally:
            with self._changed:
                self._call = None
                # From here on gRPC's thread takes nothing more of what waits.
                is_over.set()
                self._changed.notify_all()

    def _requests(self, is_over: threading.Event) -> Iterator[bytes]:
        """What is to be sent; taken by gRPC's own thread, from which no error is heard."""
        while True:
            with self._changed:
                request: bytes | None = None
                while not is_over.is_set() and (request := self._asking.next_request()) is None:
                    self._changed.wait()
            if request is None:
                return
            yield request

    def _read(self, call: Any) -> HeedError | None:
        try:
            for data in call:
                with self._changed:
                    self._asking.take(data)
                    self._changed.notify_all()  # one more request may be sent
        except grpc.RpcError as error:
            return failure(
                cast("Failed", error),
                self._spec,
                address=self._target.address,
                timeout_seconds=self._seconds,
                idempotency_key="",
            )
        except HeedError as error:
            call.cancel()
            return error
        return None
