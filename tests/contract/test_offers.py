"""What a follower offers back after a restore: only what protects, only under the restore's hold."""

from dataclasses import replace

import pytest

from heed.acts import Offered, OfferRecords, PlaceHold, Tally
from heed.errors import ConflictError, ErrorReason, ExhaustedError
from heed.judge import HOLDS_MAX
from heed.model import (
    Cause,
    ChangeKind,
    Channel,
    Effect,
    Hold,
    Instant,
    Method,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
)
from heed_server.storage import ways_back
from heed_server.writes import Cap, Spender
from tests.contract.test_reverts import revert, standing
from tests.support.stores import (
    DAY,
    Asked,
    Database,
    FakeClock,
    Shop,
    chooses,
    erases,
    imports,
    keyed,
    lifts,
    new_shop,
    opt_in,
    opt_out,
    origin,
    pause,
    places,
    protection,
    releases,
)

PAST = Instant(1_700_000_000_000_000)
BY = Origin(source="mailer-7", actor="mailer", method=Method.OFFERED, reference="0102030405060708")
HOLD = Hold(hold_id="hold-epoch-1", reason="restored", spares_mandatory=True)


def record(
    kind: RecordKind = RecordKind.OPT_OUT,
    cause: Cause = Cause.NONE,
    *,
    decided: Instant = PAST,
    end: Instant | None = None,
    reach: Reach | None = None,
    channel: Channel = Channel.EMAIL,
    topic: str = "news",
) -> Record:
    default = Reach.ALL if kind is RecordKind.SUPPRESSION else Reach.PROMOTIONAL
    return Record(kind, cause, reach or default, channel, topic, decided, end, Revision(99))


def offers(*named: tuple[str, Record], holds: tuple[Hold, ...] = ()) -> OfferRecords:
    return OfferRecords(
        offered=tuple(Offered(keyed(name).key, one) for name, one in named),
        holds=holds,
        origin=BY,
    )


@pytest.fixture
async def restored(shop: Shop) -> Shop:
    """A tenant under the hold of a restore."""
    await shop.ask(PlaceHold(hold=HOLD, origin=origin(Method.OPERATOR)))
    return shop


async def offer(shop: Shop, *named: tuple[str, Record], holds: tuple[Hold, ...] = ()) -> Asked:
    return await shop.ask(offers(*named, holds=holds))


async def tally(shop: Shop, *named: tuple[str, Record]) -> Tally:
    return (await offer(shop, *named)).outcome.tally


async def test_stops_that_are_lacking_stand_again_by_the_time_of_their_decision(
    restored: Shop, clock: FakeClock
) -> None:
    stops = [
        record(),
        record(RecordKind.PAUSE, end=clock.ahead(DAY)),
        record(RecordKind.SUPPRESSION, Cause.BOUNCE),
    ]
    head = await restored.store.head(restored.tenant_id)

    asked = await offer(restored, *(("ada", one) for one in stops))

    changes = await restored.store.read_changes(restored.tenant_id, head.revision, 10)
    assert asked.outcome.tally == Tally(added=3)
    assert [replace(one, revision=Revision(99)) for one in await standing(restored, "ada")] == stops
    assert [(one.kind, one.effect, one.origin) for one in changes] == [
        (ChangeKind.CHOICE, Effect.APPLIED, BY),
        (ChangeKind.CHOICE, Effect.APPLIED, BY),
        (ChangeKind.SUPPRESSION, Effect.APPLIED, BY),
    ]


async def test_no_readable_address_comes_with_an_offer_and_the_next_write_brings_it(
    restored: Shop, database: Database
) -> None:
    await offer(restored, ("ada", record()))
    before = await database.rows("encrypted_addresses")

    await restored.ask(chooses("ada"))

    assert before == []
    assert len(await database.rows("encrypted_addresses")) == 1


async def test_without_the_hold_of_a_restore_nothing_is_taken(shop: Shop) -> None:
    await shop.ask(places("hold-of-an-operator"))
    head = await shop.store.head(shop.tenant_id)

    with pytest.raises(ConflictError) as error:
        await offer(shop, ("ada", record()))

    assert error.value.reason is ErrorReason.OFFERS_CLOSED
    assert await shop.store.head(shop.tenant_id) == head


async def test_once_the_hold_is_lifted_nothing_is_taken_but_a_replay_is_answered(
    restored: Shop,
) -> None:
    act = offers(("ada", record()))
    await restored.ask(act, key="OfferRecords:1")
    await restored.ask(lifts(HOLD.hold_id))

    again = await restored.ask(act, key="OfferRecords:1")
    with pytest.raises(ConflictError) as error:
        await restored.ask(act, key="OfferRecords:2")

    assert again.appended.replayed
    assert error.value.reason is ErrorReason.OFFERS_CLOSED


async def test_the_same_of_many_followers_is_one_change(restored: Shop) -> None:
    tallies = [await tally(restored, ("ada", record())) for _ in range(3)]

    assert tallies == [Tally(added=1), Tally(unchanged=1), Tally(unchanged=1)]


async def test_what_was_decided_later_stands(restored: Shop) -> None:
    by = origin(decided=PAST + 10)
    await restored.ask(chooses("ada", by=by))
    before = await standing(restored, "ada")

    earlier = await tally(restored, ("ada", record(decided=PAST)))
    assert await standing(restored, "ada") == before
    later = await tally(restored, ("ada", record(decided=Instant(PAST + 20))))

    (stands,) = await standing(restored, "ada")
    assert (earlier, later) == (Tally(unchanged=1), Tally(strengthened=1))
    assert stands.decided_time == PAST + 20


async def test_an_opt_in_decided_since_lifts_an_offered_opt_out(restored: Shop) -> None:
    """And one decided before it does not: the offer counts by its own time."""
    for name, decided in (("ada", PAST + 10), ("bob", PAST - 10)):
        await restored.ask(
            chooses(name, choices=(opt_in(),), by=origin(Method.WEB_FORM, decided=decided))
        )

    await offer(restored, ("ada", record()), ("bob", record()))

    times = {
        name: {one.kind: one.decided_time for one in await standing(restored, name)}
        for name in ("ada", "bob")
    }
    assert times["ada"][RecordKind.OPT_IN] > times["ada"][RecordKind.OPT_OUT]
    assert times["bob"][RecordKind.OPT_IN] < times["bob"][RecordKind.OPT_OUT]


async def test_a_time_ahead_is_cut_to_the_commit_time(restored: Shop, clock: FakeClock) -> None:
    asked = await offer(restored, ("ada", record(decided=clock.ahead(DAY))))

    (stands,) = await standing(restored, "ada")
    assert stands.decided_time == asked.outcome.commit_time


async def test_a_pause_never_ends_an_active_one_sooner_nor_narrows_it(
    restored: Shop, clock: FakeClock
) -> None:
    far, near = clock.ahead(3 * DAY), clock.ahead(DAY)
    wide = pause(far, reach=Reach.TRANSACTIONAL)
    await restored.ask(chooses("ada", choices=(wide,), by=origin(decided=PAST)))
    later = Instant(PAST + 10)

    await offer(restored, ("ada", record(RecordKind.PAUSE, decided=later, end=near)))

    (stands,) = await standing(restored, "ada")
    assert (stands.end_time, stands.reach) == (far, Reach.TRANSACTIONAL)


async def test_a_pause_that_is_over_changes_nothing(restored: Shop, clock: FakeClock) -> None:
    over = record(RecordKind.PAUSE, end=clock.ago(1))

    assert await tally(restored, ("ada", over)) == Tally(unchanged=1)
    assert await standing(restored, "ada") == []


async def test_what_was_released_since_it_was_seen_is_not_brought_back(restored: Shop) -> None:
    bounced = record(RecordKind.SUPPRESSION, Cause.BOUNCE, topic="")
    await offer(restored, ("ada", bounced))
    await restored.ask(releases("ada"))

    assert await tally(restored, ("ada", bounced)) == Tally(unchanged=1)
    assert await standing(restored, "ada") == []


async def test_an_erased_person_keeps_every_stop_and_gets_those_that_are_offered(
    restored: Shop, database: Database
) -> None:
    await restored.ask(chooses("ada"))
    await restored.ask(erases("ada"))

    await offer(restored, ("ada", record(topic="offers")))

    assert [one.topic for one in await standing(restored, "ada")] == ["news", "offers"]
    assert [bytes(row["ciphertext"]) for row in await database.rows("encrypted_addresses")] == [b""]


async def test_what_a_list_made_needless_stands_when_the_list_is_undone(restored: Shop) -> None:
    """The list came between: what the person chose before is not lost with it."""
    listed = protection("ada", Cause.NONE, scope=opt_out().scope, decided=PAST + 10)
    await restored.ask(imports(listed, batch="wrong-list"))
    await offer(restored, ("ada", record(decided=PAST)))

    await revert(restored)

    (stands,) = await standing(restored, "ada")
    assert stands.decided_time == PAST


async def test_a_hold_that_is_lacking_is_placed_again(restored: Shop, clock: FakeClock) -> None:
    hold = Hold(hold_id="hold-7", reason="a leak", campaign="spring")
    over = Hold(hold_id="hold-8", reason="over", end_time=clock.ago(1))

    asked = await offer(restored, holds=(hold, over))
    again = await offer(restored, holds=(hold,))

    placed = (await restored.store.standing(restored.tenant_id, ())).holds
    assert (asked.outcome.holds_placed, again.outcome.holds_placed) == (1, 0)
    assert [one.hold.hold_id for one in placed] == [HOLD.hold_id, "hold-7"]
    assert placed[1].origin == BY


async def test_there_are_never_more_holds_than_there_may_be(restored: Shop) -> None:
    many = [Hold(hold_id=f"hold-{at}", reason="a leak") for at in range(HOLDS_MAX)]
    for start in range(0, HOLDS_MAX - 100, 100):
        await offer(restored, holds=tuple(many[start : start + 100]))

    with pytest.raises(ExhaustedError):
        await offer(restored, holds=tuple(many[-100:]))


async def test_people_whom_an_offer_changes_something_for_are_counted(restored: Shop) -> None:
    by = Spender(principal="mailer", most={Cap.BULK: 2})

    async def spend(*names: str) -> None:
        write, _ = restored.write(offers(*((name, record()) for name in names)))
        await restored.store.append(replace(write, spender=by))

    await spend("ada", "bob")
    await spend("ada", "bob")
    with pytest.raises(ConflictError) as error:
        await spend("ada", "cy")

    assert error.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert error.value.metadata["cap"] == "bulk"


async def test_a_new_epoch_says_nothing_of_what_the_log_has_of_the_one_before(
    database: Database, clock: FakeClock
) -> None:
    """Others may have written between the putting back and the telling of it."""
    store = await database.open(clock=clock)
    shop = await new_shop(store)
    await shop.ask(chooses("ada"))
    epoch = store.epoch
    assert await store.earlier_epochs(shop.tenant_id, 10) == []
    await store.close()

    await ways_back.new_epoch(database.url, reason="put back")
    await ways_back.new_epoch(database.url, reason="and again")

    store = await database.open(clock=clock)
    newest, oldest = await store.earlier_epochs(shop.tenant_id, 10)
    assert (oldest.epoch, oldest.revision) == (epoch, 0)
    assert newest.epoch not in {epoch, store.epoch}
    assert await store.earlier_epochs(shop.tenant_id, 1) == [newest]
