"""`heed propagation` and `heed subscribers`: who has applied an opt-out, and who has not."""

import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from heed.cli.exits import NOT_PROPAGATED
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.connection.blocking import pause
from heed.errors import ErrorReason, UnavailableError
from heed.names import word_of
from heed.propagation import Propagation, SubscriberProgress
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
    """Show who has applied a revision: 0 all who count have, 12 somebody has not, 3 none is there.

    With --wait it is shown again whenever something moved, also a revision that is not there yet.
    """
    show: Callable[[Propagation], None] = print_json if session.json else _show
    with session.connect() as client:
        found = client.get_propagation(revision=revision)
        if wait or _is_there(found):
            show(found)
        found = _waited(client, found, wait, show)
    if not _is_there(found):
        raise _not_there(found)
    if not found.propagated:
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


def _waited(
    client: SyncClient,
    found: Propagation,
    wait_seconds: float,
    show: Callable[[Propagation], None],
) -> Propagation:
    """Show it again whenever it moved, and return the last: all have it, or the time is over.

    It stays with one revision, also where the head was asked about.
    """
    deadline = time.monotonic() + wait_seconds
    while not (found.propagated and _is_there(found)) and time.monotonic() < deadline:
        pause(LIVE_SECONDS)
        before, found = found, client.get_propagation(revision=found.revision)
        if _moves(found) != _moves(before):
            show(found)
    return found


def _moves(found: Propagation) -> tuple[object, ...]:
    applied = [(one.name, one.status, one.applied_revision) for one in found.subscribers]
    return (_is_there(found), applied)


def _is_there(found: Propagation) -> bool:
    return found.revision <= found.head_revision


def _not_there(found: Propagation) -> UnavailableError:
    return UnavailableError(
        f"there is no revision {found.revision} yet: as far as this node knows the log is at "
        f"{found.head_revision}; give that of a write's answer, or wait for it with --wait",
        reason=ErrorReason.NODE_BEHIND,
        metadata={"applied": str(found.head_revision)},
    )


def _show(found: Propagation) -> None:
    if not _is_there(found):
        print(f"revision {found.revision} of {found.head_revision}: it is not there yet")
        sys.stdout.flush()
        return
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
