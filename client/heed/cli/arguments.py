"""The arguments that several commands share, and how they become the library's values."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from heed.errors import invalid_field
from heed.model import Channel, Method, Subject, SubjectType
from heed.names import named, word_of, words_of
from heed.requests import Identifiers, Origin, subjects_of

WHOM = "Whom it is about"
WHO_SAYS = "Who says so"

_MESSAGE_CHANNELS = [word for word in words_of(Channel) if word != "any"]

Emails = Annotated[
    list[str] | None, typer.Option("--email", help="An email address", rich_help_panel=WHOM)
]
Phones = Annotated[
    list[str] | None,
    typer.Option("--phone", help="A phone number: +43 660 1234567", rich_help_panel=WHOM),
]
Users = Annotated[list[str] | None, typer.Option("--user", help="A user id", rich_help_panel=WHOM)]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", help="A device id or push token", rich_help_panel=WHOM),
]
Topic = Annotated[str, typer.Option(help="A topic: marketing.weekly; empty: every topic")]
ScopeChannel = Annotated[
    str, typer.Option("--channel", help=f"One of {', '.join(words_of(Channel))}")
]
OptionalChannel = Annotated[
    str | None, typer.Option("--channel", help=f"One of {', '.join(words_of(Channel))}")
]
MessageChannel = Annotated[
    str | None,
    typer.Option(
        "--channel",
        help=f"How it travels, one of {', '.join(_MESSAGE_CHANNELS)}; email for an --email, "
        "sms for a --phone, push for a --device; to be said for a --user",
    ),
]
Source = Annotated[
    str,
    typer.Option(help="The system that says so: preference-page", rich_help_panel=WHO_SAYS),
]
Actor = Annotated[
    str, typer.Option(help="Who acted there: person, agent:jane", rich_help_panel=WHO_SAYS)
]
_METHOD_WORDS = [word for word in words_of(Method) if word != word_of(Method.OFFERED)]
"""What a caller may say; the other is only told."""
MethodWord = Annotated[
    str | None,
    typer.Option(
        "--method",
        help=f"By what kind of act: {', '.join(_METHOD_WORDS)}",
        rich_help_panel=WHO_SAYS,
    ),
]
Jurisdiction = Annotated[
    str, typer.Option(help="Where the person is: DE, US-CA", rich_help_panel=WHO_SAYS)
]
Reference = Annotated[
    str, typer.Option(help="Your own reference: ticket 4711", rich_help_panel=WHO_SAYS)
]
DecidedTime = Annotated[
    str | None,
    typer.Option(
        help="When it was decided or seen: 2026-03-01T09:00:00+01:00", rich_help_panel=WHO_SAYS
    ),
]
EndTime = Annotated[str | None, typer.Option(help="When it ends: 2026-04-01T00:00:00Z")]
IdempotencyKey = Annotated[
    str | None, typer.Option(help="Names this call for ever; a new one if not given")
]
Why = Annotated[str, typer.Option("--reason", help="Why, in words")]

DEFAULT_SOURCE = "heed-cli"

_CHANNEL_OF_TYPE = {
    SubjectType.EMAIL: Channel.EMAIL,
    SubjectType.PHONE: Channel.SMS,
    SubjectType.DEVICE: Channel.PUSH,
}


def subjects_named(
    emails: Identifiers, phones: Identifiers, users: Identifiers, devices: Identifiers
) -> tuple[Subject, ...]:
    """Return whom the options name.

    Raises:
        InvalidArgumentError: nobody.
    """
    subjects = subjects_of(email=emails, phone=phones, user=users, device=devices, subjects=())
    if not subjects:
        raise invalid_field("subjects", "name somebody: --email, --phone, --user or --device")
    return subjects


def channel_or_own(channel: str | None, subjects: tuple[Subject, ...]) -> Channel:
    """Return the channel, or the one by which the first subject is reached.

    Raises:
        InvalidArgumentError: none is said, and a user is reached by many.
    """
    if channel is not None:
        said = named(Channel, channel, "channel")
        if said is Channel.ANY:
            raise invalid_field(
                "channel",
                f"any is not how a message travels; name one of {', '.join(_MESSAGE_CHANNELS)}",
            )
        return said
    own = _CHANNEL_OF_TYPE.get(subjects[0].type) if subjects else None
    if own is None:
        raise invalid_field("channel", "say how it would travel: --channel")
    return own


def time_named(text: str | None, field: str) -> datetime | None:
    """Return the time that a text says, in ISO 8601 with its zone.

    Raises:
        InvalidArgumentError: it says none, or has no zone.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_field(
            field, f"{text[:40]!r} is no time; write it like 2026-03-01T09:00:00+01:00"
        ) from None
    if instant.utcoffset() is None:
        raise invalid_field(field, f"{text[:40]!r} has no zone; add Z for UTC, or +01:00")
    return instant.astimezone(UTC)


def origin_named(
    *,
    source: str,
    actor: str = "",
    method: str | None = None,
    jurisdiction: str = "",
    reference: str = "",
    decided_time: str | None = None,
) -> Origin:
    """Return who says so."""
    return Origin(
        source=source,
        actor=actor,
        method=Method.UNSPECIFIED if method is None else named(Method, method, "method"),
        jurisdiction=jurisdiction,
        reference=reference,
        decided_time=time_named(decided_time, "decided_time"),
    )
