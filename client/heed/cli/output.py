"""How answers are shown: JSON for programs, words and tables for people.

`as_json` gives any of the library's values as JSON: enums are words, times ISO 8601, UTC.
"""

import dataclasses
import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from heed.answers import CheckAnswer, Hold, Reason, Record, SubjectRecord
from heed.audit.claims import ReceiptClaim
from heed.hours import Hours
from heed.model import Channel, RecordKind, Rule, Scope, Subject
from heed.names import word_of

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def print_json(value: object, *, to_stderr: bool = False) -> None:
    """Print one value as one line of JSON."""
    print(
        json.dumps(as_json(value), ensure_ascii=False), file=sys.stderr if to_stderr else sys.stdout
    )


def print_rows(
    columns: Sequence[str], rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str
) -> None:
    """Print rows of the same fields: a line of JSON each, or a table for people."""
    if as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(columns, [list(map(str, row.values())) for row in rows], empty=empty)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Print a table for people, or `empty` where there are no rows.

    Columns that hold nothing are left out; where the terminal is too narrow for the others, each
    row is told in lines of its own.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # not markup: a reason may hold brackets

    all_rows = list(rows)
    if not all_rows:
        print(empty)
        return
    shown = [at for at in range(len(columns)) if any(row[at] for row in all_rows)]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at in shown:
        table.add_column(columns[at], overflow="fold")
    for row in all_rows:
        table.add_row(*(Text(row[at]) for at in shown))
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES)
    unbounded = console.options.update(max_width=_WIDTH_OF_ALL)
    if console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
        return
    width = max(len(columns[at]) for at in shown)
    for row in all_rows:
        print(
            "\n".join(f"{columns[at]:<{width}}  {row[at]}" for at in shown if row[at]), end="\n\n"
        )


def as_json(value: object) -> Json:
    """Return a value as what JSON has."""
    match value:
        case None | bool() | str():
            return value
        case enum.IntEnum():
            return word_of(value)
        case int() | float():
            return value
        case datetime():
            return time_of(value)
        case Subject():
            return {word_of(value.type): value.value}
        case ReceiptClaim():
            return str(value)
        case CheckAnswer():
            return {"allowed": value.allowed, "rule": as_json(value.rule)} | _fields(value)
        case frozenset() | set():
            return sorted((as_json(one) for one in value), key=str)
        case list() | tuple():
            return [as_json(one) for one in value]
        case dict():
            return {str(name): as_json(one) for name, one in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _fields(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON")


def time_of(instant: datetime | None) -> str:
    """Return a time in UTC, as ISO 8601 writes it; empty for none."""
    if instant is None:
        return ""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def scope_of(scope: Scope) -> str:
    """Return a scope for people: `email marketing.weekly`, `any, every topic`."""
    channel = word_of(scope.channel)
    return f"{channel} {scope.topic}" if scope.topic else f"{channel}, every topic"


def reason_of(reason: Reason) -> str:
    """Return one voice of one rule in a few words, without whom it is about."""
    if reason.hold is not None:
        return hold_of(reason.hold)
    if reason.record is not None:
        is_quiet = reason.rule is Rule.QUIET_HOURS and reason.until_time is not None
        until = f"; quiet until {time_of(reason.until_time)}" if is_quiet else ""
        return record_of(reason.record) + until
    if reason.rule is None:
        return "a rule that this version does not know"
    return _WORDS_OF_RULE.get(reason.rule, word_of(reason.rule))


def record_of(record: Record) -> str:
    """Return a record in a few words, without whom it is about."""
    is_suppression = record.kind is RecordKind.SUPPRESSION
    what = word_of(record.cause) if is_suppression else word_of(record.kind)
    reach = "" if record.kind is RecordKind.OPT_IN else f", reach {word_of(record.reach)}"
    until = f", until {time_of(record.end_time)}" if record.end_time is not None else ""
    if record.kind is RecordKind.QUIET_HOURS:
        until = f", {hours_of(record.quiet_hours)}{until}"
    if record.no_ask_until is not None:
        until += f", not to be asked before {time_of(record.no_ask_until)}"
    ended = "" if record.active else " (ended)"
    source = f", said by {record.origin.source}" if record.origin is not None else ""
    return (
        f"{what} at {scope_of(record.scope)}{reach}, of {time_of(record.decided_time)}"
        f"{until}{ended}{source}, revision {record.revision}"
    )


def hours_of(hours: Hours | None) -> str:
    """Return when it is quiet, for people."""
    if hours is None:
        return "at every hour"
    return str(hours) or "never"


def hold_of(hold: Hold) -> str:
    """Return a hold in a few words."""
    channel = "every channel" if hold.channel is None else _message_channel(hold.channel)
    parts = [channel, hold.topic or "every topic"]
    if hold.campaign:
        parts.append(f"campaign {hold.campaign}")
    if hold.spares_mandatory:
        parts.append("not mandatory messages")
    until = f", until {time_of(hold.end_time)}" if hold.end_time is not None else ""
    return f"{hold.hold_id} on {', '.join(parts)}: {hold.reason}{until}"


def record_row(value: SubjectRecord | Record) -> list[str]:
    """Return a record as a row of a table."""
    record = value.record if isinstance(value, SubjectRecord) else value
    return [
        word_of(record.kind),
        word_of(record.cause) if record.kind is RecordKind.SUPPRESSION else "",
        scope_of(record.scope),
        "" if record.kind is RecordKind.OPT_IN else word_of(record.reach),
        time_of(record.decided_time),
        time_of(record.end_time) + ("" if record.active else " (ended)"),
        hours_of(record.quiet_hours) if record.kind is RecordKind.QUIET_HOURS else "",
        time_of(record.no_ask_until),
        record.origin.source if record.origin is not None else "",
        str(record.revision),
    ]


RECORD_COLUMNS = (
    *("kind", "cause", "scope", "reach", "decided", "until", "quiet at", "ask again from"),
    *("said by", "revision"),
)
WIDTH_OF_PIPES = 200
"""Columns of a table whose width no terminal says."""
_WIDTH_OF_ALL = 1_000_000
"""More than any row has, so that what a table is measured by is not cut to the terminal first."""

_WORDS_OF_RULE = {
    Rule.MANDATORY: "the topic is mandatory on this channel",
    Rule.UNDECLARED_TOPIC: "the topic is undeclared, and such are suppressed here",
    Rule.NO_CONSENT: "the topic needs an opt-in, and none stands",
    Rule.DEFAULT: "nothing stands against it",
}


def _message_channel(channel: Channel) -> str:
    return "every message channel" if channel is Channel.ANY else word_of(channel)


def _fields(value: object) -> dict[str, Json]:
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{type(value).__name__} has no fields")
    return {one.name: as_json(getattr(value, one.name)) for one in dataclasses.fields(value)}
