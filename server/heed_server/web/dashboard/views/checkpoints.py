"""Checkpoints: that the log only ever grew, as it was signed hour by hour; verified at a press."""

from collections.abc import Sequence
from typing import Final

from heed.audit.checkpoints import read_checkpoint
from heed.audit.failing import ProofError
from heed_server.audit.chain import ChainLink, Continuation
from heed_server.auth.policy import Right
from heed_server.tree_store import KeptCheckpoint
from heed_server.web.dashboard.charts import Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Field, Form, Shown, View

_VERIFIED: Final = {"day": 24, "month": 720}
"""How many of the last checkpoints are verified at a press."""
_STATES: Final = {
    Continuation.FIRST: State("signed", Tone.GOOD),
    Continuation.CONTINUES: State("continues the one before", Tone.GOOD),
    Continuation.OTHER_LIFE: State("after a restore", Tone.WARN),
    Continuation.BROKEN: State("broken", Tone.BAD),
}
_NOTE: Final = (
    "One signed checkpoint an hour is kept for ever, while the log grows. Who does not trust this "
    "server keeps them elsewhere, and verifies an export offline: heed audit verify."
)


async def read(asking: Asking) -> Shown:
    """Read the checkpoints that were kept; verify them where that is asked for."""
    service, who, tenant = asking.service, asking.principal, asking.tenant
    context = service.look(who, tenant)
    asked = _VERIFIED.get(asking.query.get("verify", ""))
    kept = await service.kept_checkpoints(who, tenant, asking.rows_max + 1)
    chain = Table(
        name="chain",
        title="Kept checkpoints",
        columns=_CHAIN,
        rows=[_kept(one) for one in kept[: asking.rows_max]],
        is_cut=len(kept) > asking.rows_max,
        note=_NOTE,
        empty="No checkpoint was signed yet.",
    )
    tables: tuple[Table, ...] = (chain,)
    if asked is not None:
        links = await service.verify_checkpoints(who, tenant, asked)
        tables = (_figures(links), _verified(links), chain)
    return Shown(now=service.now(), revision=context.follower.head_revision, tables=tables)


def _figures(links: Sequence[ChainLink]) -> Table:
    broken = sum(one.found is Continuation.BROKEN for one in links)
    return Table(
        name="verified",
        title="Verified just now",
        columns=(
            Column("checkpoints", "Checkpoints", Kind.NUMBER),
            Column("broken", "Broken", Kind.NUMBER),
            Column("outcome", "Outcome", Kind.STATE),
        ),
        rows=[
            [
                len(links),
                broken,
                State("broken", Tone.BAD) if broken else State("all is well", Tone.GOOD),
            ]
        ],
        note="Of each: its signature, by this server's key, and that the log which it names begins "
        "with the log of the one before (RFC 6962, consistency), by the hashes that are kept now.",
        look=Look.FIGURES,
    )


def _verified(links: Sequence[ChainLink]) -> Table:
    return Table(
        name="links",
        title="What was verified",
        columns=_LINKS,
        rows=[_link(one) for one in reversed(links)],
        empty="No checkpoint was signed yet.",
    )


_CHAIN: Final = (
    Column("sign_time", "Signed", Kind.INSTANT),
    Column("size", "Changes", Kind.NUMBER),
    Column("root", "Root hash"),
    Column("origin", "Log"),
)
_LINKS: Final = (
    Column("sign_time", "Signed", Kind.INSTANT),
    Column("size", "Changes", Kind.NUMBER),
    Column("state", "Found", Kind.STATE),
    Column("why", "What is wrong"),
)


def _kept(one: KeptCheckpoint) -> list[Cell]:
    try:
        checkpoint, _ = read_checkpoint(one.note)
    except ProofError:  # what is wrong is said when it is verified
        return [one.sign_time, None, None, one.origin]
    return [one.sign_time, checkpoint.size, checkpoint.root.hex(), checkpoint.origin]


def _link(one: ChainLink) -> list[Cell]:
    size = None if one.checkpoint is None else one.checkpoint.size
    return [one.kept.sign_time, size, _STATES[one.found], one.why or None]


VIEW: Final = View(
    name="checkpoints",
    title="Checkpoints",
    lead="That the log only ever grew: what was signed hour by hour, and whether each goes on from "
    "the one before.",
    rights=frozenset({Right.AUDIT}),
    read=read,
    live_seconds=0,
    form=Form(
        fields=(
            Field(
                name="verify",
                title="Verify the last",
                choices=(("day", "24 checkpoints"), ("month", "720 checkpoints")),
            ),
        ),
        button="Verify",
    ),
    is_shown_at_once=True,
)
