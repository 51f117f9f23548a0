"""Whatever happens to an index, the node answers as the log says, or not at all."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from heed.index import Fault, Index, IndexUnusableError
from heed_server.follow import Follower, FollowLimits
from tests.support.memory_log import (
    EPOCH,
    TENANT,
    WRITTEN_PEOPLE,
    MemoryLog,
    key_of,
    written_log,
)

WRITER = "tests.adversity.index_writer"


def follower_of(log: MemoryLog, directory: Path) -> Follower:
    return Follower(
        log, TENANT, directory, boot_seconds=lambda: 0.0, limits=FollowLimits(poll_seconds=0.005)
    )


async def assert_recovers(log: MemoryLog, directory: Path, *, rebuilds: int) -> None:
    """A node that starts on what is there answers as the log says, record by record."""
    follower = follower_of(log, directory)
    await follower.start()
    try:
        standing = log.standing()
        keys = [key_of(person) for person in range(WRITTEN_PEOPLE + 1)]
        assert follower.index.records_many(keys) == [standing.get(key, ()) for key in keys]
        assert follower.index.stats().subjects == len(standing)
        assert follower.revision == log.current_head.revision
        assert follower.rebuilds == rebuilds
    finally:
        await follower.close()


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return written_log(2000)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, log: MemoryLog) -> Path:
    """A folder with a closed index of the whole log."""

    folder = tmp_path_factory.mktemp("sealed")

    async def make() -> None:
        follower = follower_of(log, folder)
        await follower.start()
        await follower.close()

    asyncio.run(make())
    return folder


@pytest.fixture
def directory(sealed: Path, tmp_path: Path) -> Path:
    """A copy of that folder to do harm to."""
    shutil.copytree(sealed, tmp_path / "nodes")
    return tmp_path / "nodes"


def index_in(directory: Path) -> Path:
    return directory / f"tenant-{TENANT.tenant_id}"


async def test_unharmed_it_is_used_as_it_is(log: MemoryLog, directory: Path) -> None:
    await assert_recovers(log, directory, rebuilds=0)


def _flip(path: Path, chance: random.Random) -> None:
    whole = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 3, 100])):
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
    path.write_bytes(whole)


def _cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def _overwrite_page(path: Path, chance: random.Random) -> None:
    page = chance.randrange(path.stat().st_size // 4096)
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(chance.randbytes(4096))


def _swap_pages(path: Path, chance: random.Random) -> None:
    """Whole pages of the right kind in the wrong place, as a torn disk gives."""
    whole = path.read_bytes()
    pages = [whole[at : at + 4096] for at in range(0, len(whole), 4096)]
    one, other = chance.sample(range(2, len(pages)), 2)
    pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))


def _zero_the_end(path: Path, chance: random.Random) -> None:
    """What a file system leaves of appended blocks after a power failure."""
    size = path.stat().st_size
    left = chance.randrange(size)
    os.truncate(path, left)
    os.truncate(path, size)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("harm", [_flip, _cut, _overwrite_page, _swap_pages, _zero_the_end])
async def test_a_harmed_data_file_is_never_mapped_and_is_made_anew(
    log: MemoryLog, directory: Path, harm: Callable[[Path, random.Random], None], seed: int
) -> None:
    before = (index_in(directory) / "data.mdb").read_bytes()
    harm(index_in(directory) / "data.mdb", random.Random(seed))
    is_harmed = (index_in(directory) / "data.mdb").read_bytes() != before

    await assert_recovers(log, directory, rebuilds=1 if is_harmed else 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("harm", [_flip, _cut])
async def test_a_harmed_seal_is_not_trusted(
    log: MemoryLog, directory: Path, harm: Callable[[Path, random.Random], None], seed: int
) -> None:
    harm(index_in(directory) / "seal", random.Random(seed))

    await assert_recovers(log, directory, rebuilds=1)


@pytest.mark.parametrize("lost", ["data.mdb", "seal", "."])
async def test_what_was_deleted_is_made_anew(log: MemoryLog, directory: Path, lost: str) -> None:
    path = index_in(directory) / lost
    shutil.rmtree(path) if lost == "." else path.unlink()

    await assert_recovers(log, directory, rebuilds=1)


async def test_an_older_copy_put_back_catches_up(tmp_path: Path, log: MemoryLog) -> None:
    """A copy of a closed index is whole, only old: the log says what came since."""
    early = MemoryLog()
    early.changes = log.changes[:700]
    follower = follower_of(early, tmp_path)
    await follower.start()
    await follower.close()

    await assert_recovers(log, tmp_path, rebuilds=0)


@pytest.mark.parametrize("failing", range(1, 5))
async def test_a_closing_that_fails_anywhere_leaves_nothing_that_is_wrongly_trusted(
    directory: Path, log: MemoryLog, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = MemoryLog()
    more.changes = list(log.changes)
    follower = follower_of(more, directory)
    await follower.start()
    more.opt_out("person who came last")
    follower.offer(more.committed(1))
    calls = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(5, "the disk failed")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await follower.close()
    monkeypatch.undo()

    follower = follower_of(more, directory)
    await follower.start()
    assert follower.index.records_many([key_of("person who came last")]) == [
        more.standing()[key_of("person who came last")]
    ]
    await follower.close()


def kill_a_writer(path: Path, changes: int, after: int) -> None:
    """Let another process apply changes, and kill it once it has said so many times that it did."""
    writer = subprocess.Popen(
        [sys.executable, "-m", WRITER, str(path), str(changes)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(after):
        assert writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()


@pytest.mark.parametrize("after", [1, 20, 55, 90, 130, 180])
async def test_killed_while_it_applies_changes_it_is_made_anew(
    log: MemoryLog, tmp_path: Path, after: int
) -> None:
    """The index of a process that was killed has no seal, however whole its file may be."""
    kill_a_writer(index_in(tmp_path), len(log.changes), after)

    with pytest.raises(IndexUnusableError) as refused:
        Index.open(index_in(tmp_path), tenant_id=TENANT.tenant_id, epoch=EPOCH)
    assert refused.value.fault is Fault.UNCLEAN
    await assert_recovers(log, tmp_path, rebuilds=1)
    await assert_recovers(log, tmp_path, rebuilds=0)
