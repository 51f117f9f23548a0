"""What a signer refuses to sign on, and what a proof finds: rows that were changed, another history."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from heed.audit.checkpoints import open_checkpoint, origin_of
from heed.audit.exports import verify_export
from heed.audit.receipts import open_receipt, read_receipt
from heed.audit.signing import verify
from heed.errors import HeedError
from heed.model import Revision
from heed.proof import EMPTY_LOG_HASH, leaf_hash, running_hash
from heed_server.audit import AuditLimits, KeyOf, Prover, Signer
from heed_server.storage import SqlStore
from heed_server.store import LogDamagedError
from tests.support.signed import KEY, Hurried, export, fill, key_of, prover_of, signer_of
from tests.support.stores import Database, Shop


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE changes SET leaf_hash = entry WHERE revision = 290",
        "UPDATE changes SET running_hash = leaf_hash WHERE revision = 290",
        "UPDATE changes SET entry = salt WHERE revision = 290",
        "DELETE FROM changes WHERE revision = 290",
        "UPDATE changes SET revision = 1000 WHERE revision = 290",
        "DELETE FROM changes WHERE revision = 270",
        "UPDATE changes SET leaf_hash = running_hash WHERE revision = 270",
        "UPDATE tiles SET root = substr(hashes, 1, 32)",
        "DELETE FROM tiles",
        "UPDATE checkpoints SET size = 279",
        "UPDATE checkpoints SET running_hash = substr(running_hash, 1, 31)",
        "UPDATE checkpoints SET note = replace(note, '280', '281')",
        "UPDATE checkpoints SET note = 'nothing'",
    ],
)
async def test_what_was_changed_in_the_database_is_not_signed_on(
    database: Database, store: SqlStore, shop: Shop, statement: str
) -> None:
    await fill(shop, 280)
    before = await signer_of(store).sign(shop.tenant_id)
    await fill(shop, 20)
    await database.execute(statement)
    signer = signer_of(store, {shop.tenant_id: 300})

    await signer.sign_all()

    assert signer.signed == 0
    assert list(signer.refused) == [shop.tenant_id]
    stored = await store.signed(shop.tenant_id)
    assert stored is None or stored.note == before.note or "checkpoints" in statement


async def test_a_log_that_is_right_again_is_signed_on(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    await fill(shop, 20)
    (first, *_) = await database.rows("changes")
    await database.execute("UPDATE changes SET leaf_hash = entry WHERE revision = 1")
    seconds = 0.0
    signer = Signer(
        store,
        store,
        KEY,
        epoch=lambda: store.epoch,
        holder="node-1",
        standing=lambda: [(shop.tenant_id, Revision(20))],
        boot_seconds=lambda: seconds,
        limits=AuditLimits(),
    )
    await signer.sign_all()
    assert signer.refused
    leaf = database.blob(first["leaf_hash"])
    await database.execute(f"UPDATE changes SET leaf_hash = {leaf} WHERE revision = 1")

    await signer.sign_all()
    assert signer.refused, "it is left alone for a while"
    seconds = 11.0
    await signer.sign_all()

    assert signer.refused == {}
    assert signer.signed == 1


async def test_a_database_that_was_put_back_is_not_signed_on(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    await fill(shop, 10)
    signer = signer_of(store, {shop.tenant_id: 30})
    await signer.sign(shop.tenant_id)
    await fill(shop, 10)
    earlier = await store.signed(shop.tenant_id)
    assert earlier is not None
    await signer.sign(shop.tenant_id)
    note = earlier.note.replace("'", "''")
    await database.execute(
        f"UPDATE checkpoints SET size = 10, note = '{note}', "
        f"running_hash = {database.blob(earlier.running_hash)}"
    )
    await database.execute("DELETE FROM changes WHERE revision > 10")

    await signer.sign_all()

    assert "was put back" in signer.refused[shop.tenant_id]

    # Until an operator has confirmed it: what stands is of another epoch, and another name.
    head = database.blob(earlier.running_hash)
    await database.execute(f"UPDATE heads SET revision = 10, running_hash = {head}")
    await database.execute(f"UPDATE store SET epoch = {database.blob(b'confirmed'[:8])}")
    await store.head(shop.tenant_id)
    await signer.sign_all()

    assert signer.refused == {}
    signed = await store.signed(shop.tenant_id)
    assert signed is not None
    assert signed.size == 10
    origin = origin_of(b"confirmed"[:8], shop.tenant_id)
    assert open_checkpoint(signed.note, [KEY(origin).verifier], verify).origin == origin


async def test_a_checkpoint_that_is_gone_is_missed_by_who_signed_it(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    await fill(shop, 10)
    signer = signer_of(store, {shop.tenant_id: 30})
    await signer.sign(shop.tenant_id)
    await database.execute("DELETE FROM checkpoints")

    await signer.sign_all()

    assert "was put back" in signer.refused[shop.tenant_id]


async def test_another_history_that_was_signed_with_the_key_is_refused_by_who_saw_the_first(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    """An intruder with the key and the database signs a fork; a node that ran on notices."""
    await fill(shop, 10)
    signer = signer_of(store, {shop.tenant_id: 30})
    await signer.sign(shop.tenant_id)
    running = EMPTY_LOG_HASH
    for row in await database.rows("changes"):
        entry = row["entry"][:-1] + bytes([row["entry"][-1] ^ (row["revision"] > 3)])
        leaf = leaf_hash(entry)
        running = running_hash(running, leaf)
        await database.execute(
            f"UPDATE changes SET entry = {database.blob(entry)}, leaf_hash = {database.blob(leaf)}, "
            f"running_hash = {database.blob(running)} WHERE revision = {row['revision']}"
        )
    await database.execute("DELETE FROM checkpoints")
    assert (await signer_of(store).sign(shop.tenant_id)).size == 10

    await signer.sign_all()

    assert "another history" in signer.refused[shop.tenant_id]


async def test_another_key_signs_nothing_here(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 10)
    await signer_of(store).sign(shop.tenant_id)
    other = KeyOf(bytes(32))
    signer = Signer(
        store,
        store,
        other,
        epoch=lambda: store.epoch,
        holder="node-1",
        standing=list,
        boot_seconds=lambda: 0.0,
        limits=AuditLimits(),
    )

    with pytest.raises(LogDamagedError, match="was not signed by this store's key"):
        await signer.sign(shop.tenant_id)
    with pytest.raises(LogDamagedError, match="was not signed by this store's key"):
        await Prover(store, other, boot_seconds=Hurried()).checkpoint(shop.tenant_id)


@pytest.mark.slow
async def test_every_change_of_a_stored_row_is_found_by_who_asks_for_its_proof(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    """Bits of rows and tiles, rows removed and swapped: no proof is given, and no export passes."""
    await fill(shop, 300)
    signed = await signer_of(store).sign(shop.tenant_id)
    key, prover, chosen = key_of(store, shop), prover_of(store), random.Random(7)
    checkpoint = open_checkpoint(signed.note, [key], verify)
    rows = await database.rows("changes")
    (tile,) = await database.rows("tiles")
    found = 0
    for number in range(60 if database.is_shared else 400):
        row = chosen.choice(rows)
        tamper = _tampers(database, row, chosen.choice(rows), tile, chosen)[number % 5]
        for statement in tamper[:-1]:
            await database.execute(statement)
        revision = Revision(row["revision"])

        with pytest.raises((HeedError, ValueError)):  # noqa: PT012 - whichever asks first
            files = await export(prover, shop, checkpoint, signed.note)
            verify_export(files.__getitem__, [key], verify)
            receipt = await prover.receipt(shop.tenant_id, revision)
            open_receipt(read_receipt(receipt.text), [key], verify)
        found += 1
        for statement in tamper[-1]:
            await database.execute(statement)

    assert found >= 60
    files = await export(prover, shop, checkpoint, signed.note)
    assert verify_export(files.__getitem__, [key], verify) == checkpoint


def _tampers(
    database: Database,
    row: dict[str, Any],
    other: dict[str, Any],
    tile: dict[str, Any],
    chosen: random.Random,
) -> list[Sequence[Any]]:
    """Each what is done, and last what takes it back."""
    blob = database.blob
    at = f"WHERE revision = {row['revision']}"
    column = chosen.choice(["entry", "content", "salt"])

    def flipped(value: bytes) -> str:
        content = bytearray(value)
        bit = chosen.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        return blob(bytes(content))

    moved = f"UPDATE changes SET revision = 100000 {at}"
    swapped_with = (
        other["revision"] if other["revision"] != row["revision"] else 300 - other["revision"] + 1
    )
    return [
        [
            f"UPDATE changes SET {column} = {flipped(row[column])} {at}",
            [f"UPDATE changes SET {column} = {blob(row[column])} {at}"],
        ],
        [
            f"UPDATE tiles SET hashes = {flipped(tile['hashes'])}",
            [f"UPDATE tiles SET hashes = {blob(tile['hashes'])}"],
        ],
        [moved, [f"UPDATE changes SET revision = {row['revision']} WHERE revision = 100000"]],
        [
            moved,
            f"UPDATE changes SET revision = {row['revision']} WHERE revision = {swapped_with}",
            f"UPDATE changes SET revision = {swapped_with} WHERE revision = 100000",
            [
                f"UPDATE changes SET revision = 100000 WHERE revision = {swapped_with}",
                f"UPDATE changes SET revision = {swapped_with} {at}",
                f"UPDATE changes SET revision = {row['revision']} WHERE revision = 100000",
            ],
        ],
        [
            "UPDATE changes SET revision = revision + 100000 WHERE revision > 280",
            ["UPDATE changes SET revision = revision - 100000 WHERE revision > 100000"],
        ],
    ]
