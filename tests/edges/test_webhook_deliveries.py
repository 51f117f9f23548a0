"""A target that is sent a real log, by whoever takes what a test has it take."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heed_server.webhook_store import Place
from heed_server.webhooks.events import EventType
from tests.support.outbox_reader import until
from tests.support.stores import Database, FakeClock, Shop, keyed, new_database, new_shop, places
from tests.support.webhooks import (
    GONE,
    QUICK,
    SERVER_ERROR,
    InProcess,
    changed,
    letters_of,
    log_of,
    made,
    moved,
    running,
    until_dead,
    until_noted,
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with new_database("sqlite", tmp_path, None) as made:
        yield made


@pytest.fixture
async def shop(database: Database) -> Shop:
    return await new_shop(await database.open(clock=FakeClock()))


@pytest.fixture
def place(shop: Shop) -> Place:
    return Place(shop.tenant_id, "crm")


async def test_others_go_on_while_one_subject_is_refused(shop: Shop) -> None:
    ada = keyed("ada").key.hex()
    sender = InProcess(judge=lambda one: SERVER_ERROR if one.subject == ada else None)
    await changed(shop, "ada", "bob", "ada", "cy")
    async with running(await made(shop, sender)):
        await sender.until_taken(2, 4)
        sender.judge = lambda _: None
        await sender.until_taken(1, 2, 3, 4)

    assert sender.order()[ada] == [1, 3]


async def test_an_event_that_is_given_up_is_a_dead_letter_and_its_subject_goes_on(
    shop: Shop, place: Place
) -> None:
    sender = InProcess(judge=lambda one: GONE if one.revision == 1 else None)
    await changed(shop, "ada", "ada")
    with capture_logs() as logs:
        async with running(await made(shop, sender)):
            await sender.until_taken(2)
            await until_dead(shop, place)

    (dead,) = await letters_of(shop.store, place)
    assert (dead.revision, dead.attempts, dead.failure) == (1, 1, "HTTP 410")
    assert [one["id"] for one in logs if one["event"] == "webhook_dead"] == [dead.letter_id]


async def test_what_is_never_taken_is_given_up_after_its_time(shop: Shop, place: Place) -> None:
    ada = keyed("ada").key.hex()
    sender = InProcess(judge=lambda one: SERVER_ERROR if one.subject == ada else None)
    await changed(shop, "ada", "bob")
    limits = replace(QUICK, give_up_hours=0.2 / 3_600)
    async with running(await made(shop, sender, limits=limits)):
        await until_dead(shop, place)

    (dead,) = await letters_of(shop.store, place)
    assert (dead.revision, dead.failure) == (1, "HTTP 500")
    assert dead.attempts > 1


async def test_with_too_many_dead_letters_the_target_waits_and_says_so(
    shop: Shop, place: Place
) -> None:
    sender = InProcess(judge=lambda _: GONE)
    await changed(shop, *(f"p{n}" for n in range(40)))
    limits = replace(QUICK, dead_letters_max=5, concurrency_max=1)
    deliverer = await made(shop, sender, limits=limits)
    with capture_logs() as logs:
        async with running(deliverer):
            await until_dead(shop, place, 5)
            sender.judge = lambda _: None
            await until(lambda: "dead_letters_max" in deliverer.waits)
            assert await shop.store.webhooks.discard(place, None)
            deliverer.look_at_asked()
            await sender.until_taken(40)

    assert "webhook_waits" in [one["event"] for one in logs]
    dead = 40 - len({one.revision for one in sender.taken})
    assert dead >= 5


async def test_a_new_target_begins_at_the_head_unless_it_asks_for_all(
    shop: Shop, place: Place
) -> None:
    sender = InProcess()
    await changed(shop, "ada", "bob")
    deliverer = await made(shop, sender, begins_first=False)
    async with running(deliverer):
        await until(lambda: deliverer.order is not None)
        await changed(shop, "cy")
        await moved(deliverer.tail, shop)
        await sender.until_taken(3)

    assert [one.revision for one in sender.taken] == [3]


async def test_a_target_that_is_away_is_tried_one_at_a_time_and_catches_up(shop: Shop) -> None:
    sender = InProcess(judge=lambda _: SERVER_ERROR)
    await changed(shop, *(f"p{n}" for n in range(50)))
    deliverer = await made(shop, sender)
    with capture_logs() as logs:
        async with running(deliverer):
            await sender.until(lambda: len(sender.tried) >= 40)
            late = deliverer.order.late_count if deliverer.order else 0
            sender.judge = lambda _: None
            await sender.until_taken(*range(1, 51))

    assert late <= QUICK.concurrency_max
    assert [one["event"] for one in logs] == ["webhook_away", "webhook_again"]
    assert sender.order() == await log_of(shop)


async def test_a_position_of_another_history_is_left_alone_loudly(
    shop: Shop, database: Database
) -> None:
    sender = InProcess()
    await changed(shop, "ada", "bob")
    async with running(await made(shop, sender)):
        await sender.until_taken(1, 2)
    await database.execute(f"UPDATE webhook_targets SET running_hash = {database.blob(bytes(32))}")
    await changed(shop, "cy")
    deliverer = await made(shop, sender)
    with capture_logs() as logs:
        async with running(deliverer):
            await until(lambda: bool(deliverer.waits))

    assert "the database was put back" in deliverer.waits
    assert [one["event"] for one in logs] == ["webhook_waits"]
    assert len(sender.taken) == 2


async def test_only_what_a_target_wants_is_sent_and_the_rest_moves_its_position(
    shop: Shop, place: Place
) -> None:
    sender = InProcess()
    await changed(shop, "ada", "bob")
    await shop.ask(places("hold-1"))
    async with running(await made(shop, sender, events=frozenset({EventType.HOLD_PLACED}))):
        await sender.until_taken(3)
        await until_noted(shop, place, 3)

    assert [one.type for one in sender.taken] == ["hold.placed"]
