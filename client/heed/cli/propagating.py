"""`heed propagation` and `heed subscribers`: who has applied an opt-out, and who has not."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from heed.answers import Propagation, SubscriberProgress
from heed.cli.exits import NOT_PROPAGATED
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.names import word_of
from heed.sync_client import SyncClient

LIVE_SECONDS = 0.25
"""How often `--wait` asks again."""

app = typer.Typer(help="Who follows a tenant's log.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name that it opens its streams with")]


@connected
def propagation(
    session: Session,
    revision: Annotated[
        int, typer.Option(min=0, help="That of a write's answer; 0: the log's head")
    ] = 0,
    wait: Annotated[
        float, typer.Option(min=0, max=3600, help="Go on for so many seconds, until all have it")
    ] = 0.0,
) -> None:
    """Show who has applied a revision: 0 all who count have, 12 somebody has not.

    With --wait it is shown again whenever something moved.
    """
    with session.connect() as client:
        last: Propagation | None = None
        for last in _until_all_have_it(client, revision, wait):
            if session.json:
                print_json(last)
            else:
                _show(last)
    if last is None or not last.propagated:
        raise typer.Exit(NOT_PROPAGATED)


@app.command("declare")
@connected
def declare(session: Session, name: Name) -> None:
    """Have a subscriber missed while it is away, also if it never came."""
    with session.connect() as client:
        client.declare_subscriber(name)
    if not session.json:
        print(f"{name} is missed while it is away")


@app.command("withdraw")
@connected
def withdraw(session: Session, name: Name) -> None:
    """Take a declaration back: it is missed no more."""
    with session.connect() as client:
        client.withdraw_subscriber(name)
    if not session.json:
        print(f"{name} is not missed any more")


def _until_all_have_it(
    client: SyncClient, revision: int, wait_seconds: float
) -> Iterator[Propagation]:
    """Yield what there is, and again whenever it moved; of one revision, also where 0 was asked."""
    deadline = time.monotonic() + wait_seconds
    last = client.get_propagation(revision=revision)
    yield last
    while not last.propagated and time.monotonic() < deadline:
        time.sleep(LIVE_SECONDS)
        found = client.get_propagation(revision=last.revision)
        if _moves(found) != _moves(last):
            yield found
        last = found


def _moves(found: Propagation) -> list[tuple[object, ...]]:
    return [(one.name, one.status, one.applied_revision) for one in found.subscribers]


def _show(found: Propagation) -> None:
    print_table(
        ("subscriber", "status", "applied", "since", "last heard", "node", "declared"),
        map(_row, found.subscribers),
        empty="nobody follows this tenant's log",
    )
    waiting = [one.name for one in found.subscribers if not one.has_applied_or_is_gone]
    said = "all who count have it" if found.propagated else f"waiting for {', '.join(waiting)}"
    print(f"revision {found.revision} of {found.head_revision}: {said}")
    sys.stdout.flush()


def _row(one: SubscriberProgress) -> tuple[str, ...]:
    return (
        one.name,
        word_of(one.status),
        str(one.applied_revision),
        time_of(one.applied_time),
        time_of(one.probe_time),
        one.node,
        "yes" if one.declared else "",
    )
