"""How a follower starts, and comes back from what goes wrong (heed_server.follow)."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import UnavailableError
from heed.index import IndexClaimedError
from heed.model import Hold, Revision, Topic
from heed_server.follow.position import KEPT_SECONDS, kept_position
from heed_server.store import LogDamagedError
from tests.support.followers import (
    QUICK,
    Clock,
    assert_history_lost,
    assert_in_step,
    assert_refuses,
    follower_of,
    leave_index,
    running,
    started,
)
from tests.support.memory_log import MemoryLog, key_of


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


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

    @pytest.mark.parametrize("left", [0, 9, 10])
    async def test_it_does_not_start_on_a_log_that_was_put_back_after_a_kill(
        self, log: MemoryLog, tmp_path: Path, left: int
    ) -> None:
        """No index is left that knew of the change; the position beside it does."""
        log.opt_outs(10)
        log.opt_out("lost")
        (await leave_index(log, tmp_path)).joinpath("seal").unlink()
        log.put_back(left)
        log.opt_outs(10 - left)
        log.opt_out("ada")

        await assert_history_lost(log, tmp_path)

    async def test_after_a_kill_it_starts_on_a_log_that_went_on(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        log.opt_outs(10)
        (await leave_index(log, tmp_path)).joinpath("seal").unlink()
        log.opt_outs(5)

        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)

    @pytest.mark.parametrize("is_cut", [True, False])
    async def test_a_position_that_was_not_written_whole_says_nothing(
        self, log: MemoryLog, tmp_path: Path, *, is_cut: bool
    ) -> None:
        log.opt_outs(10)
        (await leave_index(log, tmp_path)).joinpath("seal").unlink()
        (position,) = tmp_path.glob("*.position")
        kept = position.read_bytes()
        position.write_bytes(kept[:-1] if is_cut else kept[:-1] + bytes([kept[-1] ^ 1]))
        log.put_back(3)

        async with started(log, tmp_path) as follower:
            assert_in_step(follower, log)

    async def test_a_position_is_kept_while_it_follows(
        self, log: MemoryLog, tmp_path: Path
    ) -> None:
        clock = Clock()
        async with running(log, tmp_path, clock=clock) as follower:
            (position,) = tmp_path.glob("*.position")
            log.opt_outs(10)
            assert await follower.reached(Revision(10), 10)
            await log.asked(2)
            clock.seconds += KEPT_SECONDS
            while (kept := kept_position(position)) is None or kept.revision < 10:
                await log.asked(1)

            assert kept.running_hash == follower.index.running_hash

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


def _put(txn: object, key: bytes, records: object) -> None:
    txn.put(key, b"\xff" * 9, db=records)  # type: ignore[attr-defined]  # lmdb's transaction
