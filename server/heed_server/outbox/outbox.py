"""The outbox of a node: connected to NATS, and publishing while it has the lease.

Laws:
- Of the nodes that share a database the one with the lease publishes, so that they do not do the
  same work. That two never publish the same change holds without it (`jetstream`).
- Only a node that is connected to NATS takes the lease, and one that loses NATS gives it back: a
  node that cannot publish keeps no other from it.
- The outbox outlives whatever NATS and the database do, and holds up no write.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

import structlog

from heed.model import TenantId
from heed.task_group import TaskGroup
from heed_server.backoff import doubled_seconds
from heed_server.follow import Follower
from heed_server.leasing import Lease, LeaseLostError
from heed_server.outbox.errors import NatsAwayError, OvertakenError
from heed_server.outbox.jetstream import JetStream
from heed_server.outbox.limits import OutboxLimits
from heed_server.outbox.publisher import Publisher
from heed_server.store import LeaseStore

LEASE = "outbox"
"""The name of the lease, one for all tenants."""

_RETRY_SECONDS_MIN = 0.1
_LEARN_SECONDS = 0.5
"""How soon a new tenant's changes are published too."""

_log = structlog.stdlib.get_logger("heed_server.outbox")


class Outbox:
    """Publishes every tenant's log from this node, or stands by. Use: `run()` in a task group."""

    def __init__(
        self,
        leases: LeaseStore,
        *,
        holder: str,
        followers: Callable[[], Iterable[Follower]],
        publisher: Callable[[Follower], Publisher],
        connect: Callable[[], AbstractAsyncContextManager[JetStream]],
        boot_seconds: Callable[[], float],
        limits: OutboxLimits,
    ) -> None:
        """`holder` names this node among those that share the database."""
        self.is_connected = False
        """Whether NATS is there."""
        self.is_publishing = False
        """Whether this node has the lease."""
        self.overtaken = 0
        """How often NATS refused what somebody else had published meanwhile."""
        self.publishers: dict[TenantId, Publisher] = {}
        """Those of the tenants that this node has published."""
        self._lease = Lease(
            leases,
            LEASE,
            holder=holder,
            seconds=limits.lease_seconds,
            boot_seconds=boot_seconds,
        )
        self._followers = followers
        self._new_publisher = publisher
        self._connect = connect
        self._limits = limits

    async def run(self) -> None:
        """Publish until cancelled."""
        failures = 0
        while True:
            try:
                async with self._connect() as jetstream:
                    self.is_connected = True
                    if failures:
                        _log.info("outbox_connected_again", failures=failures)
                    failures = 0
                    await self._serve(jetstream)
            except NatsAwayError as error:
                failures += 1
                if failures == 1:
                    _log.warning("outbox_away", why=error.message)
            finally:
                self.is_connected = False
            await asyncio.sleep(
                doubled_seconds(_RETRY_SECONDS_MIN, failures, self._limits.retry_seconds_max)
            )

    async def _serve(self, jetstream: JetStream) -> None:
        """Publish whenever the lease is to be had, until NATS is lost."""
        while True:
            if await self._lease.take():
                await self._publish(jetstream)
                await jetstream.pause(_RETRY_SECONDS_MIN)
            else:
                await jetstream.pause(self._lease.renewal_seconds)

    async def _publish(self, jetstream: JetStream) -> None:
        """Publish every tenant until the lease is lost, or somebody else was quicker.

        Raises:
            NatsAwayError: NATS was lost.
        """
        self.is_publishing = True
        _log.info("outbox_publishing", holder=self._lease.holder)
        lost: Exception | None = None
        try:
            async with TaskGroup() as group:
                group.create_task(jetstream.until_lost())
                group.create_task(self._lease.keep())
                group.create_task(self._publish_all(jetstream, group))
        except* OvertakenError as failed:
            self.overtaken += 1
            _log.warning("outbox_overtaken", why=str(failed.exceptions[0]))
        except* LeaseLostError as failed:
            _log.warning("outbox_standing_by", why=str(failed.exceptions[0]))
        except* NatsAwayError as failed:
            # Raised below: Python before 3.11.4 would put it in a group.
            lost = failed.exceptions[0]
        finally:
            self.is_publishing = False
            await self._lease.release()
        if lost is not None:
            raise lost

    async def _publish_all(self, jetstream: JetStream, group: TaskGroup) -> None:
        """Start a publisher for each tenant, those too that are made later."""
        started = set[TenantId]()
        while True:
            for follower in self._followers():
                tenant_id = follower.tenant.tenant_id
                if tenant_id not in self.publishers:
                    self.publishers[tenant_id] = self._new_publisher(follower)
                if tenant_id not in started:
                    started.add(tenant_id)
                    group.create_task(self.publishers[tenant_id].run(jetstream))
            await asyncio.sleep(_LEARN_SECONDS)
