"""`heed deadlines`: by when opt-outs must have reached everyone, and who has not applied them."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from heed.cli.exits import NOT_PROPAGATED
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.deadlines import DeadlineStanding, OptOutDeadlines
from heed.names import word_of
from heed.sync_client import SyncClient
from heed.wire.limits import PAGE_SIZE_MAX

_PRESSING = {DeadlineStanding.NEAR, DeadlineStanding.OVER}


@connected
def deadlines(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Opt-outs to show")] = 20,
    before: Annotated[
        int, typer.Option(min=0, help="Only those before this revision; 0: from the head")
    ] = 0,
    pressing: Annotated[
        bool, typer.Option("--pressing", help="Only those that are near their deadline, or over")
    ] = False,
) -> None:
    """Show by when opt-outs must have reached everyone: 0 none shown is pressing, 12 one is.

    The newest come first, each with its earliest deadline and the policy that it is by.
    """
    with session.connect() as client:
        found = _found(client, limit, before, pressing=pressing)
    if session.json:
        for one in found:
            print_json(one)
    else:
        print_table(
            (
                "revision",
                "scope",
                "where",
                "decided",
                "deadline",
                "by",
                "standing",
                "applied by",
                "waiting for",
            ),
            map(_row, found),
            empty="no opt-out is near its deadline" if pressing else "there are no opt-outs",
        )
    if any(one.standing in _PRESSING for one in found):
        raise typer.Exit(NOT_PROPAGATED)


def _found(client: SyncClient, limit: int, before: int, *, pressing: bool) -> list[OptOutDeadlines]:
    found: list[OptOutDeadlines] = []
    while True:
        page_size = PAGE_SIZE_MAX if pressing else min(PAGE_SIZE_MAX, limit - len(found))
        page = client.get_deadlines(before_revision=before, page_size=page_size)
        found += [one for one in page.opt_outs if not pressing or one.standing in _PRESSING]
        before = page.next_before_revision
        if not before or len(found) >= limit:
            return found[:limit]


def _row(one: OptOutDeadlines) -> tuple[str, ...]:
    first = one.deadlines[0] if one.deadlines else None
    return (
        str(one.revision),
        f"{word_of(one.scope.channel)} {one.scope.topic}".rstrip(),
        one.jurisdiction,
        time_of(one.decided_time),
        "" if first is None else time_of(first.time),
        "" if first is None else f"{first.policy} ({first.calendar})".removesuffix(" ()"),
        word_of(one.standing),
        _after(one.applied_time, one.commit_time),
        ", ".join(one.waiting_for),
    )


def _after(applied: datetime | None, committed: datetime) -> str:
    """When all had applied it, and how long after its commit that was seen."""
    if applied is None:
        return ""
    seconds = max(timedelta(), applied - committed).total_seconds()
    return f"{time_of(applied)} ({seconds:,.0f} s)"
