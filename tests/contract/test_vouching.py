"""What verifiable streams take from a store: the rows of the log, and who vouches for a snapshot."""

from collections.abc import Sequence

import pytest

from heed.audit.checkpoints import open_checkpoint
from heed.audit.ranges import CompactRange
from heed.audit.receipts import entry_of
from heed.audit.signing import verify
from heed.audit.tree import EMPTY_ROOT
from heed.errors import ErrorReason, NotFoundError
from heed.model import Channel, Head, Revision, Scope
from heed.proof import commit_content, commit_subject
from heed.tokens import decode_token
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.audit.errors import LogNotSignedError
from heed_server.storage import SqlStore
from heed_server.store import LogDamagedError
from heed_server.watch import EVERYTHING, WatchFilter, verifiable
from heed_server.watch.batch import Batch
from heed_server.watch.verifiable import Piece, VerifiableBatch, VerifiableBatches
from tests.support.signed import fill, key_of, prover_of, signer_of
from tests.support.stores import Database, Shop, chooses, erases, keyed, opt_out

LINE = "heed.dev/snapshot/v1 of what stands"


async def head_at(shop: Shop, revision: int) -> Head:
    head = await shop.store.head_at(shop.tenant_id, Revision(revision))
    assert head is not None
    return head


async def test_rows_are_told_as_they_were_committed(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 5)
    await shop.ask(chooses("ada"))

    rows = await prover_of(store).logged(shop.tenant_id, Revision(2), 3)
    (last,) = await prover_of(store).logged(shop.tenant_id, Revision(5), 100)

    assert [row.leaf.revision for row in rows] == [3, 4, 5]
    entry = entry_of(last.leaf.entry)
    assert entry.subject_commitment == commit_subject(last.salt, keyed("ada").key)
    assert entry.content_commitment == commit_content(last.salt, last.content)
    assert last.subject_key == keyed("ada").key
    assert not await prover_of(store).logged(shop.tenant_id, Revision(6), 100)


async def test_an_erased_row_has_its_leaf_and_no_salt(store: SqlStore, shop: Shop) -> None:
    await shop.ask(chooses("ada"))
    (before,) = await prover_of(store).logged(shop.tenant_id, Revision(0), 1)
    await shop.ask(erases("ada"))

    after, _ = await prover_of(store).logged(shop.tenant_id, Revision(0), 2)

    assert before.salt
    assert not after.salt
    assert after.leaf == before.leaf


@pytest.mark.parametrize("revision", [1, 2, 255, 256, 257, 300, 600])
async def test_a_checkpoint_of_any_revision_vouches_for_what_stood_there(
    store: SqlStore, shop: Shop, revision: int
) -> None:
    await fill(shop, 600)
    await signer_of(store).sign(shop.tenant_id)
    prover, key = prover_of(store), key_of(store, shop)

    vouched = await prover.vouched(shop.tenant_id, await head_at(shop, revision), LINE)

    checkpoint = open_checkpoint(vouched.checkpoint, [key], verify)
    leaves = await store.leaves(shop.tenant_id, Revision(0), revision)
    grown = CompactRange()
    grown.extend([leaf.leaf_hash for leaf in leaves])
    assert (checkpoint.size, checkpoint.extensions) == (revision, (LINE,))
    assert vouched.subtree_hashes == grown.hashes
    assert grown.root() == checkpoint.root
    signed = await store.signed(shop.tenant_id)
    assert signed is not None
    assert signed.size == 600


async def test_an_empty_log_is_vouched_for_without_a_checkpoint(
    store: SqlStore, shop: Shop
) -> None:
    vouched = await prover_of(store).vouched(shop.tenant_id, await head_at(shop, 0), LINE)

    checkpoint = open_checkpoint(vouched.checkpoint, [key_of(store, shop)], verify)
    assert (checkpoint.size, checkpoint.root, vouched.subtree_hashes) == (0, EMPTY_ROOT, ())


async def test_nothing_that_was_not_signed_is_vouched_for(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 3)
    with pytest.raises(NotFoundError) as refused:
        await prover_of(store).vouched(shop.tenant_id, await head_at(shop, 3), LINE)
    assert refused.value.reason is ErrorReason.CHECKPOINT_UNKNOWN

    await signer_of(store).sign(shop.tenant_id)
    head = await head_at(shop, 3)
    other = Head(
        revision=head.revision,
        running_hash=head.running_hash,
        commit_time=head.commit_time,
        epoch=bytes(8),
    )
    with pytest.raises(NotFoundError):
        await prover_of(store).vouched(shop.tenant_id, other, LINE)


async def test_a_log_that_was_changed_beneath_is_not_vouched_for(
    store: SqlStore, shop: Shop, database: Database
) -> None:
    await fill(shop, 9)
    await signer_of(store).sign(shop.tenant_id)
    await database.execute("UPDATE changes SET leaf_hash = running_hash WHERE revision = 4")

    with pytest.raises(LogNotSignedError):
        await prover_of(store).vouched(shop.tenant_id, await head_at(shop, 9), LINE)
    with pytest.raises(LogNotSignedError):
        await prover_of(store).vouched(shop.tenant_id, await head_at(shop, 6), LINE)


async def batch_of(store: SqlStore, shop: Shop, after: int = 0) -> tuple[Batch, VerifiableBatch]:
    changes = await store.read_changes(shop.tenant_id, Revision(after), 1_000)
    batch = Batch(changes, hash_before=None, tenant_id=shop.tenant_id, epoch=store.epoch)
    batches = VerifiableBatches(prover_of(store), shop.tenant_id)
    return batch, await batches.of(batch, store.epoch)


def told_by(pieces: Sequence[Piece]) -> list[pb.Changes]:
    return [pb.WatchChangesResponse.FromString(piece.message).changes for piece in pieces]


@pytest.mark.parametrize("piece_bytes", [1, 1_000, 1 << 20])
@pytest.mark.parametrize("position", [0, 1, 5])
async def test_a_batch_is_told_in_pieces_from_where_its_reader_stands(
    store: SqlStore, shop: Shop, monkeypatch: pytest.MonkeyPatch, position: int, piece_bytes: int
) -> None:
    monkeypatch.setattr(verifiable, "PIECE_BYTES_MAX", piece_bytes)
    await fill(shop, 6)
    batch, told = await batch_of(store, shop)

    pieces = told.pieces(EVERYTHING, Revision(position))

    messages, at = told_by(pieces), position
    for piece, message in zip(pieces, messages, strict=True):
        assert (message.after, message.through) == (at, piece.through)
        assert len(message.leaves) == len(message.changes) == message.through - at
        assert decode_token(message.token).revision == message.through
        at = message.through
    assert at == batch.through == 6
    assert len(pieces) == (6 - position if piece_bytes == 1 else len(pieces))
    assert pieces[-1].running_hash == batch.running_hash
    assert messages[-1].token == batch.token


async def test_what_a_filter_leaves_out_is_told_by_its_hash(store: SqlStore, shop: Shop) -> None:
    await fill(shop, 2)
    await shop.ask(chooses("ada", choices=[opt_out(Scope(channel=Channel.SMS))]))
    _, told = await batch_of(store, shop)
    leaves = await store.leaves(shop.tenant_id, Revision(0), 3)

    (message,) = told_by(told.pieces(WatchFilter(channels=frozenset({Channel.SMS})), Revision(0)))

    assert [change.revision for change in message.changes] == [3]
    assert [leaf.hash for leaf in message.leaves] == [*(one.leaf_hash for one in leaves[:2]), b""]
    assert message.leaves[2].content.salt


async def test_rows_that_are_not_those_that_were_followed_are_not_told(
    store: SqlStore, shop: Shop, database: Database
) -> None:
    await fill(shop, 3)
    changes = await store.read_changes(shop.tenant_id, Revision(0), 3)
    batch = Batch(changes, hash_before=None, tenant_id=shop.tenant_id, epoch=store.epoch)
    batches = VerifiableBatches(prover_of(store), shop.tenant_id)
    await database.execute("UPDATE changes SET running_hash = leaf_hash WHERE revision = 2")
    with pytest.raises(LogDamagedError, match="followed"):
        await batches.of(batch, store.epoch)

    await database.execute("DELETE FROM changes WHERE revision = 3")
    with pytest.raises(LogDamagedError, match="are there"):
        await batches.of(batch, store.epoch)


async def test_rows_are_read_once_for_all_and_not_for_ever(
    store: SqlStore, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiable, "BATCHES_KEPT_MAX", 1)
    await fill(shop, 3)
    batches = VerifiableBatches(prover_of(store), shop.tenant_id)
    some = [
        Batch(
            await store.read_changes(shop.tenant_id, Revision(after), 1),
            hash_before=None,
            tenant_id=shop.tenant_id,
            epoch=store.epoch,
        )
        for after in range(2)
    ]

    first = await batches.of(some[0], store.epoch)
    same = await batches.of(some[0], store.epoch)
    await batches.of(some[1], store.epoch)
    another = await batches.of(some[0], store.epoch)
    batches.forget()

    assert first is same
    assert another is not first
    assert await batches.of(some[0], store.epoch) is not another
    assert first.pieces(EVERYTHING, Revision(0)) is first.pieces(EVERYTHING, Revision(0))
