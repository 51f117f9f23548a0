"""A kill in the middle of an undoing, an erasure or a rotation leaves it whole or not begun."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from heed.model import Cause, Head, Method, Record, Revision, SubjectKey
from heed.past import Past
from heed_server.secrets.root_file import RootFile
from heed_server.store import RecordFilter
from tests.adversity.killed_act import BATCH, KEY, act_of
from tests.support.stores import (
    LOOKUP_KEY,
    Database,
    Shop,
    chooses,
    imports,
    keyed,
    new_database,
    new_shop,
    opt_in,
    origin,
    protection,
)

PEOPLE = [f"p{number}" for number in range(200)]
KEYS = [keyed(name).key for name in PEOPLE]
pytestmark = pytest.mark.slow

Standing = dict[SubjectKey, frozenset[Record]]


@dataclass
class Kept:
    """A database with a list, some of whose people had said something before."""

    database: Database
    root_file: Path
    shop: Shop

    async def opened(self) -> Shop:
        store = await self.database.open(root_file=self.root_file)
        return Shop(store, self.shop.tenant_id)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    server = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
    root_file = tmp_path / "root.json"
    RootFile(root_file).create()
    async with new_database(request.param, tmp_path, server) as database:
        shop = await new_shop(await database.open(root_file=root_file))
        for name in PEOPLE[:10]:
            await shop.ask(chooses(name))
        await shop.ask(chooses("p7", choices=[opt_in()], by=origin(Method.WEB_FORM, decided=1)))
        rows = (protection(name, Cause.BOUNCE) for name in PEOPLE)
        await shop.ask(imports(*rows, batch=BATCH))
        await shop.store.close()
        yield Kept(database, root_file, shop)


async def killed(kept: Kept, name: str, point: str) -> tuple[int, str]:
    """Let a process do an act and die of it; how it ended, and what it said."""
    said = [kept.database.url, str(kept.root_file), str(kept.shop.tenant_id), name, point]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adversity.killed_act", *said),
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().strip().rpartition("\n")[2]


async def standing(shop: Shop) -> Standing:
    """What stands for each person by the tables, which is what the log folds to."""
    found = await shop.store.standing(shop.tenant_id, KEYS)
    by_key: dict[SubjectKey, set[Record]] = {key: set() for key in KEYS}
    for one in found.records:
        by_key[one.key].add(one.record)
    past = Past()
    past.take(await shop.store.read_changes(shop.tenant_id, Revision(0), 10_000))
    for key, folded in zip(KEYS, past.facts(KEYS).records, strict=True):
        assert set(folded) == by_key[key]
    return {key: frozenset(records) for key, records in by_key.items()}


async def head(shop: Shop) -> Head:
    return await shop.store.head(shop.tenant_id)


@pytest.mark.parametrize("point", ["written", "committed"])
@pytest.mark.parametrize("name", ["revert", "erase"])
async def test_an_act_that_was_killed_is_whole_or_not_begun(
    kept: Kept, name: str, point: str
) -> None:
    shop = await kept.opened()
    before, begun = await standing(shop), await head(shop)
    act = await act_of(shop.store, shop.tenant_id, name)
    await shop.store.close()

    ended = await killed(kept, name, point)

    shop = await kept.opened()
    left = await standing(shop)
    assert ended == (-signal.SIGKILL, "")
    assert (left == before) == (await head(shop) == begun) == (point != "committed")
    again = await shop.ask(act, key=KEY)
    assert again.appended.replayed == (point == "committed")
    after = await standing(shop)
    assert after != before
    if point == "committed":
        assert left == after


@pytest.mark.parametrize("point", ["before", "written"])
async def test_a_rotation_of_the_root_keys_that_was_killed_is_finished(
    kept: Kept, point: str
) -> None:
    ended = await killed(kept, "rotate", point)

    shop = await kept.opened()
    assert ended == (-signal.SIGKILL, "")
    assert [tenant.lookup_key.key for tenant in await shop.store.tenants()] == [LOOKUP_KEY]
    await shop.ask(chooses("later"), key="Test:later")
    await shop.store.rotation.rotate_root()
    states = await shop.store.rotation.root_state()
    assert [list(state.wrapped) for state in states] == [[state.primary_id] for state in states]
    async with shop.store.export(shop.tenant_id, RecordFilter(), 1_000) as (_, batches):
        told = {one.subject async for batch in batches for one in batch}
    assert told == {keyed(name).subject for name in [*PEOPLE, "later"]}


async def test_a_half_of_an_act_would_be_noticed(kept: Kept) -> None:
    """The control: whoever is not killed does it, and what is done in part folds to no log."""
    assert await killed(kept, "revert", "never") == (0, "done")
    shop = await kept.opened()
    await standing(shop)
    await shop.store.close()
    one = kept.database.blob(keyed("p7").key)
    await kept.database.execute(f"DELETE FROM records WHERE subject = {one}")

    shop = await kept.opened()
    with pytest.raises(AssertionError):
        await standing(shop)
