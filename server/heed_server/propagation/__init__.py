"""Who has applied what of a tenant's log: the proof that an opt-out reached everyone."""

from heed_server.propagation.progress import Progress, is_propagated
from heed_server.propagation.registry import GONE_KEPT_SECONDS, Registry, unheard
from heed_server.propagation.spread import Spread

__all__ = [
    "GONE_KEPT_SECONDS",
    "Progress",
    "Registry",
    "Spread",
    "is_propagated",
    "unheard",
]
