"""An index that followed a real log holds what the database says stands, on either database."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from heed.acts import Act
from heed.model import Cause, Method, Record, Revision, Topic, TopicClass
from heed.records import decode_records
from heed_server.follow import Follower, FollowLimits
from heed_server.storage import SqlStore
from heed_server.store import Tenant
from tests.support.stores import (
    EMAIL_NEWS,
    SECOND,
    FakeClock,
    Shop,
    adds,
    chooses,
    declares,
    end_pause,
    imports,
    lifts,
    opt_in,
    opt_out,
    origin,
    pause,
    places,
    protection,
    releases,
)

LIMITS = FollowLimits(poll_seconds=0.01, apply_changes_max=7, read_changes_max=11)
Dump = dict[bytes, tuple[Record, ...]]


async def tenant_of(shop: Shop) -> Tenant:
    (tenant,) = [one for one in await shop.store.tenants() if one.tenant_id == shop.tenant_id]
    return tenant


@asynccontextmanager
async def following(
    shop: Shop, directory: Path, *, hears_commits: bool
) -> AsyncGenerator[Follower, None]:
    """A follower that runs: this node's own, or one of another node, which only asks."""
    follower = Follower(
        shop.store, await tenant_of(shop), directory, boot_seconds=lambda: 0.0, limits=LIMITS
    )
    await follower.start()
    if hears_commits:
        shop.store.on_commit(follower.offer)
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await follower.close()


def dump(follower: Follower) -> Dump:
    """Everything that an index has of subjects."""
    env = follower.index._env
    with env._begin(env.records) as txn:
        return {bytes(key): decode_records(bytes(value)) for key, value in txn.cursor()}


async def snapshot_of(store: SqlStore, shop: Shop) -> Dump:
    """What stands, as the database says."""
    found: dict[bytes, list[Record]] = {}
    async with store.snapshot(shop.tenant_id) as snapshot:
        async for batch in snapshot.records():
            for key, record in batch:
                found.setdefault(key, []).append(record)
    return {key: tuple(sorted(records, key=repr)) for key, records in found.items()}


async def assert_in_step(follower: Follower, shop: Shop) -> None:
    head = await shop.store.head(shop.tenant_id)
    assert await follower.reached(head.revision, 20)
    index = follower.index
    assert (index.revision, index.running_hash) == (head.revision, head.running_hash)
    held = {key: tuple(sorted(records, key=repr)) for key, records in dump(follower).items()}
    assert held == await snapshot_of(shop.store, shop)
    standing = await shop.store.standing(shop.tenant_id, [])
    assert index.topics.declared == standing.topics
    assert index.holds == tuple(one.hold for one in standing.holds)
    assert follower.rebuilds <= 1


async def write_one_of_each(shop: Shop, clock: FakeClock) -> None:
    now = clock.now()
    decided = origin(decided=now - 9 * SECOND)
    acts: list[Act] = [
        chooses("ada", "ada-at-work"),
        chooses("ben", choices=[opt_in()], by=decided),
        chooses("cleo", choices=[pause(now + 3600 * SECOND)]),
        chooses("cleo", choices=[end_pause()]),
        adds(protection("ada"), protection("dora", Cause.COMPLAINT)),
        imports(*(protection(f"listed-{row}", row=row) for row in range(40))),
        imports(protection("listed-1"), protection("fresh"), batch="list-2"),
        releases("ada"),
        adds(protection("ada", decided=now - 99 * SECOND)),
        declares(Topic(name="news", topic_class=TopicClass.TRANSACTIONAL)),
        places("hold-1"),
        places("hold-2", end=now + 99 * SECOND),
        lifts("hold-1"),
        chooses("ada", choices=[opt_in()], by=origin(decided=now - SECOND)),
        chooses("ada", choices=[opt_out(EMAIL_NEWS)], by=origin(decided=now - 50 * SECOND)),
    ]
    for act in acts:
        await shop.ask(act)


@pytest.mark.parametrize("hears_commits", [True, False])
async def test_every_kind_of_write_is_followed(
    shop: Shop, clock: FakeClock, tmp_path: Path, hears_commits: bool
) -> None:
    async with following(shop, tmp_path / "node", hears_commits=hears_commits) as follower:
        await write_one_of_each(shop, clock)

        await assert_in_step(follower, shop)


async def test_an_own_write_is_known_when_it_is_acknowledged(shop: Shop, tmp_path: Path) -> None:
    async with following(shop, tmp_path / "node", hears_commits=True) as follower:
        for number in range(20):
            asked = await shop.ask(chooses(f"person-{number}"))

            assert follower.revision == asked.appended.revision


async def test_an_index_made_anew_equals_one_that_followed(
    shop: Shop, clock: FakeClock, tmp_path: Path
) -> None:
    async with following(shop, tmp_path / "node", hears_commits=True) as followed:
        await write_one_of_each(shop, clock)
        async with following(shop, tmp_path / "other", hears_commits=False) as anew:
            await assert_in_step(anew, shop)

            assert dump(anew) == dump(followed)
            for revision in range(1, anew.revision + 1):
                hash_at = followed.index.hash_at(Revision(revision))
                assert hash_at is not None
                assert anew.index.hash_at(Revision(revision)) == hash_at


async def test_an_index_that_was_closed_catches_up(
    shop: Shop, clock: FakeClock, tmp_path: Path
) -> None:
    async with following(shop, tmp_path / "node", hears_commits=True):
        await shop.ask(chooses("ada"))
    await write_one_of_each(shop, clock)

    async with following(shop, tmp_path / "node", hears_commits=True) as follower:
        await assert_in_step(follower, shop)
        assert follower.rebuilds == 0


async def test_many_writers_at_once_some_of_whom_give_up(shop: Shop, tmp_path: Path) -> None:
    chance = random.Random(7)

    async def write(number: int) -> None:
        if number % 3:
            rows = [protection(f"p{chance.randrange(60)}", row=row) for row in range(number % 9)]
            await shop.ask(imports(*rows, batch=f"list-{number}") if rows else chooses("x"))
        else:
            await shop.ask(chooses(f"p{chance.randrange(60)}", by=origin(Method.API)))

    async with (
        following(shop, tmp_path / "node", hears_commits=True) as own,
        following(shop, tmp_path / "other", hears_commits=False) as other,
    ):
        writing = [asyncio.create_task(write(number)) for number in range(150)]
        for task in writing[::10]:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)

        await shop.ask(chooses("last"))
        await assert_in_step(own, shop)
        await assert_in_step(other, shop)
