"""An address stands in one table, as ciphertext, and in nothing that the log refers to."""

from heed.model import Cause, Topic
from heed_server.storage.tables import metadata
from tests.support.stores import (
    Database,
    FakeClock,
    Shop,
    adds,
    chooses,
    declares,
    imports,
    keyed,
    opt_in,
    origin,
    places,
    protection,
    releases,
)

CANARIES = ("canary-ada", "canary-bob", "canary-cy")


async def test_no_row_holds_an_address(shop: Shop, database: Database, clock: FakeClock) -> None:
    ada, bob, cy = CANARIES
    await shop.ask(chooses(ada, bob))
    await shop.ask(chooses(ada, choices=[opt_in()], by=origin(decided=clock.ago(1))))
    await shop.ask(adds(protection(bob, reason="550 unknown")))
    await shop.ask(releases(bob))
    await shop.ask(imports(protection(cy, Cause.NONE), protection(ada, Cause.COMPLAINT)))
    await shop.ask(declares(Topic(name="news")))
    await shop.ask(places("hold-1"))

    found: dict[str, int] = {}
    for table in metadata.tables:
        for row in await database.rows(table):
            for value in row.values():
                raw = value if isinstance(value, bytes) else str(value).encode()
                if any(name.encode() in raw for name in CANARIES):
                    found[table] = found.get(table, 0) + 1
    assert found == {}
    assert len(await database.rows("encrypted_addresses")) == 3


async def test_subjects_stand_by_their_keyed_hash(shop: Shop, database: Database) -> None:
    await shop.ask(chooses("ada"))

    for table in ("changes", "records", "encrypted_addresses"):
        assert [row["subject"] for row in await database.rows(table)] == [keyed("ada").key]


async def test_an_address_is_kept_once_a_subject(shop: Shop, database: Database) -> None:
    for _ in range(2):
        await shop.ask(chooses("ada"))
        await shop.ask(imports(protection("ada", decided=1)))

    (row,) = await database.rows("encrypted_addresses")
    assert row["type"] == 1
    assert await database.rows("addresses") == []
