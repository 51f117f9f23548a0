"""Running imports against a heed in memory, whose calls a test can count, fail and lose."""

import asyncio
import io
from collections.abc import Callable

from heed.connection.calls import AsyncUnaryCalls
from heed.connection.spec import A, MethodSpec, Q
from heed.importing import ImportPlan, ImportSummary, RejectedEntry, prepare, send
from heed.testing import FakeClient, FakeService
from heed_proto.v1 import admin_service_pb2 as admin
from tests.support.imported import options

_TURNS = 20
"""How often other tasks get their turn while a call is under way."""

Hook = Callable[[admin.ImportRecordsRequest, bool], None]
"""Called before (False) and after (True) the service answers; what it raises, the call raises."""


class HookedCalls:
    """Calls to a service in memory. Each lets other tasks run before it answers, as a network."""

    def __init__(self, service: FakeService, hook: Hook | None = None) -> None:
        self._calls: AsyncUnaryCalls = FakeClient(service)._calls  # pyright: ignore[reportPrivateUsage]
        self._hook = hook
        self.requests: list[admin.ImportRecordsRequest] = []
        self.in_flight = 0
        self.in_flight_max = 0

    async def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        assert isinstance(request, admin.ImportRecordsRequest)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if self._hook is not None:
                self._hook(request, False)
            self.requests.append(request)
            answer = await self._calls.unary(
                spec, request, timeout=timeout, idempotency_key=idempotency_key
            )
            if self._hook is not None:
                self._hook(request, True)
            return answer
        finally:
            self.in_flight -= 1

    async def wait_ready(self, timeout: float) -> None:
        await self._calls.wait_ready(timeout)


async def run_import(
    data: bytes,
    calls: AsyncUnaryCalls,
    plan: ImportPlan | None = None,
    *,
    on_rejected: Callable[[RejectedEntry], None] = lambda _: None,
) -> ImportSummary:
    prepared = prepare(io.BytesIO(data), plan or ImportPlan(options=options()))
    return await send(prepared, calls, on_rejected=on_rejected, on_progress=lambda _: None)
