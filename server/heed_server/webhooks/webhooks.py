"""The webhooks of a node: every target of every tenant, while it has the lease.

Laws:
- Of the nodes that share a database the one with the lease delivers. That what is kept is right
  holds without it (`deliverer`).
- Targets come and go with their file: one that changed is delivered to as it is now, one that is
  gone no more, and the others go on as if nothing had happened.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from heed.errors import HeedError
from heed.model import TenantId
from heed.task_group import TaskGroup
from heed_server.follow import Follower
from heed_server.leasing import Lease, LeaseLostError
from heed_server.store import LeaseStore
from heed_server.webhook_store import Place
from heed_server.webhooks.deliverer import Deliverer
from heed_server.webhooks.sendings import Means
from heed_server.webhooks.tail import Tail
from heed_server.webhooks.targets import Target
from heed_server.webhooks.targets_file import LOOK_SECONDS, TargetsFile

LEASE: Final = "webhooks"
"""The name of the lease, one for all tenants."""

TURN_SECONDS: Final = 0.5
"""How soon a new tenant, another target, or what was asked of another node is seen. Higher: later.
Lower: more small reads of the database."""

_RETRY_SECONDS = 0.1

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class Webhooks:
    """Delivers from this node, or stands by. Use: `run()` in a task group."""

    def __init__(
        self,
        leases: LeaseStore,
        means: Means,
        targets: TargetsFile,
        *,
        holder: str,
        followers: Callable[[], Iterable[Follower]],
        boot_seconds: Callable[[], float],
    ) -> None:
        """`holder` names this node among those that share the database."""
        self.is_delivering = False
        """Whether this node has the lease."""
        self.targets = targets
        self._lease = Lease(
            leases,
            LEASE,
            holder=holder,
            seconds=means.limits.lease_seconds,
            boot_seconds=boot_seconds,
        )
        self._means = means
        self._followers = followers
        self._tails: dict[TenantId, Tail] = {}
        self._delivering: dict[Place, tuple[Deliverer, asyncio.Task[None]]] = {}
        self._asked: Mapping[Place, int] = {}

    @property
    def deliverers(self) -> tuple[Deliverer, ...]:
        """Those of the targets that this node delivers to."""
        return tuple(deliverer for deliverer, _ in tuple(self._delivering.values()))

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._look_at_targets())
            group.create_task(self._serve())

    async def _look_at_targets(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.targets.refresh()

    async def _serve(self) -> None:
        """Deliver whenever the lease is to be had."""
        while True:
            if await self._lease.take():
                await self._deliver()
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await asyncio.sleep(self._lease.renewal_seconds)

    async def _deliver(self) -> None:
        """Deliver to every target until the lease is lost."""
        self.is_delivering = True
        _log.info("webhooks_delivering", holder=self._lease.holder)
        try:
            async with TaskGroup() as group:
                group.create_task(self._lease.keep())
                group.create_task(self._deliver_to_all(group))
        except* LeaseLostError as failed:
            _log.warning("webhooks_standing_by", why=str(failed.exceptions[0]))
        finally:
            self.is_delivering = False
            self._delivering = {}
            await self._lease.release()

    async def _deliver_to_all(self, group: TaskGroup) -> None:
        while True:
            await self._keep_in_step(group)
            await self._tell_of_asked()
            await asyncio.sleep(TURN_SECONDS)

    async def _keep_in_step(self, group: TaskGroup) -> None:
        """Begin with the targets that are new, and end with those that are gone, or are others."""
        wanted = self._wanted()
        for place, (deliverer, task) in tuple(self._delivering.items()):
            found = wanted.get(place)
            if found is None or found[0] != deliverer.target:
                task.cancel()
                await asyncio.wait([task])  # the next one begins with what this one keeps
                del self._delivering[place]
        for place, (target, tail) in wanted.items():
            if place not in self._delivering:
                deliverer = Deliverer(target, tail, self._means)
                task = group.create_task(deliverer.run(), name=f"heed-webhook-{target.name}")
                self._delivering[place] = (deliverer, task)

    def _wanted(self) -> dict[Place, tuple[Target, Tail]]:
        wanted: dict[Place, tuple[Target, Tail]] = {}
        for follower in self._followers():
            tenant = follower.tenant
            targets = self.targets.of_tenant(tenant.name)
            if targets and tenant.tenant_id not in self._tails:
                self._tails[tenant.tenant_id] = Tail(follower)
            for target in targets:
                place = Place(tenant.tenant_id, target.name)
                wanted[place] = (target, self._tails[tenant.tenant_id])
        return wanted

    async def _tell_of_asked(self) -> None:
        """Have those look of whom others have asked something."""
        try:
            asked = await self._means.store.asked_counts()
        except HeedError as error:
            _log.debug("webhooks_not_looked_at", why=error.message)
            return
        before, self._asked = self._asked, asked
        for place, count in asked.items():
            if place in self._delivering and before.get(place, 0) != count:
                self._delivering[place][0].look_at_asked()
