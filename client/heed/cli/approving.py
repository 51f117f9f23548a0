"""`heed approvals`: what needs a second person, and their word."""

from typing import Annotated

import typer

from heed.answers import Approval
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.names import word_of

app = typer.Typer(help="What needs a second person.", no_args_is_help=True)

ApprovalId = Annotated[str, typer.Argument(help="Its id: approval-01J…")]


@app.command("list")
@connected
def list_approvals(session: Session) -> None:
    """List what asked for a second person in the last 30 days, the newest first."""
    with session.connect() as client:
        found = client.list_approvals()
        if session.json:
            for approval in found:
                print_json(approval)
            return
        print_table(
            ("approval", "state", "call", "about", "would do", "why", "asked by", "until", "by"),
            map(_row, found),
            empty="nothing asked for a second person in the last 30 days",
        )


@app.command("grant")
@connected
def grant(session: Session, approval_id: ApprovalId) -> None:
    """Grant it, as the second person: sent again by who asked, the call is then made."""
    with session.connect() as client:
        approval = client.grant_approval(approval_id)
    _tell(session, approval, "they can send the same call again now")


@app.command("reject")
@connected
def reject(session: Session, approval_id: ApprovalId) -> None:
    """Reject it: sent again, the call asks anew."""
    with session.connect() as client:
        approval = client.reject_approval(approval_id)
    _tell(session, approval, "nothing was done")


def shown_of(approval: Approval) -> str:
    """Return in words what a call would do: `records 5000, newly allowed 4810`."""
    return ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(approval.shown.items())
    )


def _tell(session: Session, approval: Approval, then: str) -> None:
    if session.json:
        print_json(approval)
        return
    print(
        f"{word_of(approval.state)}: {approval.method} of {approval.about} "
        f"({shown_of(approval)}), asked for by {approval.asked_by}; {then}"
    )


def _row(one: Approval) -> tuple[str, ...]:
    return (
        one.approval_id,
        word_of(one.state),
        one.method,
        one.about,
        shown_of(one),
        one.reason,
        one.asked_by,
        time_of(one.expire_time),
        one.decided_by,
    )
