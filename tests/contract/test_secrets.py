"""Every key stands in the database wrapped, by root keys that are not in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from heed.errors import InvalidArgumentError, UnavailableError
from heed.model import TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset
from heed_server.secrets.names import PURPOSES, address_keyset_name, lookup_key_name
from heed_server.secrets.root_file import RootFile
from heed_server.storage import SqlStore, migrate, migrations, open_store
from heed_server.storage.schema import heads, tenants
from heed_server.storage.sqlite_dialect import new_engine
from heed_server.storage.tables import metadata
from heed_server.store import RecordFilter
from tests.support.postgres import Postgres
from tests.support.roots import root_file_for
from tests.support.stores import (
    LOOKUP_KEY,
    Database,
    Shop,
    adds,
    keyed,
    new_database,
    new_shop,
    protection,
)

OLD_KEY = b"an older heed's readable key 32b"


def root_of(database: Database) -> RootFile:
    return RootFile(root_file_for(database.url) or database.folder / "heed.db.root")


async def every_byte(database: Database) -> bytes:
    """Every value of every row, and on SQLite every file of it."""
    found = [
        value if isinstance(value, bytes) else str(value).encode()
        for table in metadata.tables
        for row in await database.rows(table)
        for value in row.values()
    ]
    if database.kind == "sqlite":
        found += [path.read_bytes() for path in database.folder.glob("heed.db*")]
    return b"\0".join(found)


async def on_old_schema(database: Database, *keys: bytes) -> None:
    """Make the database one of the release before, with a tenant for each readable key."""

    def make(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for number, key in enumerate(keys):
            added = connection.execute(
                insert(tenants)
                .values(name=f"old-{number}", lookup_key=key, create_time=1)
                .returning(tenants.c.tenant_id)
            )
            connection.execute(
                insert(heads).values(
                    tenant_id=added.scalar_one(),
                    revision=0,
                    running_hash=bytes(32),
                    commit_time=1,
                    commits=0,
                )
            )

    if database.kind == "sqlite":
        engine = new_engine(database.folder / "heed.db")
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            make(connection)
            connection.exec_driver_sql("COMMIT")
        return
    shared = create_async_engine(database.url)
    async with shared.begin() as connected:
        await connected.run_sync(make)
    await shared.dispose()


async def test_no_key_of_a_tenant_stands_readable(shop: Shop, database: Database) -> None:
    keyset = await shop.store.secret(address_keyset_name(shop.tenant_id))
    assert keyset is not None

    stored = await every_byte(database)

    assert LOOKUP_KEY not in stored
    assert keyset not in stored
    assert [tenant.lookup_key.key for tenant in await shop.store.tenants()] == [LOOKUP_KEY]


async def test_a_secret_that_is_there_is_never_replaced(store: SqlStore) -> None:
    assert await store.secret("secrets/signing-key") is None

    first = await store.ensure_secret("secrets/signing-key", b"first")
    second = await store.ensure_secret("secrets/signing-key", b"second")

    assert (first, second) == (b"first", b"first")
    assert await store.secret("secrets/signing-key") == b"first"


async def test_what_was_kept_is_there_after_a_restart(database: Database) -> None:
    store = await database.open()
    shop = await new_shop(store)
    await shop.ask(adds(protection("ada")))
    await store.ensure_secret("secrets/signing-key", b"kept")
    await store.close()

    again = await database.open()

    assert [tenant.lookup_key.key for tenant in await again.tenants()] == [LOOKUP_KEY]
    assert await again.secret("secrets/signing-key") == b"kept"
    page = await again.list_suppressions(shop.tenant_id, RecordFilter(), "", 10)
    assert [item.subject for item in page.items] == [keyed("ada").subject]


async def test_a_secret_moved_under_another_name_is_refused(
    store: SqlStore, database: Database
) -> None:
    one, _ = await new_shop(store, "one"), await new_shop(store, "two")
    await database.execute("DELETE FROM secrets WHERE name = 'secrets/lookup-key/2/1'")
    await database.execute(
        "UPDATE secrets SET name = 'secrets/lookup-key/2/1'"
        f" WHERE name = '{lookup_key_name(one.tenant_id)}'"
    )
    await database.execute("UPDATE tenants SET lookup_key = lookup_key")

    with pytest.raises(SecretsError):
        await store.tenants()


async def test_an_address_moved_to_another_subject_is_refused(
    shop: Shop, database: Database
) -> None:
    await shop.ask(adds(protection("ada"), protection("bob")))
    ada, bob = (database.blob(keyed(name).key) for name in ("ada", "bob"))
    await database.execute(
        "UPDATE encrypted_addresses SET ciphertext = "
        f"(SELECT ciphertext FROM encrypted_addresses WHERE subject = {ada}) WHERE subject = {bob}"
    )

    with pytest.raises(SecretsError):
        await shop.store.list_suppressions(shop.tenant_id, RecordFilter(), "", 10)


async def test_root_keys_of_another_database_are_refused(
    database: Database, tmp_path: Path
) -> None:
    await (await open_store(database.url, root_file=root_file_for(database.url))).close()
    other = RootFile(tmp_path / "other" / "root")
    other.create()

    with pytest.raises(SecretsError, match="that this database's other servers have"):
        await open_store(database.url, root_file=other.path)


async def test_lost_root_keys_are_never_made_anew(database: Database, tmp_path: Path) -> None:
    await (await open_store(database.url, root_file=root_file_for(database.url))).close()

    with pytest.raises(SecretsError, match="keys root create"):
        await open_store(database.url, root_file=tmp_path / "gone" / "root")

    assert not (tmp_path / "gone").exists()


async def test_a_new_sqlite_database_has_root_keys_beside_it(tmp_path: Path) -> None:
    await (await open_store(f"sqlite:///{tmp_path / 'heed.db'}")).close()

    assert (tmp_path / "heed.db.root").stat().st_mode & 0o777 == 0o600


async def test_a_new_sqlite_database_has_them_where_it_is_told(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "root"

    await (await open_store(f"sqlite:///{tmp_path / 'heed.db'}", root_file=place)).close()

    assert place.is_file()
    assert not (tmp_path / "heed.db.root").exists()


async def test_postgres_has_them_at_no_place_that_was_not_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"keys\.root_file is needed"):
        await open_store("postgresql://heed@127.0.0.1:1/heed")


@pytest.mark.postgres
async def test_a_server_with_a_file_of_before_a_rotation_adds_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    """What it added would be lost when the old keys are destroyed."""
    older, rotated = RootFile(tmp_path / "old" / "root"), RootFile(tmp_path / "new" / "root")
    older.create()
    rotated.path.parent.mkdir()
    rotated.path.write_bytes(older.path.read_bytes())
    rotated.path.chmod(0o600)
    rotated.change(
        lambda keys: keys.changed(PURPOSES, lambda one: one.with_new_key(is_primary=True))
    )
    async with new_database("postgres", tmp_path, postgres) as database:
        late = await database.open(root_file=older.path)
        await new_shop(late, "before")
        await new_shop(await database.open(root_file=rotated.path), "new")

        with pytest.raises(SecretsError):
            await new_shop(late, "later")

        assert [row["name"] for row in await database.rows("tenants")] == ["before", "new"]
        with pytest.raises(SecretsError):
            await database.open(root_file=older.path)


async def test_a_lost_file_stops_no_write_of_a_server_that_runs(
    database: Database, tmp_path: Path
) -> None:
    copy = tmp_path / "copy" / "root"
    copy.parent.mkdir()
    if (shared := root_file_for(database.url)) is not None:
        copy.write_bytes(shared.read_bytes())
        copy.chmod(0o600)
    store = await database.open(root_file=copy)
    shop = await new_shop(store)
    await shop.ask(adds(protection("ada")))
    copy.unlink()

    await shop.ask(adds(protection("bob")))

    assert len(await database.rows("encrypted_addresses")) == 2
    assert [tenant.name for tenant in await store.tenants()] == ["shop"]
    with pytest.raises(SecretsError):
        await new_shop(store, "another")
    assert [row["name"] for row in await database.rows("tenants")] == ["shop"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def old(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    kind: str = request.param
    server: Postgres | None = None
    if kind == "postgres":
        server = request.getfixturevalue("postgres")
    async with new_database(kind, tmp_path, server, is_migrated=False) as made:
        await on_old_schema(made, OLD_KEY, bytes(reversed(OLD_KEY)))
        yield made


async def test_readable_lookup_keys_are_wrapped_by_migrating(old: Database) -> None:
    assert await migrate(old.url, root_file=root_file_for(old.url)) is True

    assert [row["lookup_key"] for row in await old.rows("tenants")] == [b"", b""]
    store = await old.open()
    assert [t.lookup_key.key for t in await store.tenants()] == [OLD_KEY, bytes(reversed(OLD_KEY))]
    await store.close()
    stored = await every_byte(old)
    assert OLD_KEY not in stored
    assert await migrate(old.url, root_file=root_file_for(old.url)) is False


async def test_without_root_keys_nothing_is_migrated(old: Database, tmp_path: Path) -> None:
    if old.kind == "sqlite":
        return  # it makes its own
    with pytest.raises(UnavailableError, match="keys root create"):
        await migrate(old.url, root_file=tmp_path / "nowhere")

    engine = create_async_engine(old.url)
    async with engine.connect() as connected:
        found = (await connected.execute(select(tenants.c.lookup_key))).scalars().all()
    await engine.dispose()
    assert sorted(found) == sorted([OLD_KEY, bytes(reversed(OLD_KEY))])


async def test_a_tenant_that_an_older_node_makes_meanwhile_is_served_and_wrapped_next(
    store: SqlStore, database: Database
) -> None:
    await database.execute(
        "INSERT INTO tenants (name, lookup_key, create_time)"
        f" VALUES ('late', {database.blob(OLD_KEY)}, 1)"
    )
    await database.execute(
        "INSERT INTO heads (tenant_id, revision, running_hash, commit_time, commits)"
        f" SELECT tenant_id, 0, {database.blob(bytes(32))}, 1, 0 FROM tenants"
    )
    (tenant,) = await store.tenants()
    assert tenant.lookup_key.key == OLD_KEY

    shop = Shop(store, TenantId(tenant.tenant_id))
    await shop.ask(adds(protection("ada")))
    await store.close()

    again = await database.open()
    assert [tenant.lookup_key.key for tenant in await again.tenants()] == [OLD_KEY]
    assert [row["lookup_key"] for row in await database.rows("tenants")] == [b""]
    keyset = await again.secret(address_keyset_name(shop.tenant_id))
    assert keyset is not None
    assert len(Keyset.from_bytes(keyset).key_ids) == 1
