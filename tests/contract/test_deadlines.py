"""Before its deadline, whoever has not applied an opt-out is named: once, and by whichever node."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from heed.model import Instant, Method, Origin, Revision, Scope, TenantId
from heed_server.deadline_marks import AppliedByAll, DeadlineMark
from heed_server.deadlines import DeadlineRules, DeadlineWatch, DeadlineWatchLimits
from heed_server.deadlines import watch as watch_module
from heed_server.propagation import Registry
from heed_server.storage import SqlStore
from heed_server.store import Subscriber, Tenant
from tests.support.stores import (
    EMAIL_NEWS,
    NOW,
    SECOND,
    Database,
    FakeClock,
    Shop,
    chooses,
    new_shop,
    opt_in,
    opt_out,
)

HOUR = 3_600 * SECOND
DAY = 24 * HOUR
US = Origin(source="page", method=Method.WEB_FORM, jurisdiction="US")
FRANCE = Origin(source="page", method=Method.WEB_FORM, jurisdiction="FR")


@dataclass
class Log:
    """A tenant's log as a node follows it."""

    tenant: Tenant
    head_revision: Revision = Revision(0)  # noqa: RUF009 - a number


@dataclass
class Watched:
    """A watch over a store, a subscriber `mailer` that stands where it is put, and a time to set."""

    store: SqlStore
    shop: Shop
    log: Log
    registry: Registry
    watch: DeadlineWatch
    now: Instant = NOW
    committed: Instant = NOW
    logs: list[Any] = field(default_factory=list)

    async def opts_out(self, name: str, by: Origin = US, scope: Scope = EMAIL_NEWS) -> Revision:
        """An opt-out that the node's index has, and the mailer has not; the clock stands there."""
        asked = await self.shop.ask(chooses(name, choices=(opt_out(scope),), by=by))
        self.follow(asked.appended.revision)
        self.committed = (await self.store.head(self.shop.tenant_id)).commit_time
        self.now = self.committed
        return self.log.head_revision

    def follow(self, revision: Revision) -> None:
        self.log.head_revision = revision

    async def looks(self, after: int) -> list[str]:
        """What a look so long after the last opt-out tells: event, subscriber, revision."""
        self.now = Instant(self.committed + after)
        with capture_logs() as logs:
            await self.watch.look()
        self.logs = [dict(one) for one in logs]
        return [
            " ".join(str(one[name]) for name in ("event", "subscriber", "revision") if name in one)
            for one in logs
        ]


@pytest.fixture
async def watched(store: SqlStore, shop: Shop) -> Watched:
    return await over(store, shop)


async def over(store: SqlStore, shop: Shop, rules: DeadlineRules | None = None) -> Watched:
    tenant = next(one for one in await store.tenants() if one.tenant_id == shop.tenant_id)
    log = Log(tenant)
    registry = Registry(
        store,
        node="node-1",
        run="run-1",
        standing=lambda: [(shop.tenant_id, log.head_revision)],
        now=lambda: NOW,
        boot_seconds=lambda: 1.0,
        max_staleness_seconds=60,
    )
    registry.open(
        shop.tenant_id,
        "mailer",
        "stream-1",
        instance="mailer-run",
        max_staleness_seconds=5,
        applied=Revision(0),
    )
    made: Watched
    watch = DeadlineWatch(
        store,
        store,
        store,
        store.deadlines,
        registry,
        rules=rules or DeadlineRules(),
        holder="node-1",
        followers=lambda: [log],
        now=lambda: made.now,
        limits=DeadlineWatchLimits(),
    )
    made = Watched(store, shop, log, registry, watch)
    return made


async def test_who_has_not_applied_an_opt_out_is_named_before_its_deadline(
    watched: Watched,
) -> None:
    await watched.opts_out("ada")

    assert await watched.looks(23 * HOUR) == []
    assert await watched.looks(24 * HOUR) == ["deadline_near mailer 1"]

    told = watched.logs[0]
    assert (told["policy"], told["status"], told["applied"]) == ("mailbox-providers", "pending", 0)
    assert "ada" not in str(told)
    assert (watched.watch.tenants[watched.shop.tenant_id].near, watched.watch.warned) == (1, 1)


async def test_an_opt_out_is_told_of_once_and_over_when_it_was_never_near(
    watched: Watched,
) -> None:
    await watched.opts_out("ada")
    assert await watched.looks(24 * HOUR) == ["deadline_near mailer 1"]

    assert await watched.looks(25 * HOUR) == []
    assert await watched.looks(50 * HOUR) == []
    assert watched.watch.tenants[watched.shop.tenant_id].over == 1
    await watched.opts_out("bob")
    assert await watched.looks(49 * HOUR) == ["deadline_over mailer 2"]


async def test_a_subscriber_that_applied_it_in_time_is_not_named(watched: Watched) -> None:
    """The control: nothing else is different."""
    revision = await watched.opts_out("ada")
    watched.registry.report("stream-1", revision)

    assert await watched.looks(24 * HOUR) == []
    assert await watched.looks(50 * HOUR) == []
    known = watched.watch.tenants[watched.shop.tenant_id]
    assert (known.near, known.over, known.earliest) == (0, 0, None)


async def test_another_watch_on_the_same_database_does_not_tell_again(
    watched: Watched, store: SqlStore, shop: Shop
) -> None:
    await watched.opts_out("ada")
    await watched.looks(24 * HOUR)
    again = await over(store, shop)
    again.follow(Revision(1))
    again.committed = watched.committed

    assert await again.looks(25 * HOUR) == []

    again.now = watched.committed
    await again.opts_out("bob")
    assert await again.looks(24 * HOUR) == ["deadline_near mailer 2"]


async def test_by_other_rules_what_is_near_by_them_is_told_again(
    watched: Watched, store: SqlStore, shop: Shop
) -> None:
    await watched.opts_out("ada")
    assert await watched.looks(20 * HOUR) == []
    again = await over(store, shop, DeadlineRules(margin_seconds=40 * 3_600))
    again.follow(Revision(1))
    again.committed = watched.committed

    assert await again.looks(21 * HOUR) == ["deadline_near mailer 1"]


async def test_what_has_no_time_at_all_is_told_after_the_grace(watched: Watched) -> None:
    """An objection under the GDPR is due at once; what is on its way is not warned of."""
    await watched.opts_out("ada", FRANCE)

    assert await watched.looks(59 * SECOND) == []
    assert await watched.looks(60 * SECOND) == ["deadline_over mailer 1"]
    assert watched.logs[0]["policy"] == "gdpr-objection"


async def test_only_opt_outs_have_deadlines(watched: Watched) -> None:
    await watched.opts_out("ada")
    again = Origin(
        source="page", method=Method.WEB_FORM, decided_time=watched.committed, jurisdiction="FR"
    )
    asked = await watched.shop.ask(chooses("ada", choices=(opt_in(),), by=again))
    watched.registry.report("stream-1", Revision(1))
    watched.follow(asked.appended.revision)

    assert await watched.looks(60 * DAY) == []


async def test_a_subscriber_that_comes_further_behind_is_told_of_all_that_is_near(
    watched: Watched,
) -> None:
    for name in ("ada", "bob"):
        await watched.opts_out(name)
    watched.registry.report("stream-1", Revision(1))
    assert await watched.looks(25 * HOUR) == ["deadline_near mailer 2"]
    watched.registry.open(
        watched.shop.tenant_id,
        "old",
        "stream-2",
        instance="old-run",
        max_staleness_seconds=5,
        applied=Revision(0),
    )

    assert await watched.looks(26 * HOUR) == ["deadline_near old 1", "deadline_near old 2"]
    assert await watched.looks(27 * HOUR) == []


async def test_a_declared_subscriber_that_never_came_is_named(watched: Watched) -> None:
    revision = await watched.opts_out("ada")
    watched.registry.report("stream-1", revision)
    await watched.store.put_subscribers([declaration(watched.shop.tenant_id)])
    watched.registry.outdate(watched.shop.tenant_id)

    assert await watched.looks(24 * HOUR) == ["deadline_near billing 1"]
    assert watched.logs[0]["status"] == "missing"


async def test_an_opt_out_longer_ago_than_is_watched_is_left_alone(watched: Watched) -> None:
    await watched.opts_out("ada")

    assert await watched.looks(91 * DAY) == []


async def test_of_very_many_the_first_are_told_and_the_others_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WARNINGS_A_LOOK_MAX", 2)
    for name in ("ada", "bob", "cy", "dan"):
        await watched.opts_out(name)

    assert await watched.looks(25 * HOUR) == [
        "deadline_near mailer 1",
        "deadline_near mailer 2",
        "deadlines_near_too mailer",
    ]
    assert watched.logs[-1]["count"] == 2
    assert watched.watch.warned == 4
    assert await watched.looks(26 * HOUR) == []


async def test_a_look_reads_so_much_and_the_next_goes_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "CHANGES_READ", 1)
    monkeypatch.setattr(watch_module, "CHANGES_A_LOOK_MAX", 2)
    for name in ("ada", "bob", "cy"):
        await watched.opts_out(name)

    assert await watched.looks(25 * HOUR) == ["deadline_near mailer 1", "deadline_near mailer 2"]
    assert watched.watch.tenants[watched.shop.tenant_id].unread == 1
    assert await watched.looks(25 * HOUR) == ["deadline_near mailer 3"]
    assert watched.watch.tenants[watched.shop.tenant_id].unread == 0


async def test_only_so_many_are_kept_and_the_others_come_after_them(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "CHANGES_READ", 1)
    monkeypatch.setattr(watch_module, "OPT_OUTS_KEPT_MAX", 2)
    for name in ("ada", "bob", "cy"):
        await watched.opts_out(name)
    await watched.looks(25 * HOUR)
    assert watched.watch.tenants[watched.shop.tenant_id].unread == 1

    watched.registry.report("stream-1", Revision(1))

    assert await watched.looks(25 * HOUR) == ["deadline_near mailer 3"]


async def test_a_node_without_the_lease_tells_nothing(watched: Watched, store: SqlStore) -> None:
    await watched.opts_out("ada")
    await store.take_lease("deadlines", "node-2", 600)

    assert await watched.looks(24 * HOUR) == []
    assert watched.watch.tenants == {}


async def test_it_is_kept_when_all_had_applied_what(watched: Watched) -> None:
    first = await watched.opts_out("ada")
    watched.registry.report("stream-1", first)
    await watched.looks(1 * SECOND)
    seen = watched.now
    second = await watched.opts_out("bob")
    await watched.looks(1 * SECOND)

    kept = await watched.store.deadlines.applied_by_all(watched.shop.tenant_id, first, second)

    assert kept == [AppliedByAll(first, seen)]


async def test_marks_are_replaced_as_a_whole(store: SqlStore, shop: Shop) -> None:
    other = await new_shop(store, "other")
    mark = DeadlineMark("mailer", NOW, Revision(7), "rules")
    await store.deadlines.put_marks(other.tenant_id, [mark])
    await store.deadlines.put_marks(shop.tenant_id, [mark, mark._replace(subscriber="agent")])
    assert len(await store.deadlines.marks(shop.tenant_id)) == 2

    await store.deadlines.put_marks(shop.tenant_id, [mark._replace(read_revision=Revision(9))])

    assert await store.deadlines.marks(shop.tenant_id) == [mark._replace(read_revision=Revision(9))]
    assert await store.deadlines.marks(other.tenant_id) == [mark]
    await store.deadlines.put_marks(other.tenant_id, [])
    assert await store.deadlines.marks(other.tenant_id) == []


async def test_what_all_had_applied_ascends_and_is_forgotten_but_for_the_last(
    store: SqlStore, shop: Shop
) -> None:
    def seen(revision: int) -> AppliedByAll:
        return AppliedByAll(Revision(revision), Instant(NOW + revision))

    for revision in (3, 5, 5, 4, 8):
        await store.deadlines.note_applied_by_all(shop.tenant_id, seen(revision), Instant(0))

    async def applied(first: int, last: int) -> list[AppliedByAll]:
        return list(
            await store.deadlines.applied_by_all(shop.tenant_id, Revision(first), Revision(last))
        )

    assert await applied(1, 8) == [seen(3), seen(5), seen(8)]
    assert await applied(4, 4) == [seen(5)]
    assert await applied(6, 20) == [seen(8)]
    assert await applied(9, 20) == []

    await store.deadlines.note_applied_by_all(shop.tenant_id, seen(9), Instant(NOW + 6))

    assert await applied(1, 9) == [seen(5), seen(8), seen(9)]


async def test_what_was_told_outlives_the_store(database: Database, clock: FakeClock) -> None:
    before = await database.open(clock=clock)
    watched = await over(before, await new_shop(before))
    await watched.opts_out("ada")
    assert await watched.looks(24 * HOUR) == ["deadline_near mailer 1"]
    await before.close()

    again = await over(await database.open(clock=clock), watched.shop)
    again.follow(Revision(1))
    again.committed = watched.committed

    assert await again.looks(25 * HOUR) == []


def declaration(tenant_id: TenantId) -> Subscriber:
    return Subscriber(
        tenant_id=tenant_id,
        name="billing",
        stream_id="",
        instance="",
        node="",
        open_time=Instant(0),
        close_time=None,
        probe_time=Instant(0),
        max_staleness=0,
        applied_revision=Revision(0),
        applied_time=Instant(0),
    )
