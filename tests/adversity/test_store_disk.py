"""A disk that fills up, fails, or loses its power under the store on SQLite."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from heed.errors import ErrorReason, HeedError, OutcomeUnknownError, UnavailableError
from heed.model import Revision
from heed_server.storage import SqlStore, open_store
from heed_server.storage.sqlite import CHECKPOINT_BYTES, SqliteBackend
from tests.support.faulty_disk import FaultyDisk
from tests.support.roots import shared_root_file
from tests.support.stores import Shop, chooses, keyed, new_shop


@pytest.fixture
def disk() -> Iterator[FaultyDisk]:
    with FaultyDisk() as faulty:
        yield faulty


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'heed.db'}"


def backend_of(store: SqlStore) -> SqliteBackend:
    backend = store._backend
    assert isinstance(backend, SqliteBackend)
    return backend


async def test_after_a_failed_fsync_the_outcome_is_unknown_and_nothing_more_is_written(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    shop = await new_shop(await open_store(url(tmp_path)))
    await shop.ask(chooses("ada"))

    disk.fails_syncs = True
    results = await asyncio.gather(
        *(shop.ask(chooses(f"p{n}"), key=f"Test:{n}", payload="same") for n in range(3)),
        return_exceptions=True,
    )
    disk.fails_syncs = False

    assert [type(one) for one in results] == [OutcomeUnknownError] * 3
    assert "restart" in shop.store.failure
    with pytest.raises(UnavailableError) as refused:
        await shop.ask(chooses("later"))
    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    await shop.store.close()

    again = Shop(await open_store(url(tmp_path)), shop.tenant_id)
    for n in range(3):
        await again.ask(chooses(f"p{n}"), key=f"Test:{n}", payload="same")
    changes = await again.store.read_changes(shop.tenant_id, Revision(0), 10)
    await again.store.close()
    assert sorted(change.subject or b"" for change in changes) == sorted(
        keyed(name).key for name in ("ada", "p0", "p1", "p2")
    )


async def test_those_who_wait_behind_a_failed_fsync_are_told(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    store = await open_store(url(tmp_path))
    shop = await new_shop(store)
    disk.fails_syncs = True
    first = asyncio.create_task(shop.ask(chooses("ada")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    waiting = asyncio.create_task(shop.ask(chooses("bob")))
    results = await asyncio.gather(first, waiting, return_exceptions=True)

    assert isinstance(results[0], OutcomeUnknownError)
    assert isinstance(results[1], UnavailableError)
    disk.fails_syncs = False
    await store.close()


async def test_a_full_disk_refuses_writes_until_there_is_room_again(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    shop = await new_shop(await open_store(url(tmp_path)))
    await shop.ask(chooses("ada"))

    disk.is_full = True
    with pytest.raises(UnavailableError) as refused:
        await shop.ask(chooses("bob"), key="Test:k", payload="same")
    assert (await shop.store.head(shop.tenant_id)).revision == 1
    disk.is_full = False
    asked = await shop.ask(chooses("bob"), key="Test:k", payload="same")

    assert not isinstance(refused.value, OutcomeUnknownError)
    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert shop.store.failure == ""
    assert not asked.appended.replayed
    assert asked.appended.revision == 2
    await shop.store.close()


async def test_a_failed_checkpoint_stops_the_writer(disk: FaultyDisk, tmp_path: Path) -> None:
    """Retrying an fsync that failed may succeed although the pages are gone."""
    shop = await new_shop(await open_store(url(tmp_path)))
    backend = backend_of(shop.store)
    checkpoint = backend._checkpoint

    def failing(connection: Connection) -> None:
        # Not before: the commit that the checkpoint follows must succeed.
        disk.fails_syncs = True
        checkpoint(connection)

    backend._checkpoint = failing  # type: ignore[method-assign] # only when, not what
    backend._checkpoint_bytes = 0

    await shop.ask(chooses("ada"))
    with pytest.raises(UnavailableError) as refused:
        await shop.ask(chooses("bob"))
    disk.fails_syncs = False

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert "checkpoint" in shop.store.failure
    await shop.store.close()


async def test_the_wal_is_copied_into_the_database_and_does_not_grow_for_ever(
    tmp_path: Path,
) -> None:
    shop = await new_shop(await open_store(url(tmp_path)))
    backend = backend_of(shop.store)
    backend._checkpoint_bytes = 0

    for n in range(30):
        await shop.ask(chooses(f"p{n}"))

    assert (tmp_path / "heed.db-wal").stat().st_size < 1_000_000
    await shop.store.close()
    assert not (tmp_path / "heed.db-wal").exists()


async def test_a_wal_that_was_once_long_is_not_copied_after_every_commit(tmp_path: Path) -> None:
    """The file keeps its length; what counts is how far it is in use."""
    shop = await new_shop(await open_store(url(tmp_path)))
    backend = backend_of(shop.store)
    checkpoint, copies = backend._checkpoint, 0

    def counted(connection: Connection) -> None:
        nonlocal copies
        copies += 1
        checkpoint(connection)

    backend._checkpoint = counted  # type: ignore[method-assign] # counted, and done as ever
    backend._checkpoint_bytes = 400_000

    for n in range(120):
        await shop.ask(chooses(f"p{n}"))

    length = (tmp_path / "heed.db-wal").stat().st_size
    assert length >= 400_000
    assert 2 <= copies <= 30
    await shop.store.close()


async def acknowledged_until_cut(
    disk: FaultyDisk, folder: Path, chance: random.Random, pragma: str = ""
) -> tuple[Shop, set[bytes], Path]:
    """Write, cut the power at some moment, and return who was acknowledged before it."""
    store = await open_store(url(folder), root_file=shared_root_file())
    shop = await new_shop(store)
    backend = backend_of(store)
    if pragma:
        await backend._writer.run(lambda c: c.exec_driver_sql(pragma))
    acknowledged: set[bytes] = set()
    enough = asyncio.Event()
    wanted = chance.randrange(10, 60)

    async def write(n: int) -> None:
        for turn in range(10):
            backend._checkpoint_bytes = 0 if chance.random() < 0.1 else CHECKPOINT_BYTES
            name = f"p{n}.{turn}"
            await shop.ask(chooses(name))
            acknowledged.add(keyed(name).key)
            if len(acknowledged) >= wanted:
                enough.set()

    writing = [asyncio.create_task(write(n)) for n in range(8)]
    await enough.wait()
    before = set(acknowledged)
    disk.cut_power(folder / "after", chance)
    await asyncio.gather(*writing)
    await store.close()
    return shop, before, folder / "after"


async def survivors(shop: Shop, folder: Path) -> set[bytes]:
    """Open what is left, and return whose changes are in the log, which must be whole."""
    store = await open_store(url(folder), root_file=shared_root_file())
    changes = await store.read_changes(shop.tenant_id, Revision(0), 10_000)
    found = {change.subject or b"" for change in changes}
    assert len(found) == len(changes)
    async with store.snapshot(shop.tenant_id) as snapshot:
        standing = [key async for batch in snapshot.records() for key, _ in batch]
    assert set(standing) == found
    await store.close()
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_a_power_cut_loses_nothing_that_was_acknowledged(
    disk: FaultyDisk, tmp_path: Path, seed: int
) -> None:
    shop, acknowledged, left = await acknowledged_until_cut(disk, tmp_path, random.Random(seed))

    found = await survivors(shop, left)

    assert acknowledged <= found


async def test_the_power_cut_would_notice_commits_that_are_not_fsynced(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    """The control: with synchronous=OFF the same cut loses acknowledged writes."""
    lost = 0
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shop, acknowledged, left = await acknowledged_until_cut(
            disk, folder, random.Random(seed), "PRAGMA synchronous=OFF"
        )
        try:
            lost += len(acknowledged - await survivors(shop, left))
        except (HeedError, AssertionError):
            lost += len(acknowledged)

    assert lost > 0
