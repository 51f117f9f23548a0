"""What a principal may do in an hour is counted in the database, in the write's own transaction."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from heed.acts import (
    Act,
    Found,
    PersonChoices,
    ReleaseSuppression,
    ReleaseSuppressions,
    SetPreferences,
)
from heed.errors import ConflictError, ErrorReason, UnavailableError
from heed.judge import slot_key
from heed.model import Cause, Channel, Method, RecordKind, Scope
from heed_server.store import RecordFilter
from heed_server.writes import Appended, Cap, Spender
from tests.support.stores import (
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    imports,
    keyed,
    new_database,
    new_shop,
    opt_in,
    opt_out,
    origin,
    protection,
)

HOUR = 3_600.0
BULK = Spender(principal="importer", most={Cap.BULK: 5})
RELEASES = Spender(principal="desk", most={Cap.RELEASES: 5})
CONSENTS = Spender(principal="page", most={Cap.CONSENTS: 2})


async def spend(shop: Shop, act: Act, by: Spender | None, *, key: str | None = None) -> Appended:
    write, _ = shop.write(act, key=key)
    return await shop.store.append(replace(write, spender=by))


def listed(*names: str) -> Act:
    return imports(*(protection(name, Cause.NONE, decided=1) for name in names))


def people(*names: str) -> SetPreferences:
    return SetPreferences(
        people=tuple(
            PersonChoices(subjects=(keyed(name),), choices=(opt_out(),), origin=origin())
            for name in names
        )
    )


def consents(name: str) -> SetPreferences:
    return chooses(name, choices=(opt_in(),), by=origin(Method.WEB_FORM, decided=1))


async def refused(shop: Shop, act: Act, by: Spender, *, key: str | None = None) -> dict[str, str]:
    """What the refusal of a write says, which changed nothing."""
    head = await shop.store.head(shop.tenant_id)
    with pytest.raises(ConflictError) as error:
        await spend(shop, act, by, key=key)
    assert error.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert await shop.store.head(shop.tenant_id) == head
    return error.value.metadata


async def test_people_stopped_by_bulk_are_counted_whatever_the_call(shop: Shop) -> None:
    await spend(shop, listed("a", "b"), BULK)
    await spend(shop, people("c", "d"), BULK)

    told = await refused(shop, adds(protection("e"), protection("f")), BULK)

    assert told == {"cap": "bulk", "cap_max": "5", "used": "4", "amount": "2"}


async def test_what_was_refused_uses_nothing_and_costs_its_neighbours_nothing(shop: Shop) -> None:
    results = await asyncio.gather(
        spend(shop, listed("a", "b", "c"), BULK),
        spend(shop, listed("d", "e", "f", "g"), BULK),
        spend(shop, listed("h", "i"), BULK),
        return_exceptions=True,
    )

    assert [isinstance(one, Appended) for one in results] == [True, False, True]


async def test_a_single_opt_out_is_under_no_cap(shop: Shop) -> None:
    await spend(shop, listed("a", "b", "c", "d", "e"), BULK)

    taken = [await spend(shop, chooses(f"person{at}"), BULK) for at in range(20)]

    assert not any(one.replayed for one in taken)


async def test_what_changes_nothing_uses_nothing(shop: Shop) -> None:
    await spend(shop, listed("a", "b", "c", "d"), BULK)

    for _ in range(3):
        await spend(shop, listed("a", "b", "c", "d"), BULK)
    dry, _ = shop.write(imports(protection("x"), protection("y")))
    await shop.store.append(replace(dry, spender=BULK, dry_run=True))

    told = await refused(shop, listed("e", "f"), BULK, key="Test:after")
    assert told["used"] == "4"


async def test_a_replay_uses_nothing(shop: Shop) -> None:
    await spend(shop, listed("a", "b", "c"), BULK, key="Test:k")

    again = await spend(shop, listed("a", "b", "c"), BULK, key="Test:k")

    assert again.replayed
    await spend(shop, listed("d", "e"), BULK)


async def test_a_restart_gives_nobody_more(shop: Shop, database: Database) -> None:
    await spend(shop, listed("a", "b", "c", "d"), BULK)
    await shop.store.close()

    again = Shop(await database.open(), shop.tenant_id)

    told = await refused(again, listed("e", "f"), BULK, key="Test:after")

    assert told["used"] == "4"


async def test_each_principal_has_its_own_in_each_tenant(shop: Shop) -> None:
    other = await new_shop(shop.store, "other")
    await spend(shop, listed("a", "b", "c", "d", "e"), BULK)

    taken = [
        await spend(shop, listed("f", "g"), replace(BULK, principal="another")),
        await spend(other, listed("a", "b"), BULK),
    ]

    assert not any(one.replayed for one in taken)


async def test_consents_are_counted_a_person_each(shop: Shop) -> None:
    await spend(shop, consents("ada"), CONSENTS)
    await spend(shop, consents("bob"), CONSENTS)

    told = await refused(shop, consents("cy"), CONSENTS)

    assert told["cap"] == "consents"
    await spend(shop, chooses("cy"), CONSENTS)


async def test_what_is_approved_of_one_cap_leaves_the_others_in_force(shop: Shop) -> None:
    both = Spender(principal="page", most={Cap.BULK: 5, Cap.CONSENTS: 2})
    await spend(shop, consents("ada"), both)
    approved = both.with_approved(Cap.BULK, "approval-1", 100)

    mixed = SetPreferences(people=(*people("a", "b", "c").people, *consents("bob").people))
    await spend(shop, mixed, approved)
    told = await refused(
        shop, SetPreferences(people=(*people("d", "e").people, *consents("cy").people)), approved
    )

    assert told == {"cap": "consents", "cap_max": "2", "used": "2", "amount": "1"}
    await spend(shop, people("f", "g", "h", "i", "j"), both)


async def test_an_approval_that_has_nothing_left_says_which_and_when_to_come_again(
    shop: Shop,
) -> None:
    approved = CONSENTS.with_approved(Cap.CONSENTS, "approval-1", 1)
    await spend(shop, consents("ada"), approved)

    told = await refused(shop, consents("bob"), approved)
    with pytest.raises(ConflictError, match=r"approval-1 which was granted.* again in an hour"):
        await spend(shop, consents("bob"), approved)

    assert told == {
        "cap": "consents",
        "cap_max": "1",
        "used": "1",
        "amount": "1",
        "used_up": "approval-1",
    }


async def bounced(shop: Shop, *names: str) -> tuple[Found, ...]:
    """Suppress people, and return what was found of them."""
    await spend(shop, adds(*(protection(name) for name in names)), None)
    wanted = RecordFilter(kinds=frozenset({RecordKind.SUPPRESSION}))
    page = await shop.store.list_suppressions(shop.tenant_id, wanted, "", 1000)
    keys = {keyed(name).key for name in names}
    return tuple(
        Found(one.key, slot_key(one.record), one.record.revision)
        for one in page.items
        if one.key in keys
    )


def release_of(name: str) -> ReleaseSuppression:
    return ReleaseSuppression(
        subject=keyed(name),
        cause=Cause.BOUNCE,
        scopes=(Scope(channel=Channel.EMAIL, topic=""),),
        reason="our fault",
        origin=origin(),
    )


def releases_of(found: tuple[Found, ...], people_after: int = 0) -> ReleaseSuppressions:
    return ReleaseSuppressions(
        found=found, reason="our fault", origin=origin(), people_after=people_after
    )


async def test_releases_are_counted_over_all_calls(shop: Shop) -> None:
    await bounced(shop, "a", "b")
    many = await bounced(shop, "c", "d", "e")
    more = await bounced(shop, "f", "g")
    await spend(shop, release_of("a"), RELEASES)
    await spend(shop, release_of("b"), RELEASES)

    await spend(shop, releases_of(many), RELEASES)
    of_one = await refused(shop, release_of("f"), RELEASES)
    of_many = await refused(shop, releases_of(more), RELEASES, key="Test:many")

    assert of_one == {"cap": "releases", "cap_max": "5", "used": "5", "amount": "1"}
    assert of_many == {"cap": "releases", "cap_max": "5", "used": "5", "amount": "2"}
    await spend(shop, releases_of(more), replace(RELEASES, principal="another"))


async def test_a_part_is_refused_where_there_is_no_room_for_those_after_it(shop: Shop) -> None:
    found = await bounced(shop, "a", "b", "c", "d")

    told = await refused(shop, releases_of(found[:2], people_after=4), RELEASES)
    await spend(shop, releases_of(found[:2], people_after=2), RELEASES)
    await spend(shop, releases_of(found[2:]), RELEASES)

    assert told["amount"] == "6"
    more = await bounced(shop, "e", "f")
    assert (await refused(shop, releases_of(more), RELEASES, key="Test:more"))["used"] == "4"


async def test_a_release_of_what_has_changed_since_uses_nothing(shop: Shop) -> None:
    found = await bounced(shop, "a", "b", "c", "d")
    await spend(shop, releases_of(found), RELEASES)

    await spend(shop, releases_of(found), RELEASES, key="Test:again")

    more = await bounced(shop, "e", "f")
    assert (await refused(shop, releases_of(more), RELEASES, key="Test:more"))["used"] == "4"


async def test_a_cap_that_is_not_set_is_none(shop: Shop) -> None:
    await spend(shop, people(*(f"p{at}" for at in range(50))), CONSENTS)
    await spend(shop, people(*(f"q{at}" for at in range(50))), None)

    assert (await shop.store.head(shop.tenant_id)).revision == 100


async def test_the_hour_of_a_cap_passes_while_the_clock_is_not_trusted(tmp_path: Path) -> None:
    """Commit times stand still then; a feed of stops must not wait for the clock with them."""
    async with new_database("sqlite", tmp_path, None) as database:
        clock = FakeClock()
        shop = await new_shop(await database.open(clock=clock))
        await spend(shop, chooses("ada"), None)
        clock.set_off_by(10 * HOUR)
        await spend(shop, listed("a", "b", "c", "d", "e"), BULK)
        await refused(shop, listed("f", "g"), BULK)

        clock.pass_seconds(HOUR + 60)
        await spend(shop, listed("f", "g"), BULK)

        assert (await shop.store.head(shop.tenant_id)).revision == 8


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR], ids=["ahead", "back"])
async def test_a_clock_that_jumps_gives_nobody_more_and_refuses_no_stop(
    shop: Shop, clock: FakeClock, jump: float
) -> None:
    for name in ("a", "b"):
        await spend(shop, consents(name), CONSENTS)
    clock.set_off_by(jump)

    with pytest.raises(UnavailableError) as untrusted:
        await spend(shop, consents("c"), CONSENTS)
    for name in ("a", "b", "c"):
        await spend(shop, chooses(name), replace(BULK, most={Cap.BULK: 1}))
    clock.set_off_by(-jump)

    assert untrusted.value.reason is ErrorReason.CLOCK_UNTRUSTED
    assert (await refused(shop, consents("c"), CONSENTS))["used"] == "2"
