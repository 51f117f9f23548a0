"""History: every change of one person, as the log has it. Who looks is a line of the log."""

from typing import Final

from heed.errors import invalid_field
from heed.keys import normalise
from heed.model import (
    Change,
    ChangeKind,
    Effect,
    Record,
    RecordKind,
    Revision,
    Subject,
    SubjectType,
)
from heed.names import word_of
from heed.wire.asked import HistoryAsked
from heed_server.auth.policy import Right
from heed_server.web.dashboard.charts import Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, State, Table
from heed_server.web.dashboard.view import Asking, Field, Form, Shown, View

_SUPERSEDED: Final = State("did nothing", Tone.QUIET)
_APPLIED: Final = State("applied", Tone.GOOD)
_ERASED: Final = State("erased", Tone.QUIET)


async def read(asking: Asking) -> Shown:
    """Read the changes of the person that the form names, oldest first."""
    subject = _subject_of(asking)
    found = await asking.service.get_history(
        asking.principal,
        HistoryAsked(
            tenant=asking.tenant,
            subjects=(subject,),
            page_size=asking.rows_max,
            after=Revision(0),
        ),
    )
    told = found.changes[: asking.rows_max]
    return Shown(
        now=asking.service.now(),
        revision=found.head.revision,
        tables=(
            Table(
                name="changes",
                title="Changes",
                columns=_CHANGES,
                rows=[_change(one) for one in told],
                is_cut=len(found.changes) > len(told),
                note="Everything that the log has under this identifier, oldest first. Other "
                "identifiers of the same person have histories of their own. A receipt of a "
                "revision: heed audit receipt; what was erased says only what is needed to stop.",
                empty="The log has nothing under this identifier.",
            ),
        ),
    )


def _subject_of(asking: Asking) -> Subject:
    words = {word_of(one): one for one in SubjectType}
    kind = words.get(asking.query.get("type", ""))
    if kind is None:
        raise invalid_field("type", f"cannot be that; choose one of {', '.join(words)}")
    value = asking.query.get("identifier", "").strip()
    return normalise(Subject(type=kind, value=value))


_CHANGES: Final = (
    Column("revision", "Revision", Kind.NUMBER),
    Column("commit_time", "Committed", Kind.INSTANT),
    Column("what", "What"),
    Column("channel", "Channel"),
    Column("topic", "Topic"),
    Column("reach", "Reach"),
    Column("state", "Effect", Kind.STATE),
    Column("decided_time", "Decided", Kind.INSTANT),
    Column("end_time", "Until", Kind.INSTANT),
    Column("source", "Source"),
    Column("actor", "Who"),
    Column("method", "How"),
    Column("jurisdiction", "Where"),
    Column("reference", "Reference"),
    Column("reason", "Why"),
    Column("batch", "Batch"),
    Column("evidence", "Evidence"),
)


def _change(one: Change) -> list[Cell]:
    record = one.asked or one.record
    origin, evidence = one.origin, one.evidence
    return [
        one.revision,
        one.commit_time,
        _what(one, record),
        None if record is None else word_of(record.channel),
        None if record is None else record.topic or "everything",
        None if record is None or record.kind is RecordKind.OPT_IN else word_of(record.reach),
        _effect(one),
        None if record is None else record.decided_time,
        None if record is None else record.end_time,
        None if origin is None else origin.source,
        (origin.actor or None) if origin is not None else None,
        None if origin is None else word_of(origin.method),
        (origin.jurisdiction or None) if origin is not None else None,
        (origin.reference or None) if origin is not None else None,
        one.reason or None,
        one.batch_id or None,
        None
        if evidence is None
        else (f"{evidence.notice} {evidence.notice_version}", evidence.act, evidence.language),
    ]


def _what(one: Change, record: Record | None) -> str:
    if record is None or one.kind not in {ChangeKind.CHOICE, ChangeKind.SUPPRESSION}:
        return word_of(one.kind).replace("_", " ")
    if record.kind is RecordKind.SUPPRESSION:
        return f"suppression: {word_of(record.cause).replace('_', ' ')}"
    return word_of(record.kind).replace("_", "-")


def _effect(one: Change) -> State:
    if one.is_erased:
        return _ERASED
    return _APPLIED if one.effect is Effect.APPLIED else _SUPERSEDED


VIEW: Final = View(
    name="history",
    title="History",
    lead="Everything that the log has of one person: what was said, by whom, when, and what it "
    "did.",
    rights=frozenset({Right.AUDIT}),
    read=read,
    live_seconds=0,
    form=Form(
        fields=(
            Field(
                name="type",
                title="Kind",
                choices=tuple((word_of(one), word_of(one)) for one in SubjectType),
            ),
            Field(name="identifier", title="Identifier"),
        ),
        button="Show the history",
        hint="That you looked, and at whom, is a line of the server's log; the identifier itself "
        "is not in it.",
    ),
)
