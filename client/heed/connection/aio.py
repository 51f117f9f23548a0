"""Calls over `grpc.aio`.

Laws:
- A channel belongs to the event loop that it was opened on, which is the one of the first call;
  so a client can be made before there is a loop.
- The default deadline of a call does not count the making of the first connection.
- Cancelling a call cancels it on the wire. A write that was cancelled may have happened.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, cast

import grpc
import grpc.aio

from heed.connection.aio_conversation import AioConversation
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import Failed, decoded, failure
from heed.connection.options import CONNECT_SECONDS_MAX, CONNECTING, channel_options
from heed.connection.patience import seconds_until_retry
from heed.connection.spec import A, MethodSpec, Q
from heed.connection.target import Target, pem
from heed.errors import SAFE_ANSWER, ErrorReason, UnavailableError
from heed.requests import require_seconds


class AioCalls:
    """One channel, opened at the first call. Its state is written only on its loop."""

    def __init__(self, target: Target, *, timeout: float | None) -> None:
        """`timeout`, in seconds, replaces the methods' own; None: they stand."""
        require_seconds(timeout, "timeout")
        self._target = target
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._callables: dict[str, Any] = {}
        self._has_connected = False
        self._is_closed = False

    async def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        """Call, and return the answer."""
        channel = await self._connected(timeout)
        call = self._callables.get(spec.name)
        if call is None:
            call = self._callables[spec.name] = channel.unary_unary(spec.path)
        seconds = spec.seconds_within(timeout, self._timeout)
        ends_at = asyncio.get_running_loop().time() + seconds
        attempts, left = 0, seconds
        while True:
            try:
                data = await call(
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
                attempts, left = attempts + 1, ends_at - asyncio.get_running_loop().time()
                pause_seconds = seconds_until_retry(told, attempts=attempts, seconds_left=left)
                if pause_seconds is None:
                    raise told from error
                await asyncio.sleep(pause_seconds)
                left -= pause_seconds
            else:
                return decoded(
                    data, spec, address=self._target.address, idempotency_key=idempotency_key
                )

    async def stream(
        self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None
    ) -> AsyncIterator[A]:
        """Call, and yield the messages of the answer."""
        seconds = spec.seconds_within(timeout, self._timeout)
        channel = await self._connected(timeout)
        start: Any = channel.unary_stream(spec.path)
        call = start(request.SerializeToString(), timeout=seconds, metadata=self._target.metadata)
        try:
            async for data in call:
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

    def conversation(self, spec: CheckStreamSpec, *, timeout: float | None) -> AioConversation:
        """Return a stream of checks, to be opened."""
        return AioConversation(
            spec,
            self._target,
            connected=lambda: self._connected(None),
            seconds=spec.seconds_within(timeout, self._timeout),
        )

    async def wait_ready(self, timeout: float) -> None:
        """Return once the server is connected to."""
        require_seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout):
                await self._opened().channel_ready()
        except TimeoutError:
            raise UnavailableError(
                f"no heed server at {self._target.address} within {timeout:g} s; "
                f"until there is one the safe answer is {SAFE_ANSWER}",
                reason=ErrorReason.SERVER_UNREACHABLE,
            ) from None

    async def close(self) -> None:
        """Close; calls under way fail."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def _connected(self, timeout: float | None) -> grpc.aio.Channel:
        """The channel; before the first call, once its first connection is made or has failed."""
        channel = self._opened()
        if self._has_connected or timeout is not None or self._timeout is not None:
            return channel
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                while (state := channel.get_state(try_to_connect=True)) in CONNECTING:
                    await channel.wait_for_state_change(state)
        self._has_connected = True
        return channel

    def _opened(self) -> grpc.aio.Channel:
        """The channel."""
        if self._is_closed:
            raise RuntimeError("this client is closed; make another one")
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop = loop
            self._channel = _open(self._target)
        elif self._loop is not loop:
            raise RuntimeError("this client was first used on another event loop; make one a loop")
        return self._channel


async def pause(seconds: float) -> None:
    """Let a moment pass."""
    await asyncio.sleep(seconds)


async def aside(act: Callable[[], object]) -> None:
    """Do what takes a while without holding up the loop."""
    await asyncio.to_thread(act)


def _open(target: Target) -> grpc.aio.Channel:
    options = channel_options(target)
    if target.tls is None:
        return grpc.aio.insecure_channel(target.name, options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=pem(target.tls.root_certificates),
        private_key=pem(target.tls.private_key),
        certificate_chain=pem(target.tls.certificate_chain),
    )
    return grpc.aio.secure_channel(target.name, credentials, options)
