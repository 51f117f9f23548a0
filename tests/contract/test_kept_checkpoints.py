"""One checkpoint an hour is kept, and each is verified as what begins with the one before."""

import pytest

from heed_server.audit.chain import Continuation
from heed_server.storage import SqlStore
from tests.support.signed import fill, prover_of, signer_of
from tests.support.stores import Database, Shop

AN_HOUR_LATER = "UPDATE kept_checkpoints SET sign_time = sign_time - 3600000000"


async def sign_hourly(database: Database, store: SqlStore, shop: Shop, *counts: int) -> None:
    signer = signer_of(store)
    for count in counts:
        await fill(shop, count)
        await signer.sign(shop.tenant_id)
        await database.execute(AN_HOUR_LATER)


async def test_one_an_hour_is_kept_and_each_begins_with_the_one_before(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    await sign_hourly(database, store, shop, 3, 300)
    signer = signer_of(store)
    for count in (2, 5):  # within one hour
        await fill(shop, count)
        await signer.sign(shop.tenant_id)

    links = await prover_of(store).chain(shop.tenant_id, 10)

    sizes = [one.checkpoint.size for one in links if one.checkpoint is not None]
    assert sizes == [3, 303, 305]
    first, *later = [one.found for one in links]
    assert first is Continuation.FIRST
    assert set(later) == {Continuation.CONTINUES}
    assert len(await prover_of(store).chain(shop.tenant_id, 2)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE changes SET leaf_hash = running_hash WHERE revision = 2",
        "UPDATE kept_checkpoints SET note = replace(note, 'a', 'b')",
        "UPDATE kept_checkpoints SET note = 'nothing'",
    ],
)
async def test_what_was_changed_since_is_found_and_said(
    database: Database, store: SqlStore, shop: Shop, statement: str
) -> None:
    await sign_hourly(database, store, shop, 3, 4)

    await database.execute(statement)

    links = await prover_of(store).chain(shop.tenant_id, 10)
    assert links[-1].found is Continuation.BROKEN
    assert links[-1].why
