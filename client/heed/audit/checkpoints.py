"""Checkpoints: what a log says it is, signed. Its name, its size and its root.

Source: C2SP tlog-checkpoint, https://c2sp.org/tlog-checkpoint.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heed.audit.failing import ProofError
from heed.audit.notes import (
    Note,
    VerifierKey,
    Verify,
    decode_base64,
    encode_base64,
    read_note,
    require_signed,
)
from heed.audit.tree import EMPTY_ROOT, SIZE_MAX
from heed.model import TenantId
from heed.proof import HASH_BYTES

DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
"""A number as C2SP writes it."""
ORIGIN_PREFIX = "heed.dev/log"

_LINES_MIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log at one size."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return what is signed."""
        lines = [self.origin, str(self.size), encode_base64(self.root), *self.extensions]
        return "".join(f"{line}\n" for line in lines)


def origin_of(epoch: bytes, tenant_id: TenantId) -> str:
    """Return the name of a tenant's log in one life of its store.

    The epoch makes it unique; the tenant's own name is nobody else's affair.
    """
    return f"{ORIGIN_PREFIX}/{epoch.hex()}/{tenant_id}"


def checkpoint_of(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is. Raises ProofError."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < _LINES_MIN or not all(lines) or not text.endswith("\n"):
        raise ProofError("a checkpoint is a log's name, its size and its root, a line each")
    origin, size, root, *extensions = lines
    if not DECIMAL.fullmatch(size) or int(size) > SIZE_MAX:
        raise ProofError(f"{size[:30]!r} is no size of a tree")
    found = decode_base64(root)
    if len(found) != HASH_BYTES:
        raise ProofError(f"a root has {HASH_BYTES} bytes")
    if int(size) == 0 and found != EMPTY_ROOT:
        raise ProofError("an empty log has another root than an empty tree")
    return Checkpoint(origin=origin, size=int(size), root=found, extensions=tuple(extensions))


def open_checkpoint(said: str, keys: Sequence[VerifierKey], verify: Verify) -> Checkpoint:
    """Return a checkpoint that the log it names has signed, by one of these keys.

    Raises:
        ProofError: it is malformed, or none of the keys is of that log and signed it.
    """
    note = read_note(said)
    checkpoint = checkpoint_of(note.text)
    of_log = [key for key in keys if key.name == checkpoint.origin]
    if not of_log:
        raise ProofError(f"no key was given of the log {checkpoint.origin!r}")
    require_signed(note, of_log, verify)
    return checkpoint


def read_checkpoint(said: str) -> tuple[Checkpoint, Note]:
    """Return a checkpoint that nobody has checked, with its note. Raises ProofError."""
    note = read_note(said)
    return checkpoint_of(note.text), note
