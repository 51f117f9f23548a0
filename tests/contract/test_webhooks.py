"""What webhooks keep, on both databases; and targets that are sent a real log, whatever fails."""

import random
from dataclasses import replace

import pytest

from heed.errors import InvalidArgumentError
from heed.model import Instant, Revision, TenantId
from heed_server.storage import SqlStore
from heed_server.webhook_store import (
    DeadLetter,
    Health,
    Lane,
    LateLane,
    Note,
    Place,
    Position,
)
from tests.support.stores import (
    NOW,
    Database,
    Shop,
    erases,
    keyed,
    new_shop,
    places,
)
from tests.support.webhooks import (
    GONE,
    SERVER_ERROR,
    InProcess,
    changed,
    letters_of,
    log_of,
    made,
    moved,
    running,
    until_dead,
)

ADA = Lane(keyed("ada").key)
BOB = Lane(keyed("bob").key)
BEGIN = Position(b"epoch--1", Revision(0), bytes(32))


@pytest.fixture
def place(shop: Shop) -> Place:
    return Place(shop.tenant_id, "crm")


def letter(letter_id: str = "id-1", **other: object) -> DeadLetter:
    made = DeadLetter(
        letter_id=letter_id,
        lane=ADA,
        revision=Revision(7),
        event="preference.changed",
        dead_time=NOW,
        first_time=Instant(NOW - 5),
        attempts=3,
        failure="HTTP 500",
        replay=0,
    )
    return replace(made, **other)  # type: ignore[arg-type]  # fields by name


async def test_a_target_stands_where_it_begins_and_then_where_it_was_noted(
    store: SqlStore, place: Place
) -> None:
    first = await store.webhooks.open_target(place, BEGIN)
    assert (first.position, first.version, first.late, first.dead_count) == (BEGIN, 1, (), 0)
    late = LateLane(
        lane=ADA,
        revision=Revision(7),
        attempts=2,
        first_time=NOW,
        next_time=Instant(NOW + 1),
        failure="HTTP 500",
        behind=BOB,
    )
    reached = Position(b"epoch--1", Revision(9), b"h" * 32)
    health = Health(NOW, Instant(NOW + 2), "HTTP 500")

    note = Note(position=reached, late=(late,), dead=(letter(),), health=health)
    assert await store.webhooks.note(place, 1, note)

    second = await store.webhooks.open_target(place, BEGIN)
    assert (second.position, second.version, second.late) == (reached, 3, (late,))
    assert (second.dead_count, second.dead, second.health) == (
        1,
        frozenset({letter().revision}),
        health,
    )
    (told,) = await store.webhooks.targets(place.tenant_id)
    assert (told.target, told.position, told.late_count, told.dead_count) == ("crm", reached, 1, 1)
    assert await store.webhooks.targets(TenantId(99)) == []


async def test_who_was_overtaken_notes_nothing_at_all(store: SqlStore, place: Place) -> None:
    mine = await store.webhooks.open_target(place, BEGIN)
    theirs = await store.webhooks.open_target(place, BEGIN)

    note = Note(
        position=BEGIN._replace(revision=Revision(5)),
        late=(LateLane(lane=ADA, revision=Revision(1)),),
        dead=(letter(),),
    )
    assert not await store.webhooks.note(place, mine.version, note)

    stood = await store.webhooks.open_target(place, BEGIN)
    assert (stood.position, stood.late, stood.dead_count) == (BEGIN, (), 0)
    assert not await store.webhooks.note(place, theirs.version, note)
    assert await store.webhooks.note(place, stood.version, note)


async def test_lanes_are_replaced_and_removed(store: SqlStore, place: Place) -> None:
    opened = await store.webhooks.open_target(place, BEGIN)
    of_ada, of_bob = (LateLane(lane=lane, revision=Revision(1)) for lane in (ADA, BOB))
    await store.webhooks.note(place, opened.version, Note(position=BEGIN, late=(of_ada, of_bob)))
    later = replace(of_ada, revision=Revision(4), replay=1)

    await store.webhooks.note(
        place, opened.version + 1, Note(position=BEGIN, late=(later,), in_time=(BOB,))
    )

    assert (await store.webhooks.open_target(place, BEGIN)).late == (later,)


async def test_dead_letters_are_listed_by_age_page_by_page(store: SqlStore, place: Place) -> None:
    opened = await store.webhooks.open_target(place, BEGIN)
    letters = [letter(f"id-{n}", dead_time=Instant(NOW - n % 3)) for n in range(7)]
    await store.webhooks.note(place, opened.version, Note(position=BEGIN, dead=tuple(letters)))
    found: list[DeadLetter] = []
    cursor = ""
    while True:
        page = await store.webhooks.dead_letters(place, cursor, 3)
        assert page is not None
        found += page.letters
        cursor = page.next_cursor
        if not cursor:
            break

    assert found == sorted(letters, key=lambda one: (one.dead_time, one.letter_id))
    other = Place(place.tenant_id, "other")
    assert await store.webhooks.dead_letters(other, "", 3) is None
    with pytest.raises(InvalidArgumentError, match="page_token"):
        await store.webhooks.dead_letters(place, "nonsense", 3)


async def test_what_is_to_be_replayed_is_listed_no_more_and_asked_of_who_delivers(
    store: SqlStore, place: Place
) -> None:
    opened = await store.webhooks.open_target(place, BEGIN)
    letters = tuple(letter(f"id-{n}") for n in range(4))
    await store.webhooks.note(place, opened.version, Note(position=BEGIN, dead=letters))
    before = (await store.webhooks.asked_counts())[place]

    assert await store.webhooks.replay(place, ["id-1", "id-3", "id-9"]) == 2
    assert await store.webhooks.replay(place, ["id-1"]) == 0
    assert await store.webhooks.discard(place, ["id-0", "id-1"]) == 1

    assert (await store.webhooks.asked_counts())[place] > before
    assert [one.letter_id for one in await letters_of(store, place)] == ["id-2"]
    asked = await store.webhooks.asked(place, 10)
    assert [one.letter_id for one in asked.replays] == ["id-1", "id-3"]
    assert asked.dead_count == 1
    assert [one.letter_id for one in (await store.webhooks.asked(place, 1)).replays] == ["id-1"]
    begun = Note(
        position=BEGIN, late=(LateLane(lane=ADA, revision=Revision(7)),), replayed=("id-1",)
    )
    await store.webhooks.note(place, opened.version + 1, begun)
    assert [one.letter_id for one in (await store.webhooks.asked(place, 10)).replays] == ["id-3"]
    assert await store.webhooks.replay(place, None) == 1
    assert await store.webhooks.discard(place, None) == 0


async def test_notices_wait_once_and_no_more_than_so_many(store: SqlStore, place: Place) -> None:
    def notice(number: int) -> LateLane:
        return LateLane(lane=Lane(b"notice-%d" % number), revision=Revision(1), notice="{}")

    await store.webhooks.open_target(place, BEGIN)
    assert await store.webhooks.add_notices(place, [notice(1), notice(2)], 3) == 0
    assert await store.webhooks.add_notices(place, [notice(2), notice(3), notice(4)], 3) == 1

    asked = await store.webhooks.asked(place, 10)
    assert asked.notices == (notice(1), notice(2), notice(3))


# -- a target that is sent a log


async def test_a_flaky_receiver_is_told_all_in_order_over_restarts(shop: Shop) -> None:
    chance = random.Random(20261127)
    sender = InProcess(judge=lambda _: SERVER_ERROR if chance.random() < 0.4 else None)
    await changed(shop, *(f"p{n % 7}" for n in range(60)))
    await shop.ask(places("hold-1"))
    for wanted in (20, 45):
        deliverer = await made(shop, sender)
        async with running(deliverer):
            await sender.until(lambda wanted=wanted: len(sender.taken) >= wanted)  # type: ignore[misc]
    deliverer = await made(shop, sender)
    async with running(deliverer):
        await changed(shop, *(f"p{n % 7}" for n in range(30)))
        head = await moved(deliverer.tail, shop)
        await sender.until_taken(*range(1, head + 1))

    assert sender.order() == await log_of(shop)
    assert len(sender.tried) > len(sender.taken)
    assert sender.under_way_most > 1


async def test_two_that_deliver_at_once_repeat_and_never_skip_or_reorder(shop: Shop) -> None:
    chance = random.Random(1)
    sender = InProcess(judge=lambda _: SERVER_ERROR if chance.random() < 0.3 else None)
    await changed(shop, *(f"p{n % 5}" for n in range(80)))
    first, second = await made(shop, sender), await made(shop, sender)
    async with running(first), running(second):
        await sender.until_taken(*range(1, 81))

    assert sender.order() == await log_of(shop)


async def test_a_replay_sends_the_letter_and_what_followed_under_new_ids(
    shop: Shop, place: Place
) -> None:
    sender = InProcess(judge=lambda one: GONE if one.revision == 1 else None)
    await changed(shop, "ada", "bob", "ada")
    deliverer = await made(shop, sender)
    async with running(deliverer):
        await sender.until_taken(2, 3)
        await until_dead(shop, place)
        sender.judge = lambda _: None
        sender.taken.clear()
        assert await shop.store.webhooks.replay(place, None) == 1
        deliverer.look_at_asked()
        await sender.until_taken(1, 3)

    ids = [one.event_id.rpartition("-")[2] for one in sender.taken]
    assert [one.revision for one in sender.taken] == [1, 3]
    assert ids == ["r1", "r1"]
    standing = await shop.store.webhooks.open_target(place, BEGIN)
    assert (standing.late, standing.dead_count) == ((), 0)
    assert (await shop.store.webhooks.asked(place, 10)).replays == ()


async def test_what_an_erasure_took_is_not_in_what_waits(shop: Shop, database: Database) -> None:
    sender = InProcess(judge=lambda _: SERVER_ERROR)
    await changed(shop, "ada")
    deliverer = await made(shop, sender)
    async with running(deliverer):
        await sender.until(lambda: len(sender.tried) >= 2)
        await shop.ask(erases("ada"))
        await moved(deliverer.tail, shop)
        sender.judge = lambda _: None
        await sender.until_taken(1, 2)

    told = {one.revision: one for one in sender.taken}
    assert told[1].data["erased"] is True
    assert told[2].type == "subject.erased"
    for table in ("webhook_targets", "webhook_late", "webhook_dead"):
        assert "example.com" not in str(await database.rows(table))


async def test_after_a_new_epoch_it_goes_on_and_says_so(shop: Shop, database: Database) -> None:
    sender = InProcess()
    await changed(shop, "ada")
    async with running(await made(shop, sender)):
        await sender.until_taken(1)
    await database.execute(f"UPDATE store SET epoch = {database.blob(b'epoch--2')}")
    await changed(shop, "bob")
    sender.taken.clear()
    async with running(await made(shop, sender)):
        await sender.until_taken(1, 2)

    told = {one.type: one for one in sender.taken}
    assert told["epoch.began"].data["epoch"] == b"epoch--2".hex()
    assert told["epoch.began"].data["revision"] == 1
    assert told["preference.changed"].event_id.startswith(b"epoch--2".hex())


async def test_shops_have_targets_of_their_own(store: SqlStore, shop: Shop, place: Place) -> None:
    other = await new_shop(store, "other")
    await store.webhooks.open_target(place, BEGIN)
    await store.webhooks.open_target(Place(other.tenant_id, "crm"), BEGIN)
    await changed(other, "ada")

    assert len(await store.webhooks.targets(shop.tenant_id)) == 1
    assert await store.webhooks.replay(Place(other.tenant_id, "crm"), None) == 0
    assert await store.webhooks.replay(Place(other.tenant_id, "pager"), None) is None
    assert await store.webhooks.discard(Place(other.tenant_id, "pager"), ["id-1"]) is None
