"""`heed batches revert` and `heed suppressions release-many`: undoing what was a mistake.

Both may need a second person. The call's key is made of what is asked, so that the same command,
given again once it was granted, is the same call.
"""

import hashlib
import json
from typing import Annotated

import typer

from heed.batches import Batch
from heed.cli.arguments import (
    DEFAULT_SOURCE,
    Actor,
    Reference,
    Source,
    Why,
    origin_named,
    time_named,
)
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.cli.suppressing import app as suppressions
from heed.errors import invalid_field

app = typer.Typer(help="Lists that were imported, and other batches.", no_args_is_help=True)

KeyOfContent = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", help="Names this call for ever; made of what is asked if not given"
    ),
]
ReleasedCause = Annotated[
    str, typer.Option("--cause", help="One of bounce, temporary_failure, invalid, manual")
]
_COLUMNS = ("batch", "from", "to", "revisions", "source", "actor", "undone", "why", "by", "second")
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done")]


@app.command("list")
@connected
def list_batches(session: Session) -> None:
    """List imports and other batches, the one that began last first."""
    with session.connect() as client:
        found = client.list_batches()
        if session.json:
            for batch in found:
                print_json(batch)
            return
        print_table(
            (
                "batch",
                "from",
                "to",
                "revisions",
                "source",
                "actor",
                "undone",
                "why",
                "asked by",
                "by",
            ),
            map(_row, found),
            empty="no call has named a batch",
        )


def _row(one: Batch) -> tuple[str, ...]:
    origin, undoing = one.origin, one.undoing
    return (
        one.batch_id,
        time_of(one.first_time),
        time_of(one.last_time),
        f"{one.first_revision} to {one.last_revision}",
        "" if origin is None else origin.source,
        "" if origin is None else origin.actor,
        "" if undoing is None else time_of(undoing.begin_time),
        "" if undoing is None else undoing.reason,
        "" if undoing is None else undoing.asked_by,
        "" if undoing is None else undoing.approved_by,
    )


@app.command("revert")
@connected
def revert(
    session: Session,
    batch_id: Annotated[str, typer.Argument(help="Its name, as heed import told it")],
    reason: Why,
    dry_run: DryRun = False,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: KeyOfContent = None,
) -> None:
    """Undo an import or another batch, as if it had never been; it takes a second person.

    The first time it fails with the name of an approval. Once another granted that, give the same
    command again.
    """
    with session.connect() as client:
        answer = client.revert_batch(
            batch_id,
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            dry_run=dry_run,
            idempotency_key=idempotency_key or f"revert/{batch_id}",
        )
    if session.json:
        print_json(answer)
        return
    print(
        f"{_done(dry_run, answer.replayed)}: of {answer.records:,} records {answer.released:,} "
        f"released, {answer.restored:,} restored, {answer.unchanged:,} unchanged; "
        f"{answer.people:,} people, {answer.newly_allowed:,} newly allowed"
    )


@suppressions.command("release-many")
@connected
def release_many(
    session: Session,
    cause: ReleasedCause,
    reason: Why,
    from_time: Annotated[
        str, typer.Option("--from", help="Seen then or later: 2026-04-01T00:00:00Z")
    ],
    before_time: Annotated[str, typer.Option("--before", help="Seen before then")],
    batch_id: Annotated[str, typer.Option(help="Only those that this batch last set")] = "",
    dry_run: DryRun = False,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: KeyOfContent = None,
) -> None:
    """Release suppressions of many people; many people an hour take a second person.

    For when a fault of one's own made mail bounce. Choices, complaints and legal ones stay.
    """
    began, ended = time_named(from_time, "--from"), time_named(before_time, "--before")
    if began is None or ended is None:
        raise invalid_field("--from", "say both --from and --before")
    said = json.dumps([cause, from_time, before_time, batch_id, reason, source, actor, reference])
    with session.connect() as client:
        answer = client.release_suppressions(
            cause=cause,
            from_time=began,
            before_time=ended,
            batch_id=batch_id,
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            dry_run=dry_run,
            idempotency_key=idempotency_key
            or f"release/{hashlib.sha256(said.encode()).hexdigest()[:32]}",
        )
    if session.json:
        print_json(answer)
        return
    print(
        f"{_done(dry_run, answer.replayed)}: {answer.released:,} suppressions released, "
        f"of {answer.people:,} people"
    )
    if answer.replayed:
        print(
            "this very command was given before, and released nothing now; for what came into this "
            "window since, give it again with another --idempotency-key"
        )


def _done(dry_run: bool, replayed: bool) -> str:
    if dry_run:
        return "would be"
    return "was done before" if replayed else "done"
