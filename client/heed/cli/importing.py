"""`heed import`: the list of a vendor, as it is, into the log.

Laws:
- The exit code is 0 only if every record was imported or protects from nothing.
- No address is shown: what was rejected is told by its place, and stands in the file of
  `--rejects` alone.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from heed.cli.arguments import Actor, OptionalChannel
from heed.cli.exits import DONE, SOME_REJECTED
from heed.cli.files import STREAM
from heed.cli.options import Session, connected
from heed.cli.output import print_json
from heed.cli.progress import progress
from heed.errors import UnavailableError, invalid_field
from heed.model import Channel, Instant
from heed.names import named

if TYPE_CHECKING:
    from heed.importing import ImportPlan, ImportSummary, RejectedEntry, RejectsFile

REJECTED_SHOWN_MAX: Final = 20
"""Rejected records that are told on stderr; all stand in the file of `--rejects`."""

_DAY_SECONDS: Final = 86_400


@connected
def import_list(
    session: Session,
    file: Annotated[
        Path, typer.Argument(help="The list: CSV, JSON or a ZIP of them, packed or not; - is stdin")
    ],
    format_name: Annotated[
        str, typer.Option("--as", help="Its format, where the content does not tell it")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change")] = False,
    topic: Annotated[str, typer.Option(help="Of opt-outs; empty: every topic")] = "",
    channel: OptionalChannel = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            "--map-tag",
            "--map-group",
            metavar="LABEL=TOPIC",
            help="The topic of a tag, a group or a topic of the vendor's",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="A column of a generic list"),
    ] = None,
    cause: Annotated[
        str, typer.Option(help="What a generic list is of: opt_out, bounce, complaint, …")
    ] = "",
    source: Annotated[
        str, typer.Option(help="The system that says so; the vendor if not given")
    ] = "",
    actor: Actor = "",
    batch_id: Annotated[
        str, typer.Option(help="Names the whole import; made of its content if not given")
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected records go, to be corrected")
    ] = None,
) -> None:
    """Import the suppressions and opt-outs of a vendor's file. It can only add protection.

    The same command again resumes where it was interrupted, and doubles nothing. Exit codes: 0 all
    imported, 6 all but some rejected records, 2 unusable input, 3 the server did not answer.
    """
    from heed.formats import Options
    from heed.importing import ImportPlan

    plan = ImportPlan(
        options=Options(
            format_name=format_name,
            topic=topic,
            channel=None if channel is None else named(Channel, channel, "channel"),
            topics=_pairs(topics, "map"),
            columns=_pairs(columns, "column"),
            cause=cause,
            day_end=_end_of_day(datetime.now(UTC)),
        ),
        tenant=session.tenant,
        source=source,
        actor=actor,
        batch_id=batch_id,
        dry_run=dry_run,
    )
    summary, told = _run(session, plan, None if file == STREAM else file, rejects)
    _show(session, summary, told, rejects)
    raise typer.Exit(SOME_REJECTED if summary.rejected else DONE)


def _run(
    session: Session, plan: "ImportPlan", path: Path | None, rejects: Path | None
) -> "tuple[ImportSummary, list[str]]":
    """Import, and return what it did and the first rejections in words."""
    from heed.connection.aio import AioCalls
    from heed.importing import RejectsFile, opened_source, prepare, send

    told: list[str] = []
    with ExitStack() as closing:
        stream = closing.enter_context(opened_source(path, sys.stdin.buffer))
        prepared = prepare(stream, plan)
        file = None
        if rejects is not None:
            file = closing.enter_context(RejectsFile(rejects, path))
        stream.seek(0, 2)
        show = closing.enter_context(progress("importing", stream.tell()))

        async def run() -> "ImportSummary":
            calls = AioCalls(session.target(), timeout=session.timeout)
            try:
                return await send(
                    prepared,
                    calls,
                    on_rejected=_noting(told, file),
                    on_progress=lambda done: show(done.read_bytes),
                )
            finally:
                await calls.close()

        try:
            return asyncio.run(run()), told
        except UnavailableError as error:
            raise UnavailableError(
                f"{error.message}. What was imported so far stands; the same command again, with "
                "the same input, does the rest",
                reason=error.reason,
                metadata=error.metadata,
            ) from None


def _noting(told: list[str], file: "RejectsFile | None") -> "Callable[[RejectedEntry], None]":
    def note(rejected: "RejectedEntry") -> None:
        if len(told) < REJECTED_SHOWN_MAX:
            told.append(f"{rejected.where}: {rejected.message}")
        if file is not None:
            file.write(rejected)

    return note


def _pairs(written: list[str] | None, option: str) -> dict[str, str]:
    """Return what `--option NAME=VALUE`, given several times, says."""
    pairs: dict[str, str] = {}
    for one in written or ():
        name, equals, value = one.rpartition("=") if option == "map" else one.partition("=")
        if not equals or not name.strip():
            raise invalid_field(option, f"{one[:60]!r} is no pair; write it as NAME=VALUE")
        if name.strip() in pairs:
            raise invalid_field(option, f"{name.strip()[:60]!r} is given twice")
        pairs[name.strip()] = value.strip()
    return pairs


def _end_of_day(now: datetime) -> Instant:
    return Instant((int(now.timestamp()) // _DAY_SECONDS + 1) * _DAY_SECONDS * 1_000_000)


def _show(
    session: Session, summary: "ImportSummary", told: list[str], rejects: Path | None
) -> None:
    for one in told:
        print(one, file=sys.stderr)
    if summary.rejected > len(told):
        print(f"and {summary.rejected - len(told):,} more", file=sys.stderr)
    if summary.rejected and rejects is None:
        print(
            "--rejects FILE keeps rejected records, to be corrected and imported", file=sys.stderr
        )
    if session.json:
        print_json(summary)
        return
    would = "would be " if summary.dry_run else ""
    for name, format_name in summary.formats.items():
        print(f"{name or 'the input'}: {format_name}")
    print(
        f"{summary.read:,} records: {_counts(summary.rows)}"
        f"{sum(summary.nothing.values()):,} nothing{_words(summary.nothing)}, "
        f"{summary.rejected:,} rejected"
    )
    print(
        f"{summary.added:,} {would}added, {summary.strengthened:,} {would}strengthened, "
        f"{summary.unchanged:,} unchanged, {summary.superseded:,} superseded by something later"
    )
    replayed = f", {summary.replayed:,} of them committed earlier" if summary.replayed else ""
    print(f"batch {summary.batch_id}, {summary.chunks:,} chunks{replayed}")


def _counts(rows: "Mapping[str, int]") -> str:
    return "".join(f"{count:,} {word}, " for word, count in rows.items())


def _words(nothing: "Mapping[str, int]") -> str:
    named_ones = ", ".join(f"{count:,} {word}" for word, count in nothing.items())
    return f" ({named_ones})" if named_ones else ""
