"""The values that every part of heed shares.

Laws of this module:
- It imports nothing that does I/O, reads no clock and makes no identifiers.
- Every value is checked where it is made; past that point nothing parses a string.
- Numbers of enums are the numbers of the contract (`protos/heed/v1/types.proto`) and of the log;
  they are never reused and never change.

Instants inside heed are whole microseconds since 1970-01-01T00:00:00Z (`Instant`); the library's
surface takes and gives aware datetimes (ADR 0004).
"""

import enum
from dataclasses import dataclass, field
from typing import NewType

from heed.hours import Hours

RULE_VERSION = 2
"""The version of the decision's rules (`heed.decide`); a follower of an older one asks upstream."""

NORMALISER_VERSION = 1
"""The version of the address normaliser (`heed.keys`)."""

Instant = NewType("Instant", int)
"""Microseconds since the Unix epoch, UTC."""

SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999, the last that a time is taken of."""

SUBJECT_CHARACTERS_MAX = 320
"""Characters of one identifier: 64 of an email's local part, `@`, 255 of its domain."""

REASON_CHARACTERS_MAX = 500
"""Characters of the reason of a hold, a suppression or an act."""

STILL_SENT_TOPICS_MAX = 100
"""Mandatory topics that an answer of SetPreference names."""

Revision = NewType("Revision", int)
"""The number of a change in a tenant's log: 1 is the first change, 0 is the empty log."""

TenantId = NewType("TenantId", int)
"""The store's number of a tenant; a tenant's name stands only at the edges."""

SubjectKey = NewType("SubjectKey", bytes)
"""The 16-byte keyed hash of a normalised subject under its tenant's lookup key (`heed.keys`)."""

TOPIC_ROOT = ""
"""The topic that covers every topic."""


class Channel(enum.IntEnum):
    """How a message travels. ANY stands only in scopes and means every message channel."""

    ANY = 1
    EMAIL = 2
    SMS = 3
    PUSH = 4
    VOICE = 5
    IN_APP = 6
    WHATSAPP = 7
    POSTAL = 8
    PROCESSING = 9
    """Uses that are not messages (analytics, profiling); never covered by ANY."""


class SubjectType(enum.IntEnum):
    """What kind of identifier names a recipient."""

    EMAIL = 1
    PHONE = 2
    USER = 3
    DEVICE = 4


class TopicClass(enum.IntEnum):
    """What a topic's messages are to the person who gets them, the least needed first."""

    PROMOTIONAL = 1
    TRANSACTIONAL = 2
    MANDATORY = 3


class Reach(enum.IntEnum):
    """Which classes a stop stops: every class whose number is not above its own."""

    PROMOTIONAL = 1
    TRANSACTIONAL = 2
    """Promotional and transactional."""
    ALL = 3
    """Mandatory too."""


class RecordKind(enum.IntEnum):
    """What a record is: four kinds of choice, or a reason not to send that is not a choice."""

    OPT_OUT = 1
    OPT_IN = 2
    PAUSE = 3
    SUPPRESSION = 4
    QUIET_HOURS = 5
    """Of rule version 2."""


OF_ONE_SLOT = frozenset({RecordKind.PAUSE, RecordKind.QUIET_HOURS})
"""The kinds that have one place for all reaches: the latest replaces the earlier."""


class Cause(enum.IntEnum):
    """Why a suppression stands. NONE is the cause of every record that is a choice."""

    NONE = 0
    BOUNCE = 1
    TEMPORARY_FAILURE = 2
    COMPLAINT = 3
    INVALID = 4
    LEGAL = 5
    MANUAL = 6


class Verdict(enum.IntEnum):
    """The answer. Anything that is not ALLOWED means: do not send."""

    ALLOWED = 1
    SUPPRESSED = 2


class Rule(enum.IntEnum):
    """The rules of `decide`, in the order in which they speak (design, section 3)."""

    HOLD = 1
    SUPPRESSION = 2
    OPT_OUT = 3
    MANDATORY = 4
    PAUSE = 5
    QUIET_HOURS = 10
    UNDECLARED_TOPIC = 6
    NO_CONSENT = 7
    OPT_IN = 8
    DEFAULT = 9


SUPPRESSING_RULES = frozenset(Rule) - {Rule.MANDATORY, Rule.OPT_IN, Rule.DEFAULT}

CHANNELS_OF_SUBJECT_TYPE: dict[SubjectType, tuple[Channel, ...]] = {
    SubjectType.EMAIL: (Channel.EMAIL,),
    SubjectType.PHONE: (Channel.SMS, Channel.VOICE, Channel.WHATSAPP),
    SubjectType.USER: (Channel.ANY,),
    SubjectType.DEVICE: (Channel.PUSH,),
}
"""The channels a suppression of such a subject covers when its scope names none."""

REACH_OF_CAUSE: dict[Cause, Reach] = {
    Cause.BOUNCE: Reach.ALL,
    Cause.TEMPORARY_FAILURE: Reach.TRANSACTIONAL,
    Cause.COMPLAINT: Reach.TRANSACTIONAL,
    Cause.INVALID: Reach.ALL,
    Cause.LEGAL: Reach.ALL,
    Cause.MANUAL: Reach.TRANSACTIONAL,
}
"""The reach of a suppression by its cause; a legal one may be given the narrower PROMOTIONAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A typed identifier of a recipient, as given; `heed.keys.normalise` makes it canonical."""

    type: SubjectType
    value: str = field(repr=False)
    """Not in the `repr`, which ends up in logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a record covers: a channel or any, and a topic with everything beneath it."""

    channel: Channel
    topic: str = TOPIC_ROOT


class ApprovalState(enum.IntEnum):
    """Where a call is that needs a second person."""

    PENDING = 1
    """It waits for one."""
    GRANTED = 2
    """Sent again, it is made."""
    REJECTED = 3
    EXPIRED = 4
    """Nobody granted it in time, or it was not made use of in time."""


@dataclass(frozen=True, slots=True)
class Record:
    """One standing choice or suppression of one subject.

    At one scope there is at most one record of each slot (`slot`); which of two candidates for a
    slot stands is `heed.records.merge`.
    """

    kind: RecordKind
    cause: Cause
    reach: Reach
    """What a stop reaches. An opt-in's reach says nothing and is always ALL."""
    channel: Channel
    topic: str
    decided_time: Instant
    """When the person decided, or when the cause of a suppression was seen."""
    end_time: Instant | None
    """From this instant on the record is not active; None: it never ends by itself."""
    revision: Revision
    """The change that last set this record."""
    quiet_hours: Hours | None = None
    """Of quiet hours; None: at hours that cannot be said, so every hour is quiet."""
    no_ask_until: Instant | None = None
    """Of an opt-out: until when its person is not to be asked to opt in again. Decides nothing."""

    @property
    def slot(self) -> tuple[RecordKind, Cause, Reach, Channel, str]:
        """The place of this record among its subject's; one for all reaches where they replace."""
        reach = Reach.ALL if self.kind in OF_ONE_SLOT else self.reach
        return (self.kind, self.cause, reach, self.channel, self.topic)

    def is_active(self, now: Instant) -> bool:
        """Whether the record's end, if it has one, is still ahead."""
        return self.end_time is None or now < self.end_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator's stop. All that it names must match a message; what it omits matches all."""

    hold_id: str
    channel: Channel | None = None
    """None: every channel, PROCESSING included. ANY: every message channel."""
    topic: str = TOPIC_ROOT
    campaign: str = ""
    """Empty: whatever the campaign."""
    end_time: Instant | None = None
    reason: str = ""
    revision: Revision = Revision(0)
    spares_mandatory: bool = False
    """Whether messages of the class mandatory pass it: so it is with the hold that a new epoch of a
    store opens under, and with no other."""

    def is_active(self, now: Instant) -> bool:
        """Whether the hold's end, if it has one, is still ahead."""
        return self.end_time is None or now < self.end_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A declared topic."""

    name: str
    topic_class: TopicClass = TopicClass.PROMOTIONAL
    mandatory_channels: frozenset[Channel] = frozenset()
    """Where a MANDATORY topic is mandatory; on every other channel it is transactional."""
    requires_opt_in: bool = False
    suppress_undeclared: bool = False
    """Whether messages about undeclared topics beneath this one are suppressed."""
    retired: bool = False
    title: str = ""
    revision: Revision = Revision(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the person was shown and did when they opted in."""

    notice: str
    notice_version: str
    act: str
    """What they did, in words: `ticked the box and pressed Save`."""
    language: str
    """BCP 47, for example `de-AT`."""
    truncated_ip: str = ""
    """An IPv4 network of /24 or shorter, or an IPv6 network of /48 or shorter; empty: not known."""


class Method(enum.IntEnum):
    """By what kind of act a choice reached us."""

    UNSPECIFIED = 0
    """Not said; recorded as such."""
    WEB_FORM = 1
    ONE_CLICK = 2
    REPLY = 3
    """A message of the person's: STOP, a mail to the unsubscribe address."""
    PHONE = 4
    IN_PERSON = 5
    API = 6
    OPERATOR = 7
    """An operator for reasons of their own: not an act of the person."""
    IMPORT = 8
    """A list from elsewhere: not an act of the person before us."""
    OFFERED = 9
    """A follower had it before a restore. Only ever told; no caller says so."""


ACTS_OF_THE_PERSON = frozenset(Method) - {
    Method.UNSPECIFIED,
    Method.OPERATOR,
    Method.IMPORT,
    Method.OFFERED,
}
"""The methods by which a person may weaken their own protection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who says so, how, from where, and when the person decided."""

    source: str
    """The system that says so: `preference-page`."""
    actor: str = ""
    """Who acted there: `person`, `agent:jane`."""
    method: Method = Method.UNSPECIFIED
    jurisdiction: str = ""
    """ISO 3166-1 or 3166-2: `DE`, `US-CA`."""
    reference: str = ""
    """The caller's own reference, kept as given."""
    decided_time: Instant | None = None
    """None: the commit time, which only a stop may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One message somebody wants to send; its subjects are named beside it."""

    channel: Channel
    topic: str = TOPIC_ROOT
    campaign: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """One voice of one rule."""

    rule: Rule
    subject: int | None = None
    """The position, in the query's subjects, of the subject whose record spoke."""
    record: Record | None = None
    hold: Hold | None = None
    until: Instant | None = None
    """Of quiet hours: when it is quiet no more, if that is known. Otherwise it is not said here:
    the end of what spoke is."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a query. `reasons[0]` is of the rule that won."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    undeclared_topic: bool = False
    topic_class: TopicClass = TopicClass.PROMOTIONAL

    @property
    def is_allowed(self) -> bool:
        """Whether the message may be sent."""
        return self.verdict is Verdict.ALLOWED


class ChoiceKind(enum.IntEnum):
    """What a person chooses at a scope."""

    OPT_OUT = 1
    OPT_IN = 2
    PAUSE = 3
    END_PAUSE = 4
    QUIET_HOURS = 5
    END_QUIET_HOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A person's choice at a scope, as asked for."""

    kind: ChoiceKind
    scope: Scope
    reach: Reach = Reach.PROMOTIONAL
    """Of a stop; neither a pause nor quiet hours reach ALL."""
    end_time: Instant | None = None
    """Of a pause: required. Of an opt-in: when the consent ends, None for never."""
    evidence: Evidence | None = None
    """Of an opt-in: required."""
    quiet_hours: Hours | None = None
    """Of quiet hours: required."""
    no_ask_until: Instant | None = None
    """Of an opt-out."""


class Effect(enum.IntEnum):
    """What a change did to what stands."""

    APPLIED = 1
    SUPERSEDED = 2
    """Logged, but something later (or a release) stands in its place: nothing else changed."""


class ChangeKind(enum.IntEnum):
    """What one entry of the log is about."""

    CHOICE = 1
    SUPPRESSION = 2
    RELEASE = 3
    TOPIC = 4
    HOLD = 5
    LIFT = 6
    ERASURE = 7
    REVERT = 8
    REKEY = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekey:
    """What became of keys: a lookup key began to be used, or a subject is known by another key."""

    key_id: int
    """The lookup key that is meant."""
    previous: SubjectKey | None = None
    """The key under which the subject stood; None: the change is of no subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What the erasure of one subject left, and what it took from the changes before it."""

    standing: tuple[Record, ...]
    """Every record that stands for the subject after it: the stops, and no opt-in."""
    changes_count: int
    """How many earlier changes it erased."""
    residues_hash: bytes
    """What is left of them, committed to (`heed.proof.residues_hash`); 32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of a tenant's log, as followers apply it: it carries what stands after it.

    CHOICE and SUPPRESSION carry `subject` and `record` (what stands in that slot after it, unless
    SUPERSEDED); RELEASE carries `subject` and the `record` that no longer stands; TOPIC `topic`;
    HOLD and LIFT `hold`; ERASURE carries `subject` and `erasure`, and all that stands for the
    subject after it is there.
    REVERT without `subject` begins the undoing of the batch `batch_id`; with
    one it carries the `record` that stands in the slot of the undone one since, or none, and in
    `asked` what stood there, if anything did. REKEY carries `rekey`: without `subject` a lookup key
    begins to be used; with one, all that stood under `rekey.previous` stands under it since.
    """

    revision: Revision
    commit_time: Instant
    kind: ChangeKind
    effect: Effect
    running_hash: bytes
    """SHA-256 over the running hash before and this change's leaf hash; 32 bytes."""
    subject: SubjectKey | None = None
    record: Record | None = None
    asked: Record | None = None
    """What was asked for, where `record` is not that; for people who read the log."""
    topic: Topic | None = None
    hold: Hold | None = None
    origin: Origin | None = None
    evidence: Evidence | None = None
    reason: str = ""
    batch_id: str = ""
    erasure: Erasure | None = None
    rekey: Rekey | None = None
    is_erased: bool = False
    """Whether a later change erased this one. Of what it said only what followers need is left:
    the record of a stop; who said so, how and why is gone, and so is every opt-in."""
    asked_by: str = ""
    """Of what needed a second person: the principal that asked."""
    approved_by: str = ""
    """The principal that granted it."""

    @property
    def slot_record(self) -> Record | None:
        """A record of the slot that it is about; None: it is about none."""
        is_emptied = self.kind is ChangeKind.REVERT and self.record is None
        return self.asked if is_emptied else self.record


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a tenant's log ends."""

    revision: Revision
    running_hash: bytes
    commit_time: Instant
    epoch: bytes = field(repr=False)
    """8 random bytes that name this life of the store; a restore makes new ones."""
    lookup_key_id: int = 1
    """The newest lookup key by then: subjects stand under it, or under one of those before."""
