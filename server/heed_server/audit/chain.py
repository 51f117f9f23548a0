"""Whether a log went on from each checkpoint that was kept of it to the next one.

Laws:
- It is verified as a stranger would: by the texts that were signed, and by proofs that are opened
  by the library's verifier; what the database says of itself is not believed.
- It is the server's own key that is believed. Who does not trust the server compares with
  checkpoints that were kept elsewhere (docs/audit.md).
"""

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from heed.audit.checkpoints import Checkpoint, open_checkpoint
from heed.audit.consistency import ConsistencyProof, open_consistency
from heed.audit.failing import ProofError
from heed.audit.signing import verify
from heed.errors import NotFoundError
from heed.model import TenantId
from heed_server.audit.errors import LogNotSignedError
from heed_server.audit.grown import KeyOf
from heed_server.tree_store import KeptCheckpoint

Prove = Callable[[TenantId, int, int], Awaitable[ConsistencyProof]]
"""Proves that a log of the second size begins with one of the first: `Prover.consistency`."""


class Continuation(enum.Enum):
    """What was found of a checkpoint."""

    FIRST = "first"
    """Its signature is good; no earlier one was looked at."""
    CONTINUES = "continues"
    """Its signature is good, and its log begins with that of the one before."""
    OTHER_LIFE = "other life"
    """Its signature is good; it is of another life of the store than the one before, which a
    restore began."""
    BROKEN = "broken"
    """Its signature is not good, or its log does not begin with that of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink:
    """One checkpoint, and what was found of it."""

    kept: KeptCheckpoint
    checkpoint: Checkpoint | None
    """None: it is not one that the key signed."""
    found: Continuation
    why: str = ""
    """What is wrong, if it is broken."""


async def verify_chain(
    prove: Prove, key: KeyOf, tenant_id: TenantId, kept: Sequence[KeptCheckpoint]
) -> list[ChainLink]:
    """Verify checkpoints, the earliest first, and return what was found of each, in that order.

    Raises:
        UnavailableError: the database does not answer.
    """
    links: list[ChainLink] = []
    for one in kept:
        before = links[-1] if links else None
        links.append(await _link(prove, key, tenant_id, before, one))
    return links


async def _link(
    prove: Prove, key: KeyOf, tenant_id: TenantId, before: ChainLink | None, one: KeptCheckpoint
) -> ChainLink:
    try:
        checkpoint = open_checkpoint(one.note, [key(one.origin).verifier], verify)
    except ProofError as error:
        return ChainLink(kept=one, checkpoint=None, found=Continuation.BROKEN, why=str(error))
    found, why = Continuation.FIRST, ""
    if before is not None and before.checkpoint is not None:
        if before.checkpoint.origin != checkpoint.origin:
            found = Continuation.OTHER_LIFE
        else:
            why = await _break_between(prove, key, tenant_id, before, one, checkpoint)
            found = Continuation.BROKEN if why else Continuation.CONTINUES
    return ChainLink(kept=one, checkpoint=checkpoint, found=found, why=why)


async def _break_between(
    prove: Prove,
    key: KeyOf,
    tenant_id: TenantId,
    before: ChainLink,
    one: KeptCheckpoint,
    checkpoint: Checkpoint,
) -> str:
    """Return what is wrong between two checkpoints of one origin; empty: nothing is."""
    assert before.checkpoint is not None  # noqa: S101 - looked at by who calls
    try:
        proof = await prove(tenant_id, before.checkpoint.size, checkpoint.size)
        told = ConsistencyProof(
            old_size=proof.old_size,
            new_size=proof.new_size,
            proof=proof.proof,
            checkpoint=one.note,
        )
        open_consistency(str(told), before.kept.note, [key(one.origin).verifier], verify)
    except (ProofError, LogNotSignedError, NotFoundError) as error:
        return str(error)
    return ""
