"""Who reports, as a file says: sources of notifications, how each is verified, what it does.

    [[source]]
    name = "ses"                     # POST /inbound/ses
    provider = "ses"
    tenant = "default"
    topic_arns = ["arn:aws:sns:eu-west-1:123456789012:bounces"]

    [[source]]
    name = "postmark"
    provider = "postmark"
    tenant = "default"
    user = "heed"
    secret_files = ["postmark.password"]

Laws:
- A source is verified, or it is refused: there is none that anybody may report as.
- A file with anything unknown or contradictory in it is refused whole.
"""

import enum
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from heed.errors import FieldViolation, InvalidArgumentError
from heed.formats import Options
from heed.model import Channel, Instant, Reach
from heed.topics import validate_topic

SOURCES_MAX: Final = 100
"""Sources in the file: each has counters of its own."""
SECRETS_MAX: Final = 4
"""Keys of one source that are good at once, so that one can be replaced."""
TOPIC_ARNS_MAX: Final = 20
"""Topics of one source."""
LABELS_MAX: Final = 1_000
"""Labels of a provider that one source maps to topics."""

_HOUR: Final = 3_600_000_000


class Provider(enum.StrEnum):
    """Who sends mail, and reports what became of it."""

    SES = "ses"
    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"
    POSTMARK = "postmark"


class OptOutChannel(enum.StrEnum):
    """What a person's word to a provider of mail stops."""

    EMAIL = "email"
    ANY = "any"


class OptOutReach(enum.StrEnum):
    """The classes that it stops; `all` is not for a provider to say."""

    PROMOTIONAL = "promotional"
    TRANSACTIONAL = "transactional"


class SignatureVersion(enum.IntEnum):
    """How SNS signs, as the topic's attribute `SignatureVersion` says."""

    SHA1 = 1
    SHA256 = 2


_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]
_Arn = Annotated[str, msgspec.Meta(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w.-]{1,256}$")]
_Hours = Annotated[int, msgspec.Meta(ge=0, le=8_760)]


class OptOutScope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a person's word to a provider stands, unless its label is mapped."""

    channel: OptOutChannel = OptOutChannel.EMAIL
    topic: str = ""
    reach: OptOutReach | None = None
    """None: as wide as the provider's own stop, the same as of its files (docs/imports.md)."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One who reports."""

    name: _Name
    """The end of its address, and the name of who acts, for logs and counters."""
    provider: Provider
    tenant: _Text
    secret_files: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=SECRETS_MAX)] = ()
    """What it is verified by, each good: SendGrid's public keys, Mailgun's signing keys, passwords.
    Relative to the file's folder; read again when they change."""
    user: str = ""
    """Of the password: what stands before it in the address that the provider is told."""
    topic_arns: Annotated[tuple[_Arn, ...], msgspec.Meta(max_length=TOPIC_ARNS_MAX)] = ()
    """SNS: the topics that are believed."""
    certificates_file: str = ""
    """SNS: the certificates that are believed, PEM. Empty: they are got from SNS by https."""
    signature_versions: Annotated[frozenset[SignatureVersion], msgspec.Meta(min_length=1)] = (
        frozenset(SignatureVersion)
    )
    """SNS: which signatures are believed."""
    confirm: bool = False
    """SNS: whether a subscription of these topics is confirmed when it asks; else it is logged."""
    opt_out: OptOutScope = OptOutScope()
    topics: Annotated[dict[str, str], msgspec.Meta(max_length=LABELS_MAX)] = {}
    """Our topic of each label of the provider's: a SendGrid group's id, a Postmark stream, a topic
    of an SES contact list."""
    temporary_failure_hours: _Hours = 24
    """How long a failure suppresses that may pass, once the provider gave up; 0: not at all."""
    deferral_hours: _Hours = 0
    """The same of one where the provider tries again by itself."""
    jurisdiction: Annotated[str, msgspec.Meta(pattern=r"^$|^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = ""
    """Whose deadlines the opt-outs have; empty: it is not known."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    source: Annotated[tuple[Source, ...], msgspec.Meta(max_length=SOURCES_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a notification is read by: its source, and when it came."""

    source: Source
    now: Instant

    def options(self) -> Options:
        """Return where opt-outs stand, as the readers of files take it."""
        said = self.source.opt_out
        return Options(
            day_end=self.now,
            topic=said.topic,
            channel=Channel[said.channel.name],
            topics=self.source.topics,
        )

    def reach(self, own: Reach) -> Reach:
        """Return how wide an opt-out is: as the source says, else the provider's own."""
        said = self.source.opt_out.reach
        return own if said is None else Reach[said.name]

    def end_of(self, hours: int, seen: Instant | None) -> Instant:
        """Return when a failure seen then, or now, stops suppressing."""
        return Instant(min(self.now if seen is None else seen, self.now) + hours * _HOUR)


def parse_sources(text: str, *, origin: str) -> tuple[Source, ...]:
    """Read the file, which `origin` names in messages.

    Raises:
        InvalidArgumentError: anything in it is unknown, missing or contradictory.
    """
    try:
        file = msgspec.toml.decode(text, type=_File)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise refusal(origin, str(error)) from None
    seen: set[str] = set()
    for source in file.source:
        said = "is there twice" if source.name in seen else _wrong_with(source)
        if said:
            raise refusal(origin, f"the source {source.name!r} {said}")
        seen.add(source.name)
    return file.source


def refusal(origin: str, said: str) -> InvalidArgumentError:
    """Return the error for a file that cannot be used."""
    return InvalidArgumentError(
        f"{origin}: {said}", violations=[FieldViolation("inbound.file", said)]
    )


def _wrong_with(source: Source) -> str:
    """What contradicts itself in a source; empty: nothing."""
    of_sns = bool(
        source.topic_arns
        or source.certificates_file
        or source.confirm
        or source.signature_versions != frozenset(SignatureVersion)
    )
    if source.provider is Provider.SES:
        if not source.topic_arns:
            return "needs topic_arns: the SNS topics that SES publishes to"
        if bool(source.user) != bool(source.secret_files):
            return "needs user and secret_files, both or neither"
    elif of_sns:
        return "has topic_arns, certificates_file, signature_versions or confirm, which are of SES"
    elif not source.secret_files:
        return "needs secret_files: what its notifications are verified by"
    if source.provider is Provider.POSTMARK and not source.user:
        return "needs user: what stands before the password in the address"
    if source.provider in {Provider.SENDGRID, Provider.MAILGUN} and source.user:
        return "has a user, which is of SES and Postmark"
    if ":" in source.user or not source.user.isprintable():
        return "has a user with a colon, or with what cannot be printed"
    return _wrong_topic(source)


def _wrong_topic(source: Source) -> str:
    for label, topic in (("opt_out", source.opt_out.topic), *source.topics.items()):
        try:
            validate_topic(topic)
        except InvalidArgumentError as error:
            return f"has no topic at {label!r}: {error.violations[0].description}"
    return ""
