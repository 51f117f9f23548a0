"""What a caller of the library asks with, as plain values.

Laws:
- Every value is checked where it is made: words against their lists, times for their zone. All
  else is the server's to check, in one place, with every violation (`heed.wire`).
- Times are aware datetimes. One without a zone is refused, because the zone would be a guess.
- No `repr` shows whom a value is about: it would end up in logs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from heed.errors import invalid_field
from heed.hours import Hours, QuietPeriod, quiet_period
from heed.model import TOPIC_ROOT, Cause, Channel, Evidence, Method, Reach, Subject, SubjectType
from heed.names import named

Identifiers = str | Sequence[str] | None
"""One identifier of a kind, several, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who says so, how, from where, and when the person decided."""

    source: str
    """The system that says so: `preference-page`."""
    actor: str = ""
    """Who acted there: `person`, `agent:jane`. No address belongs here."""
    method: Method = Method.UNSPECIFIED
    """By what kind of act. Required for an opt-in, and to end or shorten a pause or quiet hours."""
    jurisdiction: str = ""
    """ISO 3166-1 or 3166-2: `DE`, `US-CA`."""
    reference: str = ""
    """The caller's own reference: `ticket 4711`. No address belongs here."""
    decided_time: datetime | None = None
    """When the person decided. None: the commit time, which only a stop may take."""

    def __post_init__(self) -> None:
        require_zone(self.decided_time, "origin.decided_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody, by the identifiers that are known of them."""

    email: Identifiers = field(default=None, repr=False)
    phone: Identifiers = field(default=None, repr=False)
    user: Identifiers = field(default=None, repr=False)
    device: Identifiers = field(default=None, repr=False)
    subjects: Sequence[Subject] = field(default=(), repr=False)

    def named_subjects(self) -> tuple[Subject, ...]:
        """Return all of them: emails, phones, users, devices, then `subjects`."""
        return subjects_of(
            email=self.email,
            phone=self.phone,
            user=self.user,
            device=self.device,
            subjects=self.subjects,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(Person):
    """One message that somebody wants to send, to one person.

    Name every identifier that is known of the person: naming one more never allows more.
    """

    channel: Channel | str
    topic: str = TOPIC_ROOT
    campaign: str = ""
    reference: str = ""
    """Your own name of the message, by which the server's decision log tells of it: a message id.
    No address belongs here. A cache answers without telling anybody."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in the log, and when, an answer was true: what an earlier answer said of itself."""

    revision: int
    """0: the empty log."""
    now: datetime | None = None
    """None: when that revision was committed."""
    rule_version: int = 0
    """0: that of the server."""
    token: str = ""
    """With it the log must be the one that gave the answer; empty: whatever log there is."""

    def __post_init__(self) -> None:
        require_zone(self.now, "now")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """Stop. It stands until the same person, later, opts back in there or more narrowly."""

    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT
    reach: Reach | str = Reach.PROMOTIONAL
    """Which classes it stops: promotional, transactional (both), or all (mandatory too)."""
    no_ask_until: datetime | None = None
    """Until when the person is not to be asked to opt in again; None: not said. It decides nothing,
    and no later opt-out there makes it earlier."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")
        named(Reach, self.reach, "reach")
        require_zone(self.no_ask_until, "no_ask_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptIn:
    """Let through again. The scope is never defaulted: consent is to something named."""

    channel: Channel | str
    topic: str
    evidence: Evidence
    end_time: datetime | None = None
    """When the consent ends; None: it does not."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")
        require_zone(self.end_time, "end_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Stop for a while. It replaces no opt-out; its end restores exactly what stood before."""

    end_time: datetime
    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT
    reach: Reach | str = Reach.PROMOTIONAL
    """Promotional or transactional: mandatory messages are not paused."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")
        named(Reach, self.reach, "reach")
        require_zone(self.end_time, "end_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndPause:
    """End, now, the person's own pause at exactly this scope."""

    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Stop at some hours of some days, by the clock of a time zone, until it is said otherwise.

    At one scope the latest replaces the earlier.
    """

    time_zone: str
    """A name of the IANA database: `Europe/Vienna`."""
    periods: Sequence[QuietPeriod | str]
    """When it is quiet, 1 to 7: `22:00-08:00`, `sat,sun 22:00-10:00`."""
    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT
    reach: Reach | str = Reach.PROMOTIONAL
    """Promotional or transactional: mandatory messages are sent at any hour."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")
        named(Reach, self.reach, "reach")
        self.hours()

    def hours(self) -> Hours:
        """Return the hours that are named."""
        if isinstance(cast("object", self.periods), str):
            raise invalid_field("periods", "takes a list; give ['22:00-08:00'], say")
        return Hours(
            time_zone=self.time_zone,
            periods=tuple(
                quiet_period(one) if isinstance(one, str) else one for one in self.periods
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndQuietHours:
    """End, now, the person's own quiet hours at exactly this scope."""

    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")


Choice = OptOut | OptIn | Pause | EndPause | QuietHours | EndQuietHours
"""What a person decides at a scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChoices(Person):
    """The choices of one person, recorded under each of their identifiers."""

    choices: Sequence[Choice]
    origin: Origin | None = None
    """None: the origin of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTarget:
    """What a link stops: messages to one subject, at a scope."""

    subject: Subject = field(repr=False)
    """Whom the message goes to: `heed.email("ada@example.com")`."""
    channel: Channel | str = Channel.ANY
    topic: str = TOPIC_ROOT
    """The topic and all beneath it; the root: every topic."""

    def __post_init__(self) -> None:
        named(Channel, self.channel, "channel")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTarget(Person):
    """Whose preference page a page link opens: name every identifier that is known of them."""

    jurisdiction: str = ""
    """ISO 3166-1 or 3166-2: `DE`, `US-CA`; recorded with what they choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A reason not to send that is not a choice, and whom it is about."""

    subject: Subject = field(repr=False)
    cause: Cause | str
    channel: Channel | str | None = None
    """None: the channels of the subject's type."""
    topic: str = TOPIC_ROOT
    reach: Reach | str | None = None
    """Only a legal one may say, and only promotional. None: the cause's own."""
    end_time: datetime | None = None
    """When it ends. Required for a temporary failure. None: when it is released."""
    reason: str = ""
    """Why, in words: `550 5.1.1 user unknown`. No address belongs here."""

    def __post_init__(self) -> None:
        named(Cause, self.cause, "cause")
        if self.channel is not None:
            named(Channel, self.channel, "channel")
        if self.reach is not None:
            named(Reach, self.reach, "reach")
        require_zone(self.end_time, "end_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedOptOut:
    """An opt-out of somebody on a list."""

    subject: Subject = field(repr=False)
    channel: Channel | str | None = None
    """None: the channels of the subject's type."""
    topic: str = TOPIC_ROOT
    reach: Reach | str = Reach.PROMOTIONAL

    def __post_init__(self) -> None:
        if self.channel is not None:
            named(Channel, self.channel, "channel")
        named(Reach, self.reach, "reach")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One row of a list: a stop, where it stands in the file, and since when it holds."""

    row: int
    """Its place in the file, from 1, given back with a rejection."""
    protection: ImportedOptOut | Suppression
    decided_time: datetime | None = None
    """When it was decided or seen. None: the time of the import."""

    def __post_init__(self) -> None:
        require_zone(self.decided_time, "decided_time")


def email(address: str) -> Subject:
    """Return the subject that an email address names."""
    return Subject(type=SubjectType.EMAIL, value=address)


def phone(number: str) -> Subject:
    """Return the subject that a phone number with its country code names: `+43 660 1234567`."""
    return Subject(type=SubjectType.PHONE, value=number)


def user(user_id: str) -> Subject:
    """Return the subject that a caller's own user id names."""
    return Subject(type=SubjectType.USER, value=user_id)


def device(device_id: str) -> Subject:
    """Return the subject that a caller's own device id or push token names."""
    return Subject(type=SubjectType.DEVICE, value=device_id)


def subjects_of(
    *,
    email: Identifiers,
    phone: Identifiers,
    user: Identifiers,
    device: Identifiers,
    subjects: Sequence[Subject],
) -> tuple[Subject, ...]:
    """Return every subject named, in this order. An empty string is kept, to be refused."""
    found: list[Subject] = []
    for type_, given in (
        (SubjectType.EMAIL, email),
        (SubjectType.PHONE, phone),
        (SubjectType.USER, user),
        (SubjectType.DEVICE, device),
    ):
        if given is None:
            continue
        values = (given,) if isinstance(given, str) else given
        found += [Subject(type=type_, value=value) for value in values]
    found += subjects
    return tuple(found)


def require_zone(instant: datetime | None, field: str) -> None:
    """Return if the time, where there is one, has a zone.

    Raises:
        InvalidArgumentError: it has none; `field` names the argument.
    """
    if instant is None or instant.utcoffset() is not None:
        return
    description = (
        f"{instant.isoformat()} has no time zone; give one, as `datetime.now(UTC)` "
        "or `when.replace(tzinfo=ZoneInfo('Europe/Vienna'))` do"
    )
    raise invalid_field(field, description)


def require_seconds(seconds: float | None, field: str) -> None:
    """Return if the length of time, where there is one, is a number of seconds.

    Raises:
        InvalidArgumentError: it is none, whatever the types say; `field` names the argument.
    """
    said = cast("object", seconds)
    match said:
        case None:
            return
        case int() if not isinstance(said, bool):
            return
        case float() if not math.isnan(said):
            return
        case timedelta():
            description = "takes a number of seconds, not a timedelta; give its `total_seconds()`"
        case float():
            description = "takes a number of seconds, and nan is none; give one, as 2.5"
        case _:
            description = f"takes a number of seconds, not a {type(said).__name__}; give 2.5, say"
    raise invalid_field(field, description)
