"""Suppressions: added, merged, released, listed, and imported."""

from pathlib import Path

import pytest

from heed.acts import Tally
from heed.errors import ErrorReason, InvalidArgumentError, NotFoundError
from heed.model import Cause, ChangeKind, Channel, Effect, Reach, Record, Revision, Scope
from heed_server.storage.lists import page_statement
from heed_server.store import RecordFilter
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
    protection,
    releases,
)

EVERYTHING = RecordFilter()


async def standing(shop: Shop, *names: str) -> list[Record]:
    found = await shop.store.standing(shop.tenant_id, [keyed(name).key for name in names])
    return [one.record for one in found.records]


async def test_a_suppression_is_stored_as_it_was_asked(shop: Shop, clock: FakeClock) -> None:
    seen, end = clock.ago(10), clock.ahead(1000)

    asked = await shop.ask(
        adds(protection("ada", Cause.TEMPORARY_FAILURE, decided=seen, end=end, reason="421 busy"))
    )

    found = await shop.store.standing(shop.tenant_id, [keyed("ada").key])
    (one,) = found.records
    assert (one.record.cause, one.record.decided_time, one.record.end_time) == (
        Cause.TEMPORARY_FAILURE,
        seen,
        end,
    )
    assert one.reason == "421 busy"
    assert asked.outcome.stored[0].record == one.record


async def test_a_suppression_dated_ahead_is_cut_to_its_commit(shop: Shop, clock: FakeClock) -> None:
    asked = await shop.ask(adds(protection("ada", decided=clock.ahead(3600))))

    (record,) = await standing(shop, "ada")
    assert record.decided_time == asked.outcome.commit_time


async def test_a_suppression_is_never_shortened_nor_made_older(
    shop: Shop, clock: FakeClock
) -> None:
    early, late, near, far = clock.ago(20), clock.ago(10), clock.ahead(10), clock.ahead(20)
    await shop.ask(adds(protection("ada", decided=late, end=near)))

    asked = await shop.ask(adds(protection("ada", decided=early, end=far)))

    (record,) = await standing(shop, "ada")
    assert (record.decided_time, record.end_time, record.revision) == (late, far, 2)
    assert asked.outcome.stored[0].record == record
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(1), 1)
    assert (change.record, change.effect) == (record, Effect.APPLIED)


async def test_adding_what_stands_is_logged_and_leaves_the_record_as_it_was(
    shop: Shop, clock: FakeClock
) -> None:
    again = adds(protection("ada", decided=clock.ago(10)))
    await shop.ask(again)

    asked = await shop.ask(again)

    (record,) = await standing(shop, "ada")
    assert record.revision == 1
    assert asked.appended.revision == 2
    assert asked.outcome.stored[0].record == record
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(1), 1)
    assert (change.record, change.effect) == (record, Effect.APPLIED)


async def test_causes_do_not_hide_each_other(shop: Shop) -> None:
    await shop.ask(adds(protection("ada", Cause.BOUNCE), protection("ada", Cause.COMPLAINT)))
    await shop.ask(chooses("ada"))

    assert {one.cause for one in await standing(shop, "ada")} == {
        Cause.BOUNCE,
        Cause.COMPLAINT,
        Cause.NONE,
    }


async def test_a_release_leaves_all_that_it_does_not_name(shop: Shop) -> None:
    sms = Scope(channel=Channel.SMS)
    await shop.ask(chooses("ada"))
    await shop.ask(
        adds(
            protection("ada"),
            protection("ada", scope=sms),
            protection("ada", Cause.COMPLAINT),
            protection("bob"),
        )
    )

    asked = await shop.ask(releases("ada"))

    (released,) = asked.outcome.released
    assert (released.cause, released.channel) == (Cause.BOUNCE, Channel.EMAIL)
    left = await standing(shop, "ada")
    assert [(one.cause, one.channel) for one in left] == [
        (Cause.NONE, Channel.EMAIL),
        (Cause.COMPLAINT, Channel.EMAIL),
        (Cause.BOUNCE, Channel.SMS),
    ]
    assert [record for _, _, record in asked.outcome.standing] == left
    assert len(await standing(shop, "bob")) == 1
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(5), 1)
    assert (change.kind, change.record, change.reason) == (
        ChangeKind.RELEASE,
        released,
        "mailbox is back",
    )


async def test_a_release_is_a_change_for_each_slot(shop: Shop) -> None:
    email, sms = Scope(channel=Channel.EMAIL), Scope(channel=Channel.SMS)
    await shop.ask(
        adds(
            protection("ada", Cause.LEGAL, reach=Reach.ALL),
            protection("ada", Cause.LEGAL, reach=Reach.PROMOTIONAL),
            protection("ada", Cause.LEGAL, scope=sms),
        )
    )

    asked = await shop.ask(releases("ada", Cause.LEGAL, [email, sms]))

    assert asked.appended.revision == 6
    assert len(asked.outcome.released) == 3
    assert await standing(shop, "ada") == []


async def test_releasing_what_does_not_stand_is_refused(shop: Shop) -> None:
    await shop.ask(adds(protection("ada")))
    await shop.ask(releases("ada"))

    for act in (releases("ada"), releases("bob"), releases("ada", Cause.COMPLAINT)):
        with pytest.raises(NotFoundError) as refused:
            await shop.ask(act)
        assert refused.value.reason is ErrorReason.SUPPRESSION_UNKNOWN
        assert refused.value.metadata == {"cause": act.cause.name.lower()}
    assert (await shop.store.head(shop.tenant_id)).revision == 2


async def test_what_was_seen_before_the_release_does_nothing(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(adds(protection("ada")))
    released = await shop.ask(releases("ada"))
    old = protection("ada", decided=released.outcome.commit_time)

    asked = await shop.ask(adds(old))

    assert asked.outcome.stored[0].effect is Effect.SUPERSEDED
    assert await standing(shop, "ada") == []
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(2), 1)
    assert change.effect is Effect.SUPERSEDED


async def test_what_is_seen_after_the_release_stands_and_the_release_still_counts(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(adds(protection("ada", end=clock.ahead(9000))))
    released = await shop.ask(releases("ada"))
    clock.pass_seconds(2)

    await shop.ask(adds(protection("ada", end=clock.ahead(100))))
    late = await shop.ask(
        adds(protection("ada", decided=released.outcome.commit_time, end=clock.ahead(9999)))
    )

    (record,) = await standing(shop, "ada")
    assert record.revision == 3
    assert late.outcome.stored[0].effect is Effect.SUPERSEDED
    assert late.outcome.stored[0].record == record


async def test_an_import_counts_what_became_of_each_row(shop: Shop, clock: FakeClock) -> None:
    old, older = clock.ago(100), clock.ago(200)
    await shop.ask(adds(*(protection(name, decided=old) for name in ("same", "later", "gone"))))
    await shop.ask(releases("gone"))
    await shop.ask(chooses("left"))
    scope = Scope(channel=Channel.EMAIL, topic="news")

    asked = await shop.ask(
        imports(
            protection("new", decided=old),
            protection("same", decided=older),
            protection("later", decided=clock.ago(50)),
            protection("gone", decided=old),
            protection("left", Cause.NONE, scope=scope, decided=old),
            protection("new", decided=old),
        )
    )

    assert asked.outcome.tally == Tally(added=1, strengthened=1, unchanged=3, superseded=1)
    assert asked.appended.revision == 5 + 2


async def test_importing_a_list_again_changes_nothing(shop: Shop, database: Database) -> None:
    rows = imports(*(protection(f"p{n}", decided=1) for n in range(20)))
    await shop.ask(rows)
    before = await database.rows("records")

    asked = await shop.ask(rows)

    assert asked.outcome.tally == Tally(unchanged=20)
    assert asked.appended.revision == 20
    assert await database.rows("records") == before


async def test_a_dry_run_counts_and_writes_nothing(shop: Shop, database: Database) -> None:
    await shop.ask(imports(protection("ada", decided=1)))
    head = await shop.store.head(shop.tenant_id)
    rows = imports(protection("ada", decided=1), protection("bob"))

    asked = await shop.ask(rows, key="Test:dry", payload="same", dry_run=True)
    again = await shop.ask(rows, key="Test:dry", payload="other", dry_run=True)

    assert asked.outcome.tally == again.outcome.tally == Tally(added=1, unchanged=1)
    assert not again.appended.replayed
    assert asked.appended.revision == head.revision
    assert await shop.store.head(shop.tenant_id) == head
    assert len(await database.rows("keys")) == 1
    assert await standing(shop, "bob") == []


async def test_rows_carry_their_batch_and_their_reason(shop: Shop) -> None:
    await shop.ask(imports(protection("ada", reason="550 5.1.1"), batch="list-7"))

    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(0), 1)
    assert (change.batch_id, change.reason) == ("list-7", "550 5.1.1")


async def test_an_imported_opt_out_has_no_end(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(imports(protection("ada", Cause.NONE, end=clock.ahead(1))))

    assert [one.end_time for one in await standing(shop, "ada")] == [None]


async def test_pages_of_suppressions_have_each_once_with_its_subject(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(adds(*(protection(f"p{n}") for n in range(7)), protection("p3", Cause.MANUAL)))
    await shop.ask(chooses("ada"))
    await shop.ask(releases("p5"))

    found: list[tuple[str, Cause]] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = await shop.store.list_suppressions(shop.tenant_id, EVERYTHING, cursor, 3)
        assert len(page.items) <= 3
        for one in page.items:
            assert one.subject is not None
            found.append((one.subject.value, one.record.cause))
        cursor, pages = page.next_cursor, pages + 1

    assert sorted(found) == sorted(
        [(f"p{n}@example.com", Cause.BOUNCE) for n in range(7) if n != 5]
        + [("p3@example.com", Cause.MANUAL)]
    )
    assert pages == 3


async def test_pages_stay_in_step_with_writes_between_them(shop: Shop) -> None:
    await shop.ask(adds(*(protection(f"p{n}") for n in range(10))))
    first = await shop.store.list_suppressions(shop.tenant_id, EVERYTHING, "", 5)

    await shop.ask(adds(*(protection(f"q{n}") for n in range(10))))
    seen = {one.subject.value for one in first.items if one.subject}
    cursor = first.next_cursor
    while cursor:
        page = await shop.store.list_suppressions(shop.tenant_id, EVERYTHING, cursor, 5)
        values = [one.subject.value for one in page.items if one.subject]
        assert not seen & set(values)
        seen |= set(values)
        cursor = page.next_cursor

    assert {f"p{n}@example.com" for n in range(10)} <= seen


async def test_a_list_is_filtered_by_cause_and_scope(shop: Shop) -> None:
    news = Scope(channel=Channel.EMAIL, topic="news.weekly")
    await shop.ask(
        adds(
            protection("ada", Cause.BOUNCE),
            protection("bob", Cause.MANUAL, scope=news),
            protection("cy", Cause.MANUAL, scope=Scope(channel=Channel.SMS, topic="news")),
            protection("di", Cause.MANUAL, scope=Scope(channel=Channel.EMAIL, topic="newsroom")),
        )
    )

    async def names(filter_: RecordFilter) -> set[str]:
        page = await shop.store.list_suppressions(shop.tenant_id, filter_, "", 10)
        return {one.subject.value.partition("@")[0] for one in page.items if one.subject}

    manual = frozenset({Cause.MANUAL})
    assert await names(RecordFilter(causes=manual)) == {"bob", "cy", "di"}
    beneath_news = Scope(channel=Channel.ANY, topic="news")
    assert await names(RecordFilter(scope=beneath_news)) == {"bob", "cy"}
    in_email = Scope(channel=Channel.EMAIL)
    assert await names(RecordFilter(causes=manual, scope=in_email)) == {"bob", "di"}


@pytest.mark.parametrize("causes", [frozenset[Cause](), frozenset({Cause.BOUNCE})])
async def test_a_page_begins_in_the_index_where_the_one_before_ended(
    tmp_path: Path, causes: frozenset[Cause]
) -> None:
    """Otherwise the last of many pages reads all of those before it. Both share the statement."""
    async with new_database("sqlite", tmp_path, None) as database:
        await assert_page_begins_in_the_index(
            database, await new_shop(await database.open()), causes
        )


async def assert_page_begins_in_the_index(
    database: Database, shop: Shop, causes: frozenset[Cause]
) -> None:
    await shop.ask(adds(*(protection(f"p{n}") for n in range(3))))
    filter_ = RecordFilter(causes=causes)
    first = await shop.store.list_suppressions(shop.tenant_id, filter_, "", 1)

    statement = page_statement(shop.tenant_id, filter_, first.next_cursor, 1)
    plan = await database.plan(statement)

    assert "SCAN" not in plan
    assert "records_suppressions" in plan
    assert "TEMP B-TREE" not in plan
    assert "subject" in plan.splitlines()[0]


@pytest.mark.parametrize("cursor", ["x", "!!!", "WzEsMl0", "a" * 1024, "\u00e4"])
async def test_a_cursor_of_nobodys_is_refused(shop: Shop, cursor: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await shop.store.list_suppressions(shop.tenant_id, EVERYTHING, cursor, 5)

    assert refused.value.violations[0].field == "page_token"
