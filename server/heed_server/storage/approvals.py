"""Calls that need a second person: rows that are not of a log, and that hold no address."""

from dataclasses import replace

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from heed.errors import ErrorReason, ExhaustedError
from heed.model import ApprovalState, Instant, TenantId
from heed_server.approvals import (
    GRANTED_HOURS_MAX,
    KEPT_MICROSECONDS,
    PENDING_MAX,
    PENDING_OF_PRINCIPAL_MAX,
    Approval,
    AskedCall,
)
from heed_server.storage.errors import unknown_cursor
from heed_server.storage.schema import approvals, heads
from heed_server.storage.statements import Row
from heed_server.store import Page


def ask(connection: Connection, new: Approval, granted_from: Instant) -> Approval:
    """Return a live approval of the same call that covers what it would do, or add this one.

    Those that are kept no longer are forgotten.

    Raises:
        ExhaustedError: LIMIT_REACHED, as many are pending as may be.
    """
    _lock(connection, new.tenant_id)
    for live in _live(connection, new.call, new.ask_time):
        if live.state is ApprovalState.GRANTED and (live.decide_time or 0) < granted_from:
            continue
        if live.covers(new.shown):
            return live
        # What it showed no longer holds, so nobody may grant it or go on by it.
        decide(connection, live, ApprovalState.REJECTED, new.asked_by, new.ask_time)
    of_tenant = approvals.c.tenant_id == new.tenant_id
    connection.execute(
        delete(approvals).where(of_tenant, approvals.c.ask_time < new.ask_time - KEPT_MICROSECONDS)
    )
    _require_room(connection, new)
    connection.execute(insert(approvals).values(_row(new)))
    return new


def read_approval(connection: Connection, tenant_id: TenantId, approval_id: str) -> Approval | None:
    """Return one approval."""
    statement = select(approvals).where(
        approvals.c.tenant_id == tenant_id, approvals.c.approval_id == approval_id
    )
    row = connection.execute(statement).first()
    return None if row is None else _approval_of(row)


def read_granted(connection: Connection, call: AskedCall, now: Instant) -> Approval | None:
    """Return the approval by which a call may go on now."""
    live = _live(connection, call, now)
    return live[0] if live and live[0].state is ApprovalState.GRANTED else None


def read_page(
    connection: Connection, tenant_id: TenantId, cursor: str, limit: int
) -> Page[Approval]:
    """Return a page of approvals, the newest first.

    Raises:
        InvalidArgumentError: the cursor is not one that an earlier page gave.
    """
    statement = select(approvals).where(approvals.c.tenant_id == tenant_id)
    if cursor:
        time, approval_id = _place_of(cursor)
        is_older = or_(
            approvals.c.ask_time < time,
            and_(approvals.c.ask_time == time, approvals.c.approval_id < approval_id),
        )
        statement = statement.where(is_older)
    statement = statement.order_by(approvals.c.ask_time.desc(), approvals.c.approval_id.desc())
    found = [_approval_of(row) for row in connection.execute(statement.limit(limit + 1))]
    page = tuple(found[:limit])
    is_last = len(found) <= limit
    cursor = "" if is_last else f"{page[-1].ask_time}/{page[-1].approval_id}"
    return Page(items=page, next_cursor=cursor)


def decide(
    connection: Connection, before: Approval, state: ApprovalState, by: str, at: Instant
) -> Approval | None:
    """Grant or reject an approval that is as it was; None: it is not any more."""
    changed = connection.execute(
        update(approvals)
        .where(
            approvals.c.tenant_id == before.tenant_id,
            approvals.c.approval_id == before.approval_id,
            approvals.c.state == int(before.state),
        )
        .values(state=int(state), decided_by=by, decide_time=at)
    )
    if not changed.rowcount:
        return None
    return replace(before, state=state, decided_by=by, decide_time=at)


def _lock(connection: Connection, tenant_id: TenantId) -> None:
    """Take the lock of the tenant's head, so that nodes ask one after the other."""
    statement = select(heads.c.tenant_id).where(heads.c.tenant_id == tenant_id)
    connection.execute(statement.with_for_update())


def _live(connection: Connection, call: AskedCall, now: Instant) -> list[Approval]:
    """The approvals of a call that are granted or may be yet: the granted first, then the last."""
    statement = (
        select(approvals)
        .where(
            approvals.c.tenant_id == call.tenant_id,
            approvals.c.method == call.method,
            approvals.c.idempotency_key == call.idempotency_key,
            approvals.c.payload_hash == call.payload_hash,
            approvals.c.asked_by == call.asked_by,
            approvals.c.state != int(ApprovalState.REJECTED),
            approvals.c.expire_time > now,
        )
        .order_by(approvals.c.ask_time.desc(), approvals.c.approval_id.desc())
    )
    found = [_approval_of(row) for row in connection.execute(statement)]
    return sorted(found, key=lambda one: one.state is not ApprovalState.GRANTED)


def _require_room(connection: Connection, new: Approval) -> None:
    pending = (
        select(func.count())
        .select_from(approvals)
        .where(
            approvals.c.tenant_id == new.tenant_id,
            approvals.c.state == int(ApprovalState.PENDING),
            approvals.c.expire_time > new.ask_time,
        )
    )
    bounds = (
        (
            "approvals_of_principal_pending_max",
            PENDING_OF_PRINCIPAL_MAX,
            pending.where(approvals.c.asked_by == new.asked_by),
            f"{new.asked_by!r}",
        ),
        ("approvals_pending_max", PENDING_MAX, pending, "this tenant"),
    )
    for limit, most, statement, whose in bounds:
        count = connection.execute(statement).scalar() or 0
        if count >= most:
            raise ExhaustedError(
                f"{count} calls of {whose} wait for a second person already, so this one does not "
                "and nothing was done; grant or reject some (`heed approvals list`), or send it "
                f"again later: each ends {GRANTED_HOURS_MAX} hours after it was asked",
                reason=ErrorReason.LIMIT_REACHED,
                metadata={"limit": limit, "value": str(most)},
            )


def _place_of(cursor: str) -> tuple[int, str]:
    time, _, approval_id = cursor.partition("/")
    if not (time.isascii() and time.isdigit() and len(time) <= _TIME_DIGITS_MAX and approval_id):
        raise unknown_cursor()
    return int(time), approval_id


def _row(one: Approval) -> dict[str, object]:
    return {
        "tenant_id": one.tenant_id,
        "approval_id": one.approval_id,
        "method": one.method,
        "idempotency_key": one.idempotency_key,
        "payload_hash": one.payload_hash,
        "about": one.about,
        "reason": one.reason,
        "shown": msgspec.json.encode(one.shown, order="sorted").decode(),
        "asked_by": one.asked_by,
        "ask_time": one.ask_time,
        "expire_time": one.expire_time,
        "state": int(one.state),
        "decided_by": one.decided_by,
        "decide_time": one.decide_time,
    }


def _approval_of(row: Row) -> Approval:
    (
        tenant_id,
        approval_id,
        method,
        idempotency_key,
        payload_hash,
        about,
        reason,
        shown,
        asked_by,
        ask_time,
        expire_time,
        state,
        decided_by,
        decide_time,
    ) = row
    return Approval(
        tenant_id=TenantId(tenant_id),
        approval_id=approval_id,
        method=method,
        idempotency_key=idempotency_key,
        payload_hash=bytes(payload_hash),
        about=about,
        reason=reason,
        shown=_decode_shown(shown),
        asked_by=asked_by,
        ask_time=Instant(ask_time),
        expire_time=Instant(expire_time),
        state=ApprovalState(state),
        decided_by=decided_by,
        decide_time=None if decide_time is None else Instant(decide_time),
    )


_TIME_DIGITS_MAX = 18
"""Of an instant in 64 bits."""

_decode_shown = msgspec.json.Decoder(dict[str, int]).decode
