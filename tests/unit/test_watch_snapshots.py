"""Snapshots: made once for all who ask, delivered a few at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heed.errors import ErrorReason, ExhaustedError, HeedError, UnavailableError
from heed.model import Channel, Head, Hold, Record, RecordKind, SubjectKey, TenantId, Topic
from heed_server.store import Snapshot
from heed_server.watch import snapshot, snapshots
from tests.support.memory_log import MemoryLog
from tests.support.streams import QUICK, Hearer, Station, assert_same, station


class HeldLog(MemoryLog):
    """A log whose snapshots can be stopped after their first batch, and made to fail there."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.failing: Exception | None = None
        self.opened = 0
        self.open_views = 0
        self.view_closed = asyncio.Event()

    @asynccontextmanager
    async def _snapshot(self, tenant_id: TenantId) -> AsyncGenerator[Snapshot, None]:
        async with super()._snapshot(tenant_id) as found:
            self.opened += 1
            self.open_views += 1
            try:
                yield HeldSnapshot(found, self)
            finally:
                self.open_views -= 1
                self.view_closed.set()


class HeldSnapshot(Snapshot):
    def __init__(self, found: Snapshot, log: HeldLog) -> None:
        self.head: Head = found.head
        self.topics: tuple[Topic, ...] = found.topics
        self.holds: tuple[Hold, ...] = found.holds
        self._found = found
        self._log = log

    async def records(self) -> AsyncIterator[Sequence[tuple[SubjectKey, Record]]]:
        async for batch in self._found.records():
            yield batch
            await self._log.goes_on.wait()
            if self._log.failing is not None:
                raise self._log.failing


@pytest.fixture
def log() -> HeldLog:
    written = HeldLog()
    written.opt_outs(300)
    return written


@pytest.fixture
async def node(log: HeldLog, tmp_path: Path) -> AsyncIterator[Station]:
    async with station(log, tmp_path) as running:
        log.opened = 0  # the index was made of one
        yield running


async def test_it_holds_what_stands_each_subject_once(node: Station, log: HeldLog) -> None:
    """Three records a batch: most subjects of six begin in one and end in another."""
    for kind in RecordKind:
        if kind is not RecordKind.SUPPRESSION:
            log.choice("ada", kind)
    log.on_channel(Channel.ANY).suppress("ada")
    node.commit(4)
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(304)

    assert_same(hearer, log)


async def test_it_comes_also_when_nothing_stands(tmp_path: Path) -> None:
    empty = MemoryLog()
    hearer = Hearer()
    async with station(empty, tmp_path) as node, node.streaming(hearer):
        await hearer.reach(0)

    assert (hearer.reasons, hearer.standing(), hearer.revision) == (["NEW"], {}, 0)


async def test_it_comes_in_chunks_of_a_bounded_size(
    node: Station, log: HeldLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SNAPSHOT_CHUNK_BYTES_MAX", 500)
    monkeypatch.setattr(snapshot, "SUBJECTS_A_TURN", 2)
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(300)

    sizes = [len(one) for one in hearer.messages if one[:1] == b"\x1a"]
    assert len(sizes) > 10
    assert max(sizes) < 600
    assert_same(hearer, log)


async def all_heard(node: Station, count: int) -> list[Hearer]:
    """So many readers who stand nowhere and come at once."""
    hearers = [Hearer() for _ in range(count)]
    async with AsyncExitStack() as opened:
        for hearer in hearers:
            await opened.enter_async_context(node.streaming(hearer))
        for hearer in hearers:
            await hearer.reach(node.log.current_head.revision)
    return hearers


async def test_two_hundred_who_come_at_once_share_one(node: Station, log: HeldLog) -> None:
    hearers = await all_heard(node, 200)

    assert (log.opened, node.watches.snapshots.made) == (1, 1)
    for hearer in hearers:
        assert_same(hearer, log)


async def test_one_that_is_not_kept_is_made_again(
    log: HeldLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "FRESH_CHANGES_MAX", -1)
    async with station(log, tmp_path) as node:
        await all_heard(node, 20)

    assert log.opened > 5


async def test_who_comes_later_gets_the_same_and_what_came_since(
    node: Station, log: HeldLog
) -> None:
    await all_heard(node, 1)
    node.opt_outs(50)

    (later,) = await all_heard(node, 1)

    assert log.opened == 1
    assert later.changes == 50
    assert_same(later, log)


async def test_one_the_log_has_left_far_behind_is_not_given_any_more(
    node: Station, log: HeldLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "FRESH_CHANGES_MAX", 20)
    await all_heard(node, 1)
    node.opt_outs(50)

    (later,) = await all_heard(node, 1)

    assert (log.opened, later.changes) == (2, 0)
    assert_same(later, log)


async def test_its_file_goes_some_time_after_its_last_reader(
    log: HeldLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()
    close = snapshot.SharedSnapshot.close

    def close_and_tell(shared: snapshot.SharedSnapshot) -> None:
        close(shared)
        closed.set()

    monkeypatch.setattr(snapshot.SharedSnapshot, "close", close_and_tell)
    async with station(log, tmp_path, limits=replace(QUICK, snapshot_kept_seconds=0.05)) as node:
        await all_heard(node, 3)
        async with asyncio.timeout(10):
            await closed.wait()
        kept = node.watches.snapshots

        assert (kept._kept, kept._users) == ({}, {})


async def test_each_filter_has_its_own(node: Station, log: HeldLog) -> None:
    first, second = Hearer(), Hearer()
    async with (
        node.streaming(first, topics=("t1",)),
        node.streaming(second, topics=("t2",)),
    ):
        await first.reach(300)
        await second.reach(300)

    assert log.opened == 2
    topics = [
        {one.topic for some in hearer.standing().values() for one in some}
        for hearer in (first, second)
    ]
    assert topics == [{"t1"}, {"t2"}]


async def test_what_is_written_while_it_is_made_follows_it(node: Station, log: HeldLog) -> None:
    log.goes_on.clear()
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.until(lambda: hearer.reasons == ["NEW"])
        node.opt_outs(100)
        log.goes_on.set()
        await hearer.reach(400)

    assert hearer.changes == 100
    assert_same(hearer, log)


async def test_its_readers_do_not_wait_until_it_is_whole(
    node: Station, log: HeldLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there of it is delivered while the database has not given the rest."""
    monkeypatch.setattr(snapshot, "SNAPSHOT_CHUNK_BYTES_MAX", 1)
    monkeypatch.setattr(snapshot, "SUBJECTS_A_TURN", 2)
    log.snapshot_batch = 100
    log.goes_on.clear()
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.until(lambda: any(one[:1] == b"\x1a" for one in hearer.messages))
        was_whole = hearer.is_whole
        log.goes_on.set()
        await hearer.reach(300)

    assert not was_whole
    assert_same(hearer, log)


async def test_while_it_waits_for_the_database_the_stream_stays_alive(
    node: Station, log: HeldLog
) -> None:
    log.goes_on.clear()
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.until(lambda: len(hearer.heartbeats) == 3)
        log.goes_on.set()
        await hearer.reach(300)

    assert hearer.heartbeats[0].through == 0
    assert_same(hearer, log)


async def test_so_many_are_delivered_at_a_time_and_the_others_wait_in_order(
    log: HeldLog, tmp_path: Path
) -> None:
    hearers = [Hearer() for _ in range(5)]
    for hearer in hearers:
        hearer.hold()
    async with (
        station(log, tmp_path, limits=replace(QUICK, snapshots_max=2)) as node,
        AsyncExitStack() as opened,
    ):
        for hearer in hearers:
            await opened.enter_async_context(node.streaming(hearer))
        turns = node.watches.snapshots.turns
        waiting = [turns.waiting]
        for hearer in hearers:
            hearer.go_on()
            await hearer.reach(300)
            waiting.append(turns.waiting)

    assert waiting == [3, 2, 1, 0, 0, 0]


async def test_one_more_than_may_wait_is_refused(log: HeldLog, tmp_path: Path) -> None:
    limits = replace(QUICK, snapshots_max=1, snapshots_queued_max=1)
    async with station(log, tmp_path, limits=limits) as node:
        first = await node.open(Hearer())
        await node.open(Hearer())
        with pytest.raises(ExhaustedError) as refused:
            await node.open(Hearer())
        node.watches.close(first)
        await node.open(Hearer())

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert refused.value.metadata == {"limit": "snapshots_queued_max"}


async def test_who_goes_away_while_waiting_makes_room(log: HeldLog, tmp_path: Path) -> None:
    first, second, third = Hearer(), Hearer(), Hearer()
    first.hold()
    async with (
        station(log, tmp_path, limits=replace(QUICK, snapshots_max=1)) as node,
        node.streaming(first),
    ):
        turns = node.watches.snapshots.turns
        async with node.streaming(second), node.streaming(third):
            await second.until(lambda: bool(second.heartbeats))
            waiting = turns.waiting
        first.go_on()
        await first.reach(300)

    assert (waiting, turns.waiting) == (2, 0)


@pytest.mark.parametrize(
    "failing", [UnavailableError("the database went away"), OSError(28, "No space left on device")]
)
async def test_one_that_fails_ends_its_streams_and_the_next_is_made_anew(
    node: Station, log: HeldLog, failing: Exception
) -> None:
    log.failing = failing
    hearer, later = Hearer(), Hearer()
    async with node.streaming(hearer):
        assert hearer.ended is not None
        with pytest.raises(HeedError) as refused:
            await hearer.ended
    log.failing = None
    async with node.streaming(later):
        await later.reach(300)

    assert isinstance(refused.value, UnavailableError)
    assert not hearer.is_whole
    assert_same(later, log)
    assert log.open_views == 0


async def test_a_mistake_of_ours_in_it_is_told_as_unavailable(node: Station, log: HeldLog) -> None:
    log.failing = KeyError("ada@example.com")
    hearer = Hearer()
    with capture_logs() as lines:
        async with node.streaming(hearer):
            assert hearer.ended is not None
            with pytest.raises(UnavailableError):
                await hearer.ended

    assert "snapshot_failed" in [line["event"] for line in lines]


async def test_one_that_nobody_waits_for_any_more_is_given_up(node: Station, log: HeldLog) -> None:
    """It would hold a view of the database open for nobody."""
    log.goes_on.clear()
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.until(lambda: hearer.reasons == ["NEW"])
        assert log.open_views == 1
        log.view_closed.clear()
    async with asyncio.timeout(10):
        await log.view_closed.wait()

    assert not node.watches.snapshots._users


async def test_a_file_that_cannot_be_made_is_told_as_unavailable(node: Station) -> None:
    node.watches.snapshots._directory = Path("/nowhere/at/all")
    hearer = Hearer()
    async with node.streaming(hearer):
        assert hearer.ended is not None
        with pytest.raises(UnavailableError, match="cannot be kept"):
            await hearer.ended
