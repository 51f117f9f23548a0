"""Quiet hours, and until when nobody is to be asked again: kept, undone, erased, and gated."""

from dataclasses import replace
from pathlib import Path

import pytest

from heed.acts import PlaceHold
from heed.errors import ConflictError, ErrorReason
from heed.hours import NO_HOURS, Hours, hours_of, union
from heed.model import (
    Choice,
    ChoiceKind,
    Effect,
    Instant,
    Method,
    Reach,
    Record,
    RecordKind,
    Revision,
    Scope,
)
from heed_server.storage import SqlStore
from heed_server.storage.schema import QUIET_HOURS_SINCE, READABLE_SINCE
from heed_server.store import Subscriber
from tests.contract.test_offers import HOLD, offers, record
from tests.contract.test_reverts import WRONG, revert
from tests.support.backed_up import keep, restore, root_of
from tests.support.stores import (
    ANYTHING,
    EMAIL_NEWS,
    SECOND,
    Database,
    FakeClock,
    Shop,
    chooses,
    erases,
    keyed,
    new_shop,
    opt_out,
    origin,
)

NIGHT = hours_of("Europe/Vienna: 22:00-08:00")
SHORT = hours_of("Europe/Vienna: 23:00-08:00")
LONG = hours_of("Europe/Vienna: sat,sun 12:00-13:00; 21:00-09:00")
OPERATOR = origin(Method.OPERATOR)


def quiet(
    hours: Hours = NIGHT, scope: Scope = EMAIL_NEWS, reach: Reach = Reach.PROMOTIONAL
) -> Choice:
    return Choice(kind=ChoiceKind.QUIET_HOURS, scope=scope, reach=reach, quiet_hours=hours)


def end_quiet(scope: Scope = EMAIL_NEWS) -> Choice:
    return Choice(kind=ChoiceKind.END_QUIET_HOURS, scope=scope)


def no_ask(until: int, scope: Scope = EMAIL_NEWS) -> Choice:
    return replace(opt_out(scope), no_ask_until=Instant(until))


async def standing(shop: Shop, name: str = "ada") -> list[Record]:
    """What stands, as a person is told and a follower alike."""
    key = keyed(name).key
    of_tables = [one.record for one in (await shop.store.standing(shop.tenant_id, [key])).records]
    async with shop.store.snapshot(shop.tenant_id) as snapshot:
        of_snapshot = [
            record
            async for batch in snapshot.records()
            for owner, record in batch
            if bytes(owner) == key
        ]
    assert of_snapshot == of_tables
    return of_tables


async def readable_since(database: Database) -> int:
    (row,) = await database.rows("compatibility")
    return int(row["readable_since"])


def node(
    shop: Shop, clock: FakeClock, *, rule_version: int, stream_id: str = "run-1"
) -> Subscriber:
    return Subscriber(
        tenant_id=shop.tenant_id,
        name="node/a",
        stream_id=stream_id,
        instance="run",
        node="a",
        open_time=clock.now(),
        close_time=None,
        probe_time=clock.now(),
        max_staleness=60 * SECOND,
        applied_revision=Revision(0),
        applied_time=clock.now(),
        rule_version=rule_version,
    )


async def test_quiet_hours_stand_as_they_were_said(shop: Shop) -> None:
    asked = await shop.ask(chooses("ada", choices=[quiet(LONG, ANYTHING, Reach.TRANSACTIONAL)]))

    (found,) = await standing(shop)
    assert (found.kind, found.quiet_hours) == (RecordKind.QUIET_HOURS, LONG)
    assert (found.reach, found.end_time) == (Reach.TRANSACTIONAL, None)
    assert asked.outcome.stored[0].record == found
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(0), 10)
    assert change.record == found


async def test_later_hours_replace_the_earlier_whatever_their_reach(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[quiet(NIGHT, reach=Reach.TRANSACTIONAL)]))

    await shop.ask(chooses("ada", choices=[quiet(SHORT)]))

    assert [(one.quiet_hours, one.reach) for one in await standing(shop)] == [
        (SHORT, Reach.PROMOTIONAL)
    ]


async def test_an_ended_one_is_kept_and_an_earlier_one_that_arrives_late_stays_ended(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada", choices=[quiet()], by=origin(decided=clock.ago(30))))
    await shop.ask(chooses("ada", choices=[end_quiet()], by=origin(decided=clock.ago(10))))

    late = await shop.ask(chooses("ada", choices=[quiet(LONG)], by=origin(decided=clock.ago(20))))

    assert late.outcome.stored[0].effect is Effect.SUPERSEDED
    (found,) = await standing(shop)
    assert (found.quiet_hours, found.end_time) == (NO_HOURS, found.decided_time)


@pytest.mark.parametrize(
    "weaker",
    [quiet(SHORT), quiet(hours_of("Europe/London: 00:00-00:00")), end_quiet()],
    ids=["an hour free", "another zone", "the end"],
)
@pytest.mark.parametrize("method", [Method.UNSPECIFIED, Method.OPERATOR, Method.IMPORT])
async def test_less_quiet_needs_an_act_of_the_person(
    shop: Shop, weaker: Choice, method: Method
) -> None:
    await shop.ask(chooses("ada", choices=[quiet()]))

    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("ada", choices=[weaker], by=origin(method)))

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED
    assert [one.quiet_hours for one in await standing(shop)] == [NIGHT]
    await shop.ask(chooses("ada", choices=[weaker], by=origin(Method.WEB_FORM)))


async def test_a_narrower_reach_needs_an_act_of_the_person(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[quiet(reach=Reach.TRANSACTIONAL)]))

    with pytest.raises(ConflictError):
        await shop.ask(chooses("ada", choices=[quiet()], by=OPERATOR))


async def test_more_quiet_needs_nobody(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[quiet()], by=OPERATOR))
    await shop.ask(chooses("ada", choices=[quiet(LONG, reach=Reach.TRANSACTIONAL)], by=OPERATOR))
    await shop.ask(chooses("ada", choices=[quiet(SHORT)], by=origin(Method.REPLY)))

    assert [one.quiet_hours for one in await standing(shop)] == [SHORT]


async def test_the_later_time_not_to_ask_before_stands_whichever_opt_out_does(
    shop: Shop, clock: FakeClock
) -> None:
    year, month = clock.ahead(365 * 86_400), clock.ahead(30 * 86_400)
    await shop.ask(chooses("ada", choices=[no_ask(year)], by=origin(decided=clock.ago(20))))
    await shop.ask(chooses("ada", choices=[no_ask(month)], by=origin(decided=clock.ago(10))))
    await shop.ask(chooses("ada", choices=[opt_out()], by=origin(decided=clock.ago(5))))

    (found,) = await standing(shop)
    assert (found.no_ask_until, found.end_time) == (year, None)

    much_later = Instant(year + SECOND)
    late = await shop.ask(
        chooses("ada", choices=[no_ask(much_later)], by=origin(decided=clock.ago(9)))
    )

    (after,) = await standing(shop)
    assert late.outcome.stored[0].effect is Effect.APPLIED
    assert (after.no_ask_until, after.decided_time) == (much_later, found.decided_time)


async def test_undoing_a_batch_restores_the_hours_before_it(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[quiet()]))
    (before,) = await standing(shop)
    batch = replace(chooses("ada", choices=[quiet(LONG), no_ask(2**51)]), batch_id=WRONG)
    await shop.ask(batch)

    await revert(shop)

    assert await standing(shop) == [before]


async def test_quiet_hours_and_the_time_not_to_ask_before_survive_an_erasure(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[quiet(), no_ask(2**51)]))
    before = await standing(shop)

    await shop.ask(erases("ada"))

    assert await standing(shop) == before
    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 10)
    assert [one.record for one in changes[:2]] == [
        next(one for one in before if one.revision == change.revision) for change in changes[:2]
    ]
    assert changes[-1].erasure is not None
    assert list(changes[-1].erasure.standing) == before


async def test_a_follower_offers_back_what_a_restore_lost(database: Database, shop: Shop) -> None:
    await shop.ask(PlaceHold(hold=HOLD, origin=OPERATOR))
    await shop.ask(chooses("bob", choices=[quiet(NIGHT)]))
    held = replace(record(RecordKind.QUIET_HOURS), quiet_hours=LONG)
    opted = replace(record(), no_ask_until=Instant(2**51))

    await shop.ask(offers(*((name, one) for name in ("ada", "bob") for one in (held, opted))))

    for name, hours in (("ada", LONG), ("bob", NIGHT)):  # bob said so later
        assert [(one.quiet_hours, one.no_ask_until) for one in await standing(shop, name)] == [
            (None, 2**51),
            (hours, None),
        ]
    (reserve,) = await database.rows("reserves")
    assert reserve["quiet_hours"] == str(union(LONG, NIGHT))


async def test_all_of_it_comes_back_from_a_backup_which_no_earlier_heed_may_open(
    database: Database, shop: Shop, empty: Database, tmp_path: Path
) -> None:
    await shop.ask(chooses("ada", choices=[quiet(LONG), no_ask(2**51)]))
    before = await standing(shop)
    kept = await keep(database, shop, tmp_path / "a.backup")

    await restore(kept, empty)

    restored = Shop(await empty.open(root_file=root_of(kept)), shop.tenant_id)
    assert await standing(restored) == before
    assert await readable_since(empty) == QUIET_HOURS_SINCE


class TestNodesOfAnEarlierRelease:
    """They could not read what is new: it is refused while one is alive, by its own rows."""

    @pytest.mark.parametrize(
        "choice", [quiet(), end_quiet(), no_ask(2**51)], ids=["hours", "their end", "not to ask"]
    )
    async def test_what_one_would_not_know_is_refused(
        self, database: Database, store: SqlStore, shop: Shop, clock: FakeClock, choice: Choice
    ) -> None:
        await store.put_subscribers([node(shop, clock, rule_version=1)])

        with pytest.raises(ConflictError) as refused:
            await shop.ask(chooses("ada", choices=[choice]))

        assert refused.value.reason is ErrorReason.NODE_OUTDATED
        assert await readable_since(database) == READABLE_SINCE
        await shop.ask(chooses("ada"))

    async def test_it_is_refused_in_every_tenant_and_costs_its_neighbours_nothing(
        self, store: SqlStore, shop: Shop, clock: FakeClock
    ) -> None:
        other = await new_shop(store, "other")
        await store.put_subscribers([node(other, clock, rule_version=1)])

        with pytest.raises(ConflictError):
            await shop.ask(chooses("ada", choices=[quiet()]))

        assert [one.kind for one in await standing(shop)] == []

    async def test_an_offer_of_it_is_refused_whole(
        self, store: SqlStore, shop: Shop, clock: FakeClock
    ) -> None:
        await shop.ask(PlaceHold(hold=HOLD, origin=OPERATOR))
        await store.put_subscribers([node(shop, clock, rule_version=1)])
        held = replace(record(RecordKind.QUIET_HOURS), quiet_hours=NIGHT)

        with pytest.raises(ConflictError) as refused:
            await shop.ask(offers(("ada", record()), ("ada", held)))

        assert refused.value.reason is ErrorReason.NODE_OUTDATED

    async def test_it_is_taken_once_none_is_alive_and_then_none_may_open_the_database(
        self, database: Database, store: SqlStore, shop: Shop, clock: FakeClock
    ) -> None:
        gone = node(shop, clock, rule_version=1)
        stopped = replace(gone, stream_id="run-2", close_time=clock.now())
        killed = replace(gone, stream_id="run-3", probe_time=clock.ago(100))
        declared = replace(gone, name="agent", stream_id="")
        of_now = node(shop, clock, rule_version=2, stream_id="run-4")
        await store.put_subscribers([stopped, killed, declared, of_now])

        await shop.ask(chooses("ada", choices=[quiet()]))

        assert await readable_since(database) == QUIET_HOURS_SINCE
        # One that ran on and wrote its row meanwhile changes nothing any more.
        await store.put_subscribers([gone])
        await shop.ask(chooses("bob", choices=[quiet()]))

    async def test_what_is_refused_for_another_reason_keeps_nobody_out(
        self, database: Database, shop: Shop
    ) -> None:
        with pytest.raises(ConflictError):
            await shop.ask(chooses("ada", choices=[end_quiet()], by=OPERATOR))

        assert await readable_since(database) == READABLE_SINCE

    async def test_a_replay_is_answered_all_the_same(
        self, store: SqlStore, shop: Shop, clock: FakeClock
    ) -> None:
        first = await shop.ask(chooses("ada", choices=[quiet()]), key="Test:again")
        await store.put_subscribers([node(shop, clock, rule_version=1)])

        again = await shop.ask(chooses("ada", choices=[quiet()]), key="Test:again")

        assert again.appended.replayed
        assert again.appended.answer == first.appended.answer
