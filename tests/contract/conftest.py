"""One database of each kind for every test of the contract, and a tenant in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed_server.storage import SqlStore
from tests.support.backed_up import Kept, fill, keep
from tests.support.postgres import Postgres
from tests.support.stores import Database, FakeClock, Shop, new_database, new_shop

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database."""
    kind: str = request.param
    server: Postgres | None = None
    if kind == "postgres":
        server = request.getfixturevalue("postgres")
    async with new_database(kind, tmp_path, server) as made:
        yield made


@pytest.fixture
def clock(database: Database) -> FakeClock:
    """A clock to turn; it runs where the database has a clock of its own to compare it with."""
    return FakeClock(runs=database.kind == "postgres")


@pytest.fixture
async def store(database: Database, clock: FakeClock) -> SqlStore:
    """A store on the database."""
    return await database.open(clock=clock)


@pytest.fixture
async def shop(store: SqlStore) -> Shop:
    """A tenant of the store."""
    return await new_shop(store)


@pytest.fixture
async def kept(database: Database, tmp_path: Path) -> Kept:
    """A database, and a backup of it."""
    shop = await fill(await database.open())
    return await keep(database, shop, tmp_path / "a.backup")


@pytest.fixture(params=KINDS)
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database to restore into, of either kind, whatever the kind that was kept."""
    server: Postgres | None = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
    folder = tmp_path / "to"
    folder.mkdir()
    async with new_database(request.param, folder, server, is_migrated=False) as made:
        yield made
