"""Of the nodes that share a database one at a time has a lease."""

from heed_server.storage import SqlStore
from tests.support.stores import Database, FakeClock


async def test_a_lease_is_one_holders_until_it_gives_it_back(store: SqlStore) -> None:
    assert await store.take_lease("outbox", "node-1", 60)

    assert not await store.take_lease("outbox", "node-2", 60)
    assert await store.take_lease("outbox", "node-1", 60)
    await store.release_lease("outbox", "node-2")
    assert not await store.take_lease("outbox", "node-2", 60)
    await store.release_lease("outbox", "node-1")
    assert await store.take_lease("outbox", "node-2", 60)


async def test_leases_of_two_names_have_nothing_to_do_with_each_other(store: SqlStore) -> None:
    assert await store.take_lease("outbox", "node-1", 60)

    assert await store.take_lease("other", "node-2", 60)


async def test_a_lease_that_is_over_is_anybodys(
    store: SqlStore, database: Database, clock: FakeClock
) -> None:
    """On PostgreSQL by the database's clock, which no test turns: there it is over at once."""
    seconds = 10 if database.kind == "sqlite" else 0
    assert await store.take_lease("outbox", "node-1", seconds)
    clock.pass_seconds(11)

    assert await store.take_lease("outbox", "node-2", 60)

    assert not await store.take_lease("outbox", "node-1", 60)
