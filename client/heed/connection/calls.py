"""What a client needs of a connection, waiting for it or awaiting it."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, TypeAlias

from heed.answers import CheckAnswer
from heed.connection.spec import A, MethodSpec, Q
from heed_proto.v1 import preference_service_pb2 as preference

CheckStreamSpec: TypeAlias = MethodSpec[
    preference.StreamCheckSuppressionRequest, preference.StreamCheckSuppressionResponse
]


class AsyncConversation(Protocol):
    """A stream of checks. Many may ask at once; what waits is asked together."""

    async def open(self) -> None:
        """Be ready to be asked, once a server is connected to or was not in time."""
        ...

    async def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        """Ask about one message. `timeout` in seconds; None: that of the conversation.

        Raises:
            HeedError: what the server refused, or that it did not answer.
            RuntimeError: it is not open.
        """
        ...

    async def close(self) -> None:
        """End the stream; whoever waits for an answer has none."""
        ...


class BlockingConversation(Protocol):
    """The same, waited for, by several threads."""

    def open(self) -> None:
        """Be ready to be asked, once a server is connected to or was not in time."""
        ...

    def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        """Ask about one message. `timeout` in seconds; None: that of the conversation.

        Raises:
            HeedError: what the server refused, or that it did not answer.
            RuntimeError: it is not open.
        """
        ...

    def close(self) -> None:
        """End the stream; whoever waits for an answer has none."""
        ...


class AsyncUnaryCalls(Protocol):
    """Calls that are awaited, each with one answer."""

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

    async def wait_ready(self, timeout: float) -> None:
        """Return once the server is connected to.

        Raises:
            UnavailableError: SERVER_UNREACHABLE, it was not within `timeout` seconds.
        """
        ...


class AsyncCalls(AsyncUnaryCalls, Protocol):
    """All calls that are awaited."""

    def stream(
        self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None
    ) -> AsyncIterator[A]:
        """Call, and return the messages of the answer as they come. Raises as `unary`."""
        ...

    def conversation(self, spec: CheckStreamSpec, *, timeout: float | None) -> AsyncConversation:
        """Return a stream of checks, to be opened. `timeout`: of each check that names none."""
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

    def conversation(self, spec: CheckStreamSpec, *, timeout: float | None) -> BlockingConversation:
        """Return a stream of checks, to be opened. `timeout`: of each check that names none."""
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
