"""Batches: what lists brought, what was undone, and what waits for a second person."""

from typing import Final

from heed.model import ApprovalState, Instant
from heed.names import word_of
from heed_server.approvals import Approval
from heed_server.auth.policy import Right
from heed_server.store import KeptBatch
from heed_server.web.dashboard.charts import Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Shown, View

_STATES: Final = {
    ApprovalState.PENDING: State("waits", Tone.WARN),
    ApprovalState.GRANTED: State("granted", Tone.GOOD),
    ApprovalState.REJECTED: State("rejected", Tone.QUIET),
    ApprovalState.EXPIRED: State("expired", Tone.QUIET),
}
_STANDS: Final = State("stands")
_UNDONE: Final = State("undone", Tone.WARN)


async def read(asking: Asking) -> Shown:
    """Read the batches, and what asked for a second person."""
    service, who, tenant = asking.service, asking.principal, asking.tenant
    context = service.look(who, tenant)
    batches = await service.batches_to_look_at(who, tenant, asking.rows_max)
    approvals = await service.approvals_to_look_at(who, tenant, asking.rows_max)
    now = service.now()
    return Shown(
        now=now,
        revision=context.follower.head_revision,
        tables=(
            _figures(batches.items, approvals.items, now),
            Table(
                name="approvals",
                title="A second person",
                columns=_APPROVALS,
                rows=[_approval(one, now) for one in approvals.items],
                is_cut=bool(approvals.next_cursor),
                note="What needs a second person, or needed one in the last 30 days. Another than "
                "who asked grants it: heed approvals grant ID; then who asked sends the same call "
                "again.",
                empty="Nothing asked for a second person in the last 30 days.",
            ),
            Table(
                name="batches",
                title="Imports and other batches",
                columns=_BATCHES,
                rows=[_batch(one) for one in batches.items],
                is_cut=bool(batches.next_cursor),
                note="What calls of one name brought, the one that began last first. Between a "
                "batch's first revision and its last stand changes of others too. It is undone by "
                "heed batches revert ID, which takes a second person.",
                empty="No call has named a batch.",
            ),
        ),
    )


def _figures(
    batches: tuple[KeptBatch, ...], approvals: tuple[Approval, ...], now: Instant
) -> Table:
    waiting = sum(one.state_at(now) is ApprovalState.PENDING for one in approvals)
    return Table(
        name="now",
        title="Now",
        columns=(
            Column("waiting", "Wait for a second person", Kind.NUMBER),
            Column("batches", "Batches", Kind.NUMBER),
            Column("undone", "Of them undone", Kind.NUMBER),
        ),
        rows=[[waiting, len(batches), sum(one.undone is not None for one in batches)]],
        note="Of what is shown below.",
        look=Look.FIGURES,
    )


_APPROVALS: Final = (
    Column("approval", "Approval"),
    Column("state", "State", Kind.STATE),
    Column("call", "Call"),
    Column("about", "About"),
    Column("would_do", "Would do"),
    Column("reason", "Why"),
    Column("asked_by", "Asked by"),
    Column("ask_time", "Asked", Kind.INSTANT),
    Column("expire_time", "Until", Kind.INSTANT),
    Column("decided_by", "Decided by"),
    Column("decide_time", "Decided", Kind.INSTANT),
)
_BATCHES: Final = (
    Column("batch", "Batch"),
    Column("state", "State", Kind.STATE),
    Column("first_time", "From", Kind.INSTANT),
    Column("last_time", "To", Kind.INSTANT),
    Column("first_revision", "First revision", Kind.NUMBER),
    Column("last_revision", "Last revision", Kind.NUMBER),
    Column("source", "Source"),
    Column("actor", "Who"),
    Column("method", "How"),
    Column("undone_time", "Undone", Kind.INSTANT),
    Column("undone_reason", "Undone why"),
    Column("undone_asked_by", "Asked by"),
    Column("undone_approved_by", "Granted by"),
)


def _approval(one: Approval, now: Instant) -> list[Cell]:
    would = tuple(
        f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(one.shown.items())
    )
    return [
        one.approval_id,
        _STATES[one.state_at(now)],
        one.method,
        one.about,
        would,
        one.reason,
        one.asked_by,
        one.ask_time,
        one.expire_time,
        one.decided_by or None,
        one.decide_time,
    ]


def _batch(one: KeptBatch) -> list[Cell]:
    origin = None if one.first is None else one.first.origin
    undone = one.undone
    return [
        one.batch_id,
        _STANDS if undone is None else _UNDONE,
        None if one.first is None else one.first.commit_time,
        None if one.last is None else one.last.commit_time,
        one.first_revision,
        one.last_revision,
        None if origin is None else origin.source,
        (origin.actor or None) if origin is not None else None,
        None if origin is None else word_of(origin.method),
        None if undone is None else undone.commit_time,
        None if undone is None else undone.reason,
        (undone.asked_by or None) if undone is not None else None,
        (undone.approved_by or None) if undone is not None else None,
    ]


VIEW: Final = View(
    name="batches",
    title="Imports",
    lead="What lists brought and who brought them, what was undone, and what waits for a second "
    "person.",
    rights=frozenset({Right.AUDIT, Right.OPERATE}),
    read=read,
)
