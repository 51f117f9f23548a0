"""`heed check` and `heed explain` of one message."""

import typer

from heed.answers import CheckAnswer
from heed.cli.arguments import (
    Devices,
    Emails,
    MessageChannel,
    Phones,
    Topic,
    Users,
    channel_or_own,
    subjects_named,
)
from heed.cli.exits import DONE, SUPPRESSED
from heed.cli.options import Session
from heed.cli.output import print_json, reason_of, time_of
from heed.names import word_of


def check_one(
    session: Session,
    *,
    emails: Emails,
    phones: Phones,
    users: Users,
    devices: Devices,
    channel: MessageChannel,
    topic: Topic,
    campaign: str,
    token: str,
) -> None:
    """Ask about one message, and exit with 0 only if it may be sent."""
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.check(
            channel=channel_or_own(channel, subjects),
            topic=topic,
            campaign=campaign,
            subjects=subjects,
            token=token,
        )
    _show(session, answer)


def explain_one(
    session: Session,
    *,
    emails: Emails,
    phones: Phones,
    users: Users,
    devices: Devices,
    channel: MessageChannel,
    topic: Topic,
    campaign: str,
) -> None:
    """Ask the same, and for every rule that spoke."""
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.explain(
            channel=channel_or_own(channel, subjects),
            topic=topic,
            campaign=campaign,
            subjects=subjects,
        )
    _show(session, answer)


def _show(session: Session, answer: CheckAnswer) -> None:
    if session.json:
        print_json(answer)
    else:
        undeclared = ", undeclared" if answer.undeclared_topic else ""
        print(word_of(answer.verdict))
        for reason in answer.reasons:
            rule = "unknown rule" if reason.rule is None else word_of(reason.rule)
            print(f"  {rule}: {reason_of(reason)}")
        print(f"  judged as {word_of(answer.topic_class)}{undeclared}")
        print(f"  at revision {answer.revision}, {time_of(answer.now)}")
    raise typer.Exit(DONE if answer.allowed else SUPPRESSED)
