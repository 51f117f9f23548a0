"""`heed webhooks`: where targets stand, and what is to become of what they never took."""

from typing import Annotated

import typer

from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, time_of
from heed.errors import invalid_field
from heed.webhooks import DeadLetter, WebhookTarget

app = typer.Typer(help="Where webhooks stand, and what was given up.", no_args_is_help=True)

Target = Annotated[str, typer.Argument(help="Its name in the file of targets")]
LetterIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="As `heed webhooks dead` shows them")
]
Every = Annotated[bool, typer.Option("--all", help="Every dead letter of the target")]


@app.command("list")
@connected
def list_targets(session: Session) -> None:
    """Show every target that the tenant has had: how far it was sent what, and how it does."""
    with session.connect() as client:
        found = client.list_webhook_targets()
    if session.json:
        for target in found:
            print_json(target)
        return
    print_table(
        ("target", "revision", "behind", "late", "dead", "took last", "failing since", "why"),
        map(_target_row, found),
        empty="there is no target, or nothing was sent to one yet",
    )


@app.command("dead")
@connected
def dead(session: Session, target: Target) -> None:
    """List the events that a target never took, the longest ago first."""
    with session.connect() as client:
        found = client.list_dead_letters(target)
        if session.json:
            for letter in found:
                print_json(letter)
            return
        print_table(
            ("id", "event", "revision", "tried first", "given up", "attempts", "why", "replays"),
            map(_letter_row, found),
            empty="there is no dead letter",
        )


@app.command("replay")
@connected
def replay(
    session: Session, target: Target, letter_ids: LetterIds = None, every: Every = False
) -> None:
    """Have dead letters sent anew, each with all that its subject's log has had since."""
    which = _which(letter_ids, every=every)
    with session.connect() as client:
        letters = client.replay_dead_letters(target, which)
    _tell(session, letters, "are sent anew, each with what followed it")


@app.command("discard")
@connected
def discard(
    session: Session, target: Target, letter_ids: LetterIds = None, every: Every = False
) -> None:
    """Delete dead letters: the target is never told of them. The log keeps its changes."""
    which = _which(letter_ids, every=every)
    with session.connect() as client:
        letters = client.discard_dead_letters(target, which)
    _tell(session, letters, "were deleted")


def _which(letter_ids: list[str] | None, *, every: bool) -> list[str] | None:
    if bool(letter_ids) == every:
        raise invalid_field("ID", "name dead letters, or say --all, and not both")
    return None if every else letter_ids


def _tell(session: Session, letters: int, became: str) -> None:
    if session.json:
        print_json({"letters": letters})
    else:
        print(f"{letters:,} dead letters {became}")


def _target_row(one: WebhookTarget) -> tuple[str, ...]:
    return (
        one.name,
        str(one.revision),
        str(one.lag),
        str(one.late_lanes),
        str(one.dead_letters),
        time_of(one.delivered_time),
        time_of(one.failing_since),
        one.failure,
    )


def _letter_row(one: DeadLetter) -> tuple[str, ...]:
    return (
        one.letter_id,
        one.event,
        str(one.revision),
        time_of(one.first_time),
        time_of(one.dead_time),
        str(one.attempts),
        one.failure,
        str(one.replays),
    )
