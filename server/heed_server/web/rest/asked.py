"""The bodies of requests, as JSON has them; each description here is the OpenAPI's too.

Laws:
- A member that is not here is refused, and so is one of another type: nothing is passed over.
- What a value may be is said here for whoever reads the OpenAPI, and held by `heed.wire`, as for
  every caller: an `extra_json_schema` says no more and no less than what is held there.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from heed.topics import TOPIC_CHARACTERS_MAX, TOPIC_LABEL_CHARACTERS_MAX, TOPIC_LABELS_MAX
from heed.wire import limits
from heed_server.web.rest import words
from heed_server.web.rest.words import Words

_LABEL: Final = rf"[a-z0-9_-]{{1,{TOPIC_LABEL_CHARACTERS_MAX}}}"
TOPIC_PATTERN: Final = rf"^(?:{_LABEL}(?:\.{_LABEL}){{0,{TOPIC_LABELS_MAX - 1}}})?$"
_CONTROL: Final = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_ASCII: Final = r"^[\u0020-\u007e]+$"
NUMBER_MAX: Final = (1 << 53) - 1
"""The largest number that every reader of JSON takes as it is."""
_SAYING: Final = rf"^[^{_CONTROL}]*[^{_CONTROL}\s][^{_CONTROL}]*$"
"""A text that says something."""
_IDENTIFIER: Final = r"^[^\u0000-\u001f\u007f-\u009f]+$"


def _one_of(taken: Words, meaning: str, example: str) -> Meta:
    return Meta(
        description=meaning, examples=[example], extra_json_schema={"enum": list(taken.all)}
    )


def _text(meaning: str, characters_max: int, example: str) -> Meta:
    schema = {"maxLength": characters_max, "pattern": f"^[^{_CONTROL}]*$"}
    return Meta(description=meaning, examples=[example], extra_json_schema=schema)


def _saying(meaning: str, example: str) -> Meta:
    schema = {"maxLength": limits.EVIDENCE_CHARACTERS_MAX, "pattern": _SAYING}
    return Meta(description=meaning, examples=[example], extra_json_schema=schema)


def _several(meaning: str, items_max: int, **schema: object) -> Meta:
    bounds = {"minItems": 1, "maxItems": items_max}
    return Meta(description=meaning, extra_json_schema={**bounds, **schema})


def _identifier(meaning: str, example: str, **schema: object) -> Meta:
    bounds = {"minLength": 1, "maxLength": limits.SUBJECT_CHARACTERS_MAX}
    return Meta(description=meaning, examples=[example], extra_json_schema={**bounds, **schema})


Tenant = Annotated[
    str | UnsetType,
    Meta(
        description="The tenant's name. Absent: the credential's, or the only one there is.",
        examples=["default"],
    ),
]
Topic = Annotated[
    str,
    Meta(
        description="A dotted path of lower-case labels, at most ten. Empty: every topic.",
        examples=["marketing.weekly"],
        extra_json_schema={"pattern": TOPIC_PATTERN, "maxLength": TOPIC_CHARACTERS_MAX},
    ),
]
Token = Annotated[
    str | UnsetType,
    Meta(
        description="The token of an earlier answer: this answer is of that revision or later, or "
        "there is none; it is never from before.",
        extra_json_schema={"format": "heed-token"},
    ),
]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a request. Written again it has no member that it did not have (`reading`)."""


class Subject(Body, frozen=True, kw_only=True):
    """One identifier of a person: exactly one member. heed links none: name every one you know."""

    email: Annotated[
        str | UnsetType, _identifier("An email address.", "ada@example.com", format="email")
    ] = UNSET
    phone: Annotated[
        str | UnsetType,
        _identifier("A phone number with its country code.", "+43 660 1234567", format="phone"),
    ] = UNSET
    user: Annotated[
        str | UnsetType,
        _identifier("Your own identifier of a user.", "u-4711", pattern=_IDENTIFIER),
    ] = UNSET
    device: Annotated[
        str | UnsetType,
        _identifier(
            "Your own identifier of a device or push token.", "push-7f3a", pattern=_IDENTIFIER
        ),
    ] = UNSET


Subjects = Annotated[
    list[Subject],
    _several(
        "Every identifier known of one person. Naming one more never allows more.",
        limits.SUBJECTS_MAX,
    ),
]
DistinctSubjects = Annotated[
    list[Subject],
    _several(
        "Every identifier known of one person, each once.", limits.SUBJECTS_MAX, uniqueItems=True
    ),
]


class Query(Body, frozen=True, kw_only=True):
    """One message that somebody wants to send."""

    subjects: Subjects
    channel: Annotated[
        str, _one_of(words.MESSAGE_CHANNELS, "How the message would travel.", "email")
    ]
    topic: Topic = ""
    campaign: Annotated[
        str,
        _text(
            "Your name of the campaign it belongs to, which a hold can name.",
            limits.CAMPAIGN_CHARACTERS_MAX,
            "spring-sale",
        ),
    ] = ""
    reference: Annotated[
        str,
        _text(
            "Your own name of this message, by which the decision log has it. No address belongs "
            "here. It decides nothing.",
            limits.MESSAGE_REFERENCE_CHARACTERS_MAX,
            "message-20261127-8",
        ),
    ] = ""


class Check(Query, frozen=True, kw_only=True):
    """Asks whether one message may be sent now."""

    token: Token = UNSET
    tenant: Tenant = UNSET


class CheckBatch(Body, frozen=True, kw_only=True):
    """Asks the same of many messages, all at one revision."""

    queries: Annotated[list[Query], _several("The messages.", limits.QUERIES_MAX)]
    token: Token = UNSET
    tenant: Tenant = UNSET


Channel = Annotated[
    str,
    _one_of(
        words.CHANNELS,
        "How messages travel. `any`: every message channel, which `processing` is not.",
        "email",
    ),
]
WaitSeconds = Annotated[
    float | UnsetType,
    Meta(
        description="How many seconds the answer may wait until every subscriber has applied what "
        "was written. The write never fails for waiting; the key does not name it.",
        examples=[2.5],
        extra_json_schema={"minimum": 0, "maximum": limits.WAIT_PROPAGATED_SECONDS_MAX},
    ),
]


def _time(meaning: str, example: str) -> Meta:
    schema = {"format": "date-time", "pattern": "^(?:19[7-9][0-9]|[2-9][0-9]{3})-"}
    return Meta(description=meaning, examples=[example], extra_json_schema=schema)


def _clock(meaning: str, example: str) -> Meta:
    schema = {"pattern": "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"}
    return Meta(description=meaning, examples=[example], extra_json_schema=schema)


class Scope(Body, frozen=True, kw_only=True):
    """What a choice is about: a channel, and a topic with everything beneath it."""

    channel: Channel = "any"
    topic: Topic = ""


Scopes = Annotated[
    list[Scope],
    _several(
        "What it is about, each scope once. Absent: everything.",
        limits.CHOICES_MAX,
        uniqueItems=True,
    ),
]
OptOutReach = Annotated[
    str,
    _one_of(
        words.REACHES,
        "Which classes of message it stops: promotional ones, transactional ones too, or all, "
        "mandatory ones too, which is what STOP means on a phone.",
        "promotional",
    ),
]
PauseReach = Annotated[
    str,
    _one_of(
        words.PAUSE_REACHES,
        "Which classes of message it stops: promotional ones, or transactional ones too.",
        "promotional",
    ),
]
Source = Annotated[
    str,
    Meta(
        description="The system that says so.",
        examples=["preference-page"],
        extra_json_schema={
            "maxLength": limits.SOURCE_CHARACTERS_MAX,
            "pattern": _SAYING,
        },
    ),
]
Actor = Annotated[
    str,
    _text("Who acted there. No address belongs here.", limits.ACTOR_CHARACTERS_MAX, "agent:jane"),
]
Jurisdiction = Annotated[
    str,
    Meta(
        description="Where the person is, ISO 3166-1 or 3166-2. Empty: not known.",
        examples=["US-CA"],
        extra_json_schema={"pattern": "^(?:[A-Z]{2}(?:-[A-Z0-9]{1,3})?)?$"},
    ),
]
Reference = Annotated[
    str,
    _text(
        "Your own reference. No address belongs here.",
        limits.REFERENCE_CHARACTERS_MAX,
        "ticket 4711",
    ),
]
DecidedTime = Annotated[
    str | UnsetType,
    _time(
        "When the person decided. Absent: when it is committed, which only stops may take.",
        "2026-03-01T12:00:00Z",
    ),
]


class Origin(Body, frozen=True, kw_only=True):
    """Who says so, how, from where, and when the person decided."""

    source: Source
    actor: Actor = ""
    method: Annotated[
        str | UnsetType, _one_of(words.METHODS, "By what kind of act it was said.", "web_form")
    ] = UNSET
    jurisdiction: Jurisdiction = ""
    reference: Reference = ""
    decided_time: DecidedTime = UNSET


class Act(Body, frozen=True, kw_only=True):
    """Who says so, where what is said needs an act of the person."""

    source: Source
    method: Annotated[
        str, _one_of(words.PERSONAL_METHODS, "By what act the person said it.", "web_form")
    ]
    actor: Actor = ""
    jurisdiction: Jurisdiction = ""
    reference: Reference = ""
    decided_time: DecidedTime = UNSET


class Decided(Body, frozen=True, kw_only=True):
    """Who says so, where what is said needs an act of the person, and the time of it."""

    source: Source
    method: Annotated[
        str, _one_of(words.PERSONAL_METHODS, "By what act the person said it.", "web_form")
    ]
    decided_time: Annotated[
        str, _time("When the person decided: not ahead of now.", "2026-03-01T12:00:00Z")
    ]
    actor: Actor = ""
    jurisdiction: Jurisdiction = ""
    reference: Reference = ""


class Evidence(Body, frozen=True, kw_only=True):
    """What the person was shown and did when they opted in."""

    notice: Annotated[
        str, _saying("The words or the document they were shown.", "newsletter-consent")
    ]
    notice_version: Annotated[str, _saying("Its version.", "2026-03")]
    act: Annotated[str, _saying("What they did.", "ticked the box and pressed Save")]
    language: Annotated[
        str,
        Meta(
            description="The language it was in, BCP 47.",
            examples=["de-AT"],
            extra_json_schema={
                "maxLength": limits.EVIDENCE_CHARACTERS_MAX,
                "pattern": "^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$",
            },
        ),
    ]
    truncated_ip: Annotated[
        str,
        Meta(
            description="The network they came from: IPv4 of /24 or shorter, IPv6 of /48 or "
            "shorter, without bits of a host. Empty: not known.",
            examples=["192.0.2.0/24"],
            extra_json_schema={"format": "heed-network"},
        ),
    ] = ""


class OptOuts(Body, frozen=True, kw_only=True):
    """Stops messages to one person, until they opt back in at the same or a narrower scope."""

    subjects: DistinctSubjects
    origin: Origin
    scopes: Scopes | UnsetType = UNSET
    reach: OptOutReach = "promotional"
    no_ask_until: Annotated[
        str | UnsetType,
        _time(
            "Until when the person is not to be asked to opt in again, after the decided time. "
            "Kept for pages that would ask; it decides nothing.",
            "2099-01-01T00:00:00Z",
        ),
    ] = UNSET
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class OptIns(Body, frozen=True, kw_only=True):
    """Lets messages through again. It needs evidence, and the right `consent`."""

    subjects: DistinctSubjects
    origin: Decided
    evidence: Evidence
    scopes: Scopes | UnsetType = UNSET
    end_time: Annotated[
        str | UnsetType,
        _time("When the consent ends. Absent: it does not.", "2099-01-01T00:00:00Z"),
    ] = UNSET
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class Pauses(Body, frozen=True, kw_only=True):
    """Stops messages for a while. It replaces no opt-out."""

    subjects: DistinctSubjects
    origin: Origin
    end_time: Annotated[str, _time("When it ends.", "2099-01-01T00:00:00Z")]
    scopes: Scopes | UnsetType = UNSET
    reach: PauseReach = "promotional"
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class QuietPeriod(Body, frozen=True, kw_only=True):
    """Quiet from one time of a day to another, by the clock of the person's wall."""

    start: Annotated[str, _clock("When it begins.", "22:00")]
    end: Annotated[
        str,
        _clock("When it ends. Not after `start`: on the next day; the same: a day later.", "08:00"),
    ]
    days: Annotated[
        list[Annotated[str, _one_of(words.DAYS, "A day of the week.", "monday")]],
        Meta(
            description="The days on which it begins. Empty: every day.",
            extra_json_schema={"maxItems": len(words.DAYS.all), "uniqueItems": True},
        ),
    ] = []


class QuietHours(Body, frozen=True, kw_only=True):
    """Stops messages at some hours of some days. It replaces no opt-out and no pause."""

    subjects: DistinctSubjects
    origin: Origin
    time_zone: Annotated[
        str,
        Meta(
            description="The zone of that clock, a name of the IANA database.",
            examples=["Europe/Vienna"],
            extra_json_schema={"format": "heed-time-zone"},
        ),
    ]
    periods: Annotated[list[QuietPeriod], _several("When it is quiet.", limits.QUIET_PERIODS_MAX)]
    scopes: Scopes | UnsetType = UNSET
    reach: PauseReach = "promotional"
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class EndedQuietHours(Body, frozen=True, kw_only=True):
    """Ends, now, the person's own quiet hours at these scopes."""

    subjects: DistinctSubjects
    origin: Act
    scopes: Scopes | UnsetType = UNSET
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class EndedPauses(Body, frozen=True, kw_only=True):
    """Ends, now, the person's own pauses at these scopes."""

    subjects: DistinctSubjects
    origin: Act
    scopes: Scopes | UnsetType = UNSET
    wait_propagated_seconds: WaitSeconds = UNSET
    tenant: Tenant = UNSET


class Lookup(Body, frozen=True, kw_only=True):
    """Asks what stands for a person."""

    subjects: DistinctSubjects
    tenant: Tenant = UNSET


class Applied(Body, frozen=True, kw_only=True):
    """Says how far the reader of a stream has applied it."""

    stream_id: Annotated[
        str,
        Meta(
            description="That of the event `opened`.",
            extra_json_schema={"maxLength": limits.STREAM_ID_CHARACTERS_MAX, "pattern": _ASCII},
        ),
    ]
    probe: Annotated[
        int,
        Meta(
            description="Given back by a heartbeat once all was told that was known when it came. "
            "Ascending, from 1.",
            examples=[1],
            extra_json_schema={"minimum": 1, "maximum": NUMBER_MAX},
        ),
    ]
    applied_revision: Annotated[
        int,
        Meta(
            description="The revision that was applied.",
            examples=[17],
            extra_json_schema={"minimum": 0, "maximum": NUMBER_MAX},
        ),
    ]
    tenant: Tenant = UNSET
