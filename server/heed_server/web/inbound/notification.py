"""A notification as it is read: verified, and translated into what it stops.

Laws:
- An event only ever stops, or does nothing: what a provider has delivered, resubscribed or taken
  off its lists has no form here.
- What is not verified raises `NotVerifiedError`, and what is verified but malformed is
  `Unreadable`: neither is ever taken for nothing.
- No text here repeats an address.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from heed.formats import ImportedRow
from heed.formats.rows import RowRejectedError

OTHER: Final = "other"
"""The word of an event that is in no list of ours, and so never stops anything."""
EVENTS_MAX: Final = 10_000
"""Events of one notification; more is unreadable. SendGrid's largest batch has some 3,000."""
RECIPIENTS_MAX: Final = 1_000
"""Recipients of one event; SES takes 50 of a message."""

Record = Mapping[str, object]
"""An object of a notification, by its members."""

Read = Callable[[], ImportedRow | None]
"""Makes what one event stops; None: nothing. Raises RowRejectedError."""


class Why(enum.StrEnum):
    """Why a notification is not believed."""

    ABSENT = "absent"
    """There is no signature, or no password."""
    MALFORMED = "malformed"
    """What is there is none."""
    SIGNATURE = "signature"
    """It is of another key, or of other words."""
    PASSWORD = "password"  # noqa: S105 - the name of a reason
    STALE = "stale"
    """It was signed too long ago, or later than now."""
    REUSED = "reused"
    """What was signed came with other words before."""
    TOPIC = "topic"
    """It is of a topic that the source does not name."""
    VERSION = "version"
    """It is signed in a way that the source does not take."""
    CERTIFICATE = "certificate"
    """It names a certificate that is none of the provider's."""


class NotVerifiedError(Exception):
    """Nobody is known to have sent this."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class NotVerifiableError(Exception):
    """Whether it is verified cannot be told now: a certificate cannot be had."""


class NotReadableError(Exception):
    """It is verified, and malformed as a whole."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(description)
        self.field = field
        self.description = description


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What is wrong with one event: its field, and why."""

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a provider reports of one person."""

    word: str
    """The provider's word of it, of a closed list, else `OTHER`."""
    row: ImportedRow | None = None
    """What it stops; None: nothing."""
    unreadable: Unreadable | None = None


class Once(NamedTuple):
    """A token that is good for one notification."""

    token: str
    said: bytes
    """A hash of what came with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What one request reports."""

    events: tuple[Event, ...]
    reference: str = ""
    """The provider's own name of it, for the origin of what is recorded."""
    once: Once | None = None
    """Of a provider that signs nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """SNS asks whether notifications shall come, or says that they no longer do."""

    topic_arn: str
    url: str
    """Visiting it confirms the subscription, or begins an ended one again."""
    has_ended: bool


def decoded(body: bytes | str) -> Any:
    """Return the JSON of a text.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ValueError(str(error)) from None


def object_of(body: bytes) -> Record:
    """Return the object that a verified body is.

    Raises:
        NotReadableError: it is none.
    """
    try:
        said = decoded(body)
    except ValueError as error:
        raise NotReadableError("body", f"is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise NotReadableError("body", "is no object")
    return said


def member(record: Record, key: str, *, path: str = "") -> Record:
    """Return an object within one.

    Raises:
        RowRejectedError: there is none.
    """
    value = record.get(key)
    if not isinstance(value, dict):
        raise RowRejectedError(path + key, "is no object")
    return value


def members(record: Record, key: str, *, path: str = "") -> list[Record]:
    """Return the list of objects within one, at least one.

    Raises:
        RowRejectedError: there is none, or too many.
    """
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise RowRejectedError(path + key, "is no list of objects")
    if not 0 < len(value) <= RECIPIENTS_MAX:
        raise RowRejectedError(path + key, f"has {len(value)}, not 1 to {RECIPIENTS_MAX}")
    return value


def event_of(word: str, read: Read) -> Event:
    """Return an event by what `read` makes of it, or with what is wrong with it."""
    try:
        return Event(word=word, row=read())
    except RowRejectedError as error:
        return unreadable(word, error)


def unreadable(word: str, error: RowRejectedError) -> Event:
    """Return an event that is malformed."""
    said = Unreadable(field=error.field_name, description=error.description)
    return Event(word=word, unreadable=said)
