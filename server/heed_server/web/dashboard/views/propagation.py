"""Propagation: who has applied what of the log."""

from typing import Final

from heed.model import Instant, Revision
from heed.propagation import SubscriberStatus
from heed.wire.asked import PropagationAsked
from heed_server.auth.policy import Right
from heed_server.propagation import Progress
from heed_server.web.dashboard.charts import Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Shown, View

_STATES: Final = {
    SubscriberStatus.APPLIED: State("applied all", Tone.GOOD),
    SubscriberStatus.PENDING: State("behind", Tone.WARN),
    SubscriberStatus.MISSING: State("missing", Tone.BAD),
    SubscriberStatus.GONE: State("gone", Tone.QUIET),
}
_MICROSECONDS: Final = 1_000_000


async def read(asking: Asking) -> Shown:
    """Read who follows, and how far each is."""
    asked = PropagationAsked(tenant=asking.tenant, revision=Revision(0))
    context, revision, progress = await asking.service.get_propagation(asking.principal, asked)
    now = asking.service.now()
    rows = [_subscriber(one, revision, now) for one in progress[: asking.rows_max]]
    return Shown(
        now=now,
        revision=context.follower.head_revision,
        tables=(
            _figures(progress),
            Table(
                name="subscribers",
                title="Subscribers",
                columns=_SUBSCRIBERS,
                rows=rows,
                is_cut=len(progress) > len(rows),
                note="Nodes, agents and caches. Behind: it counts and has not applied all. "
                "Missing: it was declared, and is not heard of. Gone: it is not heard of any more, "
                "and allows nothing by what it knew.",
                empty="Nobody follows this log yet.",
            ),
        ),
    )


def _figures(progress: tuple[Progress, ...]) -> Table:
    counts = dict.fromkeys(SubscriberStatus, 0)
    for one in progress:
        counts[one.status] += 1
    return Table(
        name="now",
        title="Now",
        columns=tuple(
            Column(status.name.lower(), state.word.capitalize(), Kind.NUMBER)
            for status, state in _STATES.items()
        ),
        rows=[[counts[status] for status in _STATES]],
        look=Look.FIGURES,
    )


_SUBSCRIBERS: Final = (
    Column("subscriber", "Subscriber"),
    Column("status", "State", Kind.STATE),
    Column("applied_revision", "Applied", Kind.NUMBER),
    Column("behind_revisions", "Behind", Kind.NUMBER),
    Column("applied_time", "Since", Kind.INSTANT),
    Column("heard_seconds", "Last heard of", Kind.SECONDS),
    Column("node", "Node"),
    Column("declared", "Declared"),
)


def _subscriber(one: Progress, revision: Revision, now: Instant) -> list[Cell]:
    heard = None if one.probe_time is None else max(0, now - one.probe_time) / _MICROSECONDS
    return [
        one.name,
        _STATES[one.status],
        one.applied_revision,
        max(0, revision - one.applied_revision),
        one.applied_time,
        heard,
        one.node or None,
        "yes" if one.is_declared else "no",
    ]


VIEW: Final = View(
    name="propagation",
    title="Propagation",
    lead="Who has applied what: each node, agent and cache that follows this log, how far it is, "
    "and who is waited for.",
    rights=frozenset({Right.OPERATE}),
    read=read,
)
