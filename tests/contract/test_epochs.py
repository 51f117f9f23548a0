"""A new epoch is begun under a hold, and nodes that run follow into it or refuse."""

import pytest

from heed.errors import UnavailableError
from heed.model import ChangeKind, Revision
from heed_server.storage import SqlStore
from heed_server.storage.ways_back import new_epoch
from heed_server.store import LogDamagedError
from tests.support.stores import Database, Shop, chooses, lifts, new_shop, places


async def closed(database: Database) -> Shop:
    shop = await new_shop(await database.open())
    await new_shop(shop.store, "other")
    await shop.ask(chooses("ada"))
    await shop.store.close()
    return shop


async def begun(database: Database) -> tuple[Shop, SqlStore]:
    shop = await closed(database)
    await new_epoch(database.url, reason="put back by the hoster")
    return shop, await database.open()


async def test_every_tenant_is_held_for_the_reason_that_was_given(database: Database) -> None:
    _, store = await begun(database)

    for tenant in await store.tenants():
        head = await store.head(tenant.tenant_id)
        (last,) = await store.read_changes(tenant.tenant_id, Revision(head.revision - 1), 10)
        assert last.kind is ChangeKind.HOLD
        assert last.hold is not None
        assert last.hold.spares_mandatory
        assert last.hold.reason == "put back by the hoster"
        (standing,) = (await store.standing(tenant.tenant_id, [])).holds
        assert standing.hold == last.hold


async def test_its_epoch_is_another_and_its_log_the_same(database: Database) -> None:
    shop = await closed(database)
    before = await database.rows("changes")
    (epoch,) = [row["epoch"] for row in await database.rows("store")]

    told = await new_epoch(database.url, reason="a test")

    (now,) = [row["epoch"] for row in await database.rows("store")]
    assert now == told.epoch != epoch
    after = await database.rows("changes")
    assert [row for row in after if row in before] == before
    assert shop.tenant_id in {row["tenant_id"] for row in after}


async def test_its_hold_is_lifted_as_any_other(database: Database) -> None:
    shop, store = await begun(database)
    shop.store = store
    (standing,) = (await store.standing(shop.tenant_id, [])).holds

    await shop.ask(lifts(standing.hold.hold_id), key="Test:lift")

    assert (await store.standing(shop.tenant_id, [])).holds == ()


async def test_it_finds_room_where_there_are_as_many_holds_as_may_be(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heed.judge import operations

    monkeypatch.setattr(operations, "HOLDS_MAX", 1)
    shop = await new_shop(await database.open())
    await shop.ask(places("hold-1"))
    await shop.store.close()

    await new_epoch(database.url, reason="a test")

    assert len(await database.rows("holds")) == 2


async def test_a_store_that_is_open_follows_into_it(database: Database) -> None:
    if not database.is_shared:
        pytest.skip("one process owns a SQLite database, so none is open")
    shop = await new_shop(await database.open())
    await shop.ask(chooses("ada"))
    before = await shop.store.head(shop.tenant_id)

    told = await new_epoch(database.url, reason="a test")

    after = await shop.store.head(shop.tenant_id)
    asked = await shop.ask(chooses("bob"))
    assert before.epoch != after.epoch == told.epoch == asked.outcome.epoch
    assert asked.appended.revision == before.revision + 2


async def test_on_sqlite_it_is_refused_while_a_server_runs(database: Database) -> None:
    if database.is_shared:
        pytest.skip("of a shared database servers may run")
    await new_shop(await database.open())

    with pytest.raises(UnavailableError, match="another process"):
        await new_epoch(database.url, reason="a test")


async def test_no_revision_is_given_twice_in_a_database_put_back_under_a_node(
    database: Database,
) -> None:
    """The control: after a new epoch the same node writes again."""
    if not database.is_shared:
        pytest.skip("a SQLite file cannot be put back within a server's connection")
    shop = await new_shop(await database.open())
    for name in ("ada", "bob", "cy"):
        await shop.ask(chooses(name))
    await put_back(database, shop, 1)

    with pytest.raises(LogDamagedError, match="put back"):
        await shop.ask(chooses("dan"))
    assert len(await database.rows("changes")) == 1

    await new_epoch(database.url, reason="a test")
    assert (await shop.ask(chooses("dan"))).appended.revision == 3


async def test_nor_where_another_node_has_brought_as_many_others(database: Database) -> None:
    if not database.is_shared:
        pytest.skip("a SQLite file cannot be put back within a server's connection")
    shop = await new_shop(await database.open())
    for name in ("ada", "bob", "cy"):
        await shop.ask(chooses(name))
    await put_back(database, shop, 1)
    other = Shop(await database.open(), shop.tenant_id)
    for name in ("x", "y"):
        await other.ask(chooses(name), key=f"Test:{name}")

    with pytest.raises(LogDamagedError, match="put back"):
        await shop.ask(chooses("dan"))


async def test_a_sqlite_file_that_was_replaced_under_a_server_is_not_written(
    database: Database,
) -> None:
    if database.is_shared:
        pytest.skip("about SQLite's file")
    shop = await new_shop(await database.open())
    await shop.ask(chooses("ada"))
    path = database.folder / "heed.db"
    copy = database.folder / "copy.db"
    copy.write_bytes(path.read_bytes())
    copy.replace(path)

    with pytest.raises(UnavailableError, match="replaced"):
        await shop.ask(chooses("bob"))
    assert "replaced" in shop.store.failure


async def put_back(database: Database, shop: Shop, revision: int) -> None:
    """Take changes away past the store, as an older state of the database does."""
    (last,) = [row for row in await database.rows("changes") if row["revision"] == revision]
    await database.execute(f"DELETE FROM changes WHERE revision > {revision}")
    await database.execute(
        f"UPDATE heads SET revision = {revision}, commit_time = {last['commit_time']}, "
        f"running_hash = {database.blob(last['running_hash'])}"
    )
    await database.execute("DELETE FROM keys")
    assert shop.tenant_id
