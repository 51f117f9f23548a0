"""Now: what is written and answered, what is suppressed and why, and which holds are in force."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from heed.model import SUPPRESSING_RULES, Rule
from heed.names import word_of
from heed.wire.asked import PageAsked
from heed_server.auth.policy import Right
from heed_server.service.activity import Sample
from heed_server.store import Page, StandingHold
from heed_server.web.dashboard.charts import Bar, BarChart, LineChart, Series, Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Shown, View
from heed_server.web.dashboard.words import by_whom, channel_word, topic_word

_SECOND: Final = 1_000_000
_MINUTE_SECONDS: Final = 60
_MINUTES: Final = 10
_POINT_SECONDS: Final = 10
_MEANINGS: Final = {
    Rule.HOLD: "an operator's hold covers it",
    Rule.SUPPRESSION: "a bounce, a complaint, or another suppression",
    Rule.OPT_OUT: "the person opted out",
    Rule.MANDATORY: "the topic is mandatory",
    Rule.PAUSE: "the person paused",
    Rule.QUIET_HOURS: "it is within the person's quiet hours",
    Rule.UNDECLARED_TOPIC: "nobody declared the topic, and such are suppressed",
    Rule.NO_CONSENT: "the topic needs an opt-in, and there is none",
    Rule.OPT_IN: "the person opted in",
    Rule.DEFAULT: "nothing stands against it",
}


async def read(asking: Asking) -> Shown:
    """Read the last minutes, and the holds."""
    service, principal, tenant = asking.service, asking.principal, asking.tenant
    context, samples = service.get_activity(principal, tenant)
    asked = PageAsked(tenant=tenant, cursor="", page_size=asking.rows_max)
    holds = await service.list_holds(principal, asked)
    now = samples[-1].time
    in_force = sum(hold.is_active(now) for hold in context.follower.index.holds)
    return Shown(
        now=now,
        revision=context.follower.head_revision,
        tables=(_figures(samples, in_force), _answers(samples), _minutes(samples), _holds(holds)),
    )


def _figures(samples: Sequence[Sample], holds_in_force: int) -> Table:
    now, before = samples[-1], _at(samples, samples[-1].time - _MINUTE_SECONDS * _SECOND)
    first = _at(samples, now.time - _MINUTES * _MINUTE_SECONDS * _SECOND)
    answers, suppressed = _answered(first, now)
    return Table(
        name="now",
        title="At a glance",
        columns=(
            Column("changes_a_second", "Changes a second", Kind.NUMBER),
            Column("checks_a_second", "Checks a second", Kind.NUMBER),
            Column("suppressed_share", "Suppressed", Kind.SHARE),
            Column("holds_in_force", "Holds in force", Kind.NUMBER),
            Column("checks", "Checks since the start", Kind.NUMBER),
        ),
        rows=[
            [
                _rate(now.revision - before.revision, before, now),
                _rate(now.answers - before.answers, before, now),
                suppressed / answers if answers else None,
                holds_in_force,
                now.answers,
            ]
        ],
        note="Rates are of the last minute, the share of the last ten, or of the time since the "
        "server began. Checks are those that this server answered, its workers included; other "
        "nodes, agents and caches answer more. Changes are the log's, whoever wrote them.",
        look=Look.FIGURES,
    )


def _answers(samples: Sequence[Sample]) -> Table:
    now = samples[-1]
    first = _at(samples, now.time - _MINUTES * _MINUTE_SECONDS * _SECOND)
    counts = {rule: max(0, now.by_rule[rule] - first.by_rule[rule]) for rule in Rule}
    answers = sum(counts.values())
    rows: list[list[Cell]] = [
        [
            word_of(rule),
            _verdict(rule),
            count,
            count / answers if answers else None,
            now.by_rule[rule],
            _MEANINGS[rule],
        ]
        for rule, count in counts.items()
    ]
    suppressing = [rule for rule in Rule if rule in SUPPRESSING_RULES]
    bars = [
        Bar(
            label=word_of(rule).replace("_", " "),
            value=counts[rule],
            shown=f"{100 * counts[rule] / answers:.1f} %" if answers else "none",
        )
        for rule in suppressing
    ]
    return Table(
        name="answers",
        title="Answers by rule",
        columns=(
            Column("rule", "Rule"),
            Column("verdict", "Verdict", Kind.STATE),
            Column("checks", "Last 10 min", Kind.NUMBER),
            Column("share", "Share", Kind.SHARE),
            Column("checks_since_start", "Since the start", Kind.NUMBER),
            Column("meaning", "Because"),
        ),
        rows=rows,
        charts=(
            BarChart(
                name="suppressed",
                title="Suppressed, as a share of all answers of the last ten minutes",
                description="How much was suppressed by each rule; the table has the numbers.",
                bars=bars,
            ),
        ),
    )


def _minutes(samples: Sequence[Sample]) -> Table:
    now = samples[-1].time
    bounds = [now - number * _MINUTE_SECONDS * _SECOND for number in range(_MINUTES + 1)]
    rows: list[list[Cell]] = []
    for end, begin in itertools.pairwise(bounds):
        if begin < samples[0].time and rows:
            break
        last, first = _at(samples, end), _at(samples, begin)
        answers, suppressed = _answered(first, last)
        rows.append(
            [
                last.time,
                last.revision - first.revision,
                answers,
                suppressed,
                suppressed / answers if answers else None,
            ]
        )
    return Table(
        name="minutes",
        title="The last ten minutes",
        columns=(
            Column("end_time", "Minute up to", Kind.INSTANT),
            Column("changes", "Changes", Kind.NUMBER),
            Column("checks", "Checks", Kind.NUMBER),
            Column("suppressed", "Suppressed", Kind.NUMBER),
            Column("suppressed_share", "Share", Kind.SHARE),
        ),
        rows=rows,
        charts=(
            _line("checks", "Checks a second", samples, lambda one: one.answers),
            _line("changes", "Changes a second", samples, lambda one: one.revision),
        ),
    )


def _line(
    name: str, title: str, samples: Sequence[Sample], read_: Callable[[Sample], int]
) -> LineChart:
    now = samples[-1].time
    count = _MINUTES * _MINUTE_SECONDS // _POINT_SECONDS
    values: list[float | None] = []
    for number in reversed(range(count)):
        end = now - number * _POINT_SECONDS * _SECOND
        begin = end - _POINT_SECONDS * _SECOND
        if begin < samples[0].time:
            values.append(None)
            continue
        first, last = _at(samples, begin), _at(samples, end)
        values.append(_rate(read_(last) - read_(first), first, last))
    return LineChart(
        name=name,
        title=title,
        description=f"{title} in the last ten minutes, by tens of seconds; the table has minutes.",
        unit="",
        begin="10 min ago",
        end="now",
        series=(Series(label=title, values=values),),
    )


def _holds(holds: Page[StandingHold]) -> Table:
    return Table(
        name="holds",
        title="Holds",
        columns=(
            Column("hold", "Hold"),
            Column("channel", "Channel"),
            Column("topic", "Topic"),
            Column("campaign", "Campaign"),
            Column("spares_mandatory", "Mandatory passes"),
            Column("place_time", "Placed", Kind.INSTANT),
            Column("by", "By"),
            Column("reason", "Reason"),
            Column("end_time", "Ends", Kind.INSTANT),
        ),
        rows=[_hold(one) for one in holds.items],
        is_cut=bool(holds.next_cursor),
        note="A hold suppresses every message that matches all it names.",
        empty="No hold is placed.",
    )


def _hold(one: StandingHold) -> list[Cell]:
    hold = one.hold
    return [
        hold.hold_id,
        "every channel" if hold.channel is None else channel_word(hold.channel),
        topic_word(hold.topic),
        hold.campaign or "every campaign",
        "yes" if hold.spares_mandatory else "no",
        one.commit_time,
        by_whom(one.origin),
        hold.reason,
        hold.end_time,
    ]


def _verdict(rule: Rule) -> State:
    if rule in SUPPRESSING_RULES:
        return State("suppressed", Tone.WARN)
    return State("allowed", Tone.GOOD)


def _answered(first: Sample, last: Sample) -> tuple[int, int]:
    """How many answers came between two samples, and how many of them suppressed."""
    counts = [
        max(0, later - earlier) for earlier, later in zip(first.by_rule, last.by_rule, strict=True)
    ]
    return sum(counts), sum(counts[rule] for rule in SUPPRESSING_RULES)


def _rate(count: int, first: Sample, last: Sample) -> float:
    seconds = (last.time - first.time) / _SECOND
    return max(0, count) / seconds if seconds > 0 else 0.0


def _at(samples: Sequence[Sample], time: int) -> Sample:
    """The last sample that was taken by a time, or the first of all."""
    place = bisect_right(samples, time, key=lambda one: one.time)
    return samples[max(0, place - 1)]


VIEW: Final = View(
    name="now",
    title="Now",
    lead="What is written and asked, how much is suppressed and why, and which holds are in force.",
    rights=frozenset({Right.OPERATE}),
    read=read,
)
