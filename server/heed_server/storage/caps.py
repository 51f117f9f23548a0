"""What principals have used of their caps in the last hour, counted where the writes are.

Laws:
- It is counted in the transaction of the write, under the head's lock: neither a restart nor
  another node gives anybody more, and two writes at once cannot both take the last of it.
- A write that would go over its cap is refused whole and leaves the group; what was replayed, or
  changed nothing, uses nothing.
- The first part of a call is refused where the cap has no room for the parts after it; each takes
  what is its own.
- A hold that is offered stops everybody, so that it is over every cap but an approved one.
- An hour is the sixty minutes before: rows are of a minute each, and go when they no longer count.
- They are minutes of the database's clock, or of the boot clock where it has none of its own: the
  hour passes also while commit times stand still, so that a wrong clock holds no stop up.
Source: ADR 0034 and ADR 0038.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, select

from heed.acts import OfferRecords, ReleaseSuppressions
from heed.errors import ConflictError, ErrorReason
from heed.judge import Ruling
from heed.model import ChangeKind, Instant, RecordKind, SubjectKey, TenantId
from heed_server.storage.schema import cap_uses
from heed_server.storage.statements import AmongSelect, Dialect, Statement, parameter
from heed_server.writes import Cap, Spender, Write, is_bulk

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
        needed = amount + _people_after(write, cap)
        if before + needed > most:
            raise over_the_cap(spender, cap, before=before, amount=needed)
        if _is_of_a_hold(write, ruling) and cap not in spender.approved:
            raise _hold_offered(spender, before=before, amount=needed)
        taken[use] = amount
    return taken


def minute_of(now: Instant) -> int:
    """Return the minute that an instant is in."""
    return now // _MICROSECONDS_A_MINUTE


def over_the_cap(spender: Spender, cap: Cap, *, before: int, amount: int) -> ConflictError:
    """Return the refusal of a write that needs a second person, or more than one approved of it."""
    most, told = spender.most[cap], _told_of(spender, cap, before, amount)
    if cap in spender.approved:
        told["used_up"] = spender.of(cap)
        whose = f"{spender.principal!r}, by {spender.of(cap)} which was granted,"
        then = "send the same call with the same key again in an hour"
    else:
        whose = repr(spender.principal)
        then = "have a second person approve it, then send the same call with the same key again"
    return ConflictError(
        f"{whose} may do {most} {_WHAT[cap]} an hour, has done {before}, and this write is "
        f"{amount} more: nothing of it was written; {then}",
        reason=ErrorReason.APPROVAL_REQUIRED,
        metadata=told,
    )


def _hold_offered(spender: Spender, *, before: int, amount: int) -> ConflictError:
    return ConflictError(
        f"{spender.principal!r} offers a hold, which stops everybody: nothing of it was written; "
        "have a second person approve it, then send the same call with the same key again",
        reason=ErrorReason.APPROVAL_REQUIRED,
        metadata=_told_of(spender, Cap.BULK, before, amount),
    )


def _told_of(spender: Spender, cap: Cap, before: int, amount: int) -> dict[str, str]:
    return {
        "cap": cap.name.lower(),
        "cap_max": str(spender.most[cap]),
        "used": str(before),
        "amount": str(amount),
    }


def _amounts(write: Write, ruling: Ruling) -> dict[Cap, int]:
    """How many people a write changes something for, by the cap that it is under."""
    consents, stops, releases = set[SubjectKey](), set[SubjectKey](), set[SubjectKey]()
    for draft in ruling.drafts:
        if draft.key is None or draft.asked is None:
            continue
        if draft.kind is ChangeKind.RELEASE:
            releases.add(draft.key)
        elif draft.asked.kind is RecordKind.OPT_IN:
            consents.add(draft.key)
        else:
            stops.add(draft.key)
    amounts: dict[Cap, int] = {}
    if consents:
        amounts[Cap.CONSENTS] = len(consents)
    if (stops and is_bulk(write.act)) or _is_of_a_hold(write, ruling):
        amounts[Cap.BULK] = len(stops)
    if releases:
        amounts[Cap.RELEASES] = len(releases)
    return amounts


def _is_of_a_hold(write: Write, ruling: Ruling) -> bool:
    """Whether a follower has a hold placed again: it needs no right but `watch` for that."""
    return isinstance(write.act, OfferRecords) and bool(ruling.placed)


def _people_after(write: Write, cap: Cap) -> int:
    if cap is Cap.RELEASES and isinstance(write.act, ReleaseSuppressions):
        return write.act.people_after
    return 0


_WHAT: Final = {
    Cap.BULK: "people stopped by bulk",
    Cap.CONSENTS: "consents",
    Cap.RELEASES: "people released from suppressions",
}
