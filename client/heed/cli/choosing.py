"""`heed set` and `heed get`: what a person chooses, and what stands for them."""

from datetime import datetime
from typing import Annotated

import typer

from heed.answers import Record, SetAnswer
from heed.cli.arguments import (
    DEFAULT_SOURCE,
    Actor,
    DecidedTime,
    Devices,
    Emails,
    EndTime,
    IdempotencyKey,
    Jurisdiction,
    MethodWord,
    Phones,
    Reference,
    ScopeChannel,
    Source,
    Topic,
    Users,
    origin_named,
    subjects_named,
    time_named,
)
from heed.cli.exits import NOT_PROPAGATED
from heed.cli.options import Session, connected
from heed.cli.output import RECORD_COLUMNS, print_json, print_table, record_of, record_row
from heed.errors import invalid_field
from heed.model import Evidence, Reach, RecordKind
from heed.names import word_of, words_of
from heed.requests import (
    Choice,
    EndPause,
    EndQuietHours,
    OptIn,
    OptOut,
    Origin,
    Pause,
    QuietHours,
)

app = typer.Typer(help="Record what a person chooses.", no_args_is_help=True)

ReachWord = Annotated[
    str, typer.Option("--reach", help=f"Which classes it stops: {', '.join(words_of(Reach))}")
]


@app.command("opt-out")
@connected
def opt_out(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
    reach: ReachWord = "promotional",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    method: MethodWord = None,
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    no_ask_until: Annotated[
        str | None, typer.Option(help="Not to be asked again before: 2027-12-01T00:00:00Z")
    ] = None,
    wait_propagated: Annotated[
        float | None,
        typer.Option(min=0, max=30, help="Wait so many seconds until every subscriber has it"),
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Stop messages to a person. Without channel and topic: unsubscribe from all.

    With --wait-propagated: 12 if somebody who counts has not been heard to have it; it is
    committed all the same.
    """
    _set(
        session,
        OptOut(
            channel=channel,
            topic=topic,
            reach=reach,
            no_ask_until=time_named(no_ask_until, "no_ask_until"),
        ),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
        wait_propagated,
    )


@app.command("opt-in")
@connected
def opt_in(
    session: Session,
    channel: ScopeChannel,
    topic: Topic,
    notice: Annotated[str, typer.Option(help="What they were shown: newsletter-consent")],
    notice_version: Annotated[str, typer.Option(help="Its version: 2026-03")],
    act: Annotated[str, typer.Option(help="What they did: ticked the box and pressed Save")],
    language: Annotated[str, typer.Option(help="The language it was in: de-AT")],
    decided_time: DecidedTime,
    method: MethodWord,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    truncated_ip: Annotated[
        str, typer.Option(help="The network they came from: 192.0.2.0/24")
    ] = "",
    end_time: EndTime = None,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Let messages to a person through again, by their own act, with its evidence."""
    evidence = Evidence(
        notice=notice,
        notice_version=notice_version,
        act=act,
        language=language,
        truncated_ip=truncated_ip,
    )
    _set(
        session,
        OptIn(
            channel=channel,
            topic=topic,
            evidence=evidence,
            end_time=time_named(end_time, "end_time"),
        ),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
    )


@app.command("pause")
@connected
def pause(
    session: Session,
    until: Annotated[str, typer.Option(help="When it ends: 2026-04-01T00:00:00Z")],
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
    reach: ReachWord = "promotional",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    method: MethodWord = None,
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Stop messages to a person for a while."""
    _set(
        session,
        Pause(channel=channel, topic=topic, reach=reach, end_time=_required_time(until, "until")),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
    )


@app.command("end-pause")
@connected
def end_pause(
    session: Session,
    method: MethodWord,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """End a person's own pause, at exactly this scope."""
    _set(
        session,
        EndPause(channel=channel, topic=topic),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
    )


@app.command("quiet-hours")
@connected
def quiet_hours(
    session: Session,
    time_zone: Annotated[str, typer.Option(help="By whose clock: Europe/Vienna")],
    hours: Annotated[
        list[str],
        typer.Option(help="22:00-08:00, or sat,sun 22:00-10:00; may be given again"),
    ],
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
    reach: ReachWord = "promotional",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    method: MethodWord = None,
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Stop messages to a person at some hours; at one scope the latest replace the earlier."""
    _set(
        session,
        QuietHours(channel=channel, topic=topic, reach=reach, time_zone=time_zone, periods=hours),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
    )


@app.command("end-quiet-hours")
@connected
def end_quiet_hours(
    session: Session,
    method: MethodWord,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: ScopeChannel = "any",
    topic: Topic = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    jurisdiction: Jurisdiction = "",
    reference: Reference = "",
    decided_time: DecidedTime = None,
    idempotency_key: IdempotencyKey = None,
) -> None:
    """End a person's own quiet hours, at exactly this scope."""
    _set(
        session,
        EndQuietHours(channel=channel, topic=topic),
        origin_named(
            source=source,
            actor=actor,
            method=method,
            jurisdiction=jurisdiction,
            reference=reference,
            decided_time=decided_time,
        ),
        emails,
        phones,
        users,
        devices,
        idempotency_key,
    )


@connected
def get(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
) -> None:
    """Show everything that stands for a person: choices and suppressions, with who said so."""
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.get_preferences(subjects=subjects)
    if session.json:
        print_json(answer)
        return
    _print_records(answer.records, several=len(subjects) > 1)
    print(f"at revision {answer.revision}")


def _set(
    session: Session,
    choice: Choice,
    origin: Origin,
    emails: Emails,
    phones: Phones,
    users: Users,
    devices: Devices,
    idempotency_key: str | None,
    wait_propagated: float | None = None,
) -> None:
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.set_preference(
            choices=[choice],
            origin=origin,
            subjects=subjects,
            wait_propagated=wait_propagated,
            idempotency_key=idempotency_key,
        )
    if session.json:
        print_json(answer)
    else:
        _show(answer)
    if answer.propagated is False:
        raise typer.Exit(NOT_PROPAGATED)


def _show(answer: SetAnswer) -> None:
    for stored in answer.stored:
        print(f"{word_of(stored.effect)}: {record_of(stored.record)}")
    if answer.replayed:
        print("  this is the first answer of an earlier call with the same key")
    if answer.still_sent:
        classes = ", ".join(word_of(topic_class) for topic_class in answer.still_sent)
        is_quiet = any(stored.record.kind is RecordKind.QUIET_HOURS for stored in answer.stored)
        print(f"still sent {'at other hours' if is_quiet else 'within it'}: {classes}")
    if answer.still_sent_mandatory_topics:
        print(f"mandatory topics still sent: {', '.join(answer.still_sent_mandatory_topics)}")
    if answer.propagated is not None:
        waiting = ", ".join(answer.waiting_for)
        print("every subscriber has it" if answer.propagated else f"still waiting for: {waiting}")
    print(f"what stands now, at revision {answer.revision}:")
    _print_records(answer.standing, several=len({one.subject_index for one in answer.standing}) > 1)


def _print_records(records: tuple[Record, ...], *, several: bool) -> None:
    columns = ("whose", *RECORD_COLUMNS) if several else RECORD_COLUMNS
    rows = (
        [str(record.subject_index + 1), *record_row(record)] if several else record_row(record)
        for record in records
    )
    print_table(columns, rows, empty="nothing stands for them")


def _required_time(text: str, field: str) -> datetime:
    instant = time_named(text, field)
    if instant is None:
        raise invalid_field(field, "is required")
    return instant
