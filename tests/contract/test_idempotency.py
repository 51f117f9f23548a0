"""The same key and payload gives the first answer; the same key and another payload, a refusal."""

import asyncio
from dataclasses import replace

import pytest

from heed.errors import ConflictError, ErrorReason, HeedError
from heed.model import Instant, Method
from heed_server.storage import SqlStore, StorageLimits
from tests.support.stores import (
    DAY,
    Database,
    FakeClock,
    Shop,
    chooses,
    imports,
    new_shop,
    opt_in,
    origin,
    protection,
)


async def test_a_replay_gives_the_very_bytes_of_the_first_answer(shop: Shop) -> None:
    first = await shop.ask(chooses("ada"), key="Test:k", payload="same")
    await shop.ask(chooses("bob"))

    second = await shop.ask(chooses("ada"), key="Test:k", payload="same")

    assert not first.appended.replayed
    assert second.appended.replayed
    assert second.appended.answer == first.appended.answer
    assert second.appended.revision == first.appended.revision == 1
    assert second.outcomes == []
    assert (await shop.store.head(shop.tenant_id)).revision == 2


async def test_a_replay_is_given_after_the_store_was_opened_again(
    shop: Shop, database: Database
) -> None:
    first = await shop.ask(chooses("ada"), key="Test:k", payload="same")
    await shop.store.close()

    again = Shop(await database.open(), shop.tenant_id)
    second = await again.ask(chooses("ada"), key="Test:k", payload="same")

    assert second.appended.replayed
    assert second.appended.answer == first.appended.answer


async def test_a_key_with_another_payload_is_refused_and_changes_nothing(shop: Shop) -> None:
    await shop.ask(chooses("ada"), key="SetPreference:k", payload="one")

    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("bob"), key="SetPreference:k", payload="two")

    assert refused.value.reason is ErrorReason.IDEMPOTENCY_KEY_REUSED
    assert refused.value.metadata == {"idempotency_key": "k"}
    assert (await shop.store.head(shop.tenant_id)).revision == 1


async def test_of_concurrent_calls_with_one_key_one_happens(shop: Shop) -> None:
    asked = await asyncio.gather(
        *(shop.ask(chooses("ada"), key="Test:k", payload="same") for _ in range(16))
    )

    assert sum(not one.appended.replayed for one in asked) == 1
    assert len({one.appended.answer for one in asked}) == 1
    assert (await shop.store.head(shop.tenant_id)).revision == 1


async def test_of_concurrent_calls_with_one_key_and_two_payloads_one_kind_is_refused(
    shop: Shop,
) -> None:
    results = await asyncio.gather(
        *(shop.ask(chooses("ada"), key="Test:k", payload=str(n % 2)) for n in range(16)),
        return_exceptions=True,
    )

    refused = [one for one in results if isinstance(one, ConflictError)]
    assert len(refused) == 8
    assert {one.reason for one in refused} == {ErrorReason.IDEMPOTENCY_KEY_REUSED}
    assert (await shop.store.head(shop.tenant_id)).revision == 1


async def test_a_refused_write_takes_no_key(shop: Shop) -> None:
    by = origin(Method.OPERATOR, decided=1)
    with pytest.raises(ConflictError):
        await shop.ask(chooses("ada", choices=[opt_in()], by=by), key="Test:k", payload="one")

    asked = await shop.ask(chooses("ada"), key="Test:k", payload="two")

    assert not asked.appended.replayed


async def test_one_key_in_two_tenants_is_two_keys(store: SqlStore) -> None:
    one, other = await new_shop(store, "one"), await new_shop(store, "other")

    asked = [
        await shop.ask(chooses("ada"), key="Test:k", payload=name)
        for name, shop in (("a", one), ("b", other))
    ]

    assert [which.appended.replayed for which in asked] == [False, False]


async def test_a_call_takes_one_key_row_however_many_records_it_has(
    shop: Shop, database: Database
) -> None:
    await shop.ask(imports(*(protection(f"p{n}") for n in range(50))))

    assert len(await database.rows("keys")) == 1


async def test_a_write_that_changed_nothing_is_replayed_too(shop: Shop) -> None:
    rows = imports(protection("ada", decided=1))
    await shop.ask(rows)

    first = await shop.ask(rows, key="Test:again", payload="same")
    second = await shop.ask(rows, key="Test:again", payload="same")

    assert first.outcome.tally.unchanged == 1
    assert second.appended.replayed
    assert second.appended.answer == first.appended.answer


async def test_keys_are_pruned_after_their_time_and_not_before(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    for n in range(3):
        await shop.ask(chooses(f"p{n}"), key=f"Test:{n}", payload="same")
    kept_days = 35

    def later(days: float) -> Instant:
        return Instant(clock.now() + round(days * DAY))

    # Pruning asks with the time that it is; here nobody waits for weeks.
    clock.pass_seconds((kept_days - 1) * 86_400)
    assert await shop.store.prune_keys(clock.now(), 10) == 0
    clock.pass_seconds(2 * 86_400)
    assert await shop.store.prune_keys(clock.now(), 2) == 2
    assert await shop.store.prune_keys(clock.now(), 2) == 1
    assert await shop.store.prune_keys(later(1), 2) == 0
    assert await database.rows("keys") == []


async def test_no_key_is_forgotten_while_the_clock_is_not_trusted(
    shop: Shop, database: Database, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada"))

    clock.set_off_by(400 * 86_400)

    assert await shop.store.prune_keys(clock.now(), 10) == 0
    assert len(await database.rows("keys")) == 1


def test_keys_cannot_be_kept_for_less_than_the_contract_promises() -> None:
    with pytest.raises(ValueError, match="30 days"):
        StorageLimits(keys_kept_days=29)


async def test_an_encoder_that_fails_fails_its_own_write_alone(shop: Shop) -> None:
    def fail(_: object) -> bytes:
        raise RuntimeError("no answer")

    broken = replace(shop.write(chooses("ada"))[0], encode_answer=fail)

    results = await asyncio.gather(
        shop.store.append(broken), shop.ask(chooses("bob")), return_exceptions=True
    )

    assert isinstance(results[0], RuntimeError)
    assert not isinstance(results[1], BaseException | HeedError)
    assert (await shop.store.head(shop.tenant_id)).revision == 1
