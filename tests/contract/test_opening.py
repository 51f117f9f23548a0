"""A store opens only on a database that keeps what it commits, and whose schema it knows."""

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from heed.errors import InvalidArgumentError, UnavailableError
from heed_server.storage import SchemaError, apsw_driver, migrate, open_store
from heed_server.storage.schema import SCHEMA_VERSION
from heed_server.storage.sqlite import SqliteBackend, is_safe_engine
from heed_server.storage.tables import metadata
from heed_server.store import LogDamagedError
from tests.support.postgres import Postgres
from tests.support.roots import root_file_for, shared_root_file
from tests.support.stores import Database, chooses, new_database, new_shop


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'heed.db'}"


def schema_of(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


async def test_migrating_gives_the_schema_of_the_metadata(database: Database) -> None:
    if database.kind == "sqlite":
        await database.open()
        engine = create_engine(database.url, module=apsw_driver, poolclass=NullPool)
        with engine.connect() as connection:
            assert schema_of(connection) == []
        return
    shared = create_async_engine(database.url, poolclass=NullPool)
    async with shared.connect() as connected:
        assert await connected.run_sync(schema_of) == []


async def test_migrated_tables_are_word_for_word_those_of_the_metadata(tmp_path: Path) -> None:
    """Autogeneration sees neither WITHOUT ROWID nor what an index leaves out."""
    await migrate(sqlite_url(tmp_path))
    metadata.create_all(create_engine(f"sqlite:///{tmp_path / 'made.db'}", poolclass=NullPool))

    def statements(path: Path) -> set[str]:
        with sqlite3.connect(path) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql > ''")
            # A column that was added stands where SQLite put it, with other white space.
            found = {" ".join(sql.split()) for name, sql in rows if not name.startswith("alembic")}
        connection.close()
        return found

    assert statements(tmp_path / "heed.db") == statements(tmp_path / "made.db")


async def test_migrating_twice_does_nothing(database: Database) -> None:
    await migrate(database.url)
    shop = await new_shop(await database.open())
    await shop.ask(chooses("ada"))
    await shop.store.close()

    assert await migrate(database.url) is False

    again = await database.open()
    assert (await again.head(shop.tenant_id)).revision == 1


@pytest.mark.postgres
async def test_postgres_is_migrated_only_when_asked_to(postgres: Postgres, tmp_path: Path) -> None:
    async with new_database("postgres", tmp_path, postgres, is_migrated=False) as empty:
        with pytest.raises(SchemaError, match="heed-server migrate"):
            await open_store(empty.url, root_file=shared_root_file())

        assert await migrate(empty.url) is True
        await (await open_store(empty.url, root_file=shared_root_file())).close()

    async with new_database("postgres", tmp_path, postgres, is_migrated=False) as other:
        root_file = shared_root_file()
        await (await open_store(other.url, migrates=True, root_file=root_file)).close()


async def test_sqlite_is_not_migrated_where_that_is_forbidden(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="heed-server migrate"):
        await open_store(sqlite_url(tmp_path), migrates=False)

    await (await open_store(sqlite_url(tmp_path))).close()
    await (await open_store(sqlite_url(tmp_path), migrates=False)).close()


async def test_a_schema_of_a_later_heed_is_refused_that_this_code_cannot_read(
    database: Database,
) -> None:
    root_file = root_file_for(database.url)
    await (await open_store(database.url, root_file=root_file)).close()
    later = SCHEMA_VERSION + 1
    await database.execute(f"UPDATE alembic_version SET version_num = '{later:04}'")
    await database.execute(f"UPDATE compatibility SET readable_since = {later}")

    for call in (open_store(database.url, root_file=root_file), migrate(database.url)):
        with pytest.raises(SchemaError, match="later heed"):
            await call


async def test_a_schema_of_a_later_heed_is_opened_that_only_expanded(database: Database) -> None:
    await migrate(database.url)
    shop = await new_shop(await database.open())
    await shop.ask(chooses("ada"))
    await shop.store.close()
    await database.execute(f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION + 1:04}'")
    await database.execute("ALTER TABLE keys ADD COLUMN colour TEXT DEFAULT 'blue'")

    assert await migrate(database.url) is False
    again = await database.open()
    shop.store = again
    await shop.ask(chooses("bob"))

    assert (await again.head(shop.tenant_id)).revision == 2


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
        ((4, 0, 0), True),
    ],
)
def test_engines_that_may_lose_commits_are_told_apart(
    version: tuple[int, ...], is_safe: bool
) -> None:
    assert is_safe_engine(version) is is_safe


async def test_an_engine_that_may_lose_commits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw_driver, "sqlite_version_info", (3, 40, 1))

    with pytest.raises(UnavailableError, match="can lose committed transactions"):
        await open_store(sqlite_url(tmp_path))


async def test_a_second_process_cannot_open_the_same_file(tmp_path: Path) -> None:
    first = await open_store(sqlite_url(tmp_path))

    with pytest.raises(UnavailableError, match="another process"):
        await open_store(sqlite_url(tmp_path))
    await first.close()

    await (await open_store(sqlite_url(tmp_path))).close()


async def test_commits_of_sqlite_are_fsynced(tmp_path: Path) -> None:
    store = await open_store(sqlite_url(tmp_path))
    backend = store._backend
    assert isinstance(backend, SqliteBackend)

    def pragmas(connection: Connection) -> dict[str, object]:
        return {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint", "mmap_size")
        }

    found = await backend._writer.run(pragmas)
    async with backend.reading() as reading:
        read = await reading.run(pragmas)
    await store.close()

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "wal_autocheckpoint": 0,
        "mmap_size": 0,
    }
    assert read["wal_autocheckpoint"] == 0


async def test_readers_cannot_write(tmp_path: Path) -> None:
    store = await open_store(sqlite_url(tmp_path))

    async with store._backend.reading() as reading:
        with pytest.raises(UnavailableError, match="readonly"):
            await reading.run(lambda c: c.exec_driver_sql("DELETE FROM changes"))

    await store.close()


async def test_the_folder_of_a_new_database_is_closed_to_others(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'new' / 'heed.db'}")
    await store.close()

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


async def test_the_files_of_a_new_database_are_closed_to_others(tmp_path: Path) -> None:
    store = await open_store(sqlite_url(tmp_path))

    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("heed.db*")} == {0o600}
    await store.close()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "heed.db").write_bytes(b"no database at all, whatever its name" * 100)

    with pytest.raises(UnavailableError, match="not a database"):
        await open_store(sqlite_url(tmp_path))


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "://x"]
)
async def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        await open_store(url)


async def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    with pytest.raises(UnavailableError) as refused:
        await open_store("postgresql://ada:hunter2@127.0.0.1:1/heed", root_file=shared_root_file())

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
async def test_a_drivers_name_in_the_url_changes_nothing(tmp_path: Path, scheme: str) -> None:
    store = await open_store(f"{scheme}:///{tmp_path / 'heed.db'}")
    await store.close()

    assert (tmp_path / "heed.db").is_file()


@pytest.mark.postgres
async def test_a_session_whose_commits_would_not_wait_is_made_to_wait(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with new_database("postgres", tmp_path, postgres) as database:
        name = database.url.rpartition("/")[2]
        await database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        store = await database.open()

        found = await store._backend.write(
            lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar(),
            must_commit=lambda _: False,
        )

        assert found == "on"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE heads SET revision = revision + 1",
        "UPDATE heads SET revision = revision - 1",
        "UPDATE heads SET revision = 0",
        "UPDATE heads SET commit_time = commit_time + 86400000000",
        "UPDATE heads SET running_hash = (SELECT running_hash FROM changes WHERE revision = 1)",
        "DELETE FROM changes WHERE revision = 2",
    ],
)
async def test_a_log_that_does_not_end_where_its_head_says_is_not_written_on(
    database: Database, change: str
) -> None:
    store = await database.open()
    await new_shop(store, "nobody said anything")
    shop = await new_shop(store)
    for name in ("ada", "bob"):
        await shop.ask(chooses(name))
    await store.close()
    await (await database.open()).close()  # as it is, it opens
    await database.execute(change)

    with pytest.raises(LogDamagedError, match=r"the log ends at|another hash"):
        await database.open()
