"""Propagation: who has applied what of the log."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

from heed.model import Instant, Revision
from heed.propagation import SubscriberStatus
from heed.wire.asked import PropagationAsked
from heed_server.auth.policy import Right
from heed_server.propagation import Progress
from heed_server.service.looking import RecentOptOut
from heed_server.web.dashboard.charts import Bar, BarChart, Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.texts import seconds_shown
from heed_server.web.dashboard.view import Asking, Shown, View
from heed_server.web.dashboard.words import channel_word, topic_word

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
    recent = await asking.service.get_recent_opt_outs(asking.principal, asking.tenant)
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
            _opt_outs(recent),
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


def _opt_outs(recent: Sequence[RecentOptOut]) -> Table:
    return Table(
        name="opt-outs",
        title="The last opt-outs",
        columns=_OPT_OUTS,
        rows=[_opt_out(one) for one in recent],
        note="Applied by: how many of those that count, or should, now. After: from the commit "
        "until the word of the last of them came here; nothing where one had applied it before "
        "this server watched, and a few seconds late where it follows another node.",
        empty="There was none of late.",
        charts=_delays(recent),
    )


_OPT_OUTS: Final = (
    Column("revision", "Revision", Kind.NUMBER),
    Column("commit_time", "Committed", Kind.INSTANT),
    Column("state", "State", Kind.STATE),
    Column("applied", "Applied by", Kind.NUMBER),
    Column("counting", "Of", Kind.NUMBER),
    Column("after_seconds", "After", Kind.SECONDS),
    Column("waiting_for", "Waits for"),
    Column("channel", "Channel"),
    Column("topic", "Topic"),
    Column("jurisdiction", "Jurisdiction"),
)


def _opt_out(one: RecentOptOut) -> list[Cell]:
    opt_out, spread = one.clocked.opt_out, one.spread
    is_waited_for = spread.applied < spread.counting
    return [
        opt_out.revision,
        opt_out.commit_time,
        State("waiting", Tone.WARN) if is_waited_for else State("applied by all", Tone.GOOD),
        spread.applied,
        spread.counting,
        None if is_waited_for else _after_seconds(one),
        spread.waiting_for or None,
        channel_word(opt_out.channel),
        topic_word(opt_out.topic),
        opt_out.jurisdiction or None,
    ]


def _after_seconds(one: RecentOptOut) -> float | None:
    """How long after its commit the last had applied it, as far as it is known."""
    spread = one.spread
    if spread.time is None or not spread.is_exact:
        return None
    return max(0, spread.time - one.clocked.opt_out.commit_time) / _MICROSECONDS


_DELAYS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0)
"""The ends of the bars, in seconds; what takes longer has one of its own."""


def _delays(recent: Sequence[RecentOptOut]) -> tuple[BarChart, ...]:
    """How many of them took how long."""
    took = [
        seconds
        for one in recent
        if one.spread.applied == one.spread.counting
        and (seconds := _after_seconds(one)) is not None
    ]
    if not took:
        return ()
    counts = Counter(bisect_left(_DELAYS, seconds) for seconds in took)
    labels = [f"up to {seconds_shown(end)}" for end in _DELAYS]
    labels.append(f"more than {seconds_shown(_DELAYS[-1])}")
    shown = range(max(counts) + 1)
    return (
        BarChart(
            name="delays",
            title="How long the last opt-outs took to be applied by all",
            description="How many of the last opt-outs took how long; the table has each.",
            bars=[Bar(label=labels[at], value=counts[at], shown=f"{counts[at]:,}") for at in shown],
        ),
    )


VIEW: Final = View(
    name="propagation",
    title="Propagation",
    lead="Who has applied what: each node, agent and cache that follows this log, how far it is, "
    "and of each of the last opt-outs who has applied it, and after how long.",
    rights=frozenset({Right.OPERATE}),
    read=read,
)
