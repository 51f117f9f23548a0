"""The past is read by whom it is about, in parts, and by when it was."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from heed.model import Cause, Change, Instant, Revision, TenantId, Topic
from heed.proof import EMPTY_LOG_HASH
from heed_server.storage import SqlStore, migrate
from heed_server.storage.past_reads import PastStatements
from heed_server.storage.sqlite import SqliteBackend
from heed_server.store import LogDamagedError
from tests.support.roots import root_file_for
from tests.support.schemas import make_database
from tests.support.stores import (
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    declares,
    imports,
    keyed,
    lifts,
    new_database,
    new_shop,
    opt_in,
    opt_out,
    origin,
    places,
    protection,
    releases,
    retires,
)

ALL = 1_000


async def everything(shop: Shop, clock: FakeClock) -> None:
    """Several people's changes among the operators', in turn."""
    await shop.ask(chooses("ada", "ada.home"))
    await shop.ask(declares(Topic(name="news")))
    await shop.ask(adds(protection("bob"), protection("ada"), protection("cy", Cause.LEGAL)))
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(5))))
    await shop.ask(places("hold-1"))
    await shop.ask(releases("ada"))
    await shop.ask(lifts("hold-1"))
    await shop.ask(imports(protection("ada", end=clock.ahead(9)), protection("di")))
    await shop.ask(retires("news"))
    await shop.ask(chooses("bob", "ada", choices=[opt_out(), opt_in()], by=origin(decided=1)))


async def whole_log(shop: Shop) -> Sequence[Change]:
    return await shop.store.read_changes(shop.tenant_id, Revision(0), ALL)


async def in_parts(shop: Shop, size: int, *names: str) -> list[Change]:
    found: list[Change] = []
    keys = [keyed(name).key for name in names]
    after = Revision(0)
    while part := await shop.store.changes_of(shop.tenant_id, keys, after=after, limit=size):
        assert len(part) <= size
        found += part
        after = part[-1].revision
    return found


async def test_the_changes_of_a_subject_are_those_of_the_log(shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)
    key = keyed("ada").key

    found = await shop.store.changes_of(shop.tenant_id, [key], limit=ALL)

    assert found == [change for change in await whole_log(shop) if change.subject == key]
    assert len(found) == 7


async def test_the_changes_of_several_subjects_are_in_one_order(
    shop: Shop, clock: FakeClock
) -> None:
    await everything(shop, clock)
    keys = [keyed(name).key for name in ("cy", "ada.home", "bob", "bob")]

    found = await shop.store.changes_of(shop.tenant_id, keys, limit=ALL)

    assert found == [change for change in await whole_log(shop) if change.subject in keys]
    assert all(one.revision < other.revision for one, other in pairwise(found))


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_the_changes_of_subjects_are_read_in_parts(
    shop: Shop, clock: FakeClock, size: int
) -> None:
    await everything(shop, clock)
    keys = [keyed(name).key for name in ("ada", "bob")]

    found = await in_parts(shop, size, "ada", "bob")

    assert found == await shop.store.changes_of(shop.tenant_id, keys, limit=ALL)


async def test_the_changes_of_more_subjects_than_one_statement_names_are_read_in_parts(
    shop: Shop,
) -> None:
    names = [f"p{number}" for number in range(1_100)]
    await shop.ask(adds(*(protection(name) for name in names)))
    await shop.ask(adds(*(protection(name) for name in reversed(names))))

    found = await in_parts(shop, 300, *names)

    assert found == await shop.store.read_changes(shop.tenant_id, Revision(0), 10_000)


async def test_the_changes_of_subjects_end_where_they_are_told_to(
    shop: Shop, clock: FakeClock
) -> None:
    await everything(shop, clock)
    key = keyed("ada").key
    every = [one.revision for one in await whole_log(shop) if one.subject == key]

    found = await shop.store.changes_of(
        shop.tenant_id, [key], after=every[0], through=every[3], limit=ALL
    )

    assert [one.revision for one in found] == every[1:4]


async def test_subjects_of_another_tenant_have_no_changes_here(
    store: SqlStore, shop: Shop, clock: FakeClock
) -> None:
    """Its keys are others, and would be of no use if they were not."""
    other = await new_shop(store, "other")
    await everything(shop, clock)

    found = await store.changes_of(other.tenant_id, [keyed("ada").key], limit=ALL)

    assert found == []
    assert await store.changes_of(shop.tenant_id, [keyed("nobody").key], limit=ALL) == []
    assert await store.changes_of(shop.tenant_id, [], limit=ALL) == []
    assert await store.changes_of_tenant(other.tenant_id, limit=ALL) == []


async def test_the_changes_of_the_tenant_are_those_without_a_subject(
    shop: Shop, clock: FakeClock
) -> None:
    await everything(shop, clock)
    of_tenant = [change for change in await whole_log(shop) if change.subject is None]

    whole = await shop.store.changes_of_tenant(shop.tenant_id, limit=ALL)
    part = await shop.store.changes_of_tenant(
        shop.tenant_id, after=of_tenant[0].revision, through=of_tenant[2].revision, limit=1
    )

    assert whole == of_tenant
    assert len(whole) == 4
    assert part == [of_tenant[1]]


async def test_what_was_asked_is_told_beside_what_stands(shop: Shop, clock: FakeClock) -> None:
    """A shorter suppression is merged into the one that stands; both are in the log."""
    later, sooner = clock.ahead(90), clock.ahead(5)
    await shop.ask(adds(protection("ada", end=later)))
    await shop.ask(adds(protection("ada", end=sooner)))

    first, second = await shop.store.changes_of(shop.tenant_id, [keyed("ada").key], limit=ALL)

    assert first.asked is None
    assert first.record is not None
    assert first.record.end_time == later
    assert second.asked is not None
    assert second.asked.end_time == sooner
    assert second.record is not None
    assert second.record.end_time == later


async def test_the_log_is_found_where_it_ended_at_each_revision(
    shop: Shop, clock: FakeClock
) -> None:
    await everything(shop, clock)
    store, head = shop.store, await shop.store.head(shop.tenant_id)

    empty = await store.head_at(shop.tenant_id, Revision(0))
    found = [await store.head_at(shop.tenant_id, one.revision) for one in await whole_log(shop)]

    assert empty is not None
    assert (empty.revision, empty.running_hash, empty.epoch) == (0, EMPTY_LOG_HASH, head.epoch)
    assert [(one.running_hash, one.commit_time) for one in found if one is not None] == [
        (one.running_hash, one.commit_time) for one in await whole_log(shop)
    ]
    assert found[-1] == head
    assert await store.head_at(shop.tenant_id, Revision(head.revision + 1)) is None


async def test_a_revision_is_found_by_each_instant(shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)
    log = await whole_log(shop)

    async def at(instant: int) -> Revision:
        return await shop.store.revision_at(shop.tenant_id, Instant(instant))

    assert [await at(one.commit_time) for one in log] == [one.revision for one in log]
    assert [await at(one.commit_time - 1) for one in log] == [
        max(
            (other.revision for other in log if other.commit_time <= one.commit_time - 1),
            default=Revision(0),
        )
        for one in log
    ]
    assert await at(log[0].commit_time - 1) == 0
    assert await at(log[-1].commit_time + 10**9) == len(log)


async def test_an_empty_log_was_always_empty(shop: Shop, clock: FakeClock) -> None:
    assert await shop.store.revision_at(shop.tenant_id, clock.now()) == 0
    assert await shop.store.head_at(shop.tenant_id, Revision(1)) is None


async def test_a_log_with_a_hole_says_so(database: Database, shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)
    await database.execute("DELETE FROM changes WHERE revision = 8")

    with pytest.raises(LogDamagedError, match="change 8"):
        await shop.store.head_at(shop.tenant_id, Revision(8))


@pytest.mark.postgres
async def test_an_index_that_an_operator_has_built_beforehand_is_left(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue("postgres")
    async with new_database("postgres", tmp_path, server, is_migrated=False) as old:
        await make_database(old.url, 3)
        await old.execute(
            "CREATE INDEX changes_subject ON changes (tenant_id, subject, revision) "
            "WHERE subject IS NOT NULL"
        )

        assert await migrate(old.url, root_file=root_file_for(old.url)) is True

        shop = Shop(await old.open(), TenantId(1))
        assert len(await in_parts(shop, 2, "ada")) == 1


async def test_sqlite_finds_the_changes_of_subjects_by_their_index(tmp_path: Path) -> None:
    async with new_database("sqlite", tmp_path, None) as database:
        backend = (await database.open())._backend
        assert isinstance(backend, SqliteBackend)
        statements = PastStatements(backend.dialect)
        text = statements.changes_of_tenant._text

        some = await database.plan(
            statements.changes_of.where([column == 0 for column in statements.changes_of.among])
        )
        async with backend.reading() as reading:
            rows = await reading.run(
                lambda c: c.exec_driver_sql(
                    f"EXPLAIN QUERY PLAN {text}", (0,) * text.count("?")
                ).fetchall()
            )
        of_tenant = "\n".join(str(row[3]) for row in rows)

    assert "USING COVERING INDEX changes_subject" in some
    assert "USING INDEX changes_of_tenant" in of_tenant
    assert "SCAN changes" not in some + of_tenant
