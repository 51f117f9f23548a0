"""The canonical entry and the hashes over it, by their vectors (tests/cases/proof.json)."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.model import ChangeKind, Effect, Instant, Revision, SubjectKey, TenantId
from heed.proof import (
    EMPTY_LOG_HASH,
    ENTRY_BYTES,
    NO_SUBJECT,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    residues_hash,
    running_hash,
)

CHANGES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "cases" / "proof.json").read_text(encoding="utf-8")
)["changes"]
SALT = bytes(range(16))

each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change["name"])


def subject_commitment(change: dict[str, Any]) -> bytes:
    if change["subject_key"] is None:
        return NO_SUBJECT
    key = SubjectKey(bytes.fromhex(change["subject_key"]))
    return commit_subject(bytes.fromhex(change["salt"]), key)


@each_change
def test_a_change_is_committed_to_as_its_vector_says(change: dict[str, Any]) -> None:
    content = commit_content(bytes.fromhex(change["salt"]), change["content"].encode())

    assert subject_commitment(change).hex() == change["subject_commitment"]
    assert content.hex() == change["content_commitment"]


@each_change
def test_an_entry_is_what_its_vector_says(change: dict[str, Any]) -> None:
    entry = canonical_entry(
        kind=ChangeKind(change["kind"]),
        tenant_id=TenantId(change["tenant_id"]),
        revision=Revision(change["revision"]),
        commit_time=Instant(change["commit_time"]),
        subject_commitment=bytes.fromhex(change["subject_commitment"]),
        content_commitment=bytes.fromhex(change["content_commitment"]),
    )

    assert entry.hex() == change["entry"]
    assert len(entry) == ENTRY_BYTES
    assert leaf_hash(entry).hex() == change["leaf_hash"]


def test_the_running_hash_follows_from_the_empty_log() -> None:
    previous = EMPTY_LOG_HASH

    for change in CHANGES:
        assert previous.hex() == change["previous_running_hash"]
        previous = running_hash(previous, bytes.fromhex(change["leaf_hash"]))
        assert previous.hex() == change["running_hash"]


def test_a_leaf_hash_is_rfc_6962s() -> None:
    """The hash of the empty leaf, as Certificate Transparency's own tests have it."""
    assert leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def test_a_subject_and_a_content_of_the_same_bytes_have_two_commitments() -> None:
    same = bytes(16)

    assert commit_subject(SALT, SubjectKey(same)) != commit_content(SALT, same)


@settings(deadline=None)
@given(salt=st.binary(min_size=16, max_size=16), content=st.binary(max_size=40))
def test_without_its_salt_a_commitment_is_not_the_hash_of_what_it_names(
    salt: bytes, content: bytes
) -> None:
    commitment = commit_content(salt, content)

    assert commitment != sha256(content).digest()
    assert commitment != commit_content(bytes(byte ^ 1 for byte in salt), content)


def test_what_an_erasure_left_is_committed_to_with_its_place_and_effect() -> None:
    left = [(Revision(3), Effect.APPLIED, b"a"), (Revision(7), Effect.SUPERSEDED, b"b")]
    committed = residues_hash(left)

    assert (
        committed
        == sha256(
            b"".join(
                revision.to_bytes(8) + effect.to_bytes(1) + sha256(residue).digest()
                for revision, effect, residue in left
            )
        ).digest()
    )
    assert residues_hash([]) == sha256().digest()
    for other in (left[:1], [(Revision(4), *left[0][1:]), left[1]], [left[1], left[0]]):
        assert residues_hash(other) != committed


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_salt_has_16_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        commit_content(bytes(size), b"")


@pytest.mark.parametrize(("subject", "content"), [(31, 32), (32, 33), (0, 32)])
def test_a_commitment_has_32_bytes(subject: int, content: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        canonical_entry(
            kind=ChangeKind.CHOICE,
            tenant_id=TenantId(1),
            revision=Revision(1),
            commit_time=Instant(1),
            subject_commitment=bytes(subject),
            content_commitment=bytes(content),
        )
