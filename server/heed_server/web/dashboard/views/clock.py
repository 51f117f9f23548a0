"""The clock: by when each opt-out must have reached everyone, by which policy, and where it is."""

from collections.abc import Sequence
from typing import Final

from heed.deadlines import DeadlineStanding
from heed.model import Channel, Instant, Revision
from heed.names import word_of
from heed.wire.asked import DeadlinesAsked
from heed_server.auth.policy import Right
from heed_server.deadlines import Policies
from heed_server.deadlines.policies import Policy
from heed_server.service.clocks import ClockPage, Reached, WaitingPage
from heed_server.web.dashboard.charts import Bar, BarChart, Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.texts import instant_shown, seconds_shown
from heed_server.web.dashboard.view import Asking, Shown, View
from heed_server.web.dashboard.words import channel_word, topic_word

CALLS_MAX: Final = 20
"""How often the log is read on for an export, ten thousand changes each time."""
LIVE_SECONDS: Final = 5.0
"""How often an open page asks again: a deadline is hours away."""
_BARS_MAX: Final = 12
_MICROSECONDS: Final = 1_000_000
_STANDINGS: Final = {
    DeadlineStanding.APPLIED: State("applied by all", Tone.GOOD),
    DeadlineStanding.WAITING: State("waiting", Tone.PLAIN),
    DeadlineStanding.NEAR: State("near", Tone.WARN),
    DeadlineStanding.OVER: State("over", Tone.BAD),
}


async def read(asking: Asking) -> Shown:
    """Read the opt-outs that are waited for, and the last ones, or those before a revision."""
    service, principal, tenant = asking.service, asking.principal, asking.tenant
    waiting = await service.get_waiting(principal, tenant, asking.rows_max)
    before = _revision(asking.query.get("before", ""))
    page, is_cut = await _opt_outs(asking, before)
    policies = service.rules.policies
    head = service.tenants.of(principal, tenant).follower.head_revision
    following = {"before": str(page.next_before)} if page.next_before else {}
    return Shown(
        now=waiting.now,
        revision=head,
        tables=(
            _figures(waiting),
            _waiting(waiting, policies),
            _last(page, policies, is_cut=is_cut),
            _policies(policies),
        ),
        next_query=following,
    )


async def _opt_outs(asking: Asking, before: Revision) -> tuple[ClockPage, bool]:
    """Read on until there are as many rows as may be told; and whether there are more."""
    page = await _page(asking, before, asking.rows_max)
    if not asking.is_export:
        return page, False
    found = list(page.opt_outs)
    for _ in range(CALLS_MAX):
        if not page.next_before or len(found) >= asking.rows_max:
            break
        page = await _page(asking, page.next_before, asking.rows_max - len(found))
        found += page.opt_outs
    return page._replace(opt_outs=tuple(found)), bool(page.next_before)


async def _page(asking: Asking, before: Revision, size: int) -> ClockPage:
    asked = DeadlinesAsked(tenant=asking.tenant, before=before, page_size=size)
    return await asking.service.get_deadlines(asking.principal, asked)


def _figures(waiting: WaitingPage) -> Table:
    earliest = next(
        (one.clocked.deadlines[0].time for one in waiting.opt_outs if one.clocked.deadlines), None
    )
    return Table(
        name="now",
        title="Not applied by all",
        columns=(
            Column("waiting", "Opt-outs", Kind.NUMBER),
            Column("near", "Near their deadline", Kind.NUMBER),
            Column("over", "Over it", Kind.NUMBER),
            Column("earliest", "Earliest deadline", Kind.INSTANT),
            Column("left_seconds", "Left until it", Kind.SECONDS),
        ),
        rows=[
            [
                waiting.known,
                waiting.counts.get(DeadlineStanding.NEAR, 0),
                waiting.counts.get(DeadlineStanding.OVER, 0),
                earliest,
                None if earliest is None else (earliest - waiting.now) / _MICROSECONDS,
            ]
        ],
        look=Look.FIGURES,
    )


def _waiting(waiting: WaitingPage, policies: Policies) -> Table:
    unread = (
        f" The last {waiting.unread:,} changes of the log were not looked at yet."
        if waiting.unread
        else ""
    )
    return Table(
        name="waiting",
        title="Waited for, the earliest deadline first",
        columns=_OPT_OUTS,
        rows=[_opt_out(one, policies, waiting.now) for one in waiting.opt_outs],
        is_cut=waiting.known > len(waiting.opt_outs),
        note="Opt-outs that a subscriber which counts, or which was declared, has not applied. "
        "Until it has, it may allow by what it knew, for as long as its max_staleness." + unread,
        empty="Every opt-out has been applied by everybody who counts.",
        charts=_left(waiting),
    )


def _left(waiting: WaitingPage) -> tuple[BarChart, ...]:
    """The time left until the nearest deadlines, those that are over first."""
    due = [one for one in waiting.opt_outs if one.clocked.deadlines][:_BARS_MAX]
    if not due:
        return ()
    bars: list[Bar] = []
    for one in due:
        seconds = (one.clocked.deadlines[0].time - waiting.now) / _MICROSECONDS
        bars.append(
            Bar(
                label=f"revision {one.clocked.opt_out.revision:,}",
                value=abs(seconds),
                shown=f"over by {seconds_shown(-seconds)}"
                if seconds < 0
                else seconds_shown(seconds),
                tone=_STANDINGS[one.standing].tone,
            )
        )
    return (
        BarChart(
            name="left",
            title="Time left until the earliest deadlines",
            description="How long until each deadline, or since when it is over; the table has "
            "them all.",
            bars=bars,
        ),
    )


def _last(page: ClockPage, policies: Policies, *, is_cut: bool) -> Table:
    return Table(
        name="opt-outs",
        title="Opt-outs, the newest first",
        columns=_OPT_OUTS,
        rows=[_opt_out(one, policies, page.now) for one in page.opt_outs],
        is_cut=is_cut,
        note="Applied: by when at the latest everybody who counts had applied it, as was seen, "
        "once a minute. The clock runs from when the person decided. "
        f"Policies of version {policies.version}; none of it is legal advice.",
        empty="There are none here.",
    )


_OPT_OUTS: Final = (
    Column("revision", "Revision", Kind.NUMBER),
    Column("standing", "Where it is", Kind.STATE),
    Column("deadline", "Deadline", Kind.INSTANT),
    Column("left_seconds", "Left", Kind.SECONDS),
    Column("policy", "By"),
    Column("policy_title", "Which is", is_for_files=True),
    Column("calendar", "Calendar", is_for_files=True),
    Column("jurisdiction", "Jurisdiction"),
    Column("channel", "Channel"),
    Column("topic", "Topic"),
    Column("decided_time", "Decided", Kind.INSTANT, is_for_files=True),
    Column("commit_time", "Committed", Kind.INSTANT),
    Column("applied_time", "Applied", Kind.INSTANT),
    Column("waiting_for", "Waits for"),
    Column("other_deadlines", "Other deadlines", is_for_files=True),
)


def _opt_out(one: Reached, policies: Policies, now: Instant) -> list[Cell]:
    opt_out, deadlines = one.clocked
    first = deadlines[0] if deadlines else None
    is_waited_for = one.standing is not DeadlineStanding.APPLIED
    left = (first.time - now) / _MICROSECONDS if first is not None and is_waited_for else None
    return [
        opt_out.revision,
        _STANDINGS[one.standing],
        None if first is None else first.time,
        left,
        None if first is None else first.policy,
        None if first is None else policies.policies[first.policy].title,
        (first.calendar or None) if first is not None else None,
        opt_out.jurisdiction or None,
        channel_word(opt_out.channel),
        topic_word(opt_out.topic),
        opt_out.decided_time,
        opt_out.commit_time,
        one.applied_time,
        one.waiting_for or None,
        tuple(f"{other.policy} {instant_shown(other.time)}" for other in deadlines[1:]) or None,
    ]


def _policies(policies: Policies) -> Table:
    return Table(
        name="policies",
        title="Policies in force",
        columns=(
            Column("policy", "Policy"),
            Column("title", "What it is"),
            Column("time", "Allows"),
            Column("jurisdictions", "Where"),
            Column("channels", "Channels"),
            Column("calendar", "Calendar"),
            Column("source", "Source"),
        ),
        rows=[_policy(name, one, policies) for name, one in policies.policies.items()],
    )


def _policy(name: str, one: Policy, policies: Policies) -> list[Cell]:
    calendar = one.calendar
    return [
        name,
        one.title,
        _allowed(one),
        one.jurisdictions,
        _channels(one.channels),
        f"{calendar} {policies.calendars[calendar].version}" if calendar else None,
        one.source,
    ]


def _allowed(one: Policy) -> str:
    for count, unit in (
        (one.hours, "hours"),
        (one.days, "days"),
        (one.months, "months"),
        (one.business_days, "business days"),
    ):
        if count is not None:
            return f"{count} {unit}" if count else "at once"
    return ""


def _channels(channels: Sequence[Channel]) -> tuple[str, ...]:
    return tuple(word_of(channel) for channel in channels) or ("every channel",)


def _revision(text: str) -> Revision:
    """The revision that an address names; what is none means: from the newest on."""
    is_one = text.isascii() and text.isdigit() and len(text) <= 18  # noqa: PLR2004 - of a BIGINT
    return Revision(int(text) if is_one else 0)


VIEW: Final = View(
    name="clock",
    title="The clock",
    lead="By when each opt-out must have reached everyone, by which policy, what is near or over, "
    "and who is waited for.",
    rights=frozenset({Right.OPERATE}),
    read=read,
    live_seconds=LIVE_SECONDS,
)
