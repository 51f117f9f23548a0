"""Reports: what a provider of mail reports of people, recorded as stops.

Laws:
- A report only stops: bounces, complaints and the like become suppressions, a person's word to the
  provider an opt-out. There is no form of it that weakens anything.
- It is recorded whole or not at all, and once by its key.
- It is under no cap and no rate: whoever sends it was verified, and a bounce that is thrown away is
  a suppression that is lost. What a stolen key of a provider does is released by cause and time
  (`ReleaseSuppressions`).
- It is no list: what changes nothing is in the log all the same, since somebody reported it.

Source: ADR 0050.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from heed.acts import AddProtections, Outcome
from heed.model import Cause, Origin
from heed.wire import outcomes
from heed.wire.asked import ProtectionAsked, WriteCall
from heed_server.auth.policy import Principal, Right, require
from heed_server.service.node import Node
from heed_server.service.protections import keyed_protections
from heed_server.service.tenants import TenantContext
from heed_server.writes import Appended

_PERSON: Final = b"heed-report-v1"
"""Sets these hashes apart from those of subjects, under the same key."""

METHOD: Final = "RecordReport"
"""What its idempotency keys are told apart by from those of the contract's methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAsked:
    """What one notification says, or a part of a long one."""

    tenant: str
    name: str
    """What it is known by. Empty: all that it says."""
    payload_hash: bytes
    """SHA-256 over what it says."""
    protections: tuple[ProtectionAsked, ...]
    """At least one, at most `heed.wire.limits.SUPPRESSIONS_MAX`; opt-outs have the cause NONE."""
    origin: Origin


class Reports(Node):
    """Takes what providers report."""

    async def record_report(self, principal: Principal, asked: ReportAsked) -> Appended:
        """Record a report, and return once it is committed; one that comes again is known.

        Raises:
            RightRequiredError: the right `suppress`, or `write` for opt-outs, is missing.
            NotFoundError: there is no such tenant.
            ConflictError: IDEMPOTENCY_KEY_REUSED, another report of that name said other things.
            HeedError: as `Node.append`.
        """
        require(principal, Right.SUPPRESS)
        if any(one.cause is Cause.NONE for one in asked.protections):
            require(principal, Right.WRITE)
        context = self.tenants.of(principal, asked.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.records_imported(context.tenant.tenant_id, outcome, ())

        act = AddProtections(
            protections=keyed_protections(context, asked.protections), origin=asked.origin
        )
        name = asked.name or _name_of(context, asked.payload_hash)
        call = WriteCall(
            tenant=asked.tenant,
            idempotency_key=f"{principal.name}:{name}",
            payload_hash=asked.payload_hash,
        )
        return await self.append(context, METHOD, call, act, encode_answer)


def _name_of(context: TenantContext, payload_hash: bytes) -> str:
    """Return a name for what is said. Keyed, so that nobody can test by the stored row who it is.

    Under another lookup key it has another, and is recorded again, which changes nothing.
    """
    key = context.lookup.keys[-1].key
    return blake2b(payload_hash, key=key, digest_size=20, person=_PERSON).hexdigest()
