"""An erasure takes what can be read of a person and every opt-in, and leaves every stop standing."""

import asyncio
from collections.abc import Sequence

import pytest

from heed.acts import Act
from heed.errors import ConflictError, ErrorReason, UnavailableError
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Instant,
    Method,
    Record,
    RecordKind,
    Revision,
    Scope,
    SubjectKey,
)
from heed.past import Past
from heed.proof import commit_content, commit_subject, leaf_hash, residues_hash, running_hash
from heed.records import in_order, remove, replace
from heed_server.storage import SqlStore
from heed_server.storage.tables import metadata
from heed_server.store import RecordFilter, Standing
from tests.support.erased import CANARY, LIST, SMS, snapshot_of, told_everything
from tests.support.stores import (
    ANYTHING,
    EMAIL_NEWS,
    EVIDENCE,
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    erases,
    imports,
    keyed,
    new_shop,
    opt_in,
    opt_out,
    origin,
    pause,
    protection,
    releases,
)


async def log_of(shop: Shop, after: int = 0) -> list[Change]:
    return list(await shop.store.read_changes(shop.tenant_id, Revision(after), 1_000))


async def standing_of(shop: Shop, name: str = "ada") -> Standing:
    return await shop.store.standing(shop.tenant_id, [keyed(name).key])


async def records_of(shop: Shop, name: str = "ada") -> list[Record]:
    return [one.record for one in (await standing_of(shop, name)).records]


def replayed(
    log: Sequence[Change], begin: dict[SubjectKey, tuple[Record, ...]] | None = None
) -> dict[SubjectKey, tuple[Record, ...]]:
    """What stands for whoever applies these changes, as a follower does."""
    told = dict(begin or {})
    for change in log:
        if change.effect is Effect.SUPERSEDED or change.subject is None:
            continue
        if change.erasure is not None:
            told[change.subject] = in_order(change.erasure.standing)
        elif change.record is not None:
            records = told.get(change.subject, ())
            told[change.subject] = (
                remove(records, change.record.slot)
                if change.kind is ChangeKind.RELEASE
                else replace(records, change.record)
            )
    return {key: records for key, records in told.items() if records}


async def test_every_stop_stands_on_and_every_opt_in_ends(shop: Shop, clock: FakeClock) -> None:
    await told_everything(shop, clock)
    before = await records_of(shop)

    asked = await shop.ask(erases("ada"))

    after = await records_of(shop)
    assert after == [one for one in before if one.kind is not RecordKind.OPT_IN]
    assert len(before) - len(after) == 2
    assert [record for _, _, record in asked.outcome.standing] == after
    (erased,) = asked.outcome.erased
    assert (erased.subject_index, erased.revision) == (0, asked.appended.revision)
    assert erased.changes_count == 9


async def test_what_was_said_is_gone_and_so_is_the_address(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    await told_everything(shop, clock)

    await shop.ask(erases("ada"))

    for one in (await standing_of(shop)).records:
        assert one.is_erased
        assert (one.origin, one.evidence, one.reason) == (None, None, "")
    rows = {row["subject"]: row for row in await database.rows("encrypted_addresses")}
    assert (rows[keyed("ada").key]["type"], rows[keyed("ada").key]["ciphertext"]) == (0, b"")
    assert rows[keyed("bob").key]["type"] == 1
    gone = (CANARY, LIST, "ada@example.com", EVIDENCE.act)
    for table in metadata.tables.keys() - {"batches"}:
        for row in await database.rows(table):
            for value in row.values():
                raw = value if isinstance(value, bytes) else str(value).encode()
                assert not any(word.encode() in raw for word in gone), table


async def test_a_neighbour_is_not_touched(shop: Shop, database: Database, clock: FakeClock) -> None:
    await told_everything(shop, clock)
    before = {row["revision"]: row for row in await database.rows("changes")}
    others = await shop.store.standing(shop.tenant_id, [keyed("bob").key])

    await shop.ask(erases("ada"))

    for row in await database.rows("changes"):
        if row["subject"] != keyed("ada").key:
            assert row == before[row["revision"]]
    after = await shop.store.standing(shop.tenant_id, [keyed("bob").key])
    assert after.records == others.records
    assert not after.records[0].is_erased


async def test_hashes_stay_and_a_receipt_of_before_still_proves_what_it_did(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    await told_everything(shop, clock)
    receipts = await database.rows("changes")

    await shop.ask(erases("ada"))

    rows = await database.rows("changes")
    running = bytes(32)
    for row in rows:
        assert leaf_hash(row["entry"]) == row["leaf_hash"]
        running = running_hash(running, row["leaf_hash"])
        assert running == row["running_hash"]
    kept = ("entry", "leaf_hash", "running_hash", "commit_time", "kind", "subject")
    for receipt, row in zip(receipts, rows, strict=False):
        assert all(receipt[column] == row[column] for column in kept)
        # A stranger's own copy of salt and content still opens the entry that is in the tree.
        assert commit_content(receipt["salt"], receipt["content"]) == row["entry"][58:90]
        if receipt["subject"] is not None:
            assert commit_subject(receipt["salt"], receipt["subject"]) == row["entry"][26:58]
        assert (row["salt"] == b"") == (row["subject"] == keyed("ada").key)


async def test_the_erasure_commits_to_what_it_left(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    """So that whoever changes a residue, to lose a stop of an erased person, is found."""
    await told_everything(shop, clock)
    await shop.ask(erases("ada"))
    rows = [row for row in await database.rows("changes") if row["salt"] == b""]

    left = [(Revision(row["revision"]), Effect(row["effect"]), row["content"]) for row in rows]

    (erasure,) = [change.erasure for change in await log_of(shop) if change.erasure is not None]
    assert erasure.residues_hash == residues_hash(left)
    assert erasure.changes_count == len(left)
    assert residues_hash(left[:-1]) != erasure.residues_hash


async def test_the_log_tells_what_a_snapshot_tells_from_whichever_revision(
    shop: Shop, clock: FakeClock
) -> None:
    await told_everything(shop, clock)
    whole = await log_of(shop)
    at = [replayed(whole[:through]) for through in range(len(whole) + 1)]

    await shop.ask(erases("ada"))

    now = await snapshot_of(shop)
    assert keyed("ada").key in now
    folded = Past()
    folded.take(await log_of(shop))
    assert dict(zip(now, folded.facts(list(now)).records, strict=True)) == now
    for after, knew in enumerate(at):
        # Whoever had applied so much goes on; whoever begins anew passes the same way.
        assert replayed(await log_of(shop, after), knew) == now
    assert replayed(await log_of(shop)) == now


async def test_no_stop_is_missing_at_any_revision_of_an_erased_log(
    shop: Shop, clock: FakeClock
) -> None:
    """A reader on its way through the log is never told less than was told before the erasure."""
    await told_everything(shop, clock)
    before = await log_of(shop)

    await shop.ask(erases("ada"))

    after = await log_of(shop)
    for through in range(len(before) + 1):
        stops = {
            key: [one for one in records if one.kind is not RecordKind.OPT_IN]
            for key, records in replayed(before[:through]).items()
        }
        told = replayed(after[:through])
        assert {key: list(told.get(key, ())) for key in stops} == stops


async def test_erasing_again_changes_nothing_and_answers_the_same(
    shop: Shop, clock: FakeClock
) -> None:
    await told_everything(shop, clock)
    first = await shop.ask(erases("ada"))
    head = await shop.store.head(shop.tenant_id)

    again = await shop.ask(erases("ada"))

    assert again.outcome.erased == first.outcome.erased
    assert again.outcome.standing == first.outcome.standing
    assert await shop.store.head(shop.tenant_id) == head


async def test_of_who_is_not_known_nothing_is_said_or_logged(shop: Shop) -> None:
    await shop.ask(chooses("bob"))

    asked = await shop.ask(erases("nobody"))

    assert (asked.outcome.erased, asked.outcome.standing) == ((), ())
    assert asked.appended.revision == 1
    assert await shop.store.erasures() == []


async def test_all_identifiers_named_are_erased_at_once(shop: Shop) -> None:
    await shop.ask(chooses("ada", "ada-phone"))

    asked = await shop.ask(erases("nobody", "ada", "ada-phone"))

    assert [one.subject_index for one in asked.outcome.erased] == [1, 2]
    log = await log_of(shop)
    assert [change.kind for change in log[2:]] == [ChangeKind.ERASURE] * 2
    assert [change.subject for change in log[2:]] == [keyed("ada").key, keyed("ada-phone").key]


async def test_an_identifier_that_is_not_named_keeps_what_was_said(shop: Shop) -> None:
    await shop.ask(chooses("ada", "ada-phone"))

    await shop.ask(erases("ada"))

    (phone,) = (await standing_of(shop, "ada-phone")).records
    assert phone.origin is not None
    assert not phone.is_erased


async def test_an_erased_person_takes_new_stops_and_their_address_is_not_kept_again(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada"))
    await shop.ask(erases("ada"))

    await shop.ask(adds(protection("ada", Cause.LEGAL)))
    await shop.ask(imports(protection("ada", Cause.NONE, scope=SMS)))
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(100))]))

    assert len(await records_of(shop)) == 4
    (row,) = await database.rows("encrypted_addresses")
    assert row["ciphertext"] == b""
    page = await shop.store.list_suppressions(shop.tenant_id, RecordFilter(), "", 10)
    assert [one.subject for one in page.items] == [None]
    async with shop.store.export(shop.tenant_id, RecordFilter(), 10) as (_, batches):
        assert [one.subject async for batch in batches for one in batch] == [None] * 4


@pytest.mark.parametrize("scope", [EMAIL_NEWS, SMS, ANYTHING], ids=["same", "new", "root"])
async def test_an_opt_in_of_before_the_erasure_does_nothing_when_it_arrives(
    shop: Shop, clock: FakeClock, scope: Scope
) -> None:
    await shop.ask(chooses("ada", choices=[opt_out(ANYTHING)], by=origin(decided=clock.ago(90))))
    consented = clock.ago(30)
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(40))))
    await shop.ask(erases("ada"))
    before = await records_of(shop)

    asked = await shop.ask(chooses("ada", choices=[opt_in(scope)], by=origin(decided=consented)))

    assert asked.outcome.stored[0].effect is Effect.SUPERSEDED
    assert await records_of(shop) == before


@pytest.mark.parametrize("scope", [EMAIL_NEWS, SMS, ANYTHING], ids=["same", "new", "root"])
async def test_an_opt_in_of_after_the_erasure_begins_anew(
    shop: Shop, database: Database, clock: FakeClock, scope: Scope
) -> None:
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(40))))
    erased = await shop.ask(erases("ada"))
    clock.pass_seconds(2)
    consented = Instant(erased.outcome.commit_time + 1)

    asked = await shop.ask(chooses("ada", choices=[opt_in(scope)], by=origin(decided=consented)))
    late = await shop.ask(
        chooses("ada", choices=[opt_in(SMS)], by=origin(decided=erased.outcome.commit_time))
    )

    assert asked.outcome.stored[0].effect is Effect.APPLIED
    assert late.outcome.stored[0].effect is Effect.SUPERSEDED
    assert [one.topic for one in await records_of(shop)] == [scope.topic]
    (row,) = await database.rows("encrypted_addresses")
    assert row["type"] == 1
    async with shop.store.export(shop.tenant_id, RecordFilter(), 10) as (_, batches):
        assert {one.subject async for batch in batches for one in batch} == {keyed("ada").subject}


async def test_what_was_said_after_an_erasure_is_erased_by_the_next(
    shop: Shop, clock: FakeClock
) -> None:
    await told_everything(shop, clock)
    await shop.ask(erases("ada"))
    clock.pass_seconds(2)
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(1))))

    second = await shop.ask(erases("ada"))

    assert second.outcome.erased[0].changes_count == 1
    assert RecordKind.OPT_IN not in {one.kind for one in await records_of(shop)}
    kinds = [change.kind for change in await log_of(shop) if not change.is_erased]
    assert kinds.count(ChangeKind.ERASURE) == 2
    assert replayed(await log_of(shop)) == await snapshot_of(shop)


async def test_a_suppression_released_before_the_erasure_stays_released(
    shop: Shop, clock: FakeClock
) -> None:
    seen = clock.ago(50)
    await shop.ask(adds(protection("ada", decided=seen)))
    await shop.ask(releases("ada"))
    await shop.ask(erases("ada"))

    await shop.ask(imports(protection("ada", decided=seen)))

    assert await records_of(shop) == []


async def test_an_erasure_waits_for_a_clock_that_is_right(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(chooses("ada"))
    clock.set_off_by(-60)

    with pytest.raises(UnavailableError) as refused:
        await shop.ask(erases("ada"))

    assert refused.value.reason is ErrorReason.CLOCK_UNTRUSTED


async def test_writes_that_come_together_with_an_erasure_are_erased_or_come_after_it(
    shop: Shop, clock: FakeClock
) -> None:
    acts: list[Act] = [
        chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(5), source=CANARY)),
        chooses("ada", choices=[opt_out(SMS)], by=origin(source=CANARY)),
        erases("ada"),
        adds(protection("ada", Cause.LEGAL)),
        chooses("bob"),
    ]

    await asyncio.gather(*(shop.ask(act) for act in acts))

    log = await log_of(shop)
    at = next(n for n, change in enumerate(log) if change.kind is ChangeKind.ERASURE)
    assert all(change.is_erased for change in log[:at] if change.subject == keyed("ada").key)
    assert replayed(log) == await snapshot_of(shop)
    assert RecordKind.OPT_IN not in {one.kind for one in await records_of(shop)}


async def test_another_tenant_keeps_what_it_knows(store: SqlStore, clock: FakeClock) -> None:
    shop, other = await new_shop(store), await new_shop(store, "other")
    for one in (shop, other):
        await one.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(9))))

    await shop.ask(erases("ada"))

    assert await records_of(shop) == []
    (record,) = (await standing_of(other)).records
    assert record.evidence == EVIDENCE


async def test_a_thousand_changes_are_erased_whole(shop: Shop, clock: FakeClock) -> None:
    choices = [opt_out(Scope(channel=Channel.EMAIL, topic=f"t{n}")) for n in range(50)]
    for _ in range(25):
        await shop.ask(chooses("ada", choices=choices, by=origin(source=CANARY)))

    asked = await shop.ask(erases("ada"))

    assert asked.outcome.erased[0].changes_count == 1_250
    assert len(await records_of(shop)) == 50
    *changes, erasure = [*await log_of(shop), *await log_of(shop, 1_000)]
    assert len(changes) == 1_250
    assert all(change.is_erased for change in changes)
    assert erasure.erasure is not None


async def test_a_shortened_pause_that_arrives_late_needs_the_person_still(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(100))]))
    await shop.ask(erases("ada"))
    clock.pass_seconds(1)

    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("ada", choices=[pause(clock.ahead(10))], by=origin(Method.OPERATOR)))

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED
