"""Undoing a batch: what stands is what would stand had it never been, on every database."""

import asyncio
from dataclasses import replace

import pytest

from heed.acts import Approved, PersonChoices, RevertBatch, Reverted, SetPreferences
from heed.errors import ConflictError, ErrorReason, NotFoundError
from heed.model import (
    Cause,
    ChangeKind,
    Channel,
    ChoiceKind,
    Instant,
    Method,
    Reach,
    Record,
    Revision,
    Scope,
)
from heed_server.storage import SqlStore
from tests.support.stores import (
    ANYTHING,
    DAY,
    NOW,
    Shop,
    adds,
    chooses,
    erases,
    imports,
    keyed,
    opt_in,
    opt_out,
    origin,
    pause,
    protection,
    releases,
)

EMAIL = Scope(channel=Channel.EMAIL)
WRONG = "wrong-list"
PAST = 1_700_000_000_000_000
"""Before the time of every clock here."""


async def undoing(shop: Shop, batch: str = WRONG) -> RevertBatch:
    found = await shop.store.find_batch(shop.tenant_id, batch)
    assert found is not None
    return RevertBatch(
        batch_id=batch,
        keys=found.keys,
        through=found.last,
        reason="the wrong file",
        origin=origin(Method.OPERATOR),
        approved=Approved("jane", "joe"),
    )


async def revert(shop: Shop, batch: str = WRONG, *, dry_run: bool = False) -> Reverted:
    act = await undoing(shop, batch)
    return (await shop.ask(act, dry_run=dry_run)).outcome.reverted


async def standing(shop: Shop, name: str) -> list[Record]:
    found = await shop.store.standing(shop.tenant_id, [keyed(name).key])
    return [one.record for one in found.records]


async def test_what_only_the_batch_said_stands_no_more(shop: Shop) -> None:
    await shop.ask(imports(protection("ada"), protection("bob", Cause.NONE), batch=WRONG))

    reverted = await revert(shop)

    assert reverted == Reverted(records=2, released=2, people=2, newly_allowed=2)
    assert await standing(shop, "ada") == []
    assert await standing(shop, "bob") == []


async def test_what_stood_before_stands_again_as_it_was(shop: Shop) -> None:
    ends = protection("ada", Cause.MANUAL, decided=PAST - 2 * DAY, end=NOW + DAY)
    await shop.ask(adds(ends))
    before = await standing(shop, "ada")
    await shop.ask(imports(protection("ada", Cause.MANUAL, decided=PAST - DAY), batch=WRONG))
    assert await standing(shop, "ada") != before

    reverted = await revert(shop)

    assert reverted == Reverted(records=1, restored=1, people=1)
    assert await standing(shop, "ada") == before


async def test_what_a_person_chose_otherwise_stands(shop: Shop) -> None:
    """Also what came late, and so did nothing while the batch stood."""
    await shop.ask(imports(protection("ada", Cause.NONE, decided=PAST - DAY), batch=WRONG))
    late = chooses("ada", choices=[opt_out(EMAIL)], by=origin(decided=PAST - 2 * DAY))
    await shop.ask(late)
    await shop.ask(chooses("ada", choices=[opt_out(ANYTHING)]))

    reverted = await revert(shop)

    assert reverted == Reverted(records=1, restored=1, people=1)
    found = {one.channel: one.decided_time for one in await standing(shop, "ada")}
    assert found.keys() == {Channel.ANY, Channel.EMAIL}
    assert found[Channel.EMAIL] == PAST - 2 * DAY


async def test_an_opt_in_that_the_batch_outlived_lets_messages_through_again(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[opt_out(EMAIL)], by=origin(decided=PAST - 9 * DAY)))
    await shop.ask(chooses("ada", choices=[opt_in(EMAIL)], by=origin(decided=PAST - 5 * DAY)))
    await shop.ask(imports(protection("ada", Cause.NONE, decided=PAST - DAY), batch=WRONG))

    reverted = await revert(shop)

    assert reverted == Reverted(records=1, restored=1, people=1, newly_allowed=1)


async def test_a_row_that_another_list_had_too_stands(shop: Shop) -> None:
    """The second list changed nothing, so the log has nothing of it; its answer said it stands."""
    await shop.ask(imports(protection("ada", decided=PAST - DAY), batch=WRONG))
    second = await shop.ask(imports(protection("ada", decided=PAST - 3 * DAY), batch="right"))
    assert second.outcome.tally.unchanged == 1

    reverted = await revert(shop)

    assert reverted == Reverted(records=1, restored=1, people=1)
    [record] = await standing(shop, "ada")
    assert record.decided_time == PAST - 3 * DAY
    assert record.revision == (await shop.store.head(shop.tenant_id)).revision


async def test_rows_of_several_other_lists_stand_whichever_is_undone(shop: Shop) -> None:
    await shop.ask(imports(protection("ada", decided=PAST - DAY), batch=WRONG))
    for batch in ("second", "third"):
        await shop.ask(imports(protection("ada", decided=PAST - 3 * DAY), batch=batch))

    await revert(shop)
    await revert(shop, "second")

    assert len(await standing(shop, "ada")) == 1


async def test_a_row_twice_in_the_list_is_undone_with_it(shop: Shop) -> None:
    for row in (0, 1):
        again = protection("ada", decided=PAST - DAY, row=row)
        await shop.ask(imports(again, batch=WRONG))

    await revert(shop)

    assert await standing(shop, "ada") == []


async def test_a_batch_undone_before_stays_undone_when_the_next_is(shop: Shop) -> None:
    await shop.ask(imports(protection("ada", Cause.NONE, decided=PAST - 5 * DAY), batch="first"))
    await shop.ask(imports(protection("ada", Cause.NONE, decided=PAST - DAY), batch=WRONG))

    unchanged = await revert(shop, "first")
    await revert(shop)

    assert unchanged == Reverted(records=1, unchanged=1, people=1)
    assert await standing(shop, "ada") == []


async def test_a_batch_undone_before_an_erasure_stays_undone_when_the_next_is(shop: Shop) -> None:
    """The erasure takes from what the first said that it was of a batch, and which one."""
    mine = pause(Instant(NOW + 9 * DAY))
    await shop.ask(chooses("ada", choices=[mine], by=origin(decided=PAST - 9 * DAY)))
    before = await standing(shop, "ada")
    for batch, kind, day in ((WRONG, ChoiceKind.END_PAUSE, 5), ("next", ChoiceKind.PAUSE, 3)):
        choice = replace(mine, kind=kind, end_time=Instant(NOW) if batch == "next" else None)
        by = origin(decided=PAST - day * DAY)
        person = PersonChoices(subjects=(keyed("ada"),), choices=(choice,), origin=by)
        await shop.ask(SetPreferences(people=(person,), batch_id=batch))
        await shop.ask(imports(protection("ada"), batch=batch))
        await revert(shop, batch)
        assert await standing(shop, "ada") == before
        await shop.ask(erases("ada"))


async def test_what_was_released_stays_released(shop: Shop) -> None:
    await shop.ask(adds(protection("ada", decided=PAST - 5 * DAY)))
    await shop.ask(imports(protection("ada", decided=PAST - DAY), batch=WRONG))
    await shop.ask(releases("ada"))

    reverted = await revert(shop)

    assert reverted == Reverted(records=1, unchanged=1, people=1)
    assert await standing(shop, "ada") == []


async def test_choices_of_several_people_are_undone_as_one(shop: Shop) -> None:
    await shop.ask(chooses("ada", choices=[opt_out(EMAIL)], by=origin(decided=PAST - 9 * DAY)))
    before = await standing(shop, "ada")
    people = tuple(
        PersonChoices(
            subjects=(keyed(name),),
            choices=(opt_in(EMAIL), opt_out(Scope(channel=Channel.SMS), Reach.ALL)),
            origin=origin(decided=PAST - DAY),
        )
        for name in ("ada", "bob")
    )
    await shop.ask(SetPreferences(people=people, batch_id=WRONG))

    reverted = await revert(shop)

    assert (reverted.records, reverted.released, reverted.people) == (4, 4, 2)
    assert await standing(shop, "ada") == before
    assert await standing(shop, "bob") == []


async def test_a_dry_run_counts_the_same_and_changes_nothing(shop: Shop) -> None:
    await shop.ask(imports(protection("ada"), protection("bob"), batch=WRONG))
    head = await shop.store.head(shop.tenant_id)

    counted = await revert(shop, dry_run=True)

    assert await shop.store.head(shop.tenant_id) == head
    assert counted == await revert(shop)


async def test_doing_it_again_changes_nothing(shop: Shop) -> None:
    await shop.ask(imports(protection("ada"), batch=WRONG))
    await revert(shop)
    head = await shop.store.head(shop.tenant_id)

    again = await revert(shop)

    assert again == Reverted(records=1, unchanged=1, people=1)
    assert await shop.store.head(shop.tenant_id) == head


async def test_nothing_is_added_to_it_any_more_not_even_by_a_replay(shop: Shop) -> None:
    """A chunk that is sent again must not be told that people are protected who are not."""
    chunk = imports(protection("ada"), batch=WRONG)
    await shop.ask(chunk, key="ImportRecords:wrong/1")
    await revert(shop)

    for key in ("ImportRecords:wrong/1", "ImportRecords:wrong/2"):
        with pytest.raises(ConflictError) as refused:
            await shop.ask(chunk, key=key)
        assert refused.value.reason is ErrorReason.BATCH_REVERTED
    await shop.ask(imports(protection("ada"), batch="right-list"))

    assert len(await standing(shop, "ada")) == 1


async def test_a_batch_that_grew_meanwhile_is_looked_at_again(shop: Shop) -> None:
    await shop.ask(imports(protection("ada"), batch=WRONG))
    act = await undoing(shop)
    await shop.ask(imports(protection("bob"), batch=WRONG))

    with pytest.raises(ConflictError) as refused:
        await shop.ask(act)

    assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert len(await standing(shop, "ada")) == 1


async def test_a_batch_that_is_not_there_is_unknown(store: SqlStore, shop: Shop) -> None:
    assert await store.find_batch(shop.tenant_id, "nosuch") is None
    act = RevertBatch(
        batch_id="nosuch",
        keys=(),
        through=Revision(0),
        reason="r",
        origin=origin(Method.OPERATOR),
    )

    with pytest.raises(NotFoundError) as refused:
        await shop.ask(act)

    assert refused.value.reason is ErrorReason.BATCH_UNKNOWN


async def test_the_log_says_who_asked_and_who_granted_and_what_stood(shop: Shop) -> None:
    await shop.ask(imports(protection("ada"), batch=WRONG))
    await revert(shop)

    _, begun, undone = await shop.store.read_changes(shop.tenant_id, Revision(0), 10)

    assert (begun.kind, begun.subject, begun.batch_id) == (ChangeKind.REVERT, None, WRONG)
    assert (begun.asked_by, begun.approved_by) == ("jane", "joe")
    assert (undone.kind, undone.subject) == (ChangeKind.REVERT, keyed("ada").key)
    assert undone.record is None
    assert undone.asked is not None
    assert undone.asked.cause is Cause.BOUNCE


async def test_what_was_chosen_in_the_same_group_is_kept(shop: Shop) -> None:
    """Both wait for one group; the undoing is judged by what the choice before it left."""
    await shop.ask(imports(protection("ada", Cause.NONE, decided=PAST - DAY), batch=WRONG))
    choice, _ = shop.write(chooses("ada", choices=[opt_out(EMAIL)]))
    undo, _ = shop.write(await undoing(shop))

    await asyncio.gather(shop.store.append(choice), shop.store.append(undo))

    assert len(await standing(shop, "ada")) == 1


async def test_batches_are_listed_page_by_page_the_last_first(shop: Shop) -> None:
    for batch, name in (("first", "ada"), ("second", "bob"), ("third", "eve")):
        await shop.ask(imports(protection(name), batch=batch))
    await revert(shop, "second")

    one = await shop.store.batches(shop.tenant_id, "", 2)
    two = await shop.store.batches(shop.tenant_id, one.next_cursor, 2)

    assert [batch.batch_id for batch in (*one.items, *two.items)] == ["third", "second", "first"]
    assert two.next_cursor == ""
