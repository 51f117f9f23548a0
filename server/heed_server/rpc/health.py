"""What grpc.health.v1 says: whether this node lives, checks, and writes.

- "" (the process): SERVING from the start until it drains.
- heed.v1.Check, PreferenceService and WatchService: SERVING while every tenant's index is usable
  and younger than promotional messages permit. So losing the database takes Checks down only past
  that age.
- heed.v1.Write, and the other services: SERVING while the database answers.
"""

import asyncio
from collections.abc import Awaitable, Callable

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from heed.errors import HeedError
from heed.model import TopicClass
from heed_server.service import Service

CanCheck = Callable[[], bool]
"""Whether Checks are answered by knowledge that is young enough for every message."""
CanWrite = Callable[[], Awaitable[bool]]
"""Whether a write that came now would be taken; it answers within `PING_SECONDS_MAX`."""

CHECK = "heed.v1.Check"
WRITE = "heed.v1.Write"
OF_CHECKS = (CHECK, "heed.v1.PreferenceService", "heed.v1.WatchService")
OF_WRITES = (WRITE, "heed.v1.AdminService", "heed.v1.AuditService")

REFRESH_SECONDS = 1.0
"""How often it is judged. Higher: what is wrong is told later. Lower: more small queries."""
PING_SECONDS_MAX = 1.0
"""How long the database may take to count as there."""


class Health:
    """The health of one node. `run` it in a task; `drain` it first when the node stops."""

    def __init__(self, *, can_check: CanCheck, can_write: CanWrite) -> None:
        self.servicer = health_aio.HealthServicer()
        self.watches_ended = asyncio.Event()
        """Set once watches of health shall end; by themselves they never do."""
        self._can_check = can_check
        self._can_write = can_write

    async def refresh(self) -> None:
        """Judge every capability now."""
        await self._tell(OF_CHECKS, serves=self._can_check())
        await self._tell(OF_WRITES, serves=await self._can_write())

    async def run(self) -> None:
        """Keep the answers true until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    async def drain(self) -> None:
        """Say NOT_SERVING of everything, from now on and for ever."""
        await self.servicer.enter_graceful_shutdown()

    def end_watches(self) -> None:
        """End every watch of health, so that none holds up the server's stop."""
        self.watches_ended.set()

    async def _tell(self, names: tuple[str, ...], *, serves: bool) -> None:
        status = _SERVING if serves else _NOT_SERVING
        for name in names:
            await self.servicer.set(name, status)


def health_of(service: Service) -> Health:
    """Return the health of a node that has the database itself."""

    def can_check() -> bool:
        age_max = service.max_staleness_seconds[TopicClass.PROMOTIONAL]
        return all(
            context.follower.is_usable and context.follower.source_age_seconds() <= age_max
            for context in service.tenants.all()
        )

    async def can_write() -> bool:
        try:
            async with asyncio.timeout(PING_SECONDS_MAX):
                await service.store.ping()
        except (HeedError, TimeoutError):
            return False
        return True

    return Health(can_check=can_check, can_write=can_write)


_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
