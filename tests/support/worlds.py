"""Worlds: what stands for some people, in a log that a real server serves and others follow.

A case says times as small numbers; `World` puts them hours apart around the present, so that every
process may go by its own clock.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from heed.hours import DAY_MINUTES, Hours, QuietPeriod
from heed.keys import Keyer, LookupKey
from heed.model import (
    Change,
    Effect,
    Head,
    Hold,
    Instant,
    Query,
    Record,
    Revision,
    SubjectKey,
    SubjectType,
    TenantId,
    Topic,
)
from heed.requests import Query as Asked
from heed_server.background import Background
from heed_server.follow import FollowLimits
from heed_server.primary.followers import Followers
from heed_server.rpc import CheckStreams, build_server, health_of
from heed_server.service import Service, Tenants
from heed_server.storage import SystemClock
from heed_server.store import EarlierEpoch, LogReader, Snapshot, Tenant
from heed_server.watch import Watches
from tests.support.memory_log import MemoryLog, MemorySnapshot
from tests.support.naive_decision import is_quiet
from tests.support.stores import LOOKUP_KEY
from tests.support.streams import unread_registry

HOUR: int = 3_600_000_000
MINUTE: int = 60_000_000
LONG_AGO: int = 1_000
BATCH = 500


class World:
    """One tenant's facts, as they stand at the moment that a case calls `now`."""

    def __init__(
        self, name: str, topics: Sequence[Topic], holds: Sequence[Hold], *, now: int
    ) -> None:
        self.name = name
        self.topics = tuple(topics)
        self._now = now
        self._present = time.time_ns() // 1_000
        self.holds = tuple(
            replace(hold, end_time=self._at(hold.end_time, now), reason="a case") for hold in holds
        )
        self.people: dict[str, tuple[Record, ...]] = {}

    def add(self, email: str, records: Sequence[Record], *, now: int) -> None:
        """Let these stand for somebody, whose case calls the present `now`."""
        self.people[email] = tuple(
            replace(
                record,
                decided_time=cast("Instant", self._at(record.decided_time, now)),
                end_time=self._at(record.end_time, now),
                quiet_hours=self._hours(record.quiet_hours, now),
                no_ask_until=self._at(record.no_ask_until, now),
            )
            for record in records
        )

    def _hours(self, hours: Hours | None, now: int) -> Hours | None:
        """Hours that have quiet at the present if these have it at the case's; None stays None."""
        if hours is None:
            return None
        minute = self._present // MINUTE % DAY_MINUTES
        begins = minute + (-60 if is_quiet(hours, now) else 60)
        period = QuietPeriod(
            start_minute=begins % DAY_MINUTES, end_minute=(begins + 180) % DAY_MINUTES
        )
        return Hours(time_zone="UTC", periods=(period,))

    def _at(self, case_time: Instant | None, now: int) -> Instant | None:
        if case_time is None:
            return None
        # Of a case at a time of the calendar, small numbers are long ago.
        return Instant(self._present + max(case_time - now, -LONG_AGO) * HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question about people of a world."""

    emails: tuple[str, ...]
    query: Query

    def asked(self) -> Asked:
        """As a caller asks it: one address alone is no list."""
        query = self.query
        email = self.emails[0] if len(self.emails) == 1 else list(self.emails)
        return Asked(channel=query.channel, topic=query.topic, campaign=query.campaign, email=email)


class WorldLog(LogReader):
    """Logs in which nothing happens any more."""

    def __init__(self, worlds: Sequence[World]) -> None:
        self.tenants = [
            Tenant(
                tenant_id=TenantId(at),
                name=world.name,
                create_time=Instant(0),
                lookup_keys=(LookupKey(1, LOOKUP_KEY),),
            )
            for at, world in enumerate(worlds, 1)
        ]
        # One change that did nothing, so that there is a revision to stand at.
        self._log = MemoryLog()
        self._log.opt_out("nobody", effect=Effect.SUPERSEDED)
        self._worlds: Mapping[TenantId, World] = {
            tenant.tenant_id: world for tenant, world in zip(self.tenants, worlds, strict=True)
        }

    async def head(self, tenant_id: TenantId) -> Head:
        assert tenant_id in self._worlds
        return self._log.current_head

    async def read_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[Change]:
        assert tenant_id in self._worlds
        return self._log.changes[after : after + limit]

    async def earlier_epochs(self, tenant_id: TenantId, limit: int) -> Sequence[EarlierEpoch]:
        assert tenant_id in self._worlds
        return ()

    async def lookup_keys(self, tenant_id: TenantId) -> tuple[LookupKey, ...]:
        assert tenant_id in self._worlds
        return (LookupKey(1, LOOKUP_KEY),)

    def snapshot(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Snapshot]:
        return self._snapshot(self._worlds[tenant_id])

    @asynccontextmanager
    async def _snapshot(self, world: World) -> AsyncGenerator[Snapshot]:
        keyer = Keyer(LOOKUP_KEY)
        standing: dict[SubjectKey, tuple[Record, ...]] = {
            keyer.key_of(SubjectType.EMAIL, email): records
            for email, records in world.people.items()
        }
        yield MemorySnapshot(
            head=self._log.current_head,
            topics=world.topics,
            holds=world.holds,
            pairs=[(key, record) for key in sorted(standing) for record in standing[key]],
            batch=BATCH,
        )


class UnaskedRegistry:
    """Propagation is not asked about; that this node has applied what it has is no question."""

    def applied_here(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@asynccontextmanager
async def served(worlds: Sequence[World], folder: Path) -> AsyncGenerator[str]:
    """Serve each world as a tenant of its name, by a server's own code; the address."""
    clock = SystemClock()
    log = WorldLog(worlds)
    folder.mkdir()
    async with (
        Followers(
            log, folder / "index", boot_seconds=clock.boot, limits=FollowLimits()
        ) as followers,
        Background() as background,
        Watches(log, folder, unread_registry(), cast("Any", None)) as watches,
    ):
        tenants = Tenants(lambda one: followers.follow(one, background))
        await tenants.learn(log.tenants)
        service = Service(
            store=cast("Any", log),
            registry=cast("Any", UnaskedRegistry()),
            prover=cast("Any", None),
            tenants=tenants,
            watches=watches,
            now=clock.now,
            new_hold_id=str,
            new_approval_id=str,
            new_lookup_key=bytes,
        )
        server = build_server(
            service, None, health=health_of(service), check_streams=CheckStreams()
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)
