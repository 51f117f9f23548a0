"""The entry of the `heed` command: which commands there are."""

from pathlib import Path
from typing import Annotated

import typer

from heed.cli import (
    administering,
    approving,
    auditing,
    calling,
    choosing,
    clocking,
    doctoring,
    hooks,
    importing,
    linking,
    person,
    propagating,
    proving,
    suppressing,
    undoing,
)
from heed.cli.arguments import Devices, Emails, MessageChannel, Phones, Topic, Users
from heed.cli.checking import as_of_named, check_one, explain_one
from heed.cli.options import Session, connected
from heed.errors import invalid_field

app = typer.Typer(
    name="heed",
    help="May I send this, to this address, on this channel, about this topic, now?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show variables, and those hold addresses
)
THEN = "As of when"
Campaign = Annotated[str, typer.Option(help="The campaign it belongs to")]


@app.command()
@connected
def check(
    session: Session,
    file: Annotated[
        Path | None, typer.Argument(help="A list, CSV or JSON lines; - is stdin")
    ] = None,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: MessageChannel = None,
    topic: Topic = "",
    campaign: Campaign = "",
    reference: Annotated[
        str, typer.Option(help="Your own name of the message, for the server's decision log")
    ] = "",
    token: Annotated[
        str, typer.Option(help="Of an earlier answer: this one is of its revision or later")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="Where a checked list goes; stdout if not given")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Of a list, only these: allowed, suppressed, invalid")
    ] = None,
) -> None:
    """Ask whether a message may be sent: 0 allowed, 10 suppressed, anything else do not send.

    With a FILE, ask for every row of it: columns email, phone, user, device, address, channel,
    topic, campaign. The rows come out with verdict, rule and reason: 0 if all were answered, 6 if
    some are malformed.
    """
    if file is None:
        if output is not None or only is not None:
            raise invalid_field("file", "give a FILE with --output and --only")
        check_one(
            session,
            emails=emails,
            phones=phones,
            users=users,
            devices=devices,
            channel=channel,
            topic=topic,
            campaign=campaign,
            reference=reference,
            token=token,
        )
        return
    if emails or phones or users or devices or token or reference:
        raise invalid_field(
            "file", "give a FILE, or --email and the like with --token and --reference, not both"
        )
    from heed.cli.checking_files import check_file

    check_file(
        session,
        file,
        channel=channel,
        topic=topic,
        campaign=campaign,
        only=only,
        output=output,
    )


@app.command()
@connected
def explain(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    channel: MessageChannel = None,
    topic: Topic = "",
    campaign: Campaign = "",
    as_of: Annotated[
        str | None, typer.Option(help="An instant: 2026-03-01T09:00:00Z", rich_help_panel=THEN)
    ] = None,
    revision: Annotated[
        int | None,
        typer.Option(min=0, help="That of an answer or of the decision log", rich_help_panel=THEN),
    ] = None,
    now: Annotated[
        str | None, typer.Option(help="Its now; else its commit time", rich_help_panel=THEN)
    ] = None,
    rule_version: Annotated[
        int, typer.Option(min=0, help="Its version of the rules", rich_help_panel=THEN)
    ] = 0,
    token: Annotated[
        str, typer.Option(help="Its token: the history must be the same", rich_help_panel=THEN)
    ] = "",
) -> None:
    """Ask the same as check, and for every rule that spoke, with who said so and when.

    With --as-of, or with --revision and what else an answer told of its position, it is the
    decision of then.
    """
    explain_one(
        session,
        emails=emails,
        phones=phones,
        users=users,
        devices=devices,
        channel=channel,
        topic=topic,
        campaign=campaign,
        as_of=as_of_named(as_of, revision, now, rule_version, token),
    )


@app.command()
def version(
    json: Annotated[bool, typer.Option("--json", help="Answer in JSON")] = False,
) -> None:
    """Show the versions of heed and of what it stands on."""
    import platform
    from importlib import metadata

    from heed.cli.output import print_json

    versions = {name: metadata.version(name) for name in ("heed", "grpcio", "protobuf")}
    versions["python"] = platform.python_version()
    if json:
        print_json(versions)
    else:
        print(", ".join(f"{name} {number}" for name, number in versions.items()))


app.add_typer(choosing.app, name="set")
app.command("get")(choosing.get)
app.command("links")(linking.links)
app.command("page-links")(linking.page_links)
app.command("history")(auditing.history)
app.add_typer(administering.topics, name="topics")
app.add_typer(administering.holds, name="holds")
app.add_typer(suppressing.app, name="suppressions")
app.add_typer(administering.tenants, name="tenants")
app.add_typer(undoing.app, name="batches")
app.add_typer(approving.app, name="approvals")
app.command("import")(importing.import_list)
app.command("export")(suppressing.export)
app.command("export-subject")(person.export_subject)
app.command("erase")(person.erase)
app.command("propagation")(propagating.propagation)
app.command("deadlines")(clocking.deadlines)
app.add_typer(propagating.app, name="subscribers")
app.add_typer(hooks.app, name="webhooks")
app.add_typer(proving.app, name="audit")
app.command("call")(calling.call)
app.command("doctor")(doctoring.doctor)


def main() -> None:
    """Run the command of this process's arguments, and exit."""
    app()
