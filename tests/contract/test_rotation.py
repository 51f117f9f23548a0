"""Keys are replaced while everything goes on, and what is old opens nothing any more."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from heed.model import TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import ADDRESSES, PURPOSES, SECRETS, address_keyset_name
from heed_server.secrets.root_file import RootFile
from heed_server.storage import SqlStore, forget_addresses, rotation
from heed_server.storage.schema import addresses
from heed_server.storage.sqlite_dialect import new_engine
from heed_server.store import RecordFilter
from tests.support.stores import (
    LOOKUP_KEY,
    Database,
    Shop,
    adds,
    erases,
    keyed,
    new_shop,
    protection,
)

NAMES = [f"canary{number:03}" for number in range(30)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 7)


@pytest.fixture
def root_file(tmp_path: Path) -> RootFile:
    made = RootFile(tmp_path / "keys" / "root")
    made.create()
    return made


@pytest.fixture
async def own(database: Database, root_file: RootFile) -> AsyncIterator[Shop]:
    """A tenant of a store whose root keys are no other test's, with addresses."""
    shop = await new_shop(await database.open(root_file=root_file.path))
    await shop.ask(adds(*(protection(name) for name in NAMES)))
    yield shop
    await shop.store.close()


async def listed(store: SqlStore, tenant_id: TenantId) -> list[str]:
    page = await store.list_suppressions(tenant_id, RecordFilter(), "", 1_000)
    return sorted(item.subject.value for item in page.items if item.subject is not None)


def expected(*more: str) -> list[str]:
    return sorted(f"{name}@example.com" for name in (*NAMES, *more))


async def address_keys(database: Database) -> set[int | None]:
    return {key_id_of(row["ciphertext"]) for row in await database.rows("encrypted_addresses")}


async def test_rotating_puts_every_address_under_a_new_key(own: Shop, database: Database) -> None:
    before = await address_keys(database)

    assert await own.store.rotation.begin_addresses(own.tenant_id)
    assert await own.store.rotation.finish_addresses(own.tenant_id) == len(NAMES)

    after = await address_keys(database)
    assert len(after) == 1
    assert not before & after
    assert await listed(own.store, own.tenant_id) == expected()


async def test_the_old_key_of_addresses_is_gone_afterwards(own: Shop) -> None:
    name = address_keyset_name(own.tenant_id)
    old = await own.store.secret(name)
    await own.store.rotation.begin_addresses(own.tenant_id)
    await own.store.rotation.finish_addresses(own.tenant_id)

    new = await own.store.secret(name)

    assert old is not None
    assert new is not None
    assert not set(Keyset.from_bytes(old).key_ids) & set(Keyset.from_bytes(new).key_ids)


async def test_while_a_rotation_is_under_way_no_other_begins(own: Shop) -> None:
    assert await own.store.rotation.begin_addresses(own.tenant_id)

    assert not await own.store.rotation.begin_addresses(own.tenant_id)

    assert await own.store.rotation.finish_addresses(own.tenant_id) == len(NAMES)
    assert await own.store.rotation.finish_addresses(own.tenant_id) == 0


async def test_a_rotation_that_was_cut_off_is_gone_on_with_after_a_restart(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    await own.store.rotation.begin_addresses(own.tenant_id)
    batches = 0

    async def killed() -> None:
        raise ConnectionResetError

    write = own.store._write

    async def some(body: object) -> object:
        nonlocal batches
        batches += 1
        if batches == 3:
            await killed()
        return await write(body)  # type: ignore[arg-type]  # it is what it was given

    cut = own.store.rotation
    cut._write = some  # type: ignore[assignment]  # the same
    with pytest.raises(ConnectionResetError):
        await cut.finish_addresses(own.tenant_id)
    assert len(await address_keys(database)) == 2
    await own.store.close()

    again = await database.open(root_file=root_file.path)
    assert await again.rotation.finish_addresses(own.tenant_id) == len(NAMES) - 14
    assert len(await address_keys(database)) == 1
    assert await listed(again, own.tenant_id) == expected()


async def test_writes_and_reads_go_on_while_addresses_are_put_under_new_keys(
    own: Shop, database: Database
) -> None:
    written: list[str] = []
    is_over = asyncio.Event()

    async def write() -> None:
        for number in itertools.count():
            if is_over.is_set():
                return
            name = f"later{number}"
            await own.ask(adds(protection(name)))
            written.append(name)

    async def read() -> None:
        while not is_over.is_set():
            known = [f"{name}@example.com" for name in (*NAMES, *written)]
            assert set(known) <= set(await listed(own.store, own.tenant_id))

    beside = [asyncio.create_task(task) for task in (write(), write(), read())]
    for _ in range(5):
        await own.store.rotation.begin_addresses(own.tenant_id)
        await own.store.rotation.finish_addresses(own.tenant_id)
    is_over.set()
    await asyncio.gather(*beside)

    assert len(await address_keys(database)) == 1
    assert await listed(own.store, own.tenant_id) == expected(*set(written))


async def test_whoever_was_erased_stays_so(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    """Neither new keys nor addresses that an older node left bring an address back."""
    gone = f"{NAMES[3]}@example.com"
    await own.ask(erases(NAMES[3]))
    await own.store.rotation.begin_addresses(own.tenant_id)
    await own.store.rotation.finish_addresses(own.tenant_id)
    await leave_readable(database, own.tenant_id, NAMES[3])
    await own.store.rotation.encrypt_readable()
    await own.ask(adds(protection(NAMES[3])))

    assert await listed(own.store, own.tenant_id) == [one for one in expected() if one != gone]
    assert await database.rows("addresses") == []


@pytest.mark.postgres
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
async def test_another_node_never_writes_under_a_key_that_is_dropped(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    other = Shop(await database.open(root_file=root_file.path), own.tenant_id)
    await other.ask(adds(protection("other0")), key="Other:0")
    written = ["other0"]
    is_over = asyncio.Event()

    async def write() -> None:
        for number in itertools.count(1):
            if is_over.is_set():
                return
            await other.ask(adds(protection(f"other{number}")), key=f"Other:{number}")
            written.append(f"other{number}")

    writing = asyncio.create_task(write())
    for _ in range(5):
        await own.store.rotation.begin_addresses(own.tenant_id)
        await own.store.rotation.finish_addresses(own.tenant_id)
    is_over.set()
    await writing

    assert len(await address_keys(database)) == 1
    assert await listed(other.store, own.tenant_id) == expected(*written)


async def test_rotating_wraps_every_secret_by_new_root_keys(own: Shop, root_file: RootFile) -> None:
    before = {purpose: root_file.keys().keyset(purpose).primary_id for purpose in PURPOSES}

    count = await own.store.rotation.rotate_root()

    states = await own.store.rotation.root_state()
    assert count >= 2
    assert [list(state.wrapped) for state in states] == [[state.primary_id] for state in states]
    assert all(state.primary_id != before[state.purpose] for state in states)
    assert [tenant.lookup_key.key for tenant in await own.store.tenants()] == [LOOKUP_KEY]
    assert await listed(own.store, own.tenant_id) == expected()
    await own.ask(adds(protection("later")))
    await new_shop(own.store, "another")


async def test_root_keys_that_wait_are_taken_and_no_others_made(
    own: Shop, root_file: RootFile
) -> None:
    await own.store.rotation.stage_root()
    await own.store.rotation.stage_root()
    waiting = root_file.keys().keyset(SECRETS).key_ids

    await own.store.rotation.rotate_root()

    assert len(waiting) == 2
    assert root_file.keys().keyset(SECRETS).key_ids == waiting
    assert root_file.keys().keyset(SECRETS).primary_id == waiting[-1]


async def test_a_root_rotation_that_was_cut_off_is_finished_before_another_begins(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    cut = own.store.rotation

    async def killed(body: object) -> object:
        raise ConnectionResetError

    cut._write = killed  # type: ignore[assignment]  # after the file, before the first secret
    with pytest.raises(ConnectionResetError):
        await cut.rotate_root()
    await own.store.close()
    keys = root_file.keys().keyset(SECRETS).key_ids

    again = await database.open(root_file=root_file.path)
    assert [tenant.lookup_key.key for tenant in await again.tenants()] == [LOOKUP_KEY]
    assert await again.rotation.rotate_root() > 0

    assert root_file.keys().keyset(SECRETS).key_ids == keys


async def test_old_root_keys_are_not_destroyed_while_they_wrap_something(
    own: Shop, root_file: RootFile
) -> None:
    root_file.change(
        lambda keys: keys.changed(PURPOSES, lambda one: one.with_new_key(is_primary=True))
    )
    before = root_file.path.read_bytes()

    with pytest.raises(SecretsError, match="finish the rotation"):
        await own.store.rotation.destroy_old_root(PURPOSES)

    assert root_file.path.read_bytes() == before


async def test_a_backup_of_before_gives_no_address_away_and_keeps_every_stop(
    own: Shop, database: Database, root_file: RootFile, tmp_path: Path
) -> None:
    await own.ask(erases(NAMES[3]))
    backup = {table: await database.rows(table) for table in ("secrets", "encrypted_addresses")}
    await own.store.rotation.rotate_root()
    await own.store.rotation.destroy_old_root([ADDRESSES])
    left = root_file.keys()
    for row in backup["secrets"]:
        if row["name"].startswith(ADDRESSES):
            with pytest.raises(SecretsError):
                left.unwrap(row["name"], row["wrapped"])
        else:
            assert left.unwrap(row["name"], row["wrapped"])

    await own.store.close()
    for table in backup:
        await database.execute(f"DELETE FROM {table}")
    await put_back(database, backup)
    with pytest.raises(SecretsError, match="addresses/check"):
        await database.open(root_file=root_file.path)
    assert await forget_addresses(database.url, root_file=root_file.path) == 1

    restored = Shop(await database.open(root_file=root_file.path), own.tenant_id)
    assert [tenant.lookup_key.key for tenant in await restored.store.tenants()] == [LOOKUP_KEY]
    standing = await restored.store.standing(own.tenant_id, [keyed(name).key for name in NAMES])
    assert len({record.key for record in standing.records}) == len(NAMES)
    assert await listed(restored.store, own.tenant_id) == []
    await restored.ask(adds(protection("later"), protection(NAMES[3])), key="Test:later")
    assert await listed(restored.store, own.tenant_id) == ["later@example.com"]


async def test_addresses_are_not_forgotten_by_root_keys_of_another_database(
    own: Shop, database: Database, root_file: RootFile, tmp_path: Path
) -> None:
    other = RootFile(tmp_path / "other" / "root")
    other.create()
    await own.store.close()

    with pytest.raises(SecretsError):
        await forget_addresses(database.url, root_file=other.path)

    again = await database.open(root_file=root_file.path)
    assert await listed(again, own.tenant_id) == expected()


async def put_back(database: Database, tables: dict[str, list[dict[str, object]]]) -> None:
    from heed_server.storage.tables import metadata

    def put(connection: Connection) -> None:
        for table, rows in tables.items():
            connection.execute(insert(metadata.tables[table]), rows)

    await in_transaction(database, put)


async def in_transaction(database: Database, body: object) -> None:
    assert callable(body)
    if database.kind == "sqlite":
        with new_engine(database.folder / "heed.db").connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            body(connection)
            connection.exec_driver_sql("COMMIT")
        return
    shared = create_async_engine(database.url)
    async with shared.begin() as connected:
        await connected.run_sync(body)
    await shared.dispose()


async def leave_readable(database: Database, tenant_id: TenantId, *names: str) -> None:
    """Write as a node of the release before does."""

    def write(connection: Connection) -> None:
        connection.execute(
            insert(addresses),
            [
                {
                    "tenant_id": tenant_id,
                    "subject": keyed(name).key,
                    "type": 1,
                    "address": f"{name}@example.com",
                }
                for name in names
            ],
        )
        if database.kind == "sqlite":
            connection.exec_driver_sql("PRAGMA user_version = 1")

    await in_transaction(database, write)


async def test_readable_addresses_are_listed_before_and_after_they_are_encrypted(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    old = [f"old{number}" for number in range(20)]
    await own.ask(adds(*(protection(name) for name in old)))
    await database.execute("DELETE FROM encrypted_addresses")
    await own.store.close()
    await leave_readable(database, own.tenant_id, *NAMES, *old)
    store = await database.open(root_file=root_file.path)
    assert await listed(store, own.tenant_id) == expected(*old)

    assert await store.rotation.encrypt_readable() == len(NAMES) + len(old)

    assert await database.rows("addresses") == []
    assert await listed(store, own.tenant_id) == expected(*old)
    assert await store.rotation.encrypt_readable() == 0


async def test_an_address_that_a_newer_node_wrote_meanwhile_is_kept_once(
    own: Shop, database: Database, root_file: RootFile
) -> None:
    await own.store.close()
    await leave_readable(database, own.tenant_id, *NAMES)
    store = await database.open(root_file=root_file.path)

    await store.rotation.encrypt_readable()

    assert len(await database.rows("encrypted_addresses")) == len(NAMES)
    assert await listed(store, own.tenant_id) == expected()


async def test_no_file_of_sqlite_holds_a_readable_address_afterwards(
    tmp_path: Path, root_file: RootFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not where pages were split or rows deleted before this heed came."""
    monkeypatch.setattr(rotation, "BATCH_ROWS", 500)
    folder = tmp_path / "old"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'heed.db'}", "sqlite", folder)
    store = await database.open(root_file=root_file.path)
    shop = await new_shop(store)
    await store.close()
    names = [f"canary{number:05}" for number in range(3_000)]
    await leave_readable(database, shop.tenant_id, *names)
    await database.execute("DELETE FROM addresses WHERE address LIKE '%7@example.com'")
    assert b"canary" in (folder / "heed.db").read_bytes()

    store = await database.open(root_file=root_file.path)
    await store.rotation.encrypt_readable()

    def found() -> list[str]:
        return [path.name for path in folder.iterdir() if b"canary" in path.read_bytes()]

    assert found() == []
    await shop_of(store, shop).ask(adds(protection("canary-later")), key="Test:later")
    await store.close()
    assert found() == []


async def test_a_reader_that_holds_the_wal_delays_its_emptying_and_nothing_else(
    tmp_path: Path, root_file: RootFile
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'heed.db'}", "sqlite", folder)
    store = await database.open(root_file=root_file.path)
    shop = await new_shop(store)
    await store.close()
    await leave_readable(database, shop.tenant_id, "canary1")
    store = await database.open(root_file=root_file.path)

    async with store._backend.reading() as reading:
        await reading.run(lambda c: c.execute(select(addresses)).fetchall())
        with suppress(SecretsError):
            await store.rotation.encrypt_readable()
        assert await database.rows("addresses") == []
    await store.rotation.encrypt_readable()

    assert [path.name for path in folder.iterdir() if b"canary" in path.read_bytes()] == []
    await store.close()


def shop_of(store: SqlStore, shop: Shop) -> Shop:
    return Shop(store, shop.tenant_id)
