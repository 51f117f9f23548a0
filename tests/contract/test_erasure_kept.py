"""What the files of a store keep of an erased person, and what it knows after a restart."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed.model import Effect
from heed_server.erasures import ledger_path, read_ledger
from heed_server.storage import StorageLimits
from tests.support.erased import CANARY, LIST, SMS, snapshot_of, told_everything
from tests.support.stores import (
    DAY,
    Database,
    FakeClock,
    Shop,
    chooses,
    erases,
    keyed,
    new_database,
    new_shop,
    opt_in,
    opt_out,
    origin,
)


async def test_the_ledger_names_who_was_erased_by_keyed_hash_alone(
    shop: Shop, database: Database
) -> None:
    await shop.ask(chooses("ada"))
    await shop.ask(chooses("bob"))
    asked = await shop.ask(erases("ada"))

    is_overwritten = await shop.store.finish_erasure(shop.tenant_id, [keyed("ada").key])
    await shop.store.finish_erasure(shop.tenant_id, [keyed("bob").key])

    (one,) = await shop.store.erasures()
    assert one == (shop.tenant_id, keyed("ada").key, asked.outcome.commit_time)
    assert is_overwritten == (database.kind == "sqlite")
    if database.kind == "sqlite":
        ledger = ledger_path(database.folder / "heed.db")
        assert list(read_ledger(ledger.read_bytes().splitlines(keepends=True))) == [one]
        assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


async def encrypted(database: Database, name: str) -> bytes:
    """The ciphertext of an address."""
    rows = await database.rows("encrypted_addresses")
    return next(bytes(row["ciphertext"]) for row in rows if row["subject"] == keyed(name).key)


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """Of the files of the one database that overwrites when it is told to."""
    async with new_database("sqlite", tmp_path, None) as made:
        yield made


async def test_sqlite_s_files_hold_nothing_of_it_once_it_says_so(sqlite: Database) -> None:
    clock = FakeClock()
    shop = await new_shop(await sqlite.open(clock=clock))
    for n in range(400):
        await shop.ask(chooses(f"other{n}", choices=[opt_out(), opt_out(SMS)]))
        if n % 40 == 0:
            await shop.ask(chooses("ada", by=origin(decided=clock.ago(500 - n), source=CANARY)))
    await told_everything(shop, clock)
    address = await encrypted(sqlite, "ada")
    held = files_of(sqlite.folder)
    assert CANARY.encode() in held
    assert address in held

    await shop.ask(erases("ada"))
    assert await shop.store.finish_erasure(shop.tenant_id, [keyed("ada").key])

    left = files_of(sqlite.folder)
    assert CANARY.encode() not in left
    assert left.count(LIST.encode()) == 1  # of the batch itself
    assert address not in left
    assert await encrypted(sqlite, "other7") in left


async def test_a_long_read_is_waited_for_no_longer_than_it_says(sqlite: Database) -> None:
    store = await sqlite.open(limits=StorageLimits(overwrite_seconds_max=0.2))
    shop = await new_shop(store)
    await shop.ask(chooses("ada", by=origin(source=CANARY)))
    async with shop.store.snapshot(shop.tenant_id):
        await shop.ask(erases("ada"))
        assert not await shop.store.finish_erasure(shop.tenant_id, [keyed("ada").key])
        await shop.ask(chooses("bob"))

    assert await shop.store.finish_erasure(shop.tenant_id, [keyed("ada").key])
    assert CANARY.encode() not in files_of(sqlite.folder)


async def test_an_erasure_outlives_a_restart(database: Database, clock: FakeClock) -> None:
    store = await database.open(clock=clock)
    shop = await new_shop(store)
    await told_everything(shop, clock)
    await shop.ask(erases("ada"))
    before = await snapshot_of(shop)
    await store.close()

    again = Shop(await database.open(clock=clock), shop.tenant_id)

    assert await snapshot_of(again) == before
    asked = await again.ask(
        chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(DAY // 1_000_000))),
        key="late",
    )
    assert asked.outcome.stored[0].effect is Effect.SUPERSEDED
