"""How an index is kept in step with its log (heed_server.follow)."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import UnavailableError
from heed.model import Change, Revision, TenantId
from heed_server.follow import (
    Follower,
    FollowLimits,
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
)
from tests.support.followers import (
    QUICK,
    Clock,
    assert_in_step,
    assert_refuses,
    follower_of,
    running,
    started,
)
from tests.support.memory_log import EPOCH, TENANT, MemoryLog

PATIENT = FollowLimits(poll_seconds=1000)
"""Only a wake-up makes it ask."""


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


async def _step(follower: Follower) -> None:
    """One round of `run`."""
    await follower._step()


def _between(log: MemoryLog, first: int, last: int) -> list[Change]:
    return log.changes[first - 1 : last]
