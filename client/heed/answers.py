"""What the library gives back, as plain values with aware UTC datetimes.

Laws:
- Only ALLOWED is allowed. Whatever this version does not know is read on the protective side
  (ADR 0010): an unknown verdict is suppressed, an unknown reach stops all, an unknown kind of
  record is a stop.
- An answer is never true or false by itself: `if client.check(…)` would read as "is it suppressed?"
  to one and as "may I?" to another, and a plain object would be true for both.
- No `repr` shows whom a value is about: it would end up in logs.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NoReturn

from heed.audit.claims import ReceiptClaim
from heed.hours import Hours
from heed.model import (
    ApprovalState,
    Cause,
    ChangeKind,
    Channel,
    Effect,
    Evidence,
    Reach,
    RecordKind,
    Rule,
    Scope,
    Subject,
    Topic,
    TopicClass,
    Verdict,
)
from heed.requests import Origin, Position


class AnswerSource(enum.StrEnum):
    """Who answered a check."""

    SERVER = "server"
    CACHE = "cache"
    """This host's cache, by what stands."""
    POLICY = "policy"
    """Nobody who knows: the cache was too old and no server answered. Suppressed, save for a topic
    last known as mandatory, which gets the cache's last known answer."""


class CacheState(enum.StrEnum):
    """What a cache may answer by itself (docs/cache.md)."""

    SYNCING = "syncing"
    """Nothing: it is not whole yet."""
    LIVE = "live"
    """Everything: it is younger than the max_staleness of every class."""
    STALE = "stale"
    """What is suppressed, and what is allowed of the classes whose max_staleness is not over."""
    EXPIRED = "expired"
    """What is suppressed, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One choice or suppression that stands for a person."""

    kind: RecordKind
    cause: Cause
    """Of a suppression: why. NONE on a choice."""
    reach: Reach
    """Which classes it stops. Says nothing on an opt-in."""
    scope: Scope
    decided_time: datetime | None
    """When the person decided, or when a suppression's cause was seen."""
    end_time: datetime | None
    """When it ends; None: it does not by itself."""
    revision: int
    """The change that last set it."""
    subject_index: int
    """Whose it is: the position among the subjects asked about, from 0."""
    active: bool
    """Whether its end, if it has one, was still ahead."""
    origin: Origin | None = None
    """Who said so; not in answers of a Check."""
    commit_time: datetime | None = None
    """When the change was committed; not in answers of a Check."""
    reason: str = ""
    """Why, in words, when the writer gave any; not in answers of a Check."""
    evidence: Evidence | None = None
    """What the person was shown and did; only on an opt-in, not in answers of a Check."""
    erased: bool = False
    """Whether who said so, how and why was erased; not in answers of a Check."""
    quiet_hours: Hours | None = None
    """Of quiet hours: when it is quiet; None: at every hour, for which they are is not known."""
    no_ask_until: datetime | None = None
    """Of an opt-out: until when the person is not to be asked to opt in again; None: not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator's stop. All that it names must match a message; what it omits matches all."""

    hold_id: str
    channel: Channel | None
    """None: every channel, PROCESSING included. ANY: every message channel."""
    topic: str
    campaign: str
    end_time: datetime | None
    reason: str
    revision: int
    commit_time: datetime | None = None
    origin: Origin | None = None
    spares_mandatory: bool = False
    """Whether messages of the class mandatory pass it, as with the hold that a restore opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One voice of one rule."""

    rule: Rule | None
    """None: a rule that this version of the library does not know."""
    record: Record | None = None
    """The record by which it spoke."""
    hold: Hold | None = None
    """The hold by which it spoke."""
    until_time: datetime | None = None
    """Until when it speaks, if that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Positioned:
    """Where in the log, and when, an answer was true."""

    revision: int
    """The last change that the answer knows."""
    now: datetime
    """The instant that the answer used as now."""
    rule_version: int
    """The version of the decision's rules."""
    token: str
    """Given to a later check, that check is answered at this revision or later, or fails."""


AsOf = Positioned | Position | datetime
"""When a decision is asked about: by an answer that was given, its position, or an instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer(Positioned):
    """Whether a message may be sent, and why. Say `answer.allowed`: it has no truth of its own."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    """The voices of the rule that won; `explain` adds those of every later rule that spoke."""
    undeclared_topic: bool
    """Whether the topic is undeclared, and took its class from its nearest declared ancestor."""
    topic_class: TopicClass
    """The class the message was judged by."""
    subjects_with_records: tuple[int, ...]
    """The positions of the subjects that had records, ascending."""
    source: AnswerSource = AnswerSource.SERVER
    """Who answered."""
    age: timedelta | None = None
    """How old the knowledge was at most, by a clock of this host that nobody sets; None: not said
    (a server's is within its own promise), or the cache never knew."""
    state: CacheState | None = None
    """The cache's state when it was asked; None: the client has none, or did not ask it."""

    @property
    def allowed(self) -> bool:
        """Whether the message may be sent."""
        return self.verdict is Verdict.ALLOWED

    @property
    def rule(self) -> Rule | None:
        """The rule that won; None: one that this version of the library does not know."""
        return self.reasons[0].rule if self.reasons else None

    def __bool__(self) -> NoReturn:
        message = "an answer is neither true nor false: say answer.allowed"
        raise TypeError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A choice or a suppression as the log has it."""

    record: Record
    effect: Effect
    """Whether it stands, or something decided later (or a release) does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Positioned):
    """What every write answers."""

    replayed: bool
    """Whether this is the first answer of an earlier call with the same key."""
    idempotency_key: str
    """The key that this call had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAnswer(Written):
    """Exactly what a person's choices did."""

    stored: tuple[Stored, ...]
    """For each subject in order, each choice in order."""
    standing: tuple[Record, ...]
    """Everything that stands now; after an opt-in also the opt-outs that still do."""
    still_sent: tuple[TopicClass, ...]
    """The classes of message that are still let through within the scopes named, ascending."""
    still_sent_mandatory_topics: tuple[str, ...]
    """The mandatory topics within those scopes that still let messages through, at most 100."""
    propagated: bool | None = None
    """Whether everybody who counts had applied it when the wait ended; None: not waited for."""
    waiting_for: tuple[str, ...] = ()
    """Who had not been heard to have applied it, at most 100 names."""
    receipt_claim: ReceiptClaim | None = None
    """What it left in the log: keep it, `heed.Client.get_receipt` asks by it. None: of a fake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSetAnswer(Written):
    """Exactly what the choices of several people did."""

    people: tuple[tuple[Stored, ...], ...]
    """What was stored for each of the people, in their order."""
    receipt_claim: ReceiptClaim | None = None
    """As of `SetAnswer`, for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedText:
    """A checkpoint, or a receipt, as a server gave it; `heed.audit` checks what it proves."""

    text: str
    verifier_key: str
    """The key that checks it, as the server says. Whoever verifies brings one of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences(Positioned):
    """What stands for a person."""

    records: tuple[Record, ...]
    """Ended ones too (`active` tells), by subject, kind, topic and channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricChange:
    """One change of the log about a person, as it was written."""

    revision: int
    commit_time: datetime | None
    kind: ChangeKind | None
    """What it is about; None: a kind that this version of the library does not know."""
    effect: Effect
    """Whether it stood from then on, or something later, or a release, stood in its place."""
    subject_index: int
    """Whose: the position among the subjects asked about, from 0."""
    asked: Record | None
    """What was asked for, as stored; of a release, the suppression that stood no more."""
    stood: Record | None
    """What stood in its place from then on, where that is not what was asked."""
    origin: Origin | None
    evidence: Evidence | None
    reason: str
    batch_id: str
    erased: bool = False
    """Whether who said so, how and why was erased since, and with it every opt-in."""
    asked_by: str = ""
    """Of what needed a second person, the principal that asked; empty: it needed none."""
    approved_by: str = ""
    """The principal that granted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicAnswer(Written):
    """A topic as it stands after a write."""

    topic: Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAnswer(Written):
    """The hold that was placed, or that no longer stands."""

    hold: Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionsAnswer(Written):
    """Each suppression as stored; one that covers several channels is several records."""

    stored: tuple[Stored, ...]
    """A record's `subject_index` is the position of its suppression in the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAnswer(Written):
    """What was released, and what still stands for that subject."""

    released: tuple[Record, ...]
    standing: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSubject:
    """What is kept of one identifier of a person."""

    subject: Subject | None = field(repr=False)
    """Readable, normalised; None: nothing is known of it, or it was erased."""
    erase_time: datetime | None
    """When it was erased last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDecision:
    """What would be decided of a message on one channel, about no topic in particular."""

    channel: Channel
    answer: CheckAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectExport:
    """All that is known of one person."""

    subjects: tuple[KnownSubject, ...]
    """In the order in which they were named; `subject_index` of the others is a position here."""
    standing: tuple[Record, ...]
    decisions: tuple[ChannelDecision, ...]
    changes: tuple[HistoricChange, ...]
    """Every change of the log about them, oldest first."""
    revision: int
    """Where the log stood at the first page; changes of later ones may follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The erasure of one identifier."""

    subject_index: int
    """Which: the position among the subjects named, from 0."""
    revision: int
    """The change that erased it, of this call or, where nothing was left to erase, of an earlier
    one."""
    erase_time: datetime
    """When that was committed. An opt-in decided then or before does nothing."""
    changes_erased: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureAnswer(Written):
    """What was erased of a person, and what stands on."""

    erasures: tuple[Erasure, ...]
    """One for each identifier of which anything was known."""
    standing: tuple[Record, ...]
    overwritten: bool
    """Whether it is overwritten in the database's files too; False: not yet (docs/privacy.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """A row that was not imported."""

    row: int
    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAnswer(Written):
    """What one chunk of a list did."""

    added: int
    strengthened: int
    unchanged: int
    superseded: int
    rejected: tuple[RejectedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant."""

    name: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRecord:
    """A record with its subject."""

    subject: Subject | None = field(repr=False)
    """Whose, normalised; None: no readable address is kept."""
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertAnswer(Written):
    """What undoing a batch did to the records that it had touched, or would do."""

    records: int
    released: int
    """Those in whose place nothing stands since."""
    restored: int
    """Those in whose place something else stands since."""
    unchanged: int
    """Those that stand as they did: others say the same, or something later does."""
    people: int
    newly_allowed: int
    """People to whom something may be sent within these scopes that could not before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesAnswer(Written):
    """How many suppressions stand no more, or would not."""

    released: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A call that needs a second person, or needed one."""

    approval_id: str
    method: str
    """The call that asked: `RevertBatch`."""
    idempotency_key: str
    """Its key: sent again with it, it goes on once it is granted."""
    state: ApprovalState
    about: str
    """What it is about: `batch import-6f1c…`."""
    reason: str
    shown: Mapping[str, int]
    """What it would do, by names of counts."""
    asked_by: str
    """The name of the principal that asked; another one may grant it."""
    ask_time: datetime
    expire_time: datetime
    decided_by: str
    """Who granted or rejected it; empty: nobody did."""
    decide_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """How a cache stands, and what this process did with it since it opened it."""

    state: CacheState
    age: timedelta | None
    """How old its knowledge is at most; None: it never knew, or knows another history."""
    revision: int
    """The last change that it took."""
    is_owner: bool
    """Whether this process follows the log; the others of the host read what it keeps."""
    answered: int
    """Checks answered here."""
    asked_upstream: int
    """Checks that a server answered."""
    answered_by_policy: int
    """Checks that neither could answer: suppressed, save for the next."""
    mandatory_by_policy: int
    """Those of them for a mandatory topic, answered by what was last known. To be alarmed on."""
    sampled: int
    """Answers of here that were compared with a server's."""
    disagreements: int
    """Comparisons in which they differed. To be alarmed on: it is 0."""
    inconclusive: int
    """Comparisons that said nothing, because the server was at a later revision."""
    streams: int
    """Streams opened."""
    resyncs: Mapping[str, int]
    """Snapshots that came or were asked for, by reason."""
    last_error: str
    """Why the last stream ended, or the folder could not be used."""
    proved_revision: int
    """With `verify`: up to here all that it took is what the log's key signed. 0 in a process that
    only reads."""
    told_by_hash: int
    """With `verify`: changes that were told by their hash alone, since they are beyond the filter,
    did nothing, or were erased: that they are in the log is proved, and not what they say."""
    disproved: int
    """With `verify`: how often what was told was not what was signed. To be alarmed on: it is 0."""
    offers_left: int
    """Earlier lives of the store of which this process may still have something to offer back."""
    offered: int
    """Records of them that the source took or had."""
