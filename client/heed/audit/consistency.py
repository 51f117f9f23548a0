"""Consistency proofs as text: that a log which grew still begins with what was signed before.

    heed.dev/tlog-consistency@v1
    old 1024
    <hashes, one a line, in base64>

    <the later checkpoint>

C2SP has no text for these; the hashes are those of RFC 6962 §2.1.2, in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from heed.audit.checkpoints import DECIMAL, Checkpoint, open_checkpoint
from heed.audit.failing import ProofError
from heed.audit.notes import NOTE_BYTES_MAX, VerifierKey, Verify, decode_base64, encode_base64
from heed.audit.tree import verify_consistency

HEADER: Final = "heed.dev/tlog-consistency@v1"

_LINES_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """The proof that a log of one size begins with what it was at an earlier one."""

    old_size: int
    new_size: int
    proof: tuple[bytes, ...]
    checkpoint: str
    """A signed checkpoint of `new_size`, or of more where a size between two was asked for."""

    def __str__(self) -> str:
        """Return the proof as it is written down."""
        hashes = "".join(f"{encode_base64(one)}\n" for one in self.proof)
        return f"{HEADER}\nold {self.old_size}\n{hashes}\n{self.checkpoint}"


def open_consistency(
    said: str, old: str, keys: Sequence[VerifierKey], verify: Verify
) -> tuple[Checkpoint, Checkpoint]:
    """Return two checkpoints of one log, the later of which begins with the earlier.

    `said` is the proof with the later one, `old` the earlier. Raises ProofError.
    """
    if len(said.encode(errors="replace")) > 2 * NOTE_BYTES_MAX:
        raise ProofError(f"a consistency proof has at most {2 * NOTE_BYTES_MAX} bytes")
    head, separator, later = said.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines[0] != HEADER or len(lines) < _LINES_MIN:
        raise ProofError(f"a consistency proof begins with {HEADER} and the earlier size")
    before = open_checkpoint(old, keys, verify)
    after = open_checkpoint(later, keys, verify)
    size = lines[1].removeprefix("old ")
    if not lines[1].startswith("old ") or not DECIMAL.fullmatch(size) or int(size) != before.size:
        raise ProofError(f"the proof is not from the earlier checkpoint's size, {before.size}")
    if before.origin != after.origin:
        raise ProofError(f"the checkpoints are of two logs: {before.origin!r}, {after.origin!r}")
    verify_consistency(
        old_size=before.size,
        old_root=before.root,
        new_size=after.size,
        new_root=after.root,
        proof=[decode_base64(one) for one in lines[2:]],
    )
    return before, after
