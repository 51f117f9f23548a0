"""What links are sealed under: made with a tenant, kept for ever, and readable in no row."""

from heed_server.secrets.names import link_keyset_name
from heed_server.secrets.sealing import SealingKeyset
from heed_server.storage import SqlStore
from tests.support.stores import Database, Shop


async def keyset_of(store: SqlStore) -> bytes:
    (tenant,) = await store.tenants()
    return tenant.link_keyset


async def test_a_tenant_has_what_seals_its_links_and_keeps_it(
    store: SqlStore, shop: Shop, database: Database
) -> None:
    made = await keyset_of(store)
    await store.close()

    again = await keyset_of(await database.open())

    assert SealingKeyset(made).open(0, b"", b"") is None
    assert again == made


async def test_a_tenant_of_an_earlier_heed_gets_it_when_the_store_is_opened(
    store: SqlStore, shop: Shop, database: Database
) -> None:
    name = link_keyset_name(shop.tenant_id)
    await database.execute(f"DELETE FROM secrets WHERE name = '{name}'")

    meanwhile = await keyset_of(store)
    await store.close()
    afterwards = await keyset_of(await database.open())

    assert meanwhile == b""
    assert len(SealingKeyset(afterwards).key_ids) == 1


async def test_no_row_holds_it_unwrapped(store: SqlStore, shop: Shop, database: Database) -> None:
    made = await keyset_of(store)

    rows = await database.rows("secrets")

    assert link_keyset_name(shop.tenant_id) in [row["name"] for row in rows]
    assert all(made not in bytes(row["wrapped"]) for row in rows)
