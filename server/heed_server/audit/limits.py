"""The bounds of the verifiable log; each says what going higher or lower costs."""

from dataclasses import dataclass
from typing import Final

LEAVES_A_PAGE: Final = 2_048
"""Leaves that are read and hashed at a time: some 10 ms of a thread of their own."""
PAGES_A_CHECKPOINT: Final = 32
"""Pages that one checkpoint takes in at most; while a log is behind there are more checkpoints."""
EDGES_KEPT_MAX: Final = 1_024
"""Logs of which the right edge, up to 50 KiB each, the key and the last checkpoint are kept in
memory; of others they are read and checked anew."""
RECEIPT_WAIT_SECONDS_MAX: Final = 3.0
"""How long asking for a receipt waits for a checkpoint that has its leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLimits:
    """How often checkpoints are signed, and which node does it for how long."""

    checkpoint_seconds: float = 0.5
    """How long after a change a checkpoint is signed that has it; what comes meanwhile shares it.
    Higher: receipts are to be had later. Lower: more small writes to the database."""
    lease_seconds: float = 10.0
    """How long a node is the one that signs without saying so again, while there is something to
    sign. Higher: after a node was killed another takes over later. Lower: more small writes."""
    retry_seconds: float = 10.0
    """How long a log that cannot be signed is left alone. Higher: signing goes on later once it is
    put right. Lower: damage is read, and told of in metrics, more often."""
