"""The verifiable log: signs what the logs are, and proves what is in them (ADR 0027, 0028)."""

from heed_server.audit.grown import KeyOf
from heed_server.audit.limits import AuditLimits
from heed_server.audit.prover import Proven, Prover
from heed_server.audit.signer import Signer

__all__ = ["AuditLimits", "KeyOf", "Proven", "Prover", "Signer"]
