"""While a node's clock cannot be believed, it takes stops and refuses all else."""

import pytest

from heed.acts import Act
from heed.errors import ErrorReason, UnavailableError
from heed.model import Channel, Instant, Method, Reach, Revision, Scope, Topic
from heed_server.storage.clock import ClockStart, off_ms_by_boot, off_ms_by_database
from tests.support.stores import (
    NOW,
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
    retires,
)

HOUR = 3_600.0


@pytest.mark.parametrize("off_seconds", [HOUR, -HOUR, 10 * 365 * 86_400.0])
async def test_a_stop_is_taken_one_microsecond_after_the_head(
    shop: Shop, clock: FakeClock, off_seconds: float
) -> None:
    await shop.ask(chooses("ada"))
    head = await shop.store.head(shop.tenant_id)
    clock.set_off_by(off_seconds)

    stops: list[Act] = [
        chooses("bob", choices=[opt_out(), pause(clock.ahead(HOUR))]),
        adds(protection("bob")),
        imports(protection("cy")),
        places("hold-1", end=None),
    ]
    for act in stops:
        await shop.ask(act)

    changes = await shop.store.read_changes(shop.tenant_id, head.revision, 10)
    assert [change.commit_time for change in changes] == [head.commit_time + n for n in range(1, 6)]
    for change in changes[:4]:
        assert change.record is not None
        assert change.record.decided_time == change.commit_time


async def test_all_else_is_refused(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(HOUR))]))
    await shop.ask(adds(protection("ada")))
    await shop.ask(declares(Topic(name="news")))
    await shop.ask(places("hold-1"))
    decided = origin(decided=clock.ago(60))
    shorter = pause(clock.ahead(60), reach=Reach.PROMOTIONAL)
    clock.set_off_by(-HOUR)

    others: list[Act] = [
        chooses("ada", choices=[opt_in()], by=decided),
        chooses("ada", choices=[opt_out(Scope(channel=Channel.SMS)), opt_in()], by=decided),
        chooses("ada", choices=[end_pause()]),
        chooses("ada", choices=[shorter], by=origin(Method.WEB_FORM)),
        releases("ada"),
        declares(Topic(name="more")),
        declares(Topic(name="news"), loosens=True),
        retires("news"),
        lifts("hold-1"),
    ]
    for act in others:
        with pytest.raises(UnavailableError) as refused:
            await shop.ask(act)
        assert refused.value.reason is ErrorReason.CLOCK_UNTRUSTED
        assert abs(int(refused.value.metadata["off_ms"]) - 3_600_000) < 5_000
    assert (await shop.store.head(shop.tenant_id)).revision == 4


async def test_a_replay_is_answered_whatever_the_clock_says(shop: Shop, clock: FakeClock) -> None:
    act = declares(Topic(name="news"))
    first = await shop.ask(act, key="Test:k", payload="same")
    clock.set_off_by(HOUR)

    again = await shop.ask(act, key="Test:k", payload="same")

    assert again.appended.replayed
    assert again.appended.answer == first.appended.answer


async def test_a_clock_that_is_right_again_is_believed_again(shop: Shop, clock: FakeClock) -> None:
    clock.set_off_by(HOUR)
    await shop.ask(chooses("ada"))
    clock.set_off_by(-HOUR)
    before = clock.now()

    asked = await shop.ask(declares(Topic(name="news")))

    assert asked.outcome.commit_time >= before


@pytest.mark.parametrize("off_seconds", [2.0, -2.0])
async def test_a_clock_that_is_off_by_little_is_believed(
    shop: Shop, clock: FakeClock, off_seconds: float
) -> None:
    clock.set_off_by(off_seconds)

    asked = await shop.ask(declares(Topic(name="news")))

    assert asked.appended.revision == Revision(1)


def test_the_wall_clock_is_compared_with_how_long_it_has_run() -> None:
    start = ClockStart(NOW, 100.0)

    assert off_ms_by_boot(start, Instant(NOW + 50 * SECOND), 150.0) == 0
    assert off_ms_by_boot(start, Instant(NOW + 56 * SECOND), 150.0) == 6_000
    assert off_ms_by_boot(start, Instant(NOW - 50 * SECOND), 150.0) == 100_000


def test_waiting_for_a_lock_does_not_make_a_clock_wrong() -> None:
    asked, answered = NOW, Instant(NOW + 30 * SECOND)

    assert off_ms_by_database(asked, NOW + SECOND, answered) == 0
    assert off_ms_by_database(asked, NOW + 29 * SECOND, answered) == 0
    assert off_ms_by_database(asked, NOW - 6 * SECOND, answered) == 6_000
    assert off_ms_by_database(asked, NOW + 37 * SECOND, answered) == 7_000
    assert off_ms_by_database(answered, NOW + 15 * SECOND, asked) == 0
