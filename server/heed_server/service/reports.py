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
from typing import Final

from heed.acts import AddProtections, Outcome
from heed.model import Cause, Origin
from heed.wire import outcomes
from heed.wire.asked import ProtectionAsked, WriteCall
from heed_server.auth.policy import Principal, Right, require
from heed_server.service.node import Node
from heed_server.service.protections import keyed_protections
from heed_server.writes import Appended

METHOD: Final = "RecordReport"
"""What its idempotency keys are told apart by from those of the contract's methods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAsked:
    """What one notification says, or a part of a long one."""

    call: WriteCall
    protections: tuple[ProtectionAsked, ...]
    """At least one, at most `heed.wire.limits.SUPPRESSIONS_MAX`; opt-outs have the cause NONE."""
    origin: Origin


class Reports(Node):
    """Takes what providers report."""

    async def record_report(self, principal: Principal, asked: ReportAsked) -> Appended:
        """Record a report, and return once it is committed. Idempotent by key.

        Raises:
            RightRequiredError: the right `suppress`, or `write` for opt-outs, is missing.
            NotFoundError: there is no such tenant.
            HeedError: as `Node.append`.
        """
        require(principal, Right.SUPPRESS)
        if any(one.cause is Cause.NONE for one in asked.protections):
            require(principal, Right.WRITE)
        context = self.tenants.of(principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.records_imported(context.tenant.tenant_id, outcome, ())

        act = AddProtections(
            protections=keyed_protections(context, asked.protections), origin=asked.origin
        )
        return await self.append(context, METHOD, asked.call, act, encode_answer)
