"""PostgreSQL that restarts, vanishes, hangs, or answers a COMMIT and is not heard."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, literal, make_url, select

from heed.errors import ErrorReason, OutcomeUnknownError, UnavailableError
from heed.model import Revision
from heed_server.storage import StorageLimits, open_store
from heed_server.writes import Committed
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.postgres import Postgres
from tests.support.roots import shared_root_file
from tests.support.stores import Database, Shop, chooses, keyed, new_database, new_shop

pytestmark = pytest.mark.postgres

PATIENT = StorageLimits(retry_seconds_max=20)
HASTY = StorageLimits(retry_seconds_max=0.2)
WAIT_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of the module's own: its tests restart it and turn its settings."""
    with Postgres() as running:
        yield running


@pytest.fixture
async def database(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Database]:
    async with new_database("postgres", tmp_path, postgres) as made:
        yield made


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database.url) as cutting:
        database.url, direct = cutting.url, database.url
        yield cutting
        await database.close()
        database.url = direct


async def ask_server(postgres: Postgres, statement: str) -> list[Any]:
    dsn = make_url(postgres.url).set(drivername="postgresql")
    connection = await asyncpg.connect(dsn.render_as_string(hide_password=False))
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    """Wait for a state of the server, which tells nobody when it is reached."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not await is_so():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def revisions(shop: Shop) -> list[int]:
    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)
    return [change.revision for change in changes]


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_cut_commit_is_found_out_and_happens_once(
    database: Database, proxy: CuttingProxy, cut: Cut
) -> None:
    shop = await new_shop(await database.open(limits=PATIENT))
    published: list[Committed] = []
    shop.store.on_commit(published.append)
    await shop.ask(chooses("first"))

    proxy.cuts.append(cut)
    asked = await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(5)))
    await shop.ask(chooses("last"))

    assert not any(one.appended.replayed for one in asked)
    assert [one.appended.revision for one in asked] == [2, 3, 4, 5, 6]
    assert await revisions(shop) == list(range(1, 8))
    told = [change for one in published for change in one.changes]
    assert told == list(await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000))


async def test_a_replay_among_lost_commits_stays_a_replay(
    database: Database, proxy: CuttingProxy
) -> None:
    shop = await new_shop(await database.open(limits=PATIENT))
    await shop.ask(chooses("ada"), key="Test:k", payload="same")

    proxy.cuts.append(Cut.ANSWER_LOST)
    again, new = await asyncio.gather(
        shop.ask(chooses("ada"), key="Test:k", payload="same"), shop.ask(chooses("bob"))
    )

    assert again.appended.replayed
    assert not new.appended.replayed


@pytest.mark.parametrize(("cut", "committed"), [(Cut.NOT_SENT, 1), (Cut.ANSWER_LOST, 2)])
async def test_what_cannot_be_found_out_in_time_is_unknown_and_its_key_tells(
    database: Database, proxy: CuttingProxy, cut: Cut, committed: int
) -> None:
    shop = await new_shop(await database.open(limits=HASTY))
    await shop.ask(chooses("first"))

    proxy.goes_down_after_cut = True
    proxy.cuts.append(cut)
    with pytest.raises(OutcomeUnknownError):
        await shop.ask(chooses("ada"), key="Test:k", payload="same")
    await proxy.up()

    assert (await shop.store.head(shop.tenant_id)).revision == committed
    again = await shop.ask(chooses("ada"), key="Test:k", payload="same")
    assert again.appended.replayed is (cut is Cut.ANSWER_LOST)
    assert await revisions(shop) == [1, 2]


async def test_a_server_that_is_away_is_told_as_nothing_written(
    database: Database, proxy: CuttingProxy
) -> None:
    shop = await new_shop(await database.open(limits=HASTY))
    proxy.down()

    for call in (shop.ask(chooses("ada")), shop.store.head(shop.tenant_id), shop.store.ping()):
        with pytest.raises(UnavailableError) as refused:
            await call
        assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
        assert not isinstance(refused.value, OutcomeUnknownError)
    await proxy.up()

    assert (await shop.ask(chooses("ada"))).appended.revision == 1
    assert shop.store.failure == ""


async def test_a_restart_of_the_server_is_ridden_out(
    postgres: Postgres, database: Database
) -> None:
    shop = await new_shop(await database.open(limits=PATIENT))
    await asyncio.gather(*(shop.store.head(shop.tenant_id) for _ in range(4)))
    await shop.ask(chooses("ada"))

    await asyncio.to_thread(postgres.restart)

    assert (await shop.store.head(shop.tenant_id)).revision == 1
    assert (await shop.ask(chooses("bob"))).appended.revision == 2
    heads = await asyncio.gather(*(shop.store.head(shop.tenant_id) for _ in range(4)))
    assert {head.revision for head in heads} == {2}


def _read_by_sqlalchemy(connection: Connection) -> int:
    return connection.execute(select(literal(1))).scalar_one()


def _read_by_driver(connection: Connection) -> int:
    cursor = connection.connection.cursor()
    cursor.execute("SELECT 1")
    return int(cursor.fetchall()[0][0])


@pytest.mark.parametrize("read", [_read_by_sqlalchemy, _read_by_driver])
async def test_what_was_read_holds_though_its_connection_cannot_be_given_back(
    postgres: Postgres,
    database: Database,
    proxy: CuttingProxy,
    read: Callable[[Connection], int],
) -> None:
    """The server says that it ends the connection, and is not seen to have done so yet.

    More often than there are connections, so that one which is not given back is missed.
    """
    limits = StorageLimits(readers_max=1, streams_max=1, read_wait_seconds_max=5)
    store = (await new_shop(await database.open(limits=limits))).store
    proxy.keeps_open = True
    for _ in range(5):
        proxy.has_server_closed.clear()
        async with store._backend.reading() as reading:
            assert await reading.run(read) == 1
            assert await ask_server(postgres, _END_READERS) == [True]
            await proxy.has_server_closed.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)

        assert await store.tenants()
    proxy.keeps_open = False


TURNS = 100
"""Of the loop, in which what has arrived is taken note of."""

_END_READERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE application_name = 'heed reader' AND state = 'idle in transaction'"
)


async def test_writes_outlive_a_crash_of_the_server(postgres: Postgres, database: Database) -> None:
    shop = await new_shop(await database.open(limits=PATIENT))
    crashed = asyncio.Event()

    async def write(name: str) -> None:
        for n in range(40):
            await shop.ask(chooses(f"{name}.{n}"))
            if n == 20:
                crashed.set()

    async def crash() -> None:
        await crashed.wait()
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)

    await asyncio.gather(*(write(f"w{n}") for n in range(8)), crash())

    assert await revisions(shop) == list(range(1, 8 * 40 + 1))


async def test_waiting_for_another_nodes_lock_is_bounded_and_tried_again(
    postgres: Postgres, database: Database
) -> None:
    limits = StorageLimits(lock_seconds_max=0.1, retry_seconds_max=20)
    shop = await new_shop(await database.open(limits=limits))
    dsn = make_url(database.url).set(drivername="postgresql")
    other = await asyncpg.connect(dsn.render_as_string(hide_password=False))
    held = other.transaction()
    await held.start()
    await other.execute("SELECT * FROM heads FOR UPDATE")

    asking = asyncio.create_task(shop.ask(chooses("ada")))
    done, _ = await asyncio.wait({asking}, timeout=0.5)
    await held.rollback()
    await other.close()

    assert not done
    assert (await asking).appended.revision == 1


@pytest.fixture
async def standby_missing(postgres: Postgres) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Commits wait for a standby that is not there, until what this gives is called."""

    async def name_standby(name: str) -> None:
        await ask_server(postgres, f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        await ask_server(postgres, "SELECT pg_reload_conf()")

        async def is_set() -> bool:
            return await ask_server(postgres, "SHOW synchronous_standby_names") == [name]

        await until(is_set)

    async def come_back() -> None:
        await name_standby("")

    await name_standby("missing")
    try:
        yield come_back
    finally:
        await come_back()


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
async def shop(database: Database) -> Shop:
    limits = StorageLimits(retry_seconds_max=20, close_seconds_max=0.3)
    return await new_shop(await database.open(limits=limits))


async def test_a_commit_that_was_called_off_is_not_acknowledged(
    postgres: Postgres, shop: Shop, standby_missing: Callable[[], Awaitable[None]]
) -> None:
    """The server then says COMMIT, with a notice, though nothing is replicated."""
    published: list[Committed] = []
    shop.store.on_commit(published.append)
    asking = asyncio.create_task(shop.ask(chooses("ada")))
    await until(lambda: ask_server(postgres, WAITING))
    (first,) = await ask_server(postgres, WAITING)

    await ask_server(postgres, f"SELECT pg_cancel_backend({first})")

    async def waits_again() -> bool:
        return first not in await ask_server(postgres, WAITING) and bool(
            await ask_server(postgres, WAITING)
        )

    await until(waits_again)
    assert not asking.done()
    assert published == []
    await standby_missing()
    asked = await asking
    assert not asked.appended.replayed
    assert len(published) == 1
    assert await revisions(shop) == [1]


@pytest.mark.parametrize("what", ["append", "create_tenant"])
async def test_cancelling_a_caller_does_not_reach_a_commit_that_waits(
    postgres: Postgres,
    shop: Shop,
    standby_missing: Callable[[], Awaitable[None]],
    what: str,
) -> None:
    async def call() -> None:
        if what == "append":
            await shop.ask(chooses("ada"))
        else:
            await shop.store.create_tenant("other", bytes(32))

    asking = asyncio.create_task(call())
    await until(lambda: ask_server(postgres, WAITING))

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert await ask_server(postgres, WAITING) != []
    assert (await shop.store.head(shop.tenant_id)).revision == 0
    assert len(await shop.store.tenants()) == 1
    await standby_missing()
    await shop.ask(chooses("bob"))
    assert len(await revisions(shop)) == (2 if what == "append" else 1)
    assert len(await shop.store.tenants()) == (1 if what == "append" else 2)


async def test_closing_does_not_wait_for_ever_for_a_commit_that_hangs(
    postgres: Postgres, shop: Shop, standby_missing: Callable[[], Awaitable[None]]
) -> None:
    asking = asyncio.create_task(shop.ask(chooses("ada")))
    await until(lambda: ask_server(postgres, WAITING))

    await shop.store.close()

    results = await asyncio.gather(asking, return_exceptions=True)
    assert isinstance(results[0], OutcomeUnknownError)


async def test_closing_does_not_wait_for_connections_whose_server_says_nothing(
    database: Database, proxy: CuttingProxy
) -> None:
    shop = await new_shop(
        await database.open(limits=StorageLimits(read_seconds_max=WAIT_SECONDS_MAX))
    )
    await asyncio.gather(*(shop.store.head(shop.tenant_id) for _ in range(4)))
    proxy.hush()

    closing = asyncio.create_task(shop.store.close())
    done, _ = await asyncio.wait({closing}, timeout=WAIT_SECONDS_MAX)

    assert done
    await closing


async def test_a_server_without_fsync_is_refused(tmp_path: Path) -> None:
    with Postgres(settings={"fsync": "off"}) as careless:
        url = careless.create_database("careless")

        with pytest.raises(UnavailableError, match="fsync=off"):
            await open_store(url, migrates=True, root_file=shared_root_file())


async def test_two_nodes_write_one_log(database: Database) -> None:
    """Two nodes write to one tenant at once; every number is given once."""
    one, other = await database.open(), await database.open()
    shop = await new_shop(one)
    elsewhere = Shop(other, shop.tenant_id)

    asked = await asyncio.gather(
        *(
            node.ask(chooses(f"{n}"), key=f"Test:{n}", payload="same")
            for n in range(40)
            for node in (shop, elsewhere)
        )
    )

    assert await revisions(shop) == list(range(1, 41))
    assert sum(one.appended.replayed for one in asked) == 40
    assert {keyed(str(n)).key for n in range(40)} == {
        change.subject for change in await other.read_changes(shop.tenant_id, Revision(0), 100)
    }
