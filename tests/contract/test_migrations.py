"""A database of every released schema, with rows in it, becomes one of this schema."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed.model import Change, Revision, TenantId
from heed_server.backup.file import BackupReader
from heed_server.backup.restoring import restore_backup
from heed_server.backup.taking import take_backup
from heed_server.storage import StorageLimits, SystemClock, migrate
from heed_server.storage.schema import READABLE_SINCE, SCHEMA_VERSION
from tests.support.postgres import Postgres
from tests.support.roots import root_file_for
from tests.support.schemas import RELEASED, make_database, rows_of
from tests.support.stores import Database, Shop, chooses, keyed, new_database

SHOP = TenantId(1)
LIMITS = StorageLimits()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    server: Postgres | None = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
    async with new_database(request.param, tmp_path, server, is_migrated=False) as made:
        yield made


@pytest.fixture(params=RELEASED, ids=lambda version: f"schema-{version}")
async def version(request: pytest.FixtureRequest, empty: Database) -> int:
    await make_database(empty.url, request.param)
    found: int = request.param
    return found


async def test_what_stood_stands(empty: Database, version: int) -> None:
    before = rows_of(version)

    assert await migrate(empty.url, root_file=root_file_for(empty.url)) is True

    store = await empty.open()
    changes = await all_changes(Shop(store, SHOP))
    columns, rows = before["changes"]
    hashes = [row[columns.index("running_hash")] for row in rows]
    assert [change.running_hash for change in changes] == hashes
    columns, rows = before["records"]
    for name in ("ada", "ada.home", "bob", "cy", "dan", "eve", "p0", "nobody"):
        key = keyed(name).key
        of_name = [dict(zip(columns, row, strict=True)) for row in rows]
        standing = (await store.standing(SHOP, [key])).records
        assert {(one.record.kind, one.record.revision) for one in standing} == {
            (row["kind"], row["revision"])
            for row in of_name
            if row["subject"] == key and row["standing"]
        }
    standing_now = await store.standing(SHOP, [])
    assert [topic.name for topic in standing_now.topics] == ["old", "security"]
    assert [(one.hold.hold_id, one.hold.spares_mandatory) for one in standing_now.holds] == [
        ("hold-1", False)
    ]
    assert [key.name for key in await store.api_keys()] == ["mailer"]


async def test_its_log_goes_on(empty: Database, version: int) -> None:
    await migrate(empty.url, root_file=root_file_for(empty.url))
    last = len([row for row in rows_of(version)["changes"][1] if row[0] == SHOP])

    shop = Shop(await empty.open(), SHOP)
    asked = await shop.ask(chooses("zoe"), key="Test:zoe")

    assert asked.appended.revision == last + 1


async def test_its_log_passes_every_check_of_a_restore(
    empty: Database, version: int, tmp_path: Path
) -> None:
    await migrate(empty.url, root_file=root_file_for(empty.url))
    await (await empty.open()).close()
    now = SystemClock().now()
    taken = await take_backup(empty.url, tmp_path / "a.backup", now=now, limits=LIMITS)

    back = await restore_backup(
        f"sqlite:///{tmp_path / 'to.db'}",
        BackupReader(taken.path),
        erased=(),
        sets_aside=False,
        now=now,
        limits=LIMITS,
    )

    rows = rows_of(version)["changes"][1]
    assert sum(log.revision for log in back.restored.logs) == len(rows)


async def test_who_may_open_it_is_written_down(empty: Database, version: int) -> None:
    assert version < READABLE_SINCE <= SCHEMA_VERSION

    await migrate(empty.url, root_file=root_file_for(empty.url))

    assert await empty.rows("compatibility") == [{"id": 1, "readable_since": READABLE_SINCE}]


async def all_changes(shop: Shop) -> list[Change]:
    return [*await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)]
