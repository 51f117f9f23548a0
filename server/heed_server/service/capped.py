"""Writes that are under a cap, and wait for a second person above it.

Laws:
- What waits waits where it came from: the store holds the key and the hash of a call, or the name
  of a batch, and never whom it is about.
- A call for several people is approved by itself. An import is approved once, by the name of its
  batch, and consents once an hour: each for so many people more and no more, counted like a cap.
- An approval is of the cap that was met; the principal's other caps stay in force beside it.
- One process asks for one thing once: chunks that come at the same time find the same approval.
Source: ADR 0032 and ADR 0034.
"""

import hashlib
from collections.abc import Callable
from typing import Final

from heed.acts import Act, Outcome
from heed.errors import ConflictError, UnavailableError
from heed.wire.asked import WriteCall
from heed_server.auth.policy import Principal
from heed_server.service.approvals import Approvals
from heed_server.service.tenants import TenantContext
from heed_server.writes import Appended, Cap

APPROVED_IMPORT_PEOPLE_MAX: Final = 10_000_000
"""People whom one approval of an import lets through in an hour. Higher: an approval that was got
by deceit does more. Lower: larger lists are approved several times."""
APPROVED_CONSENTS_FACTOR: Final = 10
"""How many times the cap one approval of consents lets through, in its hour."""

_HOUR: Final = 3_600_000_000


class Capped(Approvals):
    """Appends within caps."""

    async def append_capped(
        self,
        context: TenantContext,
        principal: Principal,
        method: str,
        call: WriteCall,
        act: Act,
        encode_answer: Callable[[Outcome], bytes],
        *,
        batch_id: str = "",
    ) -> Appended:
        """Write to a tenant's log, if it is within the caps of its principal or was approved.

        Raises:
            ConflictError: APPROVAL_REQUIRED, nothing was written.
            HeedError: as `Node.append`.
        """
        spender = self.caps.spender(principal, _subjects_of(context))
        while True:
            try:
                return await self.append(context, method, call, act, encode_answer, spender=spender)
            except ConflictError as error:
                cap = self.caps.met_by(error, principal, context.tenant.name)
                if cap is None or spender is None or cap in spender.approved:
                    raise
                people = int(error.metadata["amount"])
            asked, about = call, f"{people} people in one call"
            if cap is Cap.CONSENTS:
                hour = self.now() // _HOUR
                asked = _named(call, f"consents/{principal.name}/{hour}")
                people = self.caps.most(cap) * APPROVED_CONSENTS_FACTOR
                about = f"consents of {principal.name} in this hour"
            elif batch_id:
                asked = _named(call, f"batch/{principal.name}/{batch_id}")
                people = APPROVED_IMPORT_PEOPLE_MAX
                about = f"batch {batch_id}"
            async with self.caps.asking:
                approval = await self.require_second_person(
                    context,
                    principal,
                    method,
                    asked,
                    about=about,
                    reason=f"more {cap.name.lower()} than one person may do in an hour",
                    shown={"people": people},
                )
            spender = spender.with_approved(cap, approval.approval_id, people)


def _named(call: WriteCall, name: str) -> WriteCall:
    """What is approved for more than one call, by its name."""
    return WriteCall(
        tenant=call.tenant,
        idempotency_key=name,
        payload_hash=hashlib.sha256(name.encode()).digest(),
    )


def _subjects_of(context: TenantContext) -> int:
    """How many subjects a tenant has; 0 while nobody can tell, which leaves it the least cap."""
    try:
        return context.follower.index.stats().subjects
    except UnavailableError:
        return 0
