"""Checkpoints grow from the last that was signed, and nothing that was changed is signed or proved."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from heed.audit.checkpoints import open_checkpoint, origin_of
from heed.audit.claims import ReceiptClaim, leaves_hash
from heed.audit.consistency import open_consistency
from heed.audit.exports import verify_export
from heed.audit.notes import read_verifier_key
from heed.audit.receipts import open_receipt, read_receipt
from heed.audit.signing import verify
from heed.errors import ErrorReason, InvalidArgumentError, NotFoundError
from heed.model import Revision, TenantId
from heed_server.audit import AuditLimits, Prover, Signer
from heed_server.storage import SqlStore
from tests.support.signed import KEY, export, fill, key_of, prover_of, signer_of
from tests.support.stores import Database, Shop, chooses, new_shop


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
