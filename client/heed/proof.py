"""The canonical entry of a change, its leaf hash, and the running hash of the log.

Laws:
- An entry names its subject and its content only as commitments under the change's own salt; with
  the salt erased nobody can test a guess, and every proof still holds.
- An entry has one form and a fixed size: what is hashed is never parsed.

Entry, version 1, big-endian, 90 bytes:

    offset  size  field
         0     1  version, 1
         1     1  kind of the change (`heed.model.ChangeKind`)
         2     8  tenant, unsigned
        10     8  revision, unsigned
        18     8  commit time, unsigned, microseconds since 1970-01-01T00:00:00Z
        26    32  SHA-256(salt ‖ 0x01 ‖ subject key), or zeros where there is no subject
        58    32  SHA-256(salt ‖ 0x02 ‖ content)

An erasure (ADR 0030) leaves entries and hashes as they are and takes salts and contents away. What
it leaves of a content, the residue, is committed to in the erasure's own content: SHA-256 over
revision (8 bytes) ‖ effect (1 byte) ‖ SHA-256(residue) of each change it erased, by revision.

The leaf hash is SHA-256(0x00 ‖ entry) (RFC 6962 §2.1); the running hash begins with 32 zero bytes
and is SHA-256(running hash before ‖ leaf hash). Vectors: tests/cases/proof.json.
"""

import struct
from collections.abc import Iterable
from hashlib import sha256

from heed.model import ChangeKind, Effect, Instant, Revision, SubjectKey, TenantId

SALT_BYTES = 16
HASH_BYTES = 32
"""Of every hash here; a token has only the first `heed.tokens.TOKEN_HASH_BYTES` of one."""
ENTRY_BYTES = 90
NO_SUBJECT = bytes(HASH_BYTES)
"""Stands in an entry for the commitment of a change without a subject."""
EMPTY_LOG_HASH = bytes(HASH_BYTES)
"""The running hash at revision 0."""

_VERSION = 1
_LAYOUT = struct.Struct(">BBQQQ32s32s")
_SUBJECT_DOMAIN = b"\x01"
_CONTENT_DOMAIN = b"\x02"
_LEAF_PREFIX = b"\x00"
_RESIDUE = struct.Struct(">QB")


def commit_subject(salt: bytes, key: SubjectKey) -> bytes:
    """Return the commitment to a change's subject."""
    return _commit(salt, _SUBJECT_DOMAIN, key)


def commit_content(salt: bytes, content: bytes) -> bytes:
    """Return the commitment to a change's content, as the bytes that are stored."""
    return _commit(salt, _CONTENT_DOMAIN, content)


def canonical_entry(
    *,
    kind: ChangeKind,
    tenant_id: TenantId,
    revision: Revision,
    commit_time: Instant,
    subject_commitment: bytes,
    content_commitment: bytes,
) -> bytes:
    """Return the entry of a change. A change without a subject commits to `NO_SUBJECT`."""
    if len(subject_commitment) != HASH_BYTES or len(content_commitment) != HASH_BYTES:
        raise ValueError(f"a commitment has {HASH_BYTES} bytes")
    return _LAYOUT.pack(
        _VERSION, kind, tenant_id, revision, commit_time, subject_commitment, content_commitment
    )


def leaf_hash(entry: bytes) -> bytes:
    """Return an entry's leaf hash in the tenant's tree (RFC 6962 §2.1)."""
    return sha256(_LEAF_PREFIX + entry).digest()


def running_hash(previous: bytes, leaf: bytes) -> bytes:
    """Return the running hash of the log after one more leaf."""
    return sha256(previous + leaf).digest()


def residues_hash(residues: Iterable[tuple[Revision, Effect, bytes]]) -> bytes:
    """Return the commitment to what an erasure left of changes, each once, by revision."""
    hashing = sha256()
    for revision, effect, residue in residues:
        hashing.update(_RESIDUE.pack(revision, effect) + sha256(residue).digest())
    return hashing.digest()


def _commit(salt: bytes, domain: bytes, content: bytes) -> bytes:
    # Salts of one size keep salt, domain and content apart in what is hashed.
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, this one has {len(salt)}")
    return sha256(salt + domain + content).digest()
