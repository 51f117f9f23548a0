"""`heed suppressions` and `heed export`."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TextIO

import typer

from heed.answers import SubjectRecord
from heed.cli.arguments import (
    DEFAULT_SOURCE,
    Actor,
    DecidedTime,
    Devices,
    Emails,
    EndTime,
    IdempotencyKey,
    OptionalChannel,
    Phones,
    Reference,
    Source,
    Topic,
    Users,
    Why,
    origin_named,
    subjects_named,
    time_named,
)
from heed.cli.files import STREAM, writing
from heed.cli.options import Session, connected
from heed.cli.output import (
    RECORD_COLUMNS,
    as_json,
    print_json,
    print_table,
    record_of,
    record_row,
    time_of,
)
from heed.cli.progress import progress
from heed.errors import invalid_field
from heed.model import Cause, RecordKind
from heed.names import word_of, words_of
from heed.requests import Suppression

app = typer.Typer(help="Reasons not to send that are not choices.", no_args_is_help=True)

CauseWord = Annotated[str, typer.Option("--cause", help=f"One of {', '.join(words_of(Cause))}")]
OptionalCause = Annotated[str | None, typer.Option("--cause", help="Only of this cause")]

EXPORT_COLUMNS = (
    "type",
    "address",
    "kind",
    "cause",
    "channel",
    "topic",
    "reach",
    "decided_time",
    "end_time",
    "active",
    "source",
    "reason",
    "revision",
)


@app.command("list")
@connected
def list_suppressions(session: Session, cause: OptionalCause = None) -> None:
    """List the standing suppressions with whom they are about."""
    with session.connect() as client:
        found = client.list_suppressions(cause=cause)
        if session.json:
            for one in found:
                print_json(one)
            return
        print_table(
            ("whom", *RECORD_COLUMNS),
            ([_whom(one), *record_row(one)] for one in found),
            empty="no suppression stands",
        )


@app.command("add")
@connected
def add_suppression(
    session: Session,
    cause: CauseWord,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: OptionalChannel = None,
    topic: Topic = "",
    reach: Annotated[str | None, typer.Option(help="Only for a legal one: promotional")] = None,
    end_time: EndTime = None,
    reason: Annotated[str, typer.Option(help="Why: 550 5.1.1 user unknown")] = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Add a suppression for each subject named."""
    suppressions = [
        Suppression(
            subject=subject,
            cause=cause,
            channel=channel,
            topic=topic,
            reach=reach,
            end_time=time_named(end_time, "end_time"),
            reason=reason,
        )
        for subject in subjects_named(emails, phones, users, devices)
    ]
    with session.connect() as client:
        answer = client.add_suppressions(
            suppressions,
            origin=origin_named(
                source=source, actor=actor, reference=reference, decided_time=decided_time
            ),
            idempotency_key=idempotency_key,
        )
    if session.json:
        print_json(answer)
        return
    for stored in answer.stored:
        print(f"{word_of(stored.effect)}: {record_of(stored.record)}")


@app.command("release")
@connected
def release_suppression(
    session: Session,
    cause: CauseWord,
    reason: Why,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: OptionalChannel = None,
    topic: Topic = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Release one subject's suppressions of a cause. What the person chose stands."""
    subjects = subjects_named(emails, phones, users, devices)
    if len(subjects) != 1:
        raise invalid_field("subjects", "release one subject at a time")
    with session.connect() as client:
        answer = client.release_suppression(
            subject=subjects[0],
            cause=cause,
            reason=reason,
            channel=channel,
            topic=topic,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    if session.json:
        print_json(answer)
        return
    for record in answer.released:
        print(f"released: {record_of(record)}")
    rows = (record_row(record) for record in answer.standing)
    print_table(RECORD_COLUMNS, rows, empty="nothing else stands for them")


@connected
def export(
    session: Session,
    output: Annotated[Path, typer.Argument(help="Where to; - is stdout")] = STREAM,
    kind: Annotated[
        list[str] | None, typer.Option(help=f"Only of these: {', '.join(words_of(RecordKind))}")
    ] = None,
    cause: Annotated[
        list[str] | None, typer.Option(help=f"Only of these: {', '.join(words_of(Cause))}")
    ] = None,
    channel: OptionalChannel = None,
    topic: Topic = "",
) -> None:
    """Write every standing record, all of one revision, as CSV or with --json as JSON lines.

    The file gets its name only once its count is the server's.
    """
    with (
        session.connect() as client,
        writing(output) as out,
        progress("exporting", None) as done,
    ):
        write = _json_writer(out) if session.json else _csv_writer(out)
        records = client.export_records(
            kinds=kind or (),
            causes=cause or (),
            channel=channel,
            topic=topic,
            timeout=session.long_timeout_seconds,
        )
        for one in records:
            write(one)
            done(records.count)
    if session.json:
        print_json({"records": records.count, "revision": records.revision}, to_stderr=True)
    else:
        print(f"{records.count:,} records of revision {records.revision}", file=sys.stderr)


def _whom(one: SubjectRecord) -> str:
    return "(not kept)" if one.subject is None else one.subject.value


def _json_writer(out: TextIO) -> Callable[[SubjectRecord], None]:
    def write(one: SubjectRecord) -> None:
        out.write(json.dumps(as_json(one), ensure_ascii=False) + "\n")

    return write


def _csv_writer(out: TextIO) -> Callable[[SubjectRecord], None]:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(EXPORT_COLUMNS)

    def write(one: SubjectRecord) -> None:
        record = one.record
        is_suppression = record.kind is RecordKind.SUPPRESSION
        writer.writerow(
            (
                "" if one.subject is None else word_of(one.subject.type),
                "" if one.subject is None else one.subject.value,
                word_of(record.kind),
                word_of(record.cause) if is_suppression else "",
                word_of(record.scope.channel),
                record.scope.topic,
                "" if record.kind is RecordKind.OPT_IN else word_of(record.reach),
                time_of(record.decided_time),
                time_of(record.end_time),
                "true" if record.active else "false",
                "" if record.origin is None else record.origin.source,
                record.reason,
                record.revision,
            )
        )

    return write
