"""Webhooks: where each target stands, and what was given up."""

from collections.abc import Sequence
from typing import Final

from heed.model import Revision
from heed.wire.asked import DeadLettersAsked, WebhookTargetsAsked
from heed_server.auth.policy import Right
from heed_server.web.dashboard.charts import Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Shown, View
from heed_server.webhook_store import DeadLetter, TargetStanding

_TAKES: Final = State("takes", Tone.GOOD)
_FAILING: Final = State("failing", Tone.BAD)


async def read(asking: Asking) -> Shown:
    """Read the targets, and the dead letters of each."""
    service, who, tenant = asking.service, asking.principal, asking.tenant
    found = await service.list_webhook_targets(who, WebhookTargetsAsked(tenant=tenant))
    targets = found.targets[: asking.rows_max]
    letters, is_cut = await _letters(asking, targets)
    return Shown(
        now=service.now(),
        revision=found.head_revision,
        tables=(
            _figures(found.targets),
            Table(
                name="targets",
                title="Targets",
                columns=_TARGETS,
                rows=[_target(one, found.head_revision) for one in targets],
                is_cut=len(found.targets) > len(targets),
                note="Late: people whose first event was tried and not taken yet; theirs are kept "
                "in order, and everybody else's go on.",
                empty="No target has been sent anything.",
            ),
            Table(
                name="letters",
                title="Dead letters",
                columns=_LETTERS,
                rows=letters,
                is_cut=is_cut,
                note="What was given up. An operator has it sent anew, with what came since of the "
                "same person: heed webhooks replay TARGET ID.",
                empty="Nothing was given up.",
            ),
        ),
    )


async def _letters(
    asking: Asking, targets: Sequence[TargetStanding]
) -> tuple[list[list[Cell]], bool]:
    """The dead letters of all targets, up to a page's rows, and whether there are more."""
    rows: list[list[Cell]] = []
    for one in targets:
        if not one.dead_count:
            continue
        left = asking.rows_max - len(rows)
        if not left:
            return rows, True
        asked = DeadLettersAsked(tenant=asking.tenant, target=one.target, page_size=left, cursor="")
        page = await asking.service.list_dead_letters(asking.principal, asked)
        rows += [_letter(one.target, letter) for letter in page.letters]
        if page.next_cursor:
            return rows, True
    return rows, False


def _figures(targets: Sequence[TargetStanding]) -> Table:
    return Table(
        name="now",
        title="Now",
        columns=(
            Column("targets", "Targets", Kind.NUMBER),
            Column("failing", "Failing", Kind.NUMBER),
            Column("late", "Late people", Kind.NUMBER),
            Column("dead_letters", "Dead letters", Kind.NUMBER),
        ),
        rows=[
            [
                len(targets),
                sum(one.health.failing_since is not None for one in targets),
                sum(one.late_count for one in targets),
                sum(one.dead_count for one in targets),
            ]
        ],
        look=Look.FIGURES,
    )


_TARGETS: Final = (
    Column("target", "Target"),
    Column("state", "State", Kind.STATE),
    Column("revision", "Revision", Kind.NUMBER),
    Column("behind_revisions", "Behind", Kind.NUMBER),
    Column("late", "Late", Kind.NUMBER),
    Column("dead_letters", "Dead letters", Kind.NUMBER),
    Column("delivered_time", "Took something last", Kind.INSTANT),
    Column("failing_since", "Failing since", Kind.INSTANT),
    Column("failure", "Why"),
)
_LETTERS: Final = (
    Column("letter", "Letter"),
    Column("target", "Target"),
    Column("event", "Event"),
    Column("revision", "Revision", Kind.NUMBER),
    Column("attempts", "Tried", Kind.NUMBER),
    Column("first_time", "Tried first", Kind.INSTANT),
    Column("dead_time", "Given up", Kind.INSTANT),
    Column("failure", "Why"),
    Column("replays", "Sent anew", Kind.NUMBER),
)


def _target(one: TargetStanding, head: Revision) -> list[Cell]:
    health = one.health
    return [
        one.target,
        _TAKES if health.failing_since is None else _FAILING,
        one.position.revision,
        max(0, head - one.position.revision),
        one.late_count,
        one.dead_count,
        health.delivered_time,
        health.failing_since,
        health.failure or None,
    ]


def _letter(target: str, one: DeadLetter) -> list[Cell]:
    return [
        one.letter_id,
        target,
        one.event,
        one.revision,
        one.attempts,
        one.first_time,
        one.dead_time,
        one.failure or None,
        one.replay,
    ]


VIEW: Final = View(
    name="webhooks",
    title="Webhooks",
    lead="How far each target has been told of changes, who is late there, and what was given up.",
    rights=frozenset({Right.OPERATE}),
    read=read,
)
