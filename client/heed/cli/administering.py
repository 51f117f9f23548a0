"""`heed tenants`, `heed topics` and `heed holds`."""

import sys
from itertools import islice
from typing import Annotated

import typer

from heed.answers import HoldAnswer, TopicAnswer
from heed.cli.arguments import (
    DEFAULT_SOURCE,
    Actor,
    EndTime,
    IdempotencyKey,
    OptionalChannel,
    Reference,
    Source,
    Topic,
    Why,
    origin_named,
    time_named,
)
from heed.cli.options import Session, connected
from heed.cli.output import hold_of, print_json, print_table, time_of
from heed.model import Topic as DeclaredTopic
from heed.model import TopicClass
from heed.names import word_of, words_of

tenants = typer.Typer(help="Who owns a log.", no_args_is_help=True)
topics = typer.Typer(help="What messages are about.", no_args_is_help=True)
holds = typer.Typer(help="Operators' stops.", no_args_is_help=True)

_HOLD_COLUMNS = (
    *("hold", "channel", "topic", "campaign", "spares"),
    *("until", "reason", "placed by", "revision"),
)

Name = Annotated[str, typer.Argument(help="Its name")]
ClassWord = Annotated[
    str, typer.Option("--class", help=f"One of {', '.join(words_of(TopicClass))}")
]
MandatoryOn = Annotated[
    list[str] | None, typer.Option("--mandatory-on", help="A channel where it is mandatory")
]
RequiresOptIn = Annotated[
    bool, typer.Option("--requires-opt-in", help="Whether messages need a standing opt-in")
]
SuppressUndeclared = Annotated[
    bool,
    typer.Option("--suppress-undeclared", help="Whether undeclared topics beneath are suppressed"),
]
Title = Annotated[str, typer.Option(help="What people call it: Weekly newsletter")]


@tenants.command("list")
@connected
def list_tenants(session: Session) -> None:
    """List the tenants that the credential may see."""
    with session.connect() as client:
        found = client.list_tenants()
        if session.json:
            for tenant in found:
                print_json(tenant)
            return
        rows = ([tenant.name, time_of(tenant.create_time)] for tenant in found)
        print_table(("tenant", "since"), rows, empty="there is no tenant")


@tenants.command("create")
@connected
def create_tenant(session: Session, name: Name) -> None:
    """Create a tenant, with a log of its own."""
    with session.connect() as client:
        before = [tenant.name for tenant in islice(client.list_tenants(), 2)]
        tenant = client.create_tenant(name)
    if session.json:
        print_json(tenant)
    else:
        print(f"created {tenant.name}")
    if len(before) == 1 and before != [name]:
        print(
            f"there are two tenants now: from here on every command and call must name one "
            f"(--tenant {before[0]}, or HEED_TENANT), unless its API key is bound to one",
            file=sys.stderr,
        )


@topics.command("list")
@connected
def list_topics(session: Session) -> None:
    """List the declared topics, retired ones too."""
    with session.connect() as client:
        found = client.list_topics()
        if session.json:
            for topic in found:
                print_json(topic)
            return
        print_table(
            ("topic", "class", "mandatory on", "opt-in", "undeclared beneath", "title", "revision"),
            (_topic_row(topic) for topic in found),
            empty="no topic is declared; every topic is promotional and opt-out",
        )


@topics.command("declare")
@connected
def declare_topic(
    session: Session,
    name: Name,
    topic_class: ClassWord,
    mandatory_on: MandatoryOn = None,
    requires_opt_in: RequiresOptIn = False,
    suppress_undeclared: SuppressUndeclared = False,
    title: Title = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Declare a topic, or tighten a declared one."""
    with session.connect() as client:
        answer = client.declare_topic(
            name,
            topic_class=topic_class,
            mandatory_channels=mandatory_on or (),
            requires_opt_in=requires_opt_in,
            suppress_undeclared=suppress_undeclared,
            title=title,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    _show_topic(session, answer)


@topics.command("loosen")
@connected
def loosen_topic(
    session: Session,
    name: Name,
    topic_class: ClassWord,
    reason: Why,
    mandatory_on: MandatoryOn = None,
    requires_opt_in: RequiresOptIn = False,
    suppress_undeclared: SuppressUndeclared = False,
    title: Title = "",
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Change a topic so that it may let more messages through, with a reason."""
    with session.connect() as client:
        answer = client.loosen_topic(
            name,
            topic_class=topic_class,
            reason=reason,
            mandatory_channels=mandatory_on or (),
            requires_opt_in=requires_opt_in,
            suppress_undeclared=suppress_undeclared,
            title=title,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    _show_topic(session, answer)


@topics.command("retire")
@connected
def retire_topic(
    session: Session,
    name: Name,
    reason: Why,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Retire a topic: it stays what it is, and its opt-outs stand."""
    with session.connect() as client:
        answer = client.retire_topic(
            name,
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    _show_topic(session, answer)


@holds.command("list")
@connected
def list_holds(session: Session) -> None:
    """List the holds that are not lifted, ended ones too."""
    with session.connect() as client:
        found = client.list_holds()
        if session.json:
            for hold in found:
                print_json(hold)
            return
        rows = (
            [
                hold.hold_id,
                "every" if hold.channel is None else word_of(hold.channel),
                hold.topic or "every",
                hold.campaign or "every",
                "mandatory messages" if hold.spares_mandatory else "",
                time_of(hold.end_time),
                hold.reason,
                hold.origin.source if hold.origin is not None else "",
                str(hold.revision),
            ]
            for hold in found
        )
        print_table(_HOLD_COLUMNS, rows, empty="there is no hold")


@holds.command("place")
@connected
def place_hold(
    session: Session,
    reason: Why,
    everything: Annotated[
        bool, typer.Option("--everything", help="Stop all messages: no channel, topic, campaign")
    ] = False,
    channel: OptionalChannel = None,
    topic: Topic = "",
    campaign: Annotated[str, typer.Option(help="Only messages of this campaign")] = "",
    end_time: EndTime = None,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Stop every message that matches all that is named."""
    names_something = bool(channel or topic or campaign)
    if names_something == everything:
        raise typer.BadParameter(
            "name a --channel, --topic or --campaign, or say --everything, not both"
        )
    with session.connect() as client:
        answer = client.place_hold(
            channel=channel,
            topic=topic,
            campaign=campaign,
            end_time=time_named(end_time, "end_time"),
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    _show_hold(session, answer, "placed")


@holds.command("lift")
@connected
def lift_hold(
    session: Session,
    hold_id: Annotated[str, typer.Argument(help="Its id, as `heed holds list` shows")],
    reason: Why,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Lift a hold: exactly what stood before stands again."""
    with session.connect() as client:
        answer = client.lift_hold(
            hold_id,
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    _show_hold(session, answer, "lifted")


def _show_topic(session: Session, answer: TopicAnswer) -> None:
    if session.json:
        print_json(answer)
        return
    topic = answer.topic
    retired = ", retired" if topic.retired else ""
    name = topic.name or "the root"
    print(f"{name}: {word_of(topic.topic_class)}{retired}, at revision {answer.revision}")


def _show_hold(session: Session, answer: HoldAnswer, did: str) -> None:
    if session.json:
        print_json(answer)
    else:
        print(f"{did} {hold_of(answer.hold)}, at revision {answer.revision}")


def _topic_row(topic: DeclaredTopic) -> list[str]:
    return [
        topic.name or "(root)",
        word_of(topic.topic_class) + (" (retired)" if topic.retired else ""),
        ", ".join(word_of(channel) for channel in sorted(topic.mandatory_channels)),
        "required" if topic.requires_opt_in else "",
        "suppressed" if topic.suppress_undeclared else "",
        topic.title,
        str(topic.revision),
    ]
