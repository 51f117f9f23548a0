"""`heed check` and `heed explain` of one message."""

import typer

from heed.answers import AsOf, CheckAnswer
from heed.cli.arguments import (
    Devices,
    Emails,
    MessageChannel,
    Phones,
    Topic,
    Users,
    channel_or_own,
    subjects_named,
    time_named,
)
from heed.cli.exits import DONE, SUPPRESSED
from heed.cli.options import Session
from heed.cli.output import print_json, reason_of, time_of
from heed.errors import invalid_field
from heed.names import word_of
from heed.requests import Position


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
    reference: str,
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
            reference=reference,
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
    as_of: AsOf | None,
) -> None:
    """Ask the same, now or as of then, and for every rule that spoke."""
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.explain(
            channel=channel_or_own(channel, subjects),
            topic=topic,
            campaign=campaign,
            subjects=subjects,
            as_of=as_of,
        )
    _show(session, answer)


def as_of_named(
    time: str | None, revision: int | None, now: str | None, rule_version: int, token: str
) -> AsOf | None:
    """Return the moment that the options name; None: now.

    Raises:
        InvalidArgumentError: they name two, or half of one.
    """
    if revision is not None and time is not None:
        raise invalid_field("as_of", "give --as-of or --revision, not both")
    if revision is None:
        if now is not None or rule_version or token:
            raise invalid_field(
                "revision", "give --revision with --now, --rule-version and --token"
            )
        return time_named(time, "as_of")
    return Position(
        revision=revision, now=time_named(now, "now"), rule_version=rule_version, token=token
    )


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
