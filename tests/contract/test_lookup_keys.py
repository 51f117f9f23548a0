"""A lookup key that leaked is replaced, and nobody is sent what they stopped, before, after, or
while subjects are moved from one key to the other."""

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from heed.acts import AddProtections, PersonChoices, Protection, RevertBatch, SetPreferences
from heed.decide import Facts, decide
from heed.errors import ErrorReason, NotFoundError, UnavailableError
from heed.index import IndexBuilder
from heed.model import Cause, ChangeKind, Channel, Method, Query, Reach, Revision, Scope, Verdict
from heed.past import Past
from heed.records import of_people
from heed.topics import TopicTable
from heed_server.follow import Follower
from heed_server.primary.lookup_keys import move_subjects, replace_lookup_key
from heed_server.primary.rotations import Rotations
from heed_server.storage import SqlStore
from heed_server.store import BatchFound
from heed_server.writes import Appended, Write
from tests.support.rekeyed import BOUNCES, People, replace_key, subject, told
from tests.support.stores import DAY, Database, FakeClock, Shop, new_shop, opt_in, opt_out, origin

NEWS = Query(channel=Channel.EMAIL, topic="news")


async def test_all_that_stands_is_moved_and_nothing_is_left_behind(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await told(before, clock)
    stood = {name: await before.records(name) for name in ("ada", "bob", "cleo", "dan")}
    rows = await database.rows("records")

    after = await replace_key(shop)
    assert {name: await after.records(name) for name in stood} == stood
    moved = await move_subjects(shop.store, shop.tenant_id)

    assert moved == 4
    assert {name: await after.records(name) for name in stood} == stood
    assert [await after.standing_key(name) for name in stood] == [
        {after.keys(name)[0]} for name in stood
    ]
    assert _slots(await database.rows("records")) == _slots(rows)
    for table in ("records", "reserves", "encrypted_addresses"):
        left = {bytes(row["subject"]) for row in await database.rows(table)}
        assert not left & {before.keys(name)[0] for name in stood}, table
    assert await move_subjects(shop.store, shop.tenant_id) == 0


def _slots(rows: Sequence[dict[str, object]]) -> list[str]:
    return sorted(repr({k: v for k, v in row.items() if k != "subject"}) for row in rows)


async def test_a_release_is_remembered_under_the_other_key(shop: Shop, clock: FakeClock) -> None:
    """A bounce of before the release does nothing, also once the person was moved."""
    before = await People.of(shop)
    await before.suppress("ada")
    await before.release("ada")
    after = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)

    late = Protection(after.keyed("ada"), Cause.BOUNCE, Reach.ALL, BOUNCES, clock.ago(3_600))
    await after.append(AddProtections(protections=(late,), origin=origin(Method.API)))

    assert await after.records("ada") == []


async def test_a_choice_of_somebody_who_is_not_moved_yet_is_where_they_stand(
    shop: Shop, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await before.choose("ada", by=origin(decided=clock.ago(60)))
    after = await replace_key(shop)

    await after.choose("ada", opt_in(), by=origin(decided=clock.ago(30)))
    await after.choose("eve")

    assert await after.standing_key("ada") == {before.keys("ada")[0]}
    assert await after.standing_key("eve") == {after.keys("eve")[0]}
    assert len(await after.records("ada")) == 2
    assert await _verdict(after, "ada") is Verdict.ALLOWED
    await move_subjects(shop.store, shop.tenant_id)
    assert await after.standing_key("ada") == {after.keys("ada")[0]}
    assert await _verdict(after, "ada") is Verdict.ALLOWED


async def _verdict(people: People, name: str, query: Query = NEWS) -> Verdict:
    found = tuple(await people.records(name))
    return decide(Facts((found,), (), TopicTable(())), query, FakeClock().ahead(DAY)).verdict


async def test_a_node_that_does_not_know_the_newest_key_writes_nothing(shop: Shop) -> None:
    """Else somebody would stand under two keys, and each be half of what they chose."""
    behind = await People.of(shop)
    await behind.choose("bob")
    await replace_key(shop)

    with pytest.raises(UnavailableError) as refused:
        await behind.choose("ada")

    assert refused.value.reason is ErrorReason.NODE_BEHIND
    head = await shop.store.head(shop.tenant_id)
    assert refused.value.metadata == {"needed": str(head.revision)}


async def test_a_call_that_is_made_again_at_a_node_behind_is_no_other_call(shop: Shop) -> None:
    """Its hash is of a lookup key that the node does not know yet; it asks again by that key."""
    await replace_key(shop)
    after = await People.of(shop)
    choice = PersonChoices(subjects=(after.keyed("ada"),), choices=(opt_out(),), origin=origin())
    write, _ = shop.write(SetPreferences(people=(choice,)), key="Test:once")
    await shop.store.append(dataclasses.replace(write, lookup_key_id=2))

    with pytest.raises(UnavailableError) as refused:
        await shop.store.append(dataclasses.replace(write, payload_hash=b"o" * 32, lookup_key_id=1))

    assert refused.value.reason is ErrorReason.NODE_BEHIND


async def test_whoever_was_erased_stays_and_is_found(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await told(before, clock)
    await before.erase("ada")
    stood = await before.records("ada")

    after = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)

    assert await after.records("ada") == stood != []
    assert await after.standing_key("ada") == {before.keys("ada")[0]}
    assert await _verdict(after, "ada") is Verdict.SUPPRESSED
    # A list that names them anew in another spelling is of the one that is suppressed already.
    await after.suppress("ada", Cause.COMPLAINT, batch="list-2")
    await after.choose("ada")
    assert await after.standing_key("ada") == {before.keys("ada")[0]}
    addresses = {bytes(row["subject"]): row for row in await database.rows("encrypted_addresses")}
    assert addresses[before.keys("ada")[0]]["ciphertext"] == b""
    assert after.keys("ada")[0] not in addresses
    counts = {one.key_id: one for one in await shop.store.moves.counts(shop.tenant_id)}
    assert (counts[1].readable, counts[1].erased, counts[2].readable) == (0, 1, 3)


async def test_whoever_consents_after_an_erasure_is_moved_like_all_others(
    shop: Shop, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await before.choose("ada", opt_out(), by=origin(decided=clock.ago(60)))
    await before.erase("ada")
    after = await replace_key(shop)  # which is later than the erasure
    later = (await shop.store.head(shop.tenant_id)).commit_time

    await after.choose("ada", opt_in(), by=origin(decided=later))
    assert await move_subjects(shop.store, shop.tenant_id) == 1

    assert await after.standing_key("ada") == {after.keys("ada")[0]}
    # An opt-in of before the erasure does nothing there either.
    await after.choose("ada", opt_in(BOUNCES), by=origin(decided=clock.ago(3_600)))
    assert len(await after.records("ada")) == 2


async def test_an_erasure_takes_what_was_said_under_the_earlier_key_too(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await told(before, clock)
    after = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)
    await after.choose("ada", opt_out(BOUNCES))

    await after.erase("ada")

    changes = await after.history("ada")
    assert all(one.is_erased for one in changes if one.kind is not ChangeKind.ERASURE)
    assert await _verdict(after, "ada") is Verdict.SUPPRESSED
    mine = {bytes(key) for key in after.keys("ada")}
    assert [
        row["ciphertext"]
        for row in await database.rows("encrypted_addresses")
        if bytes(row["subject"]) in mine
    ] == [b"", b""]
    # The ledger names both, so that a backup from before or after the move is erased again.
    erased = {bytes(one.key) for one in await shop.store.erasures()}
    assert erased == mine
    # And a choice made since is where they stand.
    await after.choose("ada", opt_out(Scope(channel=Channel.SMS)))
    assert await after.standing_key("ada") == {after.keys("ada")[0]}


async def test_a_batch_from_before_is_undone_for_whom_was_moved(
    shop: Shop, clock: FakeClock
) -> None:
    before = await People.of(shop)
    await before.choose("ada", by=origin(decided=clock.ago(60)))
    for name in ("ada", "bob"):
        await before.suppress(name, Cause.COMPLAINT, batch="list-1")
    # A list that asks for what stands already is not in the log; it stands in for the first.
    await before.suppress("bob", Cause.COMPLAINT, batch="list-2")
    after = await replace_key(shop)
    found = await shop.store.find_batch(shop.tenant_id, "list-1")
    assert isinstance(found, BatchFound)
    await move_subjects(shop.store, shop.tenant_id)

    for named in (found, await shop.store.find_batch(shop.tenant_id, "list-1")):
        assert named is not None
        await after.append(
            RevertBatch(
                batch_id="list-1",
                keys=named.keys,
                through=named.last,
                reason="the wrong list",
                origin=origin(Method.OPERATOR),
            )
        )

    assert [one.cause for one in await after.records("ada")] == [Cause.NONE]
    assert [one.cause for one in await after.records("bob")] == [Cause.COMPLAINT]
    for name in ("ada", "bob"):
        assert await after.standing_key(name) == {after.keys(name)[0]}


async def test_the_past_is_whole_under_all_keys(shop: Shop, clock: FakeClock) -> None:
    before = await People.of(shop)
    await told(before, clock)
    stood_at = (await shop.store.head(shop.tenant_id)).revision
    stood = await before.records("ada")
    after = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)
    await after.choose("ada", opt_out(BOUNCES))

    changes = await after.history("ada")

    kinds = [one.kind for one in changes]
    assert kinds.count(ChangeKind.REKEY) == 1
    assert [one.revision for one in changes] == sorted(one.revision for one in changes)
    for through, expected in (
        (stood_at, stood),
        (changes[-1].revision, await after.records("ada")),
    ):
        past = Past()
        past.take(one for one in changes if one.revision <= through)
        (found,) = of_people(past.facts(after.keys("ada")).records, after.lookup.count)
        assert sorted(found, key=repr) == sorted(expected, key=repr)


async def test_a_second_replacement_moves_on_from_where_the_first_came(
    shop: Shop, clock: FakeClock
) -> None:
    first = await People.of(shop)
    await told(first, clock)
    await first.erase("bob")
    second = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)
    await second.choose("eve")
    await second.erase("cleo")

    third = await replace_key(shop)
    await move_subjects(shop.store, shop.tenant_id)

    keys = {name: await third.standing_key(name) for name in ("ada", "bob", "cleo", "eve")}
    assert keys["ada"] == {third.keys("ada")[0]}
    assert keys["eve"] == {third.keys("eve")[0]}
    assert keys["cleo"] == {third.keys("cleo")[1]}
    assert keys["bob"] == {third.keys("bob")[2]}
    for name in keys:
        assert await _verdict(third, name) is Verdict.SUPPRESSED
    assert [one.kind for one in await third.history("ada")].count(ChangeKind.REKEY) == 2


async def test_a_move_that_was_cut_off_is_gone_on_with(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await People.of(shop)
    names = [f"person-{at}" for at in range(7)]
    for name in names:
        await before.choose(name)
    after = await replace_key(shop)
    monkeypatch.setattr("heed_server.primary.lookup_keys.MOVED_AT_ONCE", 2)
    appended = shop.store.append
    groups = 0

    async def append_twice(write: Write) -> Appended:
        nonlocal groups
        groups += 1
        if groups > 2:
            raise UnavailableError("the power is gone")
        return await appended(write)

    monkeypatch.setattr(shop.store, "append", append_twice)
    with pytest.raises(UnavailableError):
        await move_subjects(shop.store, shop.tenant_id)
    moved = [name for name in names if await after.standing_key(name) == {after.keys(name)[0]}]
    assert len(moved) == 4
    for name in names:
        assert await _verdict(after, name) is Verdict.SUPPRESSED
    monkeypatch.setattr(shop.store, "append", appended)

    assert await move_subjects(shop.store, shop.tenant_id) == 3

    for name in names:
        assert await after.standing_key(name) == {after.keys(name)[0]}


async def test_people_are_moved_however_many_write_meanwhile(
    database: Database, clock: FakeClock
) -> None:
    """Nor does anything for several people, which waits behind them, wait until nobody writes."""
    shop = await new_shop(await database.open(clock=clock))
    before = await People.of(shop)
    for name in ("ada", "bob"):
        await before.choose(name)
    after = await replace_key(shop)
    begun, is_moved = asyncio.Event(), asyncio.Event()

    async def write_on(name: str) -> None:
        written = 0
        while not is_moved.is_set():
            await after.choose(f"{name}.{written}")
            written += 1
            begun.set()

    async def move() -> None:
        await begun.wait()
        async with asyncio.timeout(10):
            try:
                await move_subjects(shop.store, shop.tenant_id)
            finally:
                is_moved.set()

    await asyncio.gather(move(), *(write_on(f"p{n}") for n in range(32)))

    assert [await after.standing_key(name) for name in ("ada", "bob")] == [
        {after.keys(name)[0]} for name in ("ada", "bob")
    ]


async def test_an_address_that_is_erased_meanwhile_is_not_moved(shop: Shop) -> None:
    before = await People.of(shop)
    await before.choose("ada")
    after = await replace_key(shop)
    (found,) = await shop.store.moves.movable(shop.tenant_id, 2, b"", 10)
    await after.erase("ada")
    assert found.subject == subject("ada")

    assert await move_subjects(shop.store, shop.tenant_id) == 0
    assert await after.standing_key("ada") == {before.keys("ada")[0]}


async def test_a_call_sent_again_over_a_replacement_is_the_same_call(shop: Shop) -> None:
    """Its hash is keyed, and was made under a key that was replaced since."""
    people = await People.of(shop)
    act = SetPreferences(
        people=(
            PersonChoices(subjects=(people.keyed("ada"),), choices=(opt_out(),), origin=origin()),
        )
    )
    write, _ = shop.write(act, key="Test:again")
    first = await shop.store.append(dataclasses.replace(write, lookup_key_id=1))
    await replace_key(shop)

    again = dataclasses.replace(
        write, payload_hash=b"n" * 32, earlier_payload_hashes=(write.payload_hash,), lookup_key_id=2
    )

    assert (await shop.store.append(again)).replayed
    assert first.revision == 1


async def test_an_index_that_follows_finds_what_one_made_anew_finds(
    shop: Shop, tmp_path: Path, clock: FakeClock
) -> None:
    before = await People.of(shop)
    (tenant,) = [one for one in await shop.store.tenants() if one.tenant_id == shop.tenant_id]
    follower = Follower(shop.store, tenant, tmp_path, boot_seconds=clock.boot)
    known: list[int] = []
    follower.tell_lookup_keys(lambda one: known.append(one.lookup_key.key_id))
    await told(before, clock)
    await follower.start()
    shop.store.on_commit(follower.offer)
    after = await replace_key(shop)
    assert known == [1]
    # What stands under a key that nobody told is not there to be overlooked.
    assert follower.revision == (await shop.store.head(shop.tenant_id)).revision - 1

    await move_subjects(shop.store, shop.tenant_id)
    await follower._step()

    assert known == [1, 2]
    head = await shop.store.head(shop.tenant_id)
    assert follower.revision == head.revision
    found = await _all_of(follower.index, after, ("ada", "bob"))
    await follower.close()
    async with shop.store.snapshot(shop.tenant_id) as snapshot:
        builder = IndexBuilder(
            tmp_path / "anew",
            tenant_id=shop.tenant_id,
            head=snapshot.head,
            topics=snapshot.topics,
            holds=snapshot.holds,
        )
        async for batch in snapshot.records():
            builder.add(batch)
        made = builder.finish()
    assert snapshot.head.lookup_key_id == 2
    assert await _all_of(made, after, ("ada", "bob")) == found
    made.close()


async def _all_of(index: object, people: People, names: Sequence[str]) -> list[object]:
    keys = [key for name in names for key in people.keys(name)]
    return list(of_people(index.records_many(keys), people.lookup.count))  # type: ignore[attr-defined]


async def test_the_first_lookup_key_stays_and_each_tenant_has_its_own(
    shop: Shop, store: SqlStore
) -> None:
    first = await store.lookup_keys(shop.tenant_id)
    other = await store.create_tenant("other", b"o" * 32)

    assert await replace_lookup_key(store, shop.tenant_id, "leaked") == 2
    assert await replace_lookup_key(store, shop.tenant_id, "leaked again") == 3

    keys = await store.lookup_keys(shop.tenant_id)
    assert [one.key_id for one in keys] == [1, 2, 3]
    assert keys[:1] == first
    assert len({one.key for one in keys}) == 3
    assert await store.lookup_keys(other.tenant_id) == other.lookup_keys
    assert (await store.head(other.tenant_id)).lookup_key_id == 1
    changes = await store.read_changes(shop.tenant_id, Revision(0), 10)
    assert [(one.kind, one.reason, one.rekey and one.rekey.key_id) for one in changes] == [
        (ChangeKind.REKEY, "leaked", 2),
        (ChangeKind.REKEY, "leaked again", 3),
    ]


async def test_without_a_name_the_only_tenant_is_meant_and_of_several_none(
    shop: Shop, store: SqlStore
) -> None:
    rotations = Rotations(store)
    assert await rotations.replace_lookup("", "leaked") == 2
    await store.create_tenant("other", b"o" * 32)

    with pytest.raises(NotFoundError, match="name one"):
        await rotations.replace_lookup("", "leaked")

    assert (await store.head(shop.tenant_id)).lookup_key_id == 2


async def test_no_earlier_heed_opens_a_database_whose_lookup_key_was_replaced(
    shop: Shop, database: Database
) -> None:
    (before,) = await database.rows("compatibility")
    await replace_key(shop)

    (after,) = await database.rows("compatibility")

    assert (before["readable_since"], after["readable_since"]) == (10, 12)


async def test_rotations_of_what_wraps_and_encrypts_go_on_over_both_keys(
    shop: Shop, database: Database
) -> None:
    before = await People.of(shop)
    for name in ("ada", "bob"):
        await before.choose(name)
    await replace_key(shop)
    keys = await shop.store.lookup_keys(shop.tenant_id)
    await move_subjects(shop.store, shop.tenant_id)

    await shop.store.rotation.rotate_root()
    await shop.store.rotation.begin_addresses(shop.tenant_id)
    assert await shop.store.rotation.finish_addresses(shop.tenant_id) == 2

    assert await shop.store.lookup_keys(shop.tenant_id) == keys
    assert {row["lookup_key_id"] for row in await database.rows("encrypted_addresses")} == {2}
