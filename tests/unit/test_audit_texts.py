"""Notes, checkpoints, claims, receipts, consistency proofs and exports: what they prove, or not."""

import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from heed.audit.checkpoints import (
    Checkpoint,
    checkpoint_of,
    open_checkpoint,
    origin_of,
    read_checkpoint,
)
from heed.audit.claims import ReceiptClaim, leaves_hash, read_claim, require_claimed
from heed.audit.consistency import ConsistencyProof, open_consistency
from heed.audit.exports import verify_export
from heed.audit.failing import ProofError
from heed.audit.notes import (
    NOTE_BYTES_MAX,
    Note,
    Signature,
    VerifierKey,
    read_note,
    read_verifier_key,
    require_signed,
)
from heed.audit.receipts import RECEIPT_BYTES_MAX, entry_of, open_receipt, read_receipt
from heed.audit.signing import SigningKey, verify
from heed.audit.tree import EMPTY_ROOT
from heed.model import Revision, TenantId
from heed.proof import leaf_hash
from tests.support.logged import LoggedFiles

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKu"
    "wHjG1Yu72IneyaQM=\n"
)
"""Of c2sp.org/signed-note."""
OTHER = SigningKey(bytes(range(1, 33)), "example.com/other")


@pytest.fixture(scope="module")
def log() -> LoggedFiles:
    return LoggedFiles(700)


def test_the_example_of_the_specification_verifies() -> None:
    key = read_verifier_key(EXAMPLE_KEY)
    note = read_note(EXAMPLE_NOTE)

    assert str(key) == EXAMPLE_KEY
    assert str(note) == EXAMPLE_NOTE
    assert require_signed(note, [key], verify) == [key]


def test_a_note_may_be_signed_by_several() -> None:
    text = "one\n"
    mine = SigningKey(bytes(32), "example.com/mine")
    notes = [read_note(_signed(key, text)) for key in (mine, OTHER)]
    note = Note(text, tuple(one.signatures[0] for one in notes))
    keys = [mine.verifier, OTHER.verifier]

    assert require_signed(note, keys, verify) == keys
    assert require_signed(note, keys[1:], verify) == keys[1:], (
        "a signature nobody knows says nothing"
    )
    with pytest.raises(ProofError, match="nobody whose key was given"):
        require_signed(note, [read_verifier_key(EXAMPLE_KEY)], verify)
    forged = note._replace(
        signatures=(note.signatures[0], note.signatures[1]._replace(signature=bytes(64)))
    )
    with pytest.raises(ProofError, match="does not fit"):
        require_signed(forged, keys, verify)
    short = note._replace(
        signatures=(note.signatures[0]._replace(signature=note.signatures[0].signature + b"x"),)
    )
    with pytest.raises(ProofError, match="does not fit"):
        require_signed(short, keys, verify)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AQ==",
        EXAMPLE_KEY + "\n",
    ],
)
def test_what_is_no_verifier_key_is_refused(said: str) -> None:
    with pytest.raises(ProofError, match="verifier key"):
        read_verifier_key(said)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("no signatures\n", "an empty line"),
        ("\n\n— a AAAAAAA=\n", "is a text"),
        ("a\n\n— a AAAAAAA=", "is a text"),
        ("a\r\n\n— a AAAAAAA=\n", "control characters"),
        ("a\n\n- a AAAAAAA=\n", "no line of a signature"),
        ("a\n\n— AAAAAAA=\n", "no line of a signature"),
        ("a\n\n— a AAAA\n", "too short"),
        ("a\n\n— a+b AAAAAAA=\n", "a key's name"),
        ("a\n\n— a ****\n", "no base64"),
        ("a\n\n— a AAAAAAB=\n", "another spelling"),
        ("a\n\n" + "— a AAAAAAA=\n" * 65, "at most 64"),
        ("a" * NOTE_BYTES_MAX + "\n\n— a AAAAAAA=\n", "at most 65536"),
    ],
)
def test_what_is_no_note_is_refused(said: str, match: str) -> None:
    with pytest.raises(ProofError, match=match):
        read_note(said)


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    assert not verify(b"\xff" * 31, bytes(64), b"")
    assert not verify(b"\xff" * 32, bytes(64), b"")


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    root = sha256(b"root").digest()
    checkpoint = Checkpoint(origin=OTHER.verifier.name, size=7, root=root, extensions=("a", "b c"))

    note = OTHER.sign(checkpoint)

    assert open_checkpoint(note, [OTHER.verifier], verify) == checkpoint
    assert note.startswith(f"example.com/other\n7\n{b64encode(root).decode()}\na\nb c\n\n— ")


def test_a_log_is_named_by_its_epoch_and_a_number() -> None:
    assert origin_of(bytes.fromhex("0123456789abcdef"), TenantId(3)) == (
        "heed.dev/log/0123456789abcdef/3"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n1\n" + b64encode(bytes(32)).decode(),
        "a\n01\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n\u0661\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n9999999999999999999\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + b64encode(bytes(31)).decode() + "\n",
        "a\n1\nAAA\n",
        "a\n0\n" + b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + b64encode(bytes(32)).decode() + "\n\nb\n",
        "\n1\n" + b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        checkpoint_of(text)


def test_a_checkpoint_is_read_without_a_key_too(log: LoggedFiles) -> None:
    checkpoint, note = read_checkpoint(log.files["checkpoint"].decode())

    assert checkpoint == log.checkpoint
    assert [one.name for one in note.signatures] == [log.checkpoint.origin]


def test_an_empty_log_has_a_checkpoint() -> None:
    checkpoint = Checkpoint(origin="a", size=0, root=EMPTY_ROOT)

    assert checkpoint_of(checkpoint.text) == checkpoint


def test_a_checkpoint_signed_by_another_than_its_log_is_refused(log: LoggedFiles) -> None:
    forged = read_note(log.key.sign(log.checkpoint))
    signature = OTHER.sign(log.checkpoint)

    with pytest.raises(ProofError, match="no key was given of the log"):
        open_checkpoint(str(forged), [OTHER.verifier], verify)
    with pytest.raises(ProofError, match="nobody whose key was given"):
        open_checkpoint(signature, [log.key.verifier, OTHER.verifier], verify)


def test_a_receipt_proves_what_was_written(log: LoggedFiles) -> None:
    receipt = log.receipt(5)

    proved = open_receipt(read_receipt(str(receipt)), [log.key.verifier], verify)

    assert proved.checkpoint == log.checkpoint
    assert proved.entry.revision == 6
    assert proved.entry == entry_of(log.entries[5])
    assert proved.content == log.contents[5]
    assert proved.subject_key == log.subjects[5]


def test_a_receipt_without_content_proves_that_the_entry_is_there(log: LoggedFiles) -> None:
    receipt = replace(log.receipt(5), salt=b"", subject_key=b"", content=b"")

    proved = open_receipt(read_receipt(str(receipt)), [log.key.verifier], verify)

    assert (proved.content, proved.subject_key) == (None, None)


def test_a_receipt_of_a_change_about_nobody_tells_no_subject(log: LoggedFiles) -> None:
    index = next(at for at, one in enumerate(log.subjects) if one is None)

    proved = open_receipt(log.receipt(index), [log.key.verifier], verify)

    assert proved.subject_key is None
    assert proved.content == log.contents[index]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"index": 6}, "stands at leaf"),
        ({"entry": bytes(89)}, "90 bytes"),
        ({"entry": b"\x02" + bytes(89)}, "version 2"),
        ({"salt": bytes(16)}, "content is not"),
        ({"salt": bytes(15)}, "a salt has"),
        ({"salt": b""}, "checked by the salt"),
        ({"content": b"{}"}, "content is not"),
        ({"subject_key": bytes(16)}, "subject is not"),
        ({"subject_key": b""}, "does not say whom"),
        ({"proof": ()}, "too short"),
    ],
)
def test_a_receipt_of_something_else_is_refused(
    log: LoggedFiles, changed: dict[str, object], match: str
) -> None:
    receipt = replace(log.receipt(5), **changed)  # type: ignore[arg-type]  # by name

    with pytest.raises(ProofError, match=match):
        open_receipt(receipt, [log.key.verifier], verify)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda said: said[1:], "begins with"),
        (lambda said: said.replace("\n\n", "\n"), "begins with"),
        (lambda said: said.replace("\nextra ", "\nother "), "a line `extra`"),
        (lambda said: said.replace("\nindex ", "\nindex 0"), "is no index"),
        (lambda said: said.replace("\nextra ", "\nextra A"), "no JSON in base64"),
        (lambda said: _with_extra(said, b'{"v":2}'), "not of version 1"),
        (lambda said: _with_extra(said, b"[]"), "not of version 1"),
        (lambda said: _with_extra(said, b"[" * 100_000), "no JSON"),
        (lambda said: _with_extra(said, b'{"v":1,"entry":"AA==","more":"AA=="}'), "not known here"),
        (lambda said: _with_extra(said, b'{"v":1,"entry":7}'), "that is no text"),
        (lambda said: _with_extra(said, b'{"v":1,"entry":""}'), "an empty part"),
        (lambda said: _with_extra(said, b'{"v":1}'), "another spelling"),
        (lambda said: _with_extra(said, b'{"entry":"AA==","v":1}'), "another spelling"),
        (lambda said: said + "x" * RECEIPT_BYTES_MAX, "at most"),
    ],
)
def test_what_is_no_receipt_is_refused(
    log: LoggedFiles, change: Callable[[str], str], match: str
) -> None:
    with pytest.raises(ProofError, match=match):
        read_receipt(change(str(log.receipt(5))))


def test_every_bit_of_a_receipt_counts(log: LoggedFiles) -> None:
    said = bytearray(str(log.receipt(511)).encode())
    chosen = random.Random(5)

    for _ in range(2_000):
        bit = chosen.randrange(len(said) * 8)
        said[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            open_receipt(read_receipt(said.decode()), [log.key.verifier], verify)
        said[bit // 8] ^= 1 << bit % 8

    open_receipt(read_receipt(said.decode()), [log.key.verifier], verify)


def test_a_claim_is_kept_as_a_line(log: LoggedFiles) -> None:
    claim = log.claim(5, 1)

    assert read_claim(f"{claim}\n") == claim
    assert (
        claim.leaves_hash == leaf_hash(log.entries[5]) == leaves_hash([leaf_hash(log.entries[5])])
    )
    for said in ("", f"{claim}0", str(claim).replace(" ", ""), str(claim).replace("+1", "+0")):
        with pytest.raises(ProofError, match="no claim"):
            read_claim(said)


def test_a_receipt_is_held_against_its_claim(log: LoggedFiles) -> None:
    origin, leaf = log.checkpoint.origin, leaf_hash(log.entries[5])
    claim = log.claim(5, 1)

    require_claimed(claim, origin=origin, index=5, leaf=leaf)
    require_claimed(log.claim(3, 4), origin=origin, index=5, leaf=leaf)

    with pytest.raises(ProofError, match="of the log"):
        require_claimed(claim, origin="another", index=5, leaf=leaf)
    with pytest.raises(ProofError, match="another revision"):
        require_claimed(claim, origin=origin, index=6, leaf=leaf)
    with pytest.raises(ProofError, match="the leaf is another"):
        require_claimed(claim, origin=origin, index=5, leaf=bytes(32))
    assert (
        ReceiptClaim(
            origin="a", first_revision=Revision(3), count=4, leaves_hash=bytes(32)
        ).last_revision
        == 6
    )


def test_a_log_that_grew_begins_with_what_was_signed_before(log: LoggedFiles) -> None:
    old, proof = log.key.sign(log.at(300)), str(log.consistency(300))

    before, after = open_consistency(proof, old, [log.key.verifier], verify)

    assert (before.size, after.size) == (300, 700)


def test_a_log_that_forked_has_no_proof(log: LoggedFiles) -> None:
    forked = log.key.sign(replace(log.at(300), root=log.at(299).root))

    with pytest.raises(ProofError, match="another root than the earlier"):
        open_consistency(str(log.consistency(300)), forked, [log.key.verifier], verify)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda said: said[1:], "begins with"),
        (lambda said: said.replace("old 300", "old 301"), "not from the earlier"),
        (lambda said: said.replace("old 300", "old 0300"), "not from the earlier"),
        (lambda said: said.replace("old 300", "new 300"), "not from the earlier"),
        (lambda said: said + "x" * 2 * NOTE_BYTES_MAX, "at most"),
    ],
)
def test_what_is_no_consistency_proof_is_refused(
    log: LoggedFiles, change: Callable[[str], str], match: str
) -> None:
    old = log.key.sign(log.at(300))

    with pytest.raises(ProofError, match=match):
        open_consistency(change(str(log.consistency(300))), old, [log.key.verifier], verify)


def test_checkpoints_of_two_logs_prove_nothing_of_each_other(log: LoggedFiles) -> None:
    old = OTHER.sign(replace(log.at(300), origin=OTHER.verifier.name))

    with pytest.raises(ProofError, match="of two logs"):
        open_consistency(str(log.consistency(300)), old, [log.key.verifier, OTHER.verifier], verify)


def test_a_consistency_proof_names_its_sizes() -> None:
    proof = ConsistencyProof(old_size=1, new_size=1, proof=(), checkpoint="later")

    assert str(proof) == "heed.dev/tlog-consistency@v1\nold 1\n\nlater"


def test_a_whole_log_is_what_was_signed(log: LoggedFiles) -> None:
    assert verify_export(log.read, [log.key.verifier], verify) == log.checkpoint


@pytest.mark.parametrize("size", [0, 1, 256, 512])
def test_a_log_of_any_size_is_what_was_signed(size: int) -> None:
    log = LoggedFiles(size)

    assert verify_export(log.read, [log.key.verifier], verify).size == size


def test_a_history_that_was_signed_anew_by_another_is_not_this_log(log: LoggedFiles) -> None:
    other = LoggedFiles(700, seed=bytes(range(32)))

    with pytest.raises(ProofError, match="nobody whose key was given"):
        verify_export(other.read, [log.key.verifier], verify)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"revision": 9}, "says that it is revision 9"),
        ({"tenant_id": 2}, "of tenant 2"),
        ({"commit_time": 1}, "not committed after"),
    ],
)
def test_a_log_that_was_signed_may_still_contradict_itself(
    changes: dict[str, int], match: str
) -> None:
    log = LoggedFiles(8, changed={5: changes})

    with pytest.raises(ProofError, match=match):
        verify_export(log.read, [log.key.verifier], verify)


def test_a_tile_that_is_not_of_its_entries_is_named(log: LoggedFiles) -> None:
    files = dict(log.files)
    name = "tile/0/002.p/188"
    files[name] = files[name][:32] + bytes(32) + files[name][64:]

    with pytest.raises(ProofError, match=f"hash 1 of {name}"):
        verify_export(LoggedFiles.reading(files), [log.key.verifier], verify)


def test_entries_with_tiles_of_their_own_still_have_another_root(log: LoggedFiles) -> None:
    other = LoggedFiles(700, changed={699: {"commit_time": 1_795_219_200_000_000 + 5_000}})
    files = other.files | {"checkpoint": log.files["checkpoint"]}

    with pytest.raises(ProofError, match="have another root"):
        verify_export(LoggedFiles.reading(files), [log.key.verifier], verify)


def test_a_checkpoint_that_is_no_text_is_refused(log: LoggedFiles) -> None:
    files = log.files | {"checkpoint": b"\xff"}

    with pytest.raises(ProofError, match="is no text"):
        verify_export(LoggedFiles.reading(files), [log.key.verifier], verify)


def test_a_key_signs_as_its_log() -> None:
    key = VerifierKey("a", OTHER.verifier.public_key)

    assert key.key_id != OTHER.verifier.key_id
    assert OTHER.verifier == SigningKey(bytes(range(1, 33)), "example.com/other").verifier


def _signed(key: SigningKey, text: str) -> str:
    signature = key._key.sign(text.encode())
    return str(Note(text, (Signature(key.verifier.name, key.verifier.key_id, signature),)))


def _with_extra(said: str, extra: bytes) -> str:
    head, _, rest = said.partition("\nextra ")
    after = rest.partition("\n")[2]
    return f"{head}\nextra {b64encode(extra).decode()}\n{after}"
