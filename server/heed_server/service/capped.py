"""Writes that are under a cap, and wait for a second person above it.

Laws:
- What waits waits where it came from: the store holds the key and the hash of a call, or the name
  of a batch, and never whom it is about.
- A call for several people is approved by itself. An import is approved once, by the name of its
  batch, what a follower offers after a restore once, by the epoch that it is of, and consents for
  the hour from the grant: each for so many people more and no more, counted like a cap.
- An approval is of the cap that was met; the principal's other caps stay in force beside it.
- The log names who asked and who granted with each change that was approved.
Source: ADR 0032, ADR 0034 and ADR 0038.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeAlias

from heed.acts import (
    AddProtections,
    Approved,
    OfferRecords,
    Outcome,
    ReleaseSuppression,
    SetPreferences,
)
from heed.errors import ConflictError, UnavailableError
from heed.wire.asked import WriteCall
from heed_server.approvals import EXPIRES_MICROSECONDS, HOUR_MICROSECONDS
from heed_server.auth.policy import Principal
from heed_server.service.approvals import Approvals
from heed_server.service.tenants import TenantContext
from heed_server.writes import Appended, Cap, Spender

APPROVED_WHOLE_PEOPLE_MAX: Final = 10_000_000
"""People whom one approval of an import, or of a follower's offers, lets through in an hour.
Higher: an approval that was got by deceit does more. Lower: larger lists are approved several
times."""
APPROVED_CONSENTS_FACTOR: Final = 10
"""How many times the cap one approval of consents lets through, in its hour."""

Attempt: TypeAlias = Callable[[Spender | None, Approved | None], Awaitable[Appended]]
"""Makes a write under these caps, naming who approved it; what it raises changed nothing."""


class Capped(Approvals):
    """Appends within caps."""

    async def append_capped(
        self,
        context: TenantContext,
        principal: Principal,
        method: str,
        call: WriteCall,
        act: SetPreferences | AddProtections | ReleaseSuppression | OfferRecords,
        encode_answer: Callable[[Outcome], bytes],
        *,
        part_of: str = "",
    ) -> Appended:
        """Write to a tenant's log, if it is within the caps of its principal or was approved.

        `part_of` names the whole that is approved once: `batch list-7`. Empty: the call alone.

        Raises:
            ConflictError: APPROVAL_REQUIRED, nothing was written.
            HeedError: as `Node.append`.
        """

        async def attempt(spender: Spender | None, approved: Approved | None) -> Appended:
            said = act if approved is None else replace(act, approved=approved)
            return await self.append(context, method, call, said, encode_answer, spender=spender)

        if not isinstance(act, ReleaseSuppression):
            spender = self.caps.recording(principal, _subjects_of(context))
            return await self.within_caps(
                context, principal, method, call, spender, attempt, part_of=part_of
            )
        return await self.within_caps(
            context,
            principal,
            method,
            call,
            self.caps.releasing(principal),
            attempt,
            about=f"suppressions by {act.cause.name.lower()} of one person",
            reason=act.reason,
        )

    async def within_caps(
        self,
        context: TenantContext,
        principal: Principal,
        method: str,
        call: WriteCall,
        spender: Spender | None,
        attempt: Attempt,
        *,
        part_of: str = "",
        about: str = "",
        reason: str = "",
        approved: Approved | None = None,
    ) -> Appended:
        """Make a write, once a second person approved it where it would go over a cap.

        `about` says what the call is about, for people; empty: how many it is for. `reason` is
        what the call itself says why.

        Raises:
            ConflictError: APPROVAL_REQUIRED.
            HeedError: as the attempt.
        """
        while True:
            try:
                return await attempt(spender, approved)
            except ConflictError as error:
                cap = self.caps.met_by(error, principal, context.tenant.name)
                if cap is None or spender is None or cap in spender.approved:
                    raise
                people = int(error.metadata["amount"])
            asked, what, good_for = call, about or _for_people(people), EXPIRES_MICROSECONDS
            if cap is Cap.CONSENTS:
                asked = _named(call, f"consents/{principal.name}")
                people = spender.most[cap] * APPROVED_CONSENTS_FACTOR
                what, good_for = f"consents of {principal.name} for an hour", HOUR_MICROSECONDS
            elif part_of:
                asked = _named(call, f"part/{principal.name}/{part_of}")
                people = APPROVED_WHOLE_PEOPLE_MAX
                what = part_of
            approval = await self.require_second_person(
                context,
                principal,
                method,
                asked,
                about=f"{what}: more {cap.name.lower()} than one person may do in an hour",
                reason=reason,
                shown={"people": people},
                good_for_microseconds=good_for,
            )
            spender = spender.with_approved(cap, approval.approval_id, people)
            approved = Approved(approval.asked_by, approval.decided_by)


def _for_people(people: int) -> str:
    return f"{people} people in one call" if people > 1 else "one person more"


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
