"""Concurrent writes share a transaction, and neither help nor harm each other."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from heed.acts import Act, SetPreferences
from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    HeedError,
    NotFoundError,
    UnavailableError,
)
from heed.model import Method, RecordKind, Revision, Subject, SubjectType, TenantId, Topic
from heed_server.storage import StorageLimits
from heed_server.writes import Committed
from tests.support.stores import (
    Asked,
    Database,
    FakeClock,
    Shop,
    chooses,
    declares,
    imports,
    keyed,
    lifts,
    new_shop,
    opt_in,
    origin,
    places,
    protection,
    retires,
)


async def limited(database: Database, clock: FakeClock, limits: StorageLimits) -> Shop:
    return await new_shop(await database.open(clock=clock, limits=limits))


async def commits(database: Database) -> int:
    (row,) = await database.rows("heads")
    found: int = row["commits"]
    return found


def bulk(name: str, records: int = 500) -> list[str]:
    return [f"{name}.{n}" for n in range(records)]


async def test_writes_that_wait_share_one_transaction(shop: Shop, database: Database) -> None:
    await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(100)))

    assert await commits(database) == 1


async def test_a_group_has_so_many_writes_and_no_more(database: Database, clock: FakeClock) -> None:
    shop = await limited(database, clock, StorageLimits(group_writes_max=10))

    await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(100)))

    assert await commits(database) == 10


async def test_a_group_has_so_many_records_unless_one_write_has_more(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(group_records_max=4))

    await asyncio.gather(*(shop.ask(chooses(f"p{n}", f"q{n}")) for n in range(4)))
    assert await commits(database) == 2
    await shop.ask(chooses(*(f"r{n}" for n in range(8))))

    assert (await shop.store.head(shop.tenant_id)).revision == 16


async def test_a_refused_write_costs_its_neighbours_nothing(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    not_hers = chooses("ada", choices=[opt_in()], by=origin(Method.OPERATOR, decided=clock.ago(1)))

    results = await asyncio.gather(
        *(shop.ask(not_hers if n % 3 == 1 else chooses(f"p{n}")) for n in range(30)),
        return_exceptions=True,
    )

    assert sum(isinstance(one, ConflictError) for one in results) == 10
    revisions = [one.appended.revision for one in results if isinstance(one, Asked)]
    assert revisions == list(range(1, 21))
    assert await commits(database) == 1


async def test_a_group_of_refused_writes_commits_nothing(shop: Shop, database: Database) -> None:
    results = await asyncio.gather(
        *(shop.ask(retires(f"t{n}")) for n in range(5)), return_exceptions=True
    )

    assert all(isinstance(one, HeedError) for one in results)
    assert await commits(database) == 0


async def test_what_no_database_takes_fails_alone(shop: Shop) -> None:
    """The edges refuse such text; should one let it through, its neighbours must not suffer."""
    person = chooses("ada").people[0]
    unsendable = person.subjects[0]._replace(
        subject=Subject(type=SubjectType.EMAIL, value="\ud800@example.com")
    )
    bad = SetPreferences(people=(replace(person, subjects=(unsendable,)),))

    results = await asyncio.gather(
        *(shop.ask(bad if n == 3 else chooses(f"p{n}")) for n in range(8)), return_exceptions=True
    )

    assert [n for n, one in enumerate(results) if isinstance(one, BaseException)] == [3]
    assert isinstance(results[3], UnavailableError)
    assert (await shop.store.head(shop.tenant_id)).revision == 7
    assert shop.store.failure == ""


async def test_what_a_refused_write_began_is_not_seen_by_its_neighbours(
    shop: Shop, clock: FakeClock
) -> None:
    """The first choice of a refused act must not stand for the act that is judged after it."""
    by = origin(Method.OPERATOR, decided=clock.ago(1))
    half = chooses("ada", choices=[*chooses("ada").people[0].choices, opt_in()], by=by)
    rows = imports(protection("ada"))

    results = await asyncio.gather(
        shop.ask(half), shop.ask(rows), shop.ask(rows), return_exceptions=True
    )

    assert isinstance(results[0], ConflictError)
    found = await shop.store.standing(shop.tenant_id, [keyed("ada").key])
    assert [one.record.kind for one in found.records] == [RecordKind.SUPPRESSION]
    assert [one.outcome.tally.added for one in results[1:] if isinstance(one, Asked)] == [1, 0]


async def test_writes_for_nobody_at_all_are_refused(shop: Shop) -> None:
    with pytest.raises(NotFoundError):
        await Shop(shop.store, TenantId(4711)).ask(chooses("ada"))


async def test_a_hold_may_be_lifted_and_placed_again_in_one_group(shop: Shop) -> None:
    await shop.ask(places("hold-1"))

    await asyncio.gather(shop.ask(lifts("hold-1")), shop.ask(places("hold-1")))

    (one,) = (await shop.store.standing(shop.tenant_id, [])).holds
    assert one.hold.revision == 3


async def test_later_writes_of_a_group_see_earlier_ones(shop: Shop, database: Database) -> None:
    await asyncio.gather(
        shop.ask(declares(Topic(name="news"))),
        shop.ask(retires("news")),
        shop.ask(places("hold-1")),
        shop.ask(places("hold-2")),
        shop.ask(lifts("hold-1")),
    )

    found = await shop.store.standing(shop.tenant_id, [])
    assert await commits(database) == 1
    assert [topic.retired for topic in found.topics] == [True]
    assert [one.hold.hold_id for one in found.holds] == ["hold-2"]


async def test_a_replay_alone_is_a_commit_too(shop: Shop, database: Database) -> None:
    """What it repeats may be visible and not yet durable; the commit makes sure."""
    await shop.ask(chooses("ada"), key="Test:k", payload="same")
    before = await commits(database)

    await shop.ask(chooses("ada"), key="Test:k", payload="same")

    assert await commits(database) == before + 1


async def test_tenants_share_a_transaction_and_their_heads_stay_apart(
    database: Database, clock: FakeClock
) -> None:
    store = await database.open(clock=clock)
    shops = [await new_shop(store, f"shop-{n}") for n in range(5)]
    published: list[Committed] = []
    store.on_commit(published.append)

    await asyncio.gather(*(shop.ask(chooses("ada", "bob")) for shop in shops for _ in range(3)))

    assert [row["commits"] for row in await database.rows("heads")] == [1] * 5
    assert {one.tenant_id: len(one.changes) for one in published} == {
        shop.tenant_id: 6 for shop in shops
    }


async def test_a_write_too_many_is_refused(database: Database, clock: FakeClock) -> None:
    shop = await limited(database, clock, StorageLimits(writes_queued_max=3))

    results = await asyncio.gather(
        *(shop.ask(chooses(f"p{n}")) for n in range(5)), return_exceptions=True
    )

    refused = [one for one in results if isinstance(one, ExhaustedError)]
    assert len(refused) == 2
    assert {one.reason for one in refused} == {ErrorReason.OVERLOADED}
    assert refused[0].metadata == {"limit": "writes_queued_max"}
    await shop.ask(chooses("later"))


async def test_bulk_writes_leave_room_for_a_single_opt_out(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(records_queued_max=1_100))
    acts: list[Act] = [imports(*(protection(one) for one in bulk(f"b{n}"))) for n in range(4)]
    acts.append(chooses("ada"))

    results = await asyncio.gather(*(shop.ask(act) for act in acts), return_exceptions=True)

    refused = [one for one in results if isinstance(one, ExhaustedError)]
    assert len(refused) == 2
    assert refused[0].metadata == {"limit": "records_queued_max"}
    assert isinstance(results[-1], Asked)


@pytest.mark.parametrize(
    "of_several",
    [
        lambda name: SetPreferences(people=chooses(name).people + chooses(f"{name}-too").people),
        lambda name: imports(protection(name), protection(f"{name}-too")),
    ],
    ids=["choices", "rows"],
)
async def test_however_many_calls_for_several_people_wait_one_persons_finds_a_place(
    database: Database, clock: FakeClock, of_several: Callable[[str], Act]
) -> None:
    shop = await limited(database, clock, StorageLimits(writes_queued_max=8))
    acts = [of_several(f"p{n}") for n in range(6)]
    acts += [chooses("ada", "bob"), imports(protection("eve")), places("hold-1"), retires("news")]
    acts += [chooses("one"), chooses("more"), chooses("too-many")]

    results = await asyncio.gather(*(shop.ask(act) for act in acts), return_exceptions=True)

    refused = [n for n, one in enumerate(results) if isinstance(one, ExhaustedError)]
    assert refused == [4, 5, 8, 9, 12]
    assert all(isinstance(results[n], Asked) for n in (6, 7, 10, 11))


async def test_a_call_for_one_person_goes_before_those_for_several(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(group_records_max=2))
    two = SetPreferences(people=chooses("p").people + chooses("q").people)

    results = await asyncio.gather(*(shop.ask(act) for act in (two, two, chooses("ada"))))

    assert [one.appended.revision for one in results] == [3, 5, 1]


async def test_a_small_write_does_not_wait_behind_bulk_ones(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(group_records_max=500))
    acts: list[Act] = [imports(*(protection(one) for one in bulk(f"b{n}"))) for n in range(3)]
    acts.append(chooses("ada"))

    results = await asyncio.gather(*(shop.ask(act) for act in acts))

    assert [one.appended.revision for one in results] == [501, 1001, 1501, 1]


async def test_bulk_writes_are_not_kept_out_by_small_ones(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(group_writes_max=4))
    rows = imports(*(protection(name) for name in bulk("b")))

    results = await asyncio.gather(*(shop.ask(chooses(f"p{n}")) for n in range(40)), shop.ask(rows))

    assert results[-1].appended.revision == 3 + 500


async def test_cancelled_calls_happen_once_or_not_at_all_and_their_keys_tell(
    shop: Shop, clock: FakeClock
) -> None:
    acts = [chooses(f"p{n}") for n in range(60)]

    async def ask(n: int) -> Asked:
        return await shop.ask(acts[n], key=f"Test:{n}", payload="same")

    calls = [asyncio.create_task(ask(n)) for n in range(60)]
    for turn, call in enumerate(calls):
        if turn % 3:
            continue
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    again = await asyncio.gather(*(ask(n) for n in range(60)))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)
    assert sorted(change.subject or b"" for change in changes) == sorted(
        keyed(f"p{n}").key for n in range(60)
    )
    for call, second in zip(calls, again, strict=True):
        if not call.cancelled():
            assert second.appended.replayed
            assert second.appended.answer == call.result().appended.answer


async def test_a_deadline_that_passes_does_not_stop_the_writer(shop: Shop) -> None:
    for n in range(20):
        try:
            async with asyncio.timeout(0.0005 * (n % 5)):
                await shop.ask(chooses(f"p{n}"))
        except TimeoutError:
            continue

    asked = await shop.ask(chooses("ada"))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 100)
    assert [change.revision for change in changes] == list(range(1, asked.appended.revision + 1))


async def test_a_subscriber_that_fails_fails_nobody_else(shop: Shop) -> None:
    heard: list[int] = []

    def fail(_: Committed) -> None:
        raise RuntimeError("not now")

    shop.store.on_commit(fail)
    shop.store.on_commit(lambda one: heard.append(one.head.revision))

    await shop.ask(chooses("ada"))

    assert heard == [1]


async def test_closing_finishes_the_group_under_way_and_refuses_the_rest(
    database: Database, clock: FakeClock
) -> None:
    shop = await limited(database, clock, StorageLimits(group_writes_max=5))
    heard = asyncio.Event()
    shop.store.on_commit(lambda _: heard.set())
    calls = [asyncio.create_task(shop.ask(chooses(f"p{n}"))) for n in range(50)]

    await heard.wait()
    await shop.store.close()
    results = await asyncio.gather(*calls, return_exceptions=True)

    done = [one for one in results if isinstance(one, Asked)]
    refused = [one for one in results if isinstance(one, UnavailableError)]
    assert len(done) >= 5
    assert len(done) + len(refused) == 50
    assert {one.reason for one in refused} <= {ErrorReason.DRAINING}
    assert len(await database.rows("changes")) == len(done)


async def test_a_closed_store_refuses_everything(shop: Shop) -> None:
    await shop.store.close()
    await shop.store.close()

    for call in (
        shop.ask(chooses("ada")),
        shop.store.head(shop.tenant_id),
        shop.store.create_tenant("other", bytes(32)),
    ):
        with pytest.raises(UnavailableError) as refused:
            await call
        assert refused.value.reason is ErrorReason.DRAINING
