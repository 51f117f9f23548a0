"""Who has applied a revision: nobody who may still allow by older knowledge is left out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from heed.errors import ErrorReason, UnavailableError
from heed.model import Instant, Revision, TenantId
from heed.propagation import SubscriberStatus as Status
from heed_server.propagation import Progress, Registry, is_propagated, unheard
from heed_server.propagation.progress import Seen, progress_of
from heed_server.propagation.registry import LATE_SECONDS
from heed_server.store import Subscriber

SECOND = 1_000_000
NOW = Instant(1_800_000_000 * SECOND)
SHOP = TenantId(1)
SEVEN = Revision(7)


def stream(name: str = "mailer", stream_id: str = "s1", **changes: object) -> Subscriber:
    told = Subscriber(
        tenant_id=SHOP,
        name=name,
        stream_id=stream_id,
        instance=f"run-of-{stream_id}",
        node="node-1",
        open_time=NOW,
        close_time=None,
        probe_time=NOW,
        max_staleness=5 * SECOND,
        applied_revision=SEVEN,
        applied_time=NOW,
    )
    return replace(told, **changes)  # type: ignore[arg-type] # by name, as a test says them


def statuses(*seen: Seen, at: float = 0.0, revision: Revision = SEVEN) -> dict[str, Status]:
    return {one.name: one.status for one in progress_of(seen, revision, at)}


def test_a_stream_that_said_so_has_applied_it() -> None:
    assert statuses(Seen(stream(), 0.0)) == {"mailer": Status.APPLIED}


def test_a_stream_behind_the_revision_is_waited_for() -> None:
    behind = stream(applied_revision=Revision(6))

    assert statuses(Seen(behind, 0.0)) == {"mailer": Status.PENDING}


def test_one_stream_of_a_name_that_is_behind_is_enough_to_wait() -> None:
    """Two processes share a name by mistake: the quick one does not hide the other."""
    behind = stream(stream_id="s2", applied_revision=Revision(6))

    progress = progress_of([Seen(stream(), 0.0), Seen(behind, 0.0)], SEVEN, 0.0)

    assert [(one.status, one.applied_revision) for one in progress] == [(Status.PENDING, 6)]


@pytest.mark.parametrize(("at", "status"), [(5.0, Status.PENDING), (5.001, Status.GONE)])
def test_a_stream_counts_until_its_max_staleness_is_over(at: float, status: Status) -> None:
    behind = stream(applied_revision=Revision(6))

    assert statuses(Seen(behind, 0.0), at=at) == {"mailer": status}


def test_a_stream_that_ended_counts_as_long() -> None:
    """Its reader may go on allowing by what it had."""
    ended = stream(applied_revision=Revision(6), close_time=NOW)

    assert statuses(Seen(ended, 0.0), at=4.9) == {"mailer": Status.PENDING}


def test_the_next_stream_of_the_same_run_takes_the_place_of_the_one_before() -> None:
    before = stream(applied_revision=Revision(6), close_time=NOW)
    after = stream(stream_id="s2", instance=before.instance, open_time=Instant(NOW + 1))

    assert statuses(Seen(before, 0.0), Seen(after, 0.0)) == {"mailer": Status.APPLIED}


def test_a_stream_counts_though_the_one_before_was_at_a_node_whose_clock_is_ahead() -> None:
    """Or the clock of the node was set back: the new stream is not hidden by the old one."""
    before = stream(close_time=NOW, open_time=Instant(NOW + 3600 * SECOND))
    after = stream(stream_id="s2", instance=before.instance, applied_revision=Revision(6))

    assert statuses(Seen(before, 0.0), Seen(after, 1.0), at=1.0) == {"mailer": Status.PENDING}
    assert statuses(Seen(before, 0.0), Seen(after, 6.0), at=6.0) == {"mailer": Status.PENDING}


def test_another_run_of_the_same_name_does_not() -> None:
    before = stream(applied_revision=Revision(6), close_time=NOW)
    after = stream(stream_id="s2", open_time=Instant(NOW + 1))

    assert statuses(Seen(before, 0.0), Seen(after, 0.0)) == {"mailer": Status.PENDING}


def test_a_declared_subscriber_that_never_came_is_missing() -> None:
    declared = stream(stream_id="", applied_revision=Revision(0))

    progress = progress_of([Seen(declared, 0.0)], SEVEN, 100.0)

    assert [(one.status, one.is_declared, one.node) for one in progress] == [
        (Status.MISSING, True, "")
    ]
    assert not is_propagated(progress)


def test_a_declared_subscriber_that_went_away_is_missing_and_an_undeclared_one_is_gone() -> None:
    declared = Seen(stream(stream_id=""), 0.0)

    assert statuses(declared, Seen(stream(), 0.0), at=6.0) == {"mailer": Status.MISSING}
    assert statuses(Seen(stream(), 0.0), at=6.0) == {"mailer": Status.GONE}


def test_those_who_are_gone_do_not_hold_it_up_and_those_who_wait_are_named() -> None:
    progress = progress_of(
        [
            Seen(stream("away"), -10.0),
            Seen(stream("behind", applied_revision=Revision(1)), 0.0),
            Seen(stream("late", "", applied_revision=Revision(0)), 0.0),
            Seen(stream("there"), 0.0),
        ],
        SEVEN,
        0.0,
    )

    assert unheard(progress, 10) == ("behind", "late")
    assert unheard(progress, 1) == ("behind",)


@dataclass
class Table:
    """The registry's table, shared by the nodes of a test."""

    rows: dict[tuple[TenantId, str, str], Subscriber] = field(default_factory=dict)
    is_away: bool = False

    async def put_subscribers(self, of_node: Sequence[Subscriber]) -> None:
        self._require()
        for one in of_node:
            self.rows[one.tenant_id, one.name, one.stream_id] = one

    async def subscribers(self, tenant_id: TenantId) -> Sequence[Subscriber]:
        self._require()
        return [one for one in self.rows.values() if one.tenant_id == tenant_id]

    async def forget_subscribers(self, gone: Sequence[Subscriber]) -> None:
        self._require()
        for one in gone:
            if self.rows.get((one.tenant_id, one.name, one.stream_id)) == one:
                del self.rows[one.tenant_id, one.name, one.stream_id]

    def _require(self) -> None:
        if self.is_away:
            raise UnavailableError("away", reason=ErrorReason.STORE_UNAVAILABLE)


class Clocks:
    """A wall clock and a boot clock that a test turns together, or apart."""

    def __init__(self) -> None:
        self.boot = 1_000.0
        self.wall: int = NOW

    def pass_seconds(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += round(seconds * SECOND)


def registry(table: Table, clocks: Clocks, node: str) -> Registry:
    return Registry(
        table,
        node=node,
        run=f"run-of-{node}",
        standing=lambda: (),
        max_staleness_seconds=60.0,
        now=lambda: Instant(clocks.wall),
        boot_seconds=lambda: clocks.boot,
    )


def watch(at: Registry, name: str, stream_id: str, applied: int = 0) -> None:
    at.open(
        SHOP,
        name,
        stream_id,
        instance=f"run-of-{stream_id}",
        max_staleness_seconds=5.0,
        applied=Revision(applied),
    )


async def found(at: Registry, revision: int = 7) -> dict[str, Status]:
    return {one.name: one.status for one in await at.progress(SHOP, Revision(revision))}


async def step(at: Registry) -> None:
    """Let the registry write and read once, as its loop does."""
    turn = asyncio.create_task(at.run())
    for _ in range(5):
        await asyncio.sleep(0)
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)


async def test_a_report_on_one_node_is_seen_on_another() -> None:
    table, clocks = Table(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, clocks, "node-2")
    watch(here, "mailer", "s1")
    await step(here)
    assert await found(there) == {"mailer": Status.PENDING}

    here.report("s1", SEVEN)
    await step(here)
    clocks.pass_seconds(0.2)

    assert await found(there) == {"mailer": Status.APPLIED}


async def test_waiting_ends_when_the_last_reports_and_not_before() -> None:
    table, clocks = Table(), Clocks()
    here = registry(table, clocks, "node-1")
    watch(here, "mailer", "s1", applied=7)
    watch(here, "billing", "s2")
    waiting = asyncio.create_task(here.propagated(SHOP, SEVEN, 60.0))
    await asyncio.sleep(0)
    assert not waiting.done()

    here.report("s2", SEVEN)
    progress = await waiting

    assert is_propagated(progress)
    assert [one.name for one in progress] == ["billing", "mailer"]


async def test_waiting_ends_at_its_limit_with_the_names() -> None:
    here = registry(Table(), Clocks(), "node-1")
    watch(here, "mailer", "s1")

    progress = await here.propagated(SHOP, SEVEN, 0.0)

    assert unheard(progress, 10) == ("mailer",)


async def test_a_wall_clock_that_jumps_forgets_nobody() -> None:
    table, clocks = Table(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, clocks, "node-2")
    watch(here, "mailer", "s1")
    await step(here)
    await found(there)

    clocks.wall += 3600 * SECOND
    clocks.boot += 1.0

    assert await found(here) == {"mailer": Status.PENDING}
    assert await found(there) == {"mailer": Status.PENDING}


async def test_a_node_whose_wall_clock_was_set_back_is_heard_by_the_others() -> None:
    """Its subscriber reports, and applies nothing: it is not to be taken for gone."""
    table, clocks, others = Table(), Clocks(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, others, "node-2")
    watch(here, "mailer", "s1")
    await step(here)
    await found(there)

    clocks.wall -= 3600 * SECOND
    for _ in range(10):
        clocks.pass_seconds(1.0)
        others.pass_seconds(1.0)
        here.report("s1", Revision(0))
        await step(here)
        assert await found(there) == {"mailer": Status.PENDING}


async def test_the_shortest_max_staleness_outlives_the_second_between_two_writes() -> None:
    table, clocks = Table(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, clocks, "node-2")
    here.open(SHOP, "mailer", "s1", instance="run", max_staleness_seconds=1.0, applied=Revision(0))

    for _ in range(5):
        await step(here)
        assert await found(there) == {"mailer": Status.PENDING}
        for _ in range(3):  # the loop that writes takes its time
            clocks.pass_seconds(0.4)
            here.report("s1", Revision(0))
            assert await found(there) == {"mailer": Status.PENDING}


async def test_readers_that_come_back_again_and_again_add_no_rows() -> None:
    table, clocks = Table(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, clocks, "node-2")

    for number in range(100):
        watch(here, "mailer", f"s{number}", applied=7)
        await step(here)
        here.close(f"s{number}")
        clocks.pass_seconds(1.0)
        await found(there)

    assert len(table.rows) <= 5 + LATE_SECONDS + 6  # those that count, and what one reading leaves
    assert await found(there) == {"mailer": Status.APPLIED}


async def test_a_stream_heard_of_for_the_first_time_counts_in_full() -> None:
    """A node that has just started cannot know how old the row of another is."""
    table, clocks = Table(), Clocks()
    await table.put_subscribers([stream(applied_revision=Revision(1))])
    clocks.pass_seconds(3600)
    late = registry(table, clocks, "node-2")

    assert await found(late) == {"mailer": Status.PENDING}
    clocks.pass_seconds(5.1 + LATE_SECONDS)
    assert await found(late) == {"mailer": Status.GONE}


async def test_waiting_outlives_a_database_that_is_away_and_leaves_nobody_out() -> None:
    table, clocks = Table(), Clocks()
    here, there = registry(table, clocks, "node-1"), registry(table, clocks, "node-2")
    watch(here, "mailer", "s1")
    await step(here)
    await found(there)
    table.is_away = True
    clocks.pass_seconds(60.0)  # longer than any of them would count, were it read

    progress: tuple[Progress, ...] = await there.propagated(SHOP, SEVEN, 0.0)

    assert unheard(progress, 10) == ("mailer",)


async def test_the_registry_is_not_written_while_only_time_passes() -> None:
    table, clocks = Table(), Clocks()
    here = registry(table, clocks, "node-1")
    watch(here, "mailer", "s1", applied=7)
    await step(here)
    (written,) = table.rows.values()

    clocks.pass_seconds(1.0)
    here.report("s1", SEVEN)
    await step(here)
    assert tuple(table.rows.values()) == (written,)

    clocks.pass_seconds(1.0)
    here.report("s1", SEVEN)
    await step(here)
    assert tuple(table.rows.values()) != (written,)


async def test_a_stream_long_gone_is_told_of_and_then_forgotten() -> None:
    table, clocks = Table(), Clocks()
    here = registry(table, clocks, "node-1")
    watch(here, "mailer", "s1", applied=7)
    here.close("s1")
    await step(here)
    clocks.pass_seconds(6.0)
    await step(here)
    assert await found(here) == {"mailer": Status.GONE}

    clocks.pass_seconds(3_700.0)
    await step(here)

    assert await found(here) == {}
    assert table.rows == {}


async def test_a_node_counts_as_a_subscriber_of_its_own() -> None:
    table, clocks = Table(), Clocks()
    stands_at = 6
    here = Registry(
        table,
        node="node-1",
        run="run-1",
        standing=lambda: [(SHOP, Revision(stands_at))],
        now=lambda: Instant(clocks.wall),
        boot_seconds=lambda: clocks.boot,
        max_staleness_seconds=60.0,
    )
    there = registry(table, clocks, "node-2")
    await step(here)
    assert await found(there) == {"node/node-1": Status.PENDING}

    stands_at = 7
    await step(here)
    clocks.pass_seconds(0.2)

    assert await found(here) == {"node/node-1": Status.APPLIED}
    assert await found(there) == {"node/node-1": Status.APPLIED}


async def test_a_node_that_stopped_in_order_is_not_waited_for_and_one_that_was_killed_is() -> None:
    table, clocks = Table(), Clocks()
    stopping, killed = (
        Registry(
            table,
            node=name,
            run=f"run-of-{name}",
            standing=lambda: [(SHOP, Revision(6))],
            now=lambda: Instant(clocks.wall),
            boot_seconds=lambda: clocks.boot,
            max_staleness_seconds=60.0,
        )
        for name in ("stopping", "killed")
    )
    watch(stopping, "mailer", "s1")
    await step(stopping)
    await step(killed)

    await stopping.leave()

    assert await found(registry(table, clocks, "next")) == {
        "node/killed": Status.PENDING,
        "mailer": Status.PENDING,
    }


async def test_a_node_stops_though_the_database_is_away() -> None:
    table, clocks = Table(), Clocks()
    here = registry(table, clocks, "node-1")
    watch(here, "mailer", "s1")
    await step(here)
    table.is_away = True

    await here.leave()

    assert list(table.rows) == [(SHOP, "mailer", "s1")]
