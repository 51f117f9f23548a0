"""Checkpoints grow from the last that was signed, and nothing that was changed is signed or proved."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from heed.audit.checkpoints import Checkpoint, open_checkpoint, origin_of
from heed.audit.claims import ReceiptClaim, leaves_hash
from heed.audit.consistency import open_consistency
from heed.audit.exports import CHECKPOINT_PATH, verify_export
from heed.audit.notes import VerifierKey, read_verifier_key
from heed.audit.receipts import open_receipt, read_receipt
from heed.audit.signing import verify
from heed.audit.tiles import ENTRIES, Tile, tiles_of
from heed.errors import ErrorReason, HeedError, InvalidArgumentError, NotFoundError
from heed.model import Revision, TenantId
from heed.proof import EMPTY_LOG_HASH, leaf_hash, running_hash
from heed_server.audit import AuditLimits, KeyOf, Prover, Signer
from heed_server.storage import SqlStore
from heed_server.store import LogDamagedError
from tests.support.stores import Database, Shop, chooses, imports, new_shop, protection

SEED = bytes(range(32))
KEY = KeyOf(SEED)


def signer_of(
    store: SqlStore, standing: Mapping[TenantId, int] | None = None, *, holder: str = "node-1"
) -> Signer:
    return Signer(
        store,
        store,
        KEY,
        epoch=lambda: store.epoch,
        holder=holder,
        standing=lambda: [(one, Revision(at)) for one, at in (standing or {}).items()],
        boot_seconds=lambda: 0.0,
        limits=AuditLimits(),
    )


class Hurried:
    """A boot clock on which every wait is over at once."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        self._seconds += 60
        return self._seconds


def prover_of(store: SqlStore) -> Prover:
    return Prover(store, KEY, boot_seconds=Hurried())


def key_of(store: SqlStore, shop: Shop) -> VerifierKey:
    return KEY(origin_of(store.epoch, shop.tenant_id)).verifier


async def fill(shop: Shop, count: int) -> None:
    """So many changes, in few transactions."""
    at = int((await shop.store.head(shop.tenant_id)).revision)
    while count:
        some = min(count, 500)
        await shop.ask(imports(*(protection(f"p{at + n}", row=n) for n in range(some))))
        at, count = at + some, count - some


async def export(prover: Prover, shop: Shop, checkpoint: Checkpoint, note: str) -> dict[str, bytes]:
    """Every file of a log, as an auditor fetches them."""
    files = {CHECKPOINT_PATH: note.encode()}
    for tile in tiles_of(checkpoint.size):
        files[tile.path] = await prover.tile(shop.tenant_id, tile.path)
        if tile.level == 0:
            entries = Tile(ENTRIES, tile.number, tile.width).path
            files[entries] = await prover.tile(shop.tenant_id, entries)
    return files


async def test_what_was_written_is_signed_and_proved(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 700)
    signed = await signer_of(store).sign(shop.tenant_id)
    key = key_of(store, shop)

    proven = await prover_of(store).checkpoint(shop.tenant_id)
    checkpoint = open_checkpoint(proven.text, [key], verify)

    assert proven.text == signed.note
    assert read_verifier_key(proven.verifier_key) == key
    assert (checkpoint.size, checkpoint.origin) == (700, origin_of(store.epoch, shop.tenant_id))
    for revision in (1, 256, 257, 699, 700):
        receipt = await prover_of(store).receipt(shop.tenant_id, Revision(revision))
        proved = open_receipt(read_receipt(receipt.text), [key], verify)
        assert proved.entry.revision == revision
        assert proved.content is not None
        assert b"bounce" in proved.content


async def test_a_log_grows_by_checkpoints_that_are_consistent(store: SqlStore, shop: Shop) -> None:
    signer, key = signer_of(store), key_of(store, shop)
    notes: list[str] = []
    for count in (1, 1, 254, 1, 300, 3_000):
        await fill(shop, count)
        notes.append((await signer.sign(shop.tenant_id)).note)

    sizes = [open_checkpoint(note, [key], verify).size for note in notes]

    assert sizes == [1, 2, 256, 257, 557, 3_557]
    for note, size in zip(notes, sizes, strict=True):
        proof = await prover_of(store).consistency(shop.tenant_id, size, 0)
        open_consistency(str(proof), note, [key], verify)
    between = await prover_of(store).consistency(shop.tenant_id, 2, 257)
    assert (between.old_size, between.new_size) == (2, 257)


async def test_a_whole_log_is_exported_and_verified(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 600)
    signed = await signer_of(store).sign(shop.tenant_id)
    key = key_of(store, shop)
    checkpoint = open_checkpoint(signed.note, [key], verify)

    files = await export(prover_of(store), shop, checkpoint, signed.note)

    assert verify_export(files.__getitem__, [key], verify) == checkpoint


async def test_nothing_new_is_nothing_to_sign(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 3)
    signer = signer_of(store)
    first = await signer.sign(shop.tenant_id)

    again = await signer.sign(shop.tenant_id)

    assert again == first
    assert signer.signed == 1
    assert await signer_of(store).sign(shop.tenant_id) == first, "nor for a node that comes new"


async def test_only_logs_that_have_grown_are_looked_at(store: SqlStore) -> None:
    full, empty = await new_shop(store, "full"), await new_shop(store, "empty")
    await fill(full, 2)
    signer = signer_of(store, {full.tenant_id: 2, empty.tenant_id: 0})

    await signer.sign_all()
    await signer.sign_all()

    assert signer.sizes == {full.tenant_id: 2}
    assert signer.signed == 1


async def test_one_node_at_a_time_signs(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 2)
    assert await store.take_lease("audit", "node-2", 600)
    standing_by = signer_of(store, {shop.tenant_id: 2}, holder="node-1")

    await standing_by.sign_all()

    assert standing_by.signed == 0
    assert await store.signed(shop.tenant_id) is None
    signing = signer_of(store, {shop.tenant_id: 2}, holder="node-2")
    await signing.sign_all()
    await standing_by.sign_all()
    assert standing_by.sizes == signing.sizes == {shop.tenant_id: 2}


async def test_nodes_that_sign_at_once_sign_one_history(store: SqlStore, shop: Shop) -> None:
    signers = [signer_of(store, holder=f"node-{n}") for n in range(4)]
    seen: set[str] = set()
    for _ in range(5):
        await fill(shop, 130)
        signed = await asyncio.gather(*(one.sign(shop.tenant_id) for one in signers))
        seen |= {one.note for one in signed}

    key = key_of(store, shop)
    by_size = {open_checkpoint(note, [key], verify).size: note for note in seen}
    assert sorted(by_size) == [130, 260, 390, 520, 650]
    for size, note in by_size.items():
        proof = await prover_of(store).consistency(shop.tenant_id, size, 0)
        open_consistency(str(proof), note, [key], verify)


async def test_a_log_of_another_life_of_the_store_is_signed_under_another_name(
    store: SqlStore, shop: Shop
) -> None:
    await fill(shop, 300)
    before = await signer_of(store).sign(shop.tenant_id)
    epoch = b"restored"

    after = await Signer(
        store,
        store,
        KEY,
        epoch=lambda: epoch,
        holder="node-1",
        standing=list,
        boot_seconds=lambda: 0.0,
        limits=AuditLimits(),
    ).sign(shop.tenant_id)

    restored = KEY(origin_of(epoch, shop.tenant_id)).verifier
    old = open_checkpoint(before.note, [key_of(store, shop)], verify)
    new = open_checkpoint(after.note, [restored], verify)
    assert (old.size, old.root) == (new.size, new.root)
    assert old.origin != new.origin


async def test_a_change_that_was_erased_still_has_its_receipt(
    database: Database, store: SqlStore, shop: Shop
) -> None:
    await shop.ask(chooses("ada"))
    await signer_of(store).sign(shop.tenant_id)
    await database.execute(f"UPDATE changes SET salt = {database.blob(b'')}, content = salt")
    await shop.ask(chooses("bob"))
    await signer_of(store).sign(shop.tenant_id)

    receipt = await prover_of(store).receipt(shop.tenant_id, Revision(1))

    proved = open_receipt(read_receipt(receipt.text), [key_of(store, shop)], verify)
    assert (proved.entry.revision, proved.subject_key, proved.content) == (1, None, None)


async def test_asking_too_early_too_late_or_for_nothing_is_told_so(
    store: SqlStore, shop: Shop
) -> None:
    prover = prover_of(store)
    await fill(shop, 3)
    await signer_of(store).sign(shop.tenant_id)
    later: list[Callable[[], Awaitable[object]]] = [
        lambda: prover.receipt(shop.tenant_id, Revision(4)),
        lambda: prover.consistency(shop.tenant_id, 4, 0),
        lambda: prover.consistency(shop.tenant_id, 1, 4),
        lambda: prover.tile(shop.tenant_id, "tile/0/000"),
        lambda: prover.tile(shop.tenant_id, "tile/0/000.p/4"),
        lambda: prover.tile(shop.tenant_id, "tile/1/000.p/1"),
    ]

    for ask in later:
        with pytest.raises(NotFoundError) as refused:
            await ask()
        assert refused.value.reason is ErrorReason.CHECKPOINT_UNKNOWN
    for path in ("tile/0/0", "checkpoint", "../tile/0/000"):
        with pytest.raises(InvalidArgumentError):
            await prover.tile(shop.tenant_id, path)
    with pytest.raises(InvalidArgumentError, match="old_size"):
        await prover.consistency(shop.tenant_id, 3, 2)
    assert len(await prover.tile(shop.tenant_id, "tile/0/000.p/2")) == 64


async def test_a_log_without_changes_has_no_checkpoint(store: SqlStore, shop: Shop) -> None:
    with pytest.raises(NotFoundError) as refused:
        await prover_of(store).checkpoint(shop.tenant_id)

    assert refused.value.reason is ErrorReason.CHECKPOINT_UNKNOWN


async def test_a_receipt_is_waited_for_until_it_is_signed(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 1)
    waiting = asyncio.create_task(
        Prover(store, KEY, boot_seconds=lambda: 0.0).receipt(shop.tenant_id, Revision(1))
    )
    await asyncio.sleep(0)

    await signer_of(store).sign(shop.tenant_id)

    assert (await waiting).text.startswith("c2sp.org/tlog-proof@v1")


async def test_a_write_claims_its_receipts(store: SqlStore, shop: Shop) -> None:
    asked = await shop.ask(chooses("ada", "ada.work"))
    claim = asked.outcome.claim
    assert claim is not None
    await signer_of(store).sign(shop.tenant_id)

    receipt = await prover_of(store).claimed_receipt(shop.tenant_id, claim, Revision(2))

    leaves = await store.leaves(shop.tenant_id, Revision(0), 10)
    assert claim == ReceiptClaim(
        origin=origin_of(store.epoch, shop.tenant_id),
        first_revision=Revision(1),
        count=2,
        leaves_hash=leaves_hash([one.leaf_hash for one in leaves]),
    )
    proved = open_receipt(read_receipt(receipt.text), [key_of(store, shop)], verify)
    assert proved.entry.revision == 2


async def test_a_claim_of_another_write_gets_nothing(store: SqlStore, shop: Shop) -> None:
    for name in ("ada", "bob"):
        await shop.ask(chooses(name))
    await signer_of(store).sign(shop.tenant_id)
    leaves = await store.leaves(shop.tenant_id, Revision(0), 10)
    origin = origin_of(store.epoch, shop.tenant_id)
    wrong = [
        ReceiptClaim(origin=origin, first_revision=Revision(1), count=1, leaves_hash=bytes(32)),
        ReceiptClaim(
            origin=origin, first_revision=Revision(2), count=1, leaves_hash=leaves[0].leaf_hash
        ),
        ReceiptClaim(
            origin=origin, first_revision=Revision(1), count=2, leaves_hash=leaves[0].leaf_hash
        ),
        ReceiptClaim(
            origin=origin_of(store.epoch, TenantId(shop.tenant_id + 1)),
            first_revision=Revision(1),
            count=1,
            leaves_hash=leaves[0].leaf_hash,
        ),
    ]

    for claim in wrong:
        with pytest.raises(NotFoundError) as refused:
            await prover_of(store).claimed_receipt(shop.tenant_id, claim, claim.first_revision)
        assert refused.value.reason is ErrorReason.CHECKPOINT_UNKNOWN


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
