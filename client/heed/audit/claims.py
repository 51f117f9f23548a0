"""What a write's answer names of the log, so that its receipts can be asked for later.

Laws:
- A claim is made in the transaction of the write, before anything is signed: a checkpoint that
  contradicts it convicts the log.
- Nobody guesses one: the hashes are of salted entries. Who has it made the write, or was given it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heed.audit.failing import ProofError
from heed.audit.tree import root_of
from heed.model import Revision

_CLAIM = re.compile(r"(\S{1,200}) ([1-9][0-9]{0,18})\+([1-9][0-9]{0,9}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptClaim:
    """What one write left in a log."""

    origin: str
    """The log's name, which its checkpoints begin with."""
    first_revision: Revision
    count: int
    """So many changes, from that revision on."""
    leaves_hash: bytes
    """The root of the tree over their leaf hashes alone; of one change its leaf hash."""

    @property
    def last_revision(self) -> Revision:
        """The revision of the last of them."""
        return Revision(self.first_revision + self.count - 1)

    def __str__(self) -> str:
        """Return the claim as one line, as it is kept: `heed.dev/log/…/1 17+1 9f86d081…`."""
        return f"{self.origin} {self.first_revision}+{self.count} {self.leaves_hash.hex()}"


def read_claim(said: str) -> ReceiptClaim:
    """Return the claim that a line is. Raises ProofError."""
    found = _CLAIM.fullmatch(said.strip())
    if found is None:
        raise ProofError(f"{said[:100]!r} is no claim of a receipt")
    origin, first, count, hashed = found.groups()
    return ReceiptClaim(
        origin=origin,
        first_revision=Revision(int(first)),
        count=int(count),
        leaves_hash=bytes.fromhex(hashed),
    )


def leaves_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the hash by which a claim names the leaves of a write."""
    return root_of(leaves)


def require_claimed(claim: ReceiptClaim, *, origin: str, index: int, leaf: bytes) -> None:
    """Return if a receipt's leaf is the one of a write of one change. Raises ProofError."""
    if origin != claim.origin:
        raise ProofError(f"the claim is of the log {claim.origin!r}, the receipt of {origin!r}")
    if not claim.first_revision <= index + 1 <= claim.last_revision:
        raise ProofError(f"the claim is of another revision than {index + 1}")
    if claim.count == 1 and leaf != claim.leaves_hash:
        raise ProofError("the leaf is another than the one that the write's answer named")
