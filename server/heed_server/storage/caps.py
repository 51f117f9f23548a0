"""What principals have used of their caps in the last hour, counted where the writes are.

Laws:
- It is counted in the transaction of the write, under the head's lock: neither a restart nor
  another node gives anybody more, and two writes at once cannot both take the last of it.
- A write that would go over its cap is refused whole and leaves the group; what was replayed, or
  changed nothing, uses nothing.
- An hour is the sixty minutes before: rows are of a minute each, and go when they no longer count.
- They are minutes of the database's clock, or of the boot clock where it has none of its own: the
  hour passes also while commit times stand still, so that a wrong clock holds no stop up.
Source: ADR 0034.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, select

from heed.errors import ConflictError, ErrorReason
from heed.judge import Ruling
from heed.model import Instant, RecordKind, TenantId
from heed_server.storage.schema import cap_uses
from heed_server.storage.statements import AmongSelect, Dialect, Statement, parameter
from heed_server.writes import Cap, Write, is_bulk

MINUTES: Final = 60
"""The hour that a cap is of."""

_MICROSECONDS_A_MINUTE: Final = 60_000_000


class CapUse(NamedTuple):
    """Whose cap, and which, within a tenant."""

    principal: str
    cap: Cap


Used = dict[CapUse, dict[int, int]]
"""How much was used, by the minute."""


class CapStatements:
    """The statements, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._used = AmongSelect(
            select(
                cap_uses.c.tenant_id,
                cap_uses.c.principal,
                cap_uses.c.cap,
                cap_uses.c.minute,
                cap_uses.c.amount,
            ),
            cap_uses.c.tenant_id,
            cap_uses.c.principal,
        )
        self._forget = Statement(
            delete(cap_uses).where(
                cap_uses.c.tenant_id == parameter("tenant"),
                cap_uses.c.principal == parameter("principal"),
                cap_uses.c.minute <= parameter("minute"),
            ),
            dialect,
            "tenant",
            "principal",
            "minute",
        )

    def used(self, connection: Connection, writes: Sequence[Write]) -> dict[TenantId, Used]:
        """Return what the writes' principals have used, in each tenant."""
        capped = [write for write in writes if write.spender is not None]
        if not capped:
            return {}
        found: dict[TenantId, Used] = {}
        principals = {
            name
            for write in capped
            if write.spender is not None
            for name in map(write.spender.of, Cap)
        }
        for tenant_id, principal, cap, minute, amount in self._dialect.fetch_among(
            connection, self._used, sorted({w.tenant_id for w in capped}), sorted(principals)
        ):
            of_tenant = found.setdefault(tenant_id, {})
            of_tenant.setdefault(CapUse(principal, Cap(cap)), {})[minute] = amount
        return found

    def forget(
        self, connection: Connection, tenant_id: TenantId, principal: str, minute: int
    ) -> None:
        """Delete what no longer counts in a minute."""
        self._forget.run(connection, tenant_id, principal, minute - MINUTES)


def spend(write: Write, ruling: Ruling, used: Used, now: Instant) -> dict[CapUse, int]:
    """Return how much a write takes of each of its caps, if there is as much left.

    Raises:
        ConflictError: APPROVAL_REQUIRED, there is not; nothing was taken.
    """
    spender = write.spender
    if spender is None:
        return {}
    taken: dict[CapUse, int] = {}
    for cap, amount in _amounts(write, ruling).items():
        use = CapUse(spender.of(cap), cap)
        before = sum(
            count
            for minute, count in used.get(use, {}).items()
            if minute > minute_of(now) - MINUTES
        )
        most = spender.most.get(cap)
        if most is None:
            continue
        if before + amount > most:
            raise over_the_cap(use, before=before, amount=amount, most=most)
        taken[use] = amount
    return taken


def minute_of(now: Instant) -> int:
    """Return the minute that an instant is in."""
    return now // _MICROSECONDS_A_MINUTE


def over_the_cap(use: CapUse, *, before: int, amount: int, most: int) -> ConflictError:
    """Return the refusal of a write that needs a second person."""
    what = "consents" if use.cap is Cap.CONSENTS else "people stopped by bulk"
    return ConflictError(
        f"{use.principal!r} may do {most} {what} an hour, has done {before}, and this write is "
        f"{amount} more: nothing was written; have a second person approve it, then send the same "
        "call with the same key again",
        reason=ErrorReason.APPROVAL_REQUIRED,
        metadata={
            "cap": use.cap.name.lower(),
            "cap_max": str(most),
            "used": str(before),
            "amount": str(amount),
        },
    )


def _amounts(write: Write, ruling: Ruling) -> dict[Cap, int]:
    """How many people a write changes something for, by the cap that it is under."""
    consents, stops = set[bytes](), set[bytes]()
    for draft in ruling.drafts:
        if draft.subject is None or draft.asked is None:
            continue
        is_consent = draft.asked.kind is RecordKind.OPT_IN
        (consents if is_consent else stops).add(draft.subject.key)
    amounts: dict[Cap, int] = {}
    if consents:
        amounts[Cap.CONSENTS] = len(consents)
    if stops and is_bulk(write.act):
        amounts[Cap.BULK] = len(stops)
    return amounts
