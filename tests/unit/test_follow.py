"""How an index is kept in step with its log (heed_server.follow)."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import ErrorReason, UnavailableError
from heed.index import IndexClaimedError
from heed.model import Change, Hold, Revision, TenantId, Topic
from heed_server.follow import (
    Follower,
    FollowLimits,
    HistoryLostError,
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
)
from heed_server.store import LogDamagedError
from tests.support.memory_log import EPOCH, TENANT, MemoryLog, key_of

QUICK = FollowLimits(poll_seconds=0.005, backoff_seconds_max=0.01, head_timeout_seconds=0.05)
PATIENT = FollowLimits(poll_seconds=1000)
"""Only a wake-up makes it ask."""


class Clock:
    """Seconds on the boot clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def follower_of(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> Follower:
    return Follower(log, TENANT, directory, boot_seconds=clock or Clock(), limits=limits)


@asynccontextmanager
async def started(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> AsyncGenerator[Follower, None]:
    """A follower that was started and is closed in the end, but does not run."""
    follower = follower_of(log, directory, limits=limits, clock=clock)
    await follower.start()
    try:
        yield follower
    finally:
        await follower.close()


@asynccontextmanager
async def running(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> AsyncGenerator[Follower, None]:
    async with started(log, directory, limits=limits, clock=clock) as follower:
        task = asyncio.create_task(follower.run())
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def assert_in_step(follower: Follower, log: MemoryLog) -> None:
    """The index holds what the log says, all of it and nothing else."""
    index = follower.index
    standing = log.standing()
    keys = [*standing, key_of("nobody"), key_of("lost")]
    assert index.records_many(keys) == [standing.get(key, ()) for key in keys]
    assert index.stats().subjects == len(standing)
    assert index.holds == log.holds()
    assert {topic.name: topic for topic in index.topics.declared} == log.topics()
    assert (index.revision, index.running_hash, index.epoch) == (
        log.current_head.revision,
        log.current_head.running_hash,
        log.epoch,
    )


async def leave_index(log: MemoryLog, directory: Path) -> Path:
    """Make an index, close it, and return the folder it is in."""
    async with started(log, directory):
        pass
    (path,) = (one for one in directory.iterdir() if one.is_dir())
    return path


class TestStarting:
    async def test_an_index_that_is_missing_is_made(self, log: MemoryLog, tmp_path: Path) -> None:
        log.opt_outs(20)
        log.topic(Topic(name="news"))
        log.hold(Hold(hold_id="hold-1"))

        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 1

    async def test_the_index_of_an_empty_log_is_empty(self, log: MemoryLog, tmp_path: Path) -> None:
        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)
        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 0

    async def test_an_index_that_was_closed_is_used_again(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(20)
        await leave_index(log, tmp_path)

        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 0

    async def test_an_index_that_is_behind_catches_up(self, log: MemoryLog, tmp_path: Path) -> None:
        log.opt_outs(20)
        await leave_index(log, tmp_path)
        log.opt_outs(700)
        log.opt_out("ada")

        limits = replace(QUICK, read_changes_max=100, apply_changes_max=7)
        async with started(log, tmp_path, limits=limits) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 0

    async def test_an_index_that_is_far_behind_is_made_anew(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(20)
        await leave_index(log, tmp_path)
        log.opt_outs(101)

        limits = replace(QUICK, catch_up_changes_max=100)
        async with started(log, tmp_path, limits=limits) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 1

    async def test_an_index_of_another_epoch_is_made_anew(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_out("lost")
        await leave_index(log, tmp_path)
        other = MemoryLog(epoch=b"epoch--2")
        other.opt_outs(3)

        async with started(other, tmp_path) as follower:
            assert_in_step(follower, other)

    async def test_an_index_of_another_history_is_never_answered_by(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_out("lost")
        path = await leave_index(log, tmp_path / "a")
        data = (path / "data.mdb").read_bytes(), (path / "seal").read_bytes()
        log.put_back(0)
        log.opt_out("ada")
        await leave_index(log, tmp_path / "b")
        target = tmp_path / "b" / path.name
        target.joinpath("data.mdb").write_bytes(data[0])
        target.joinpath("seal").write_bytes(data[1])

        await assert_history_lost(log, tmp_path / "b")

    @pytest.mark.parametrize("left", range(0, 10, 3))
    async def test_it_does_not_start_on_a_log_that_was_put_back(
        self, log: MemoryLog, tmp_path: Path, left: int
    ) -> None:
        log.opt_outs(9)
        log.opt_out("lost")
        await leave_index(log, tmp_path)
        log.put_back(left)

        await assert_history_lost(log, tmp_path)

    @pytest.mark.parametrize("more", [0, 1, 500])
    async def test_it_does_not_start_on_a_log_that_was_put_back_and_went_on(
        self, log: MemoryLog, tmp_path: Path, more: int
    ) -> None:
        """The revisions are there again, but as other changes: the running hash tells."""
        log.opt_outs(9)
        log.opt_out("lost")
        await leave_index(log, tmp_path)
        log.put_back(9)
        log.opt_out("ada")
        log.opt_outs(more)

        await assert_history_lost(log, tmp_path)

    async def test_without_the_database_it_does_not_start(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        await leave_index(log, tmp_path)
        log.go_away()
        follower = follower_of(log, tmp_path)

        with pytest.raises(UnavailableError):
            await follower.start()
        with pytest.raises(UnavailableError):
            _ = follower.index

        assert follower.source_age_seconds() == math.inf

    async def test_two_processes_do_not_share_a_directory(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with started(log, tmp_path):
            with pytest.raises(IndexClaimedError):
                await follower_of(log, tmp_path).start()

    async def test_the_hashes_of_earlier_revisions_are_read_from_the_log(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(2500)

        async with started(log, tmp_path) as follower:
            for change in log.changes[::499]:
                assert follower.index.hash_at(change.revision) == change.running_hash[:8]

    async def test_a_log_that_is_damaged_below_the_snapshot_is_not_served(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(20)
        log.changes[4] = log.changes[5]
        follower = follower_of(log, tmp_path)

        with pytest.raises(UnavailableError):
            await follower.start()

        assert not follower.is_usable


class TestWhatThisNodeCommits:
    async def test_it_is_known_at_once(self, log: MemoryLog, tmp_path: Path) -> None:
        async with started(log, tmp_path) as follower:
            log.opt_out("ada")
            follower.offer(log.committed(1))

            assert_in_step(follower, log)
            assert await follower.reached(Revision(1), 0)

    async def test_the_log_is_not_read_for_it(self, log: MemoryLog, tmp_path: Path) -> None:
        async with started(log, tmp_path) as follower:
            reads = log.reads
            for _ in range(20):
                log.opt_outs(3)
                follower.offer(log.committed(3))

            assert_in_step(follower, log)
            assert log.reads == reads

    async def test_what_does_not_continue_the_index_is_filled_from_the_log(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with running(log, tmp_path, limits=PATIENT) as follower:
            log.opt_outs(3)
            log.opt_outs(2)
            follower.offer(log.committed(2))

            assert follower.revision == 0
            assert await follower.reached(Revision(5), 5)
            assert_in_step(follower, log)

    async def test_what_comes_late_is_not_taken_twice(self, log: MemoryLog, tmp_path: Path) -> None:
        async with started(log, tmp_path) as follower:
            log.opt_outs(3)
            first = log.committed(3)
            log.opt_outs(2)
            follower.offer(log.committed(5))

            follower.offer(first)

            assert_in_step(follower, log)

    async def test_what_overlaps_is_taken_from_where_the_index_stands(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(3)
        async with started(log, tmp_path) as follower:
            log.opt_outs(4)

            follower.offer(log.committed(6))

            assert_in_step(follower, log)

    async def test_what_is_of_another_tenant_is_left_alone(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with started(log, tmp_path) as follower:
            log.opt_out("ada")

            follower.offer(replace(log.committed(1), tenant_id=TenantId(8)))

            assert follower.revision == 0

    async def test_a_large_group_is_taken_in_slices_while_others_are_offered(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        limits = replace(PATIENT, apply_changes_max=10)
        async with running(log, tmp_path, limits=limits) as follower:
            reads = log.reads
            log.opt_outs(95)
            follower.offer(log.committed(95))
            assert follower.revision == 10
            log.opt_out("ada")
            follower.offer(log.committed(1))

            assert await follower.reached(Revision(96), 5)
            assert_in_step(follower, log)
            assert log.reads <= reads + 1

    async def test_more_than_may_wait_is_read_from_the_log(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        limits = replace(PATIENT, apply_changes_max=10, offered_changes_max=50)
        async with running(log, tmp_path, limits=limits) as follower:
            for _ in range(10):
                log.opt_outs(20)
                follower.offer(log.committed(20))

            assert await follower.reached(Revision(200), 5)
            assert_in_step(follower, log)

    async def test_what_was_committed_while_the_index_was_made_is_not_missed(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(60)
        follower = follower_of(log, tmp_path)
        starting = asyncio.create_task(follower.start())
        await log.asked(2)
        for number in range(5):
            log.opt_out(f"late {number}")
            follower.offer(log.committed(1))
            await asyncio.sleep(0)

        await starting

        await _step(follower)
        assert_in_step(follower, log)
        await follower.close()

    async def test_another_history_is_never_taken(self, log: MemoryLog, tmp_path: Path) -> None:
        async with started(log, tmp_path) as follower:
            log.opt_outs(3)
            follower.offer(log.committed(3))
            log.put_back(2)
            log.opt_out("ada")
            log.opt_out("ben")

            follower.offer(log.committed(2))

            assert_refuses(follower)

    async def test_a_change_that_cannot_be_taken_stops_every_answer_and_no_writer(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with started(log, tmp_path) as follower:
            log.release("ada")

            follower.offer(log.committed(1))

            assert_refuses(follower)
            assert not await follower.reached(Revision(1), 0)

    async def test_an_index_that_is_full_stops_every_answer(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        limits = replace(QUICK, map_bytes_max=200_000)
        async with running(log, tmp_path, limits=limits) as follower:
            log.opt_outs(5000, people=5000)
            follower.offer(log.committed(5000))
            await log.asked(6)

            assert_refuses(follower)


class TestWhatOthersCommit:
    async def test_it_is_found_by_asking(self, log: MemoryLog, tmp_path: Path) -> None:
        async with running(log, tmp_path) as follower:
            log.opt_outs(30)

            assert await follower.reached(Revision(30), 5)
            assert_in_step(follower, log)

    async def test_a_wake_up_makes_it_ask(self, log: MemoryLog, tmp_path: Path) -> None:
        async with running(log, tmp_path, limits=PATIENT) as follower:
            await log.asked(1)
            log.opt_outs(30)

            follower.wake()

            await log.asked(2)
            await _step(follower)
            assert_in_step(follower, log)

    async def test_waiting_for_a_revision_makes_it_ask(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with running(log, tmp_path, limits=PATIENT) as follower:
            await log.asked(1)
            log.opt_outs(30)

            assert await follower.reached(Revision(30), 5)

    async def test_a_revision_that_does_not_come_is_not_reached(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with running(log, tmp_path) as follower:
            assert not await follower.reached(Revision(1), 0.02)

    async def test_so_many_may_wait_and_no_more(self, log: MemoryLog, tmp_path: Path) -> None:
        limits = replace(PATIENT, waiters_max=2)
        async with running(log, tmp_path, limits=limits) as follower:
            await log.asked(1)
            waiting = [asyncio.create_task(follower.reached(Revision(1), 5)) for _ in range(2)]
            await asyncio.sleep(0)

            assert not await follower.reached(Revision(1), 5)

            log.opt_out("ada")
            follower.offer(log.committed(1))
            assert await asyncio.gather(*waiting) == [True, True]


class TestAge:
    async def test_it_counts_from_the_asking(
        self, log: MemoryLog, tmp_path: Path, clock: Clock
    ) -> None:
        async with started(log, tmp_path, clock=clock) as follower:
            assert follower.source_age_seconds() == 0
            clock.seconds += 3

            assert follower.source_age_seconds() == 3

    async def test_it_grows_while_the_database_is_away_and_ends_when_it_is_back(
        self, log: MemoryLog, tmp_path: Path, clock: Clock
    ) -> None:
        log.opt_out("ada")
        async with running(log, tmp_path, clock=clock) as follower:
            log.go_away()
            await log.asked(1)
            clock.seconds += 7
            await log.asked(3)
            assert follower.source_age_seconds() >= 7
            assert_in_step(follower, log)

            log.come_back()
            await log.asked(2)

            assert follower.source_age_seconds() == 0

    async def test_it_grows_while_the_database_hangs(
        self, log: MemoryLog, tmp_path: Path, clock: Clock
    ) -> None:
        async with running(log, tmp_path, clock=clock) as follower:
            log.hangs = True
            await log.asked(1)
            clock.seconds += 7
            await log.asked(2)
            assert follower.source_age_seconds() >= 7

            log.hangs = False
            await log.asked(2)

            assert follower.source_age_seconds() == 0

    async def test_an_own_commit_makes_nothing_younger(
        self, log: MemoryLog, tmp_path: Path, clock: Clock
    ) -> None:
        async with started(log, tmp_path, clock=clock) as follower:
            clock.seconds += 7
            log.opt_out("ada")
            follower.offer(log.committed(1))

            assert follower.source_age_seconds() == 7

    async def test_hearing_of_changes_that_cannot_be_read_makes_nothing_younger(
        self, log: MemoryLog, tmp_path: Path, clock: Clock
    ) -> None:
        async with started(log, tmp_path, clock=clock) as follower:
            clock.seconds += 7
            log.opt_out("ada")
            asking = asyncio.create_task(_step(follower))
            await log.asked(2)
            log.go_away()

            with pytest.raises(UnavailableError):
                await asking

            assert follower.source_age_seconds() == 7


class TestRecovering:
    async def test_a_log_that_is_put_back_is_never_served_from(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(9)
        log.opt_out("lost")
        async with running(log, tmp_path) as follower:
            log.put_back(9)
            await log.asked(1)
            log.opt_out("ada")
            log.opt_out("ben")

            assert not await follower.reached(Revision(11), 0.05)
            assert_refuses(follower)

        await assert_history_lost(log, tmp_path)

    async def test_a_new_epoch_is_followed_from_its_own_snapshot(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(9)
        async with running(log, tmp_path) as follower:
            log.epoch = b"epoch--2"
            log.put_back(3)
            log.opt_outs(10)

            assert await follower.reached(Revision(13), 5)
            assert_in_step(follower, log)

    async def test_damage_met_by_a_look_up_is_repaired(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_out("ada")
        async with running(log, tmp_path) as follower:
            index = follower.index
            records = index._env.records
            index._env.write(lambda txn: _put(txn, key_of("ada"), records))
            with pytest.raises(UnavailableError):
                index.facts([key_of("ada")])
            assert_refuses(follower)

            log.opt_out("ben")
            assert await follower.reached(Revision(2), 5)

            assert_in_step(follower, log)
            assert follower.rebuilds == 2

    async def test_a_damaged_log_stops_every_answer_until_it_reads_again(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        async with running(log, tmp_path) as follower:
            log.failure = LogDamagedError("revision 3 is missing")
            await log.asked(4)
            assert_refuses(follower)

            log.come_back()
            log.opt_out("ada")

            assert await follower.reached(Revision(1), 5)
            assert_in_step(follower, log)

    async def test_a_database_that_is_away_stops_no_answer(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_out("ada")
        async with running(log, tmp_path) as follower:
            log.go_away()
            await log.asked(4)

            assert_in_step(follower, log)

    async def test_a_database_that_hangs_while_an_index_is_made_ends_no_following(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(60)
        limits = replace(QUICK, read_timeout_seconds=0.02, read_changes_max=10)
        async with running(log, tmp_path, limits=limits) as follower:
            log.epoch = b"epoch--2"
            await log.asked(4)  # the head, the snapshot, and the first two reads of hashes
            log.hangs = True
            await log.asked(2)
            assert_refuses(follower)

            log.hangs = False
            log.opt_out("ada")

            assert await follower.reached(Revision(61), 5)
            assert_in_step(follower, log)

    async def test_a_follower_that_was_stopped_while_it_made_an_index_leaves_none(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(60)
        starting = asyncio.create_task(follower_of(log, tmp_path).start())
        await log.asked(2)
        await asyncio.sleep(0)

        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)
            assert follower.rebuilds == 1


class TestReadingTheLog:
    async def test_a_read_brings_the_change_one_stands_at_and_those_after(
        self, log: MemoryLog
    ) -> None:
        log.opt_outs(10)

        assert await read_after(log, TENANT.tenant_id, Revision(4), 3) == log.changes[3:7]
        assert await read_after(log, TENANT.tenant_id, Revision(0), 3) == log.changes[:4]

    @pytest.mark.parametrize("revision", [3, 9])
    async def test_a_log_without_the_change_one_stands_at_is_another(
        self, log: MemoryLog, revision: int
    ) -> None:
        log.opt_outs(2)

        with pytest.raises(LogForkedError):
            await read_after(log, TENANT.tenant_id, Revision(revision), 3)

    @pytest.mark.parametrize(
        ("given", "stands_at", "left"),
        [
            ((1, 5), 0, (1, 5)),
            ((1, 5), 3, (4, 5)),
            ((1, 5), 5, None),
            ((1, 5), 9, None),
            ((3, 5), 2, (3, 5)),
            ((3, 5), 1, None),
        ],
    )
    def test_what_continues_is_what_comes_right_after(
        self, log: MemoryLog, given: tuple[int, int], stands_at: int, left: tuple[int, int] | None
    ) -> None:
        log.opt_outs(9)

        rest = continuation(
            _between(log, *given), revision=Revision(stands_at), hash_at=lambda _: None
        )

        assert list(rest) == ([] if left is None else _between(log, *left))

    def test_a_head_that_is_as_remembered_is_of_the_same_log(self, log: MemoryLog) -> None:
        log.opt_outs(9)
        known = log.changes[8].running_hash[:8]

        require_same_log(
            log.current_head, epoch=EPOCH, revision=Revision(9), hash_at=lambda _: known
        )
        with pytest.raises(LogForkedError):
            require_same_log(
                log.current_head, epoch=EPOCH, revision=Revision(9), hash_at=lambda _: b"12345678"
            )


async def assert_history_lost(log: MemoryLog, directory: Path) -> None:
    """No start is possible until an operator takes the marker away."""
    for _ in range(2):
        with pytest.raises(HistoryLostError, match="history-lost"):
            await follower_of(log, directory).start()
    next(directory.glob("*.history-lost")).unlink()

    async with started(log, directory) as follower:
        assert_in_step(follower, log)


def assert_refuses(follower: Follower) -> None:
    with pytest.raises(UnavailableError) as refused:
        _ = follower.index
    assert refused.value.reason is ErrorReason.STATE_STALE
    assert not follower.is_usable


async def _step(follower: Follower) -> None:
    """One round of `run`."""
    await follower._step()


def _between(log: MemoryLog, first: int, last: int) -> list[Change]:
    return log.changes[first - 1 : last]


def _put(txn: object, key: bytes, records: object) -> None:
    txn.put(key, b"\xff" * 9, db=records)  # type: ignore[attr-defined]  # lmdb's transaction
