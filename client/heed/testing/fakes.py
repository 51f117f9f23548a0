"""Clients that need no server: the library's own, over a heed in memory."""

import uuid
from collections.abc import AsyncIterator, Iterator

from heed.answers import CheckAnswer
from heed.client import Client
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import advised, unreachable
from heed.connection.spec import A, MethodSpec, Q
from heed.errors import HeedError
from heed.requests import require_seconds
from heed.sync_client import SyncClient
from heed.testing.clock import FakeClock
from heed.testing.service import FakeService
from heed.wire import read
from heed_proto.v1 import preference_service_pb2 as preference


class FakeSyncClient(SyncClient):
    """`heed.SyncClient` without a server. Give several the same `service`, and they share it."""

    def __init__(self, service: FakeService | None = None, *, tenant: str = "") -> None:
        """`service` is a new one if none is given."""
        self.service = service or FakeService()
        super(SyncClient, self).__init__(
            _BlockingCalls(self.service), tenant=tenant, new_key=lambda: str(uuid.uuid4())
        )

    @property
    def clock(self) -> FakeClock:
        """The time by which it answers."""
        return self.service.clock


class FakeClient(Client):
    """`heed.Client` without a server. Give several the same `service`, and they share it."""

    def __init__(self, service: FakeService | None = None, *, tenant: str = "") -> None:
        """`service` is a new one if none is given."""
        self.service = service or FakeService()
        super(Client, self).__init__(
            _AsyncCalls(self.service), tenant=tenant, new_key=lambda: str(uuid.uuid4())
        )

    @property
    def clock(self) -> FakeClock:
        """The time by which it answers."""
        return self.service.clock


class _BlockingCalls:
    def __init__(self, service: FakeService) -> None:
        self._service = service

    def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        spec.seconds_within(timeout)  # nothing takes time, but it must be one
        if not self._service.is_reachable:
            raise unreachable(spec, "the fake", "it was told to be", idempotency_key)
        answer = self._service.answer(spec.name, request.SerializeToString())
        return spec.answer.FromString(answer)

    def stream(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
    ) -> Iterator[A]:
        spec.seconds_within(timeout)
        if not self._service.is_reachable:
            raise unreachable(spec, "the fake", "it was told to be", "")
        for message in self._service.export(request.SerializeToString()):
            yield spec.answer.FromString(message)

    def conversation(
        self, spec: CheckStreamSpec, *, timeout: float | None
    ) -> "_BlockingConversation":
        spec.seconds_within(timeout)
        return _BlockingConversation(self, spec)

    def wait_ready(self, timeout: float) -> None:
        """It is ready."""
        require_seconds(timeout, "timeout")

    def close(self) -> None:
        """It holds nothing."""


class _AsyncCalls:
    def __init__(self, service: FakeService) -> None:
        self._calls = _BlockingCalls(service)

    async def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        return self._calls.unary(spec, request, timeout=timeout, idempotency_key=idempotency_key)

    async def stream(
        self, spec: MethodSpec[Q, A], request: Q, *, timeout: float | None
    ) -> AsyncIterator[A]:
        for message in self._calls.stream(spec, request, timeout=timeout):
            yield message

    def conversation(self, spec: CheckStreamSpec, *, timeout: float | None) -> "_AsyncConversation":
        return _AsyncConversation(self._calls.conversation(spec, timeout=timeout))

    async def wait_ready(self, timeout: float) -> None:
        """It is ready."""
        require_seconds(timeout, "timeout")

    async def close(self) -> None:
        """It holds nothing."""


class _BlockingConversation:
    def __init__(self, calls: _BlockingCalls, spec: CheckStreamSpec) -> None:
        self._calls = calls
        self._spec = spec
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        if not self._is_open:
            raise RuntimeError("this stream is not open: use it in `with`")
        asked = preference.StreamCheckSuppressionRequest(
            tenant=request.tenant, queries=[request.query], token=request.token
        )
        answer = self._calls.unary(self._spec, asked, timeout=timeout)
        (told,) = read.check_stream(answer, asked=1)
        if isinstance(told, HeedError):
            raise advised(told, self._spec, "")
        return told

    def close(self) -> None:
        self._is_open = False


class _AsyncConversation:
    def __init__(self, conversation: _BlockingConversation) -> None:
        self._conversation = conversation

    async def open(self) -> None:
        self._conversation.open()

    async def ask(
        self, request: preference.CheckSuppressionRequest, *, timeout: float | None
    ) -> CheckAnswer:
        return self._conversation.ask(request, timeout=timeout)

    async def close(self) -> None:
        self._conversation.close()
