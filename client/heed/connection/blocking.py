"""Calls over `grpc`, for code without an event loop. Safe to share between threads.

The default deadline of a call does not count the making of the first connection.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc

from heed.connection.blocking_conversation import GrpcConversation
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import Failed, decoded, failure
from heed.connection.options import CONNECT_SECONDS_MAX, CONNECTING, channel_options
from heed.connection.patience import seconds_until_retry
from heed.connection.spec import A, MethodSpec, Q
from heed.connection.target import Target, pem
from heed.errors import SAFE_ANSWER, ErrorReason, UnavailableError
from heed.requests import require_seconds


class GrpcCalls:
    """One channel. Callables are made twice at worst, which does no harm: no lock is needed."""

    def __init__(self, target: Target, *, timeout: float | None) -> None:
        """`timeout`, in seconds, replaces the methods' own; None: they stand."""
        require_seconds(timeout, "timeout")
        self._target = target
        self._timeout = timeout
        self._channel: grpc.Channel = _open(target)
        # gRPC hangs at exit on an open channel that was being watched a moment ago.
        self._close = weakref.finalize(self, self._channel.close)
        self._callables: dict[str, Any] = {}
        self._has_connected = False
        self._is_closed = False

    def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        """Call, and return the answer."""
        channel = self._connected(timeout)
        call = self._callables.get(spec.name)
        if call is None:
            call = self._callables[spec.name] = channel.unary_unary(spec.path)
        seconds = spec.seconds_within(timeout, self._timeout)
        ends_at = time.monotonic() + seconds
        attempts, left = 0, seconds
        while True:
            try:
                data = call(
                    request.SerializeToString(), timeout=left, metadata=self._target.metadata
                )
            except grpc.RpcError as error:
                told = failure(
                    cast("Failed", error),
                    spec,
                    address=self._target.address,
                    timeout_seconds=seconds,
                    idempotency_key=idempotency_key,
                )
                attempts, left = attempts + 1, ends_at - time.monotonic()
                pause_seconds = seconds_until_retry(told, attempts=attempts, seconds_left=left)
                if pause_seconds is None:
                    raise told from error
                time.sleep(pause_seconds)
                left -= pause_seconds
            else:
                return decoded(
                    data, spec, address=self._target.address, idempotency_key=idempotency_key
                )

    def stream(self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None) -> Iterator[A]:
        """Call, and yield the messages of the answer."""
        seconds = spec.seconds_within(timeout, self._timeout)
        start: Any = self._connected(timeout).unary_stream(spec.path)
        call = start(request.SerializeToString(), timeout=seconds, metadata=self._target.metadata)
        try:
            for data in call:
                yield decoded(data, spec, address=self._target.address, idempotency_key="")
        except grpc.RpcError as error:
            raise failure(
                cast("Failed", error),
                spec,
                address=self._target.address,
                timeout_seconds=seconds,
                idempotency_key="",
            ) from error
        finally:
            call.cancel()

    def conversation(self, spec: CheckStreamSpec, *, timeout: float | None) -> GrpcConversation:
        """Return a stream of checks, to be opened."""
        return GrpcConversation(
            spec,
            self._target,
            connected=lambda: self._connected(None),
            seconds=spec.seconds_within(timeout, self._timeout),
        )

    def wait_ready(self, timeout: float) -> None:
        """Return once the server is connected to."""
        require_seconds(timeout, "timeout")
        ready = grpc.channel_ready_future(self._opened())
        try:
            ready.result(timeout=timeout)
        except grpc.FutureTimeoutError:
            ready.cancel()
            raise UnavailableError(
                f"no heed server at {self._target.address} within {timeout:g} s; "
                f"until there is one the safe answer is {SAFE_ANSWER}",
                reason=ErrorReason.SERVER_UNREACHABLE,
            ) from None

    def close(self) -> None:
        """Close; calls under way fail."""
        self._is_closed = True
        self._close()

    def _connected(self, timeout: float | None) -> grpc.Channel:
        """The channel; before the first call, once its first connection is made or has failed."""
        channel = self._opened()
        if self._has_connected or timeout is not None or self._timeout is not None:
            return channel
        settled = threading.Event()

        def note(state: grpc.ChannelConnectivity) -> None:
            if state not in CONNECTING:
                settled.set()

        channel.subscribe(note, try_to_connect=True)
        settled.wait(CONNECT_SECONDS_MAX)
        channel.unsubscribe(note)
        self._has_connected = True
        return channel

    def _opened(self) -> grpc.Channel:
        if self._is_closed:
            raise RuntimeError("this client is closed; make another one")
        return self._channel


def pause(seconds: float) -> None:
    """Let a moment pass."""
    time.sleep(seconds)


def aside(act: Callable[[], object]) -> None:
    """Do what takes a while."""
    act()


def channel_credentials(target: Target) -> grpc.ChannelCredentials | None:
    """Return what a channel shows and trusts; None: plaintext."""
    if target.tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=pem(target.tls.root_certificates),
        private_key=pem(target.tls.private_key),
        certificate_chain=pem(target.tls.certificate_chain),
    )


def _open(target: Target) -> grpc.Channel:
    options = channel_options(target)
    credentials = channel_credentials(target)
    if credentials is None:
        return grpc.insecure_channel(target.name, options)
    return grpc.secure_channel(target.name, credentials, options)
