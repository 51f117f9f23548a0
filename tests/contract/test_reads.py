"""Reading: changes, snapshots, what stands, exports, tenants and API keys."""

import asyncio
import dataclasses

import pytest

from heed.errors import ConflictError, ErrorReason, ExhaustedError, NotFoundError
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Hold,
    Instant,
    Record,
    RecordKind,
    Revision,
    Scope,
    SubjectKey,
    Topic,
)
from heed.records import remove, replace
from heed_server.key_store import ApiKey
from heed_server.storage import SqlStore, StorageLimits, sql_store
from heed_server.store import LogDamagedError, RecordFilter
from tests.support.stores import (
    NOW,
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    declares,
    end_pause,
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
    retires,
)


async def everything(shop: Shop, clock: FakeClock) -> None:
    """One of each kind of change."""
    await shop.ask(chooses("ada", "ada.home", by=origin(decided=clock.ago(9))))
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(5))))
    await shop.ask(chooses("ada", by=origin(decided=clock.ago(50))))
    await shop.ask(
        chooses("bob", choices=[pause(clock.ahead(100))], by=origin(decided=clock.ago(3)))
    )
    await shop.ask(chooses("bob", choices=[end_pause()], by=origin(decided=clock.ago(2))))
    await shop.ask(adds(protection("cy", end=clock.ahead(5)), protection("di", Cause.LEGAL)))
    await shop.ask(adds(protection("cy", end=clock.ahead(9))))
    await shop.ask(releases("di", Cause.LEGAL))
    await shop.ask(imports(protection("cy"), protection("ed", Cause.NONE)))
    await shop.ask(declares(Topic(name="news")))
    await shop.ask(retires("news"))
    await shop.ask(places("hold-1"))
    await shop.ask(places("hold-2"))
    await shop.ask(lifts("hold-1"))


async def records_of(store: SqlStore, shop: Shop) -> list[tuple[SubjectKey, Record]]:
    async with store.snapshot(shop.tenant_id) as snapshot:
        return [one async for batch in snapshot.records() for one in batch]


async def test_changes_are_read_in_parts(shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)
    whole = list(await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000))

    parts: list[Change] = []
    while part := await shop.store.read_changes(shop.tenant_id, Revision(len(parts)), 3):
        assert len(part) <= 3
        parts += part

    assert parts == whole
    assert len(whole) == (await shop.store.head(shop.tenant_id)).revision


async def test_the_log_and_the_records_tell_the_same(shop: Shop, clock: FakeClock) -> None:
    """Whoever applies the log stands where a snapshot stands."""
    await everything(shop, clock)

    told: dict[SubjectKey, tuple[Record, ...]] = {}
    topics: dict[str, Topic] = {}
    holds: dict[str, Hold] = {}
    for change in await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000):
        if change.effect is Effect.SUPERSEDED:
            continue
        if change.subject is not None and change.record is not None:
            records = told.get(change.subject, ())
            told[change.subject] = (
                remove(records, change.record.slot)
                if change.kind is ChangeKind.RELEASE
                else replace(records, change.record)
            )
        if change.topic is not None:
            topics[change.topic.name] = change.topic
        if change.hold is not None:
            holds[change.hold.hold_id] = change.hold
            if change.kind is ChangeKind.LIFT:
                del holds[change.hold.hold_id]

    async with shop.store.snapshot(shop.tenant_id) as snapshot:
        found = [one async for batch in snapshot.records() for one in batch]
        assert snapshot.topics == tuple(topics.values())
        assert snapshot.holds == tuple(holds.values())
        assert snapshot.head == await shop.store.head(shop.tenant_id)
    assert len(found) == len(set(found))
    assert set(found) == {(key, one) for key, rest in told.items() for one in rest}


async def test_a_snapshot_ascends_and_has_each_record_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_store, "SNAPSHOT_RECORDS", 4)
    choices = [opt_out(), opt_out(Scope(channel=Channel.SMS))]
    await shop.ask(chooses(*(f"p{n}" for n in range(8)), choices=choices))
    await shop.ask(adds(protection("p3"), protection("p4")))
    await shop.ask(releases("p4"))

    found = await records_of(shop.store, shop)

    assert len(found) == len({(key, one.slot) for key, one in found}) == 17
    assert [key for key, _ in found] == sorted(key for key, _ in found)


async def test_a_snapshot_is_of_one_revision_whatever_is_written_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_store, "SNAPSHOT_RECORDS", 2)
    await shop.ask(adds(*(protection(f"p{n}") for n in range(9))))

    async with shop.store.snapshot(shop.tenant_id) as snapshot:
        found: list[tuple[SubjectKey, Record]] = []
        async for batch in snapshot.records():
            found += batch
            await shop.ask(adds(*(protection(f"q{len(found)}.{n}") for n in range(9))))
            if len(found) == 2:
                await shop.ask(releases("p0"))

    assert snapshot.head.revision == 9
    assert len(found) == 9
    assert {one.revision for _, one in found} == set(range(1, 10))


async def test_an_empty_snapshot_ends(shop: Shop) -> None:
    assert await records_of(shop.store, shop) == []


async def test_snapshots_that_are_left_early_leave_nothing_open(
    database: Database, clock: FakeClock
) -> None:
    limits = StorageLimits(streams_max=1, read_wait_seconds_max=5)
    shop = await new_shop(await database.open(clock=clock, limits=limits))
    await shop.ask(adds(*(protection(f"p{n}") for n in range(9))))

    for _ in range(3):
        async with shop.store.snapshot(shop.tenant_id) as snapshot:
            async for _ in snapshot.records():
                break
        reading = asyncio.create_task(records_of(shop.store, shop))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert len(await records_of(shop.store, shop)) == 9


async def test_a_stream_too_many_is_refused_after_its_wait(
    database: Database, clock: FakeClock
) -> None:
    limits = StorageLimits(streams_max=1, read_wait_seconds_max=0.05)
    shop = await new_shop(await database.open(clock=clock, limits=limits))

    async with shop.store.snapshot(shop.tenant_id):
        with pytest.raises(ExhaustedError) as refused:
            await records_of(shop.store, shop)
        assert (await shop.store.head(shop.tenant_id)).revision == 0

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert refused.value.metadata == {"limit": "streams_max"}


@pytest.mark.parametrize("which", ["middle", "last"])
async def test_a_log_with_a_hole_is_never_read_over(
    shop: Shop, database: Database, which: str
) -> None:
    await shop.ask(chooses("ada", "bob", "cy"))
    await database.execute(f"DELETE FROM changes WHERE revision = {2 if which == 'middle' else 3}")

    with pytest.raises(LogDamagedError):
        await shop.store.read_changes(shop.tenant_id, Revision(0), 10)


async def test_content_that_nobody_here_wrote_is_never_guessed(
    shop: Shop, database: Database
) -> None:
    await shop.ask(chooses("ada"))
    for content in ('{"v":2,"kind":"choice"}', '{"v":1', '{"v":1,"kind":"choice","record":{}}'):
        await database.execute(f"UPDATE changes SET content = {database.blob(content.encode())}")
        with pytest.raises(LogDamagedError):
            await shop.store.read_changes(shop.tenant_id, Revision(0), 10)


async def test_what_stands_comes_in_the_order_asked(shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)
    keys = [keyed(name).key for name in ("cy", "ada", "nobody", "cy")]

    found = await shop.store.standing(shop.tenant_id, keys)

    assert [(one.key, one.record.kind) for one in found.records] == [
        (keys[0], RecordKind.SUPPRESSION),
        (keys[1], RecordKind.OPT_OUT),
        (keys[1], RecordKind.OPT_IN),
    ]
    assert found.head == await shop.store.head(shop.tenant_id)
    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 1_000)
    for one in found.records:
        change = changes[one.record.revision - 1]
        assert (one.commit_time, one.origin, one.evidence, one.reason) == (
            change.commit_time,
            change.origin,
            change.evidence,
            change.reason,
        )


async def test_an_export_has_every_record_with_its_subject(shop: Shop, clock: FakeClock) -> None:
    await everything(shop, clock)

    async def export(filter_: RecordFilter) -> list[tuple[str, RecordKind]]:
        async with shop.store.export(shop.tenant_id, filter_, 2) as (head, batches):
            assert head == await shop.store.head(shop.tenant_id)
            return [
                (one.subject.value.partition("@")[0], one.record.kind)
                async for batch in batches
                for one in batch
                if one.subject is not None
            ]

    whole = await export(RecordFilter())
    assert len(whole) == len(await records_of(shop.store, shop)) == 6
    suppressions = RecordFilter(kinds=frozenset({RecordKind.SUPPRESSION}))
    assert await export(suppressions) == [("cy", RecordKind.SUPPRESSION)]
    assert await export(RecordFilter(causes=frozenset({Cause.MANUAL}))) == []
    in_sms = RecordFilter(scope=Scope(channel=Channel.SMS))
    assert await export(in_sms) == []
    in_news = RecordFilter(scope=Scope(channel=Channel.EMAIL, topic="news"))
    assert sorted(await export(in_news)) == sorted(
        one for one in whole if one[0] in {"ada", "ada.home", "bob"}
    )


async def test_a_tenant_is_made_once_by_name(store: SqlStore) -> None:
    made = [await store.create_tenant(name, bytes([n] * 32)) for n, name in enumerate("ba")]

    with pytest.raises(ConflictError) as refused:
        await store.create_tenant("a", bytes(32))

    assert refused.value.reason is ErrorReason.TENANT_EXISTS
    assert refused.value.metadata == {"tenant": "a"}
    assert list(await store.tenants()) == [made[1], made[0]]
    assert len({tenant.tenant_id for tenant in made}) == 2


async def test_of_concurrent_makings_of_one_tenant_one_succeeds(store: SqlStore) -> None:
    results = await asyncio.gather(
        *(store.create_tenant("shop", bytes([n] * 32)) for n in range(5)), return_exceptions=True
    )

    assert sum(isinstance(one, ConflictError) for one in results) == 4
    assert len(await store.tenants()) == 1


async def test_the_database_tells_its_time(store: SqlStore, clock: FakeClock) -> None:
    told = await store.ping()

    assert told.tzinfo is not None
    assert abs(told.timestamp() * 1_000_000 - clock.now()) < 5_000_000


def api_key(key_id: str, created: int) -> ApiKey:
    return ApiKey(
        key_id=key_id,
        secret_hash=bytes(32),
        name="the shop's sender",
        rights=frozenset({"check", "write"}),
        tenant="shop",
        create_time=Instant(NOW + created),
    )


async def test_a_key_is_bound_to_a_tenant_that_is_there_or_to_none(store: SqlStore) -> None:
    bound = api_key("aa", 1)

    with pytest.raises(NotFoundError) as refused:
        await store.put_api_key(bound)
    await store.put_api_key(dataclasses.replace(bound, key_id="bb", tenant=""))
    await new_shop(store)
    await store.put_api_key(bound)

    assert refused.value.reason is ErrorReason.TENANT_UNKNOWN
    assert refused.value.metadata == {"tenant": "shop"}
    assert {key.key_id for key in await store.api_keys()} == {"aa", "bb"}


async def test_api_keys_are_kept_as_they_were_made(store: SqlStore) -> None:
    await new_shop(store)
    first, second = api_key("zz", 1), api_key("aa", 2)
    await store.put_api_key(second)
    await store.put_api_key(first)

    assert list(await store.api_keys()) == [first, second]
    assert await store.api_key("zz") == first
    assert await store.api_key("yy") is None


async def test_an_api_key_is_revoked_once(store: SqlStore) -> None:
    await new_shop(store)
    await store.put_api_key(api_key("aa", 1))

    assert await store.revoke_api_key("aa", NOW)
    assert await store.revoke_api_key("aa", Instant(NOW + 5))
    assert not await store.revoke_api_key("bb", NOW)

    found = await store.api_key("aa")
    assert found is not None
    assert found.revoke_time == NOW
