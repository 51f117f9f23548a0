"""Revisions are dense and in commit order, commit times strictly increase, hashes chain."""

import asyncio
import itertools

import pytest

from heed.errors import NotFoundError
from heed.model import ChangeKind, Channel, Head, Revision, Scope, TenantId, Topic
from heed.proof import (
    EMPTY_LOG_HASH,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    running_hash,
)
from heed_server.storage import SqlStore
from heed_server.writes import Committed
from tests.support.stores import (
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    declares,
    keyed,
    new_shop,
    opt_out,
    protection,
)


async def test_an_empty_log_ends_at_revision_0(shop: Shop) -> None:
    head = await shop.store.head(shop.tenant_id)

    assert head.revision == 0
    assert head.running_hash == EMPTY_LOG_HASH
    assert len(head.epoch) == 8
    assert await shop.store.read_changes(shop.tenant_id, Revision(0), 10) == []


async def test_each_record_of_an_act_is_a_change_of_its_own(shop: Shop) -> None:
    choices = (opt_out(), opt_out(Scope(channel=Channel.SMS)))

    asked = await shop.ask(chooses("ada", "ada.home", choices=choices))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 10)
    assert asked.appended.revision == 4
    assert [change.revision for change in changes] == [1, 2, 3, 4]
    assert [change.subject for change in changes] == [
        *[keyed("ada").key] * 2,
        *[keyed("ada.home").key] * 2,
    ]


async def test_concurrent_writes_take_every_number_once(shop: Shop) -> None:
    asked = await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(100)))

    assert sorted(one.appended.revision for one in asked) == list(range(1, 101))
    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)
    assert [change.revision for change in changes] == list(range(1, 101))


async def test_commit_times_increase_even_while_the_clock_stands_still(
    shop: Shop, clock: FakeClock
) -> None:
    clock.stand_still()

    await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(20)))
    await shop.ask(adds(*(protection(f"q{n}") for n in range(20))))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)
    times = [change.commit_time for change in changes]
    assert times[0] >= clock.now()
    assert all(after > before for before, after in itertools.pairwise(times))


async def test_a_commit_time_is_not_behind_the_clock(shop: Shop, clock: FakeClock) -> None:
    before = clock.now()

    asked = await shop.ask(chooses("ada"))

    assert asked.outcome.commit_time >= before


async def test_a_refused_write_takes_no_number(shop: Shop) -> None:
    await shop.ask(chooses("ada"))
    with pytest.raises(NotFoundError):
        await shop.ask(declares(Topic(name="missing"), loosens=True))

    asked = await shop.ask(chooses("bob"))

    assert asked.appended.revision == 2


async def test_tenants_are_numbered_apart(store: SqlStore) -> None:
    one, other = await new_shop(store, "one"), await new_shop(store, "other")

    await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(10) for shop in (one, other)))

    for shop in (one, other):
        changes = await store.read_changes(shop.tenant_id, Revision(0), 100)
        assert [change.revision for change in changes] == list(range(1, 11))


async def test_a_write_for_a_tenant_that_is_not_there_is_refused_alone(shop: Shop) -> None:
    stranger = Shop(shop.store, TenantId(4711))

    results = await asyncio.gather(
        stranger.ask(chooses("ada"), key="Test:stranger"),
        shop.ask(chooses("ada")),
        return_exceptions=True,
    )

    assert isinstance(results[0], NotFoundError)
    assert (await shop.store.head(shop.tenant_id)).revision == 1
    with pytest.raises(NotFoundError):
        await shop.store.head(TenantId(4711))


async def test_what_is_published_is_what_the_log_has(shop: Shop) -> None:
    published: list[Committed] = []
    shop.store.on_commit(published.append)

    await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(30)))
    await shop.ask(adds(protection("ada", reason="550 unknown")))
    await shop.ask(declares(Topic(name="news", mandatory_channels=frozenset())))

    told = [change for one in published for change in one.changes]
    assert told == list(await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000))
    epoch = (await shop.store.head(shop.tenant_id)).epoch
    assert published[-1].head == await shop.store.head(shop.tenant_id)
    for one in published:
        last = one.changes[-1]
        assert one.tenant_id == shop.tenant_id
        assert one.head == Head(
            revision=last.revision,
            running_hash=last.running_hash,
            commit_time=last.commit_time,
            epoch=epoch,
        )


async def test_a_commit_is_published_before_its_writer_hears_of_it(shop: Shop) -> None:
    published: list[int] = []
    shop.store.on_commit(lambda one: published.append(one.head.revision))

    asked = await shop.ask(chooses("ada"))

    assert published == [asked.appended.revision]


async def test_entries_and_hashes_are_made_again_from_the_rows(
    shop: Shop, database: Database
) -> None:
    await shop.ask(chooses("ada", "bob"))
    await shop.ask(declares(Topic(name="news")))
    await shop.ask(adds(protection("cy")))

    running = EMPTY_LOG_HASH
    rows = await database.rows("changes")
    assert len(rows) == 4
    assert len({row["salt"] for row in rows}) == 4
    for row in rows:
        salt = row["salt"]
        subject = bytes(32) if row["subject"] is None else commit_subject(salt, row["subject"])
        entry = canonical_entry(
            kind=ChangeKind(row["kind"]),
            tenant_id=row["tenant_id"],
            revision=row["revision"],
            commit_time=row["commit_time"],
            subject_commitment=subject,
            content_commitment=commit_content(salt, row["content"]),
        )
        running = running_hash(running, leaf_hash(entry))
        assert row["entry"] == entry
        assert row["leaf_hash"] == leaf_hash(entry)
        assert row["running_hash"] == running
    assert (await shop.store.head(shop.tenant_id)).running_hash == running


async def test_an_answer_names_the_head_after_its_own_act(shop: Shop) -> None:
    asked = await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(20)))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 100)
    hashes = {change.revision: change.running_hash for change in changes}
    epoch = (await shop.store.head(shop.tenant_id)).epoch
    for one in asked:
        assert one.outcome.revision == one.appended.revision
        assert one.outcome.running_hash == hashes[one.appended.revision]
        assert one.outcome.epoch == epoch


async def test_a_store_keeps_its_epoch_and_its_log_when_it_is_opened_again(
    database: Database, shop: Shop
) -> None:
    await shop.ask(chooses("ada"))
    head = await shop.store.head(shop.tenant_id)
    await shop.store.close()

    again = await database.open()

    assert await again.head(shop.tenant_id) == head
