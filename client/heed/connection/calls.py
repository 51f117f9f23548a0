"""What a client needs of a connection, waiting for it or awaiting it."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from heed.connection.methods import A, MethodSpec, Q


class AsyncCalls(Protocol):
    """Calls that are awaited."""

    async def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        """Call, and return the answer. `timeout` in seconds; None: the method's own.

        Raises:
            HeedError: what the server refused, or that it did not answer.
        """
        ...

    def stream(
        self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None
    ) -> AsyncIterator[A]:
        """Call, and return the messages of the answer as they come. Raises as `unary`."""
        ...

    async def wait_ready(self, timeout: float) -> None:
        """Return once the server is connected to.

        Raises:
            UnavailableError: SERVER_UNREACHABLE, it was not within `timeout` seconds.
        """
        ...

    async def close(self) -> None:
        """Close; calls under way fail."""
        ...


class BlockingCalls(Protocol):
    """The same, waited for."""

    def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        """Call, and return the answer. `timeout` in seconds; None: the method's own.

        Raises:
            HeedError: what the server refused, or that it did not answer.
        """
        ...

    def stream(self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None) -> Iterator[A]:
        """Call, and return the messages of the answer as they come. Raises as `unary`."""
        ...

    def wait_ready(self, timeout: float) -> None:
        """Return once the server is connected to.

        Raises:
            UnavailableError: SERVER_UNREACHABLE, it was not within `timeout` seconds.
        """
        ...

    def close(self) -> None:
        """Close; calls under way fail."""
        ...
