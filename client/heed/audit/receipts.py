"""Receipts: one change of a log, and the proof that it is in it, as one text.

Laws:
- A receipt is checked with the log's verifier key and nothing else: no server, no database.
- What rides along (the entry, its salt, subject and content) is believed only because the leaf is
  made of it: each part that is there is held against the entry, and the entry against the root.
- What is left out proves nothing about itself: without salt and content a receipt says when a
  change was made, and not what it says.
Source: C2SP tlog-proof, https://c2sp.org/tlog-proof; its `extra` line is JSON of our own.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from heed.audit.checkpoints import DECIMAL, Checkpoint, open_checkpoint
from heed.audit.failing import ProofError
from heed.audit.notes import VerifierKey, Verify, decode_base64, encode_base64
from heed.audit.tree import verify_inclusion
from heed.model import Instant, Revision, SubjectKey
from heed.proof import (
    ENTRY_BYTES,
    NO_SUBJECT,
    SALT_BYTES,
    commit_content,
    commit_subject,
    leaf_hash,
)

HEADER: Final = "c2sp.org/tlog-proof@v1"
RECEIPT_BYTES_MAX = 256 * 1024
"""A longer receipt is not read."""

_EXTRA_VERSION = 1
_ENTRY = struct.Struct(">BBQQQ32s32s")
_PLACE = struct.Struct(">BxQQQ")
_ENTRY_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A canonical entry (`heed.proof`), taken apart."""

    kind: int
    tenant_id: int
    revision: Revision
    commit_time: Instant
    subject_commitment: bytes
    content_commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One change, and the proof that a log has it; nothing of it checked."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: str
    """The signed note."""
    salt: bytes = b""
    """Empty: it is not said, or was erased; then neither subject nor content can be checked."""
    subject_key: bytes = b""
    """Empty: it is not said, or the change is about nobody."""
    content: bytes = b""
    """The change as compact JSON; empty: it is not said."""

    def __str__(self) -> str:
        """Return the receipt as it is written down."""
        extra = {"v": _EXTRA_VERSION, "entry": encode_base64(self.entry)} | {
            name: encode_base64(part) for name, part in self._parts() if part
        }
        said = encode_base64(json.dumps(extra, separators=(",", ":")).encode())
        hashes = "".join(f"{encode_base64(one)}\n" for one in self.proof)
        return f"{HEADER}\nextra {said}\nindex {self.index}\n{hashes}\n{self.checkpoint}"

    def _parts(self) -> tuple[tuple[str, bytes], ...]:
        return (
            ("salt", self.salt),
            ("subject_key", self.subject_key),
            ("content", self.content),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What a receipt proves."""

    checkpoint: Checkpoint
    entry: Entry
    subject_key: SubjectKey | None
    """None: it is not told."""
    content: bytes | None
    """None: it is not told."""


def read_receipt(said: str) -> Receipt:
    """Return the receipt that a text is. Raises ProofError."""
    if len(said.encode(errors="replace")) > RECEIPT_BYTES_MAX:
        raise ProofError(f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
    head, separator, checkpoint = said.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != HEADER:
        raise ProofError(f"a receipt begins with {HEADER}")
    if len(lines) < 3 or not lines[1].startswith("extra ") or not lines[2].startswith("index "):  # noqa: PLR2004 - the three lines
        raise ProofError("a receipt of heed has a line `extra` and then a line `index`")
    index = lines[2].removeprefix("index ")
    if not DECIMAL.fullmatch(index):
        raise ProofError(f"{index[:30]!r} is no index")
    parts = _parts_of(lines[1].removeprefix("extra "))
    receipt = Receipt(
        index=int(index),
        proof=tuple(map(decode_base64, lines[3:])),
        checkpoint=checkpoint,
        entry=parts.get("entry", b""),
        salt=parts.get("salt", b""),
        subject_key=parts.get("subject_key", b""),
        content=parts.get("content", b""),
    )
    if str(receipt) != said:
        raise ProofError("the receipt is in another spelling than its one")
    return receipt


def open_receipt(receipt: Receipt, keys: Sequence[VerifierKey], verify: Verify) -> Proved:
    """Return what a receipt proves, by the keys of the log it is of.

    Raises:
        ProofError: the checkpoint is not of such a log, or the entry not in it, or something that
            rides along is not what the entry was made of.
    """
    checkpoint = open_checkpoint(receipt.checkpoint, keys, verify)
    entry = entry_of(receipt.entry)
    if entry.revision != receipt.index + 1:
        raise ProofError(
            f"the entry says that it is revision {entry.revision}, and stands at leaf "
            f"{receipt.index}"
        )
    verify_inclusion(
        index=receipt.index,
        size=checkpoint.size,
        leaf=leaf_hash(receipt.entry),
        proof=receipt.proof,
        root=checkpoint.root,
    )
    _require_committed(receipt, entry)
    return Proved(
        checkpoint=checkpoint,
        entry=entry,
        subject_key=SubjectKey(receipt.subject_key) if receipt.subject_key else None,
        content=receipt.content or None,
    )


def entry_of(content: bytes) -> Entry:
    """Return a canonical entry, taken apart. Raises ProofError."""
    place_of(content)
    _, kind, tenant_id, revision, commit_time, subject, said = _ENTRY.unpack(content)
    return Entry(
        kind=kind,
        tenant_id=tenant_id,
        revision=Revision(revision),
        commit_time=Instant(commit_time),
        subject_commitment=subject,
        content_commitment=said,
    )


def place_of(content: bytes) -> tuple[int, int, int]:
    """Return the tenant, the revision and the commit time of an entry, quickly. Raises ProofError.

    A whole log is gone through by it.
    """
    if len(content) != ENTRY_BYTES:
        raise ProofError(f"an entry has {ENTRY_BYTES} bytes, this one has {len(content)}")
    version, tenant_id, revision, commit_time = _PLACE.unpack_from(content)
    if version != _ENTRY_VERSION:
        raise ProofError(f"an entry of version {version} is not known here")
    return tenant_id, revision, commit_time


def _require_committed(receipt: Receipt, entry: Entry) -> None:
    salt, subject, content = receipt.salt, receipt.subject_key, receipt.content
    if not salt:
        if subject or content:
            raise ProofError("a subject or a content is checked by the salt, which is not there")
        return
    if len(salt) != SALT_BYTES:
        raise ProofError(f"a salt has {SALT_BYTES} bytes, this one has {len(salt)}")
    if content and commit_content(salt, content) != entry.content_commitment:
        raise ProofError("the content is not what the entry was made of")
    if subject and commit_subject(salt, SubjectKey(subject)) != entry.subject_commitment:
        raise ProofError("the subject is not the one that the entry was made of")
    if not subject and content and entry.subject_commitment != NO_SUBJECT:
        raise ProofError("the entry is about somebody, and the receipt does not say whom")


def _parts_of(said: str) -> dict[str, bytes]:
    try:
        extra: object = json.loads(decode_base64(said))
    except (ValueError, RecursionError) as error:
        raise ProofError("the line `extra` is no JSON in base64") from error
    if not isinstance(extra, dict) or extra.pop("v", None) != _EXTRA_VERSION:
        raise ProofError(f"the line `extra` is not of version {_EXTRA_VERSION}")
    if not set(extra) <= {"entry", "salt", "subject_key", "content"}:
        raise ProofError("the line `extra` says something that is not known here")
    if not all(isinstance(part, str) for part in extra.values()):
        raise ProofError("the line `extra` has a part that is no text")
    parts = {name: decode_base64(part) for name, part in extra.items()}
    if not all(parts.values()):
        raise ProofError("the line `extra` has an empty part")
    return parts
