"""Calls that need a second person: rows that are not of a log, and that hold no address."""

from dataclasses import replace

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from heed.errors import ErrorReason, ExhaustedError
from heed.model import ApprovalState, Instant, TenantId
from heed_server.approvals import KEPT_MICROSECONDS, PENDING_MAX, Approval
from heed_server.storage.errors import unknown_cursor
from heed_server.storage.schema import approvals
from heed_server.storage.statements import Row
from heed_server.store import Page


def insert_approval(connection: Connection, new: Approval) -> None:
    """Add an approval, and forget those that are kept no longer.

    Raises:
        ExhaustedError: LIMIT_REACHED, as many are pending as may be.
    """
    of_tenant = approvals.c.tenant_id == new.tenant_id
    connection.execute(
        delete(approvals).where(of_tenant, approvals.c.ask_time < new.ask_time - KEPT_MICROSECONDS)
    )
    is_pending = and_(
        of_tenant,
        approvals.c.state == int(ApprovalState.PENDING),
        approvals.c.expire_time > new.ask_time,
    )
    count = select(func.count()).select_from(approvals).where(is_pending)
    pending = connection.execute(count).scalar() or 0
    if pending >= PENDING_MAX:
        raise ExhaustedError(
            f"{pending} calls wait for a second person already; grant or reject some",
            reason=ErrorReason.LIMIT_REACHED,
            metadata={"limit": "approvals_pending_max", "value": str(PENDING_MAX)},
        )
    connection.execute(insert(approvals).values(_row(new)))


def read_approval(connection: Connection, tenant_id: TenantId, approval_id: str) -> Approval | None:
    """Return one approval."""
    statement = select(approvals).where(
        approvals.c.tenant_id == tenant_id, approvals.c.approval_id == approval_id
    )
    row = connection.execute(statement).first()
    return None if row is None else _approval_of(row)


def read_last_of_call(
    connection: Connection, tenant_id: TenantId, method: str, idempotency_key: str
) -> Approval | None:
    """Return the approval that a call asked for last."""
    statement = (
        select(approvals)
        .where(
            approvals.c.tenant_id == tenant_id,
            approvals.c.method == method,
            approvals.c.idempotency_key == idempotency_key,
        )
        .order_by(approvals.c.ask_time.desc(), approvals.c.approval_id.desc())
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else _approval_of(row)


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
