"""The requests as values: translated, bounded, their subjects normalised but not yet keyed.

A tenant's lookup key is not the wire's to know, so what is keyed is made of these by the service.
"""

from dataclasses import dataclass
from typing import NamedTuple

from heed.acts import Offered
from heed.audit.claims import ReceiptClaim
from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import (
    Cause,
    Channel,
    Choice,
    Hold,
    Instant,
    Origin,
    Query,
    Reach,
    RecordKind,
    Revision,
    Scope,
    Subject,
    SubjectType,
    Topic,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCall:
    """What every write says of itself."""

    tenant: str
    idempotency_key: str
    payload_hash: bytes
    """SHA-256 over the method and everything else the call says; equal for equal payloads."""
    dry_run: bool = False
    """Only say what it would do: no change, and the key stays free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAsked:
    """The choices of one person, under each of their identifiers."""

    subjects: tuple[Subject, ...]
    choices: tuple[Choice, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesAsked:
    """SetPreference (one person) or BatchSetPreferences."""

    call: WriteCall
    people: tuple[PersonAsked, ...]
    batch_id: str = ""
    wait_seconds: float | None = None
    """How long the answer may wait until everybody has applied it; None: it does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonQuery:
    """GetPreferences."""

    tenant: str
    subjects: tuple[Subject, ...]


class LinkTarget(NamedTuple):
    """What one link stops."""

    subject: Subject
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksAsked:
    """MakeLinks."""

    tenant: str
    targets: tuple[LinkTarget, ...]


class PageTarget(NamedTuple):
    """Whose page one page link opens."""

    subjects: tuple[Subject, ...]
    jurisdiction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLinksAsked:
    """MakePageLinks."""

    tenant: str
    targets: tuple[PageTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOfPosition:
    """As of the position of an earlier answer."""

    revision: Revision
    now: Instant | None
    """None: when that revision was committed."""
    rule_version: int
    """0: the server's."""
    token: str
    """Empty: of whatever history the log has."""


AsOf = AsOfPosition | Instant
"""When a decision is asked about; of an instant, at the last revision committed by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainAsked:
    """Explain."""

    tenant: str
    subjects: tuple[Subject, ...]
    query: Query
    as_of: AsOf | None = None
    """None: now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryAsked:
    """GetHistory, or ExportSubject."""

    tenant: str
    subjects: tuple[Subject, ...]
    page_size: int
    after: Revision
    """Where the page before ended."""


class ProtectionAsked(NamedTuple):
    """One stop at one scope of one subject; a suppression of several channels is several.

    A named tuple, since a list has a million of them: a quarter of a frozen dataclass's time.
    """

    subject: Subject
    cause: Cause
    reach: Reach
    scope: Scope
    decided_time: Instant | None
    end_time: Instant | None
    reason: str
    row: int
    """The position in the request, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionsAsked:
    """AddSuppressions."""

    call: WriteCall
    protections: tuple[ProtectionAsked, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """A row of an import that is malformed."""

    row: int
    """Its place in the file, as the request said."""
    violation: FieldViolation


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportAsked:
    """ImportRecords: what can be stored, and what cannot."""

    call: WriteCall
    batch_id: str
    protections: tuple[ProtectionAsked, ...]
    rejected: tuple[RejectedRow, ...]
    has_opt_outs: bool
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAsked:
    """ReleaseSuppression."""

    call: WriteCall
    subject: Subject
    cause: Cause
    scopes: tuple[Scope, ...]
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureAsked:
    """EraseSubject."""

    call: WriteCall
    subjects: tuple[Subject, ...]
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicAsked:
    """DeclareTopic, or LoosenTopic with a reason."""

    call: WriteCall
    topic: Topic
    origin: Origin
    loosens: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAsked:
    """PlaceHold; the hold has no id yet."""

    call: WriteCall
    hold: Hold
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class EndAsked:
    """RetireTopic or LiftHold: what ends, by its name, and why."""

    call: WriteCall
    name: str
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked:
    """One page of a list."""

    tenant: str
    page_size: int
    cursor: str
    """Where the page before ended; empty: from the start."""
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAsked:
    """ExportRecords."""

    tenant: str
    kinds: frozenset[RecordKind]
    causes: frozenset[Cause]
    scope: Scope | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertAsked:
    """RevertBatch."""

    call: WriteCall
    batch_id: str
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesAsked:
    """ReleaseSuppressions."""

    call: WriteCall
    cause: Cause
    from_time: Instant
    before_time: Instant
    batch_id: str
    """Empty: whatever set them."""
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """GrantApproval or RejectApproval."""

    tenant: str
    approval_id: str


Given = tuple[SubjectType, str]
"""A subject as a caller of a Check wrote it; its key is made straight from that."""


@dataclass(slots=True)
class CheckAsked:
    """CheckSuppression. Not frozen only because one is made a call."""

    tenant: str
    token: str
    subjects: list[Given]
    query: Query
    reference: str = ""
    """The sender's own name of the message."""


@dataclass(slots=True)
class BatchAsked:
    """BatchCheckSuppression: the queries, and all their subjects in one row."""

    tenant: str
    token: str
    subjects: list[Given]
    counts: list[int]
    """How many of the subjects are of each query."""
    queries: list[Query]
    references: dict[int, str]
    """The senders' own names of the messages that have one, by the positions of their queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchAsked:
    """WatchChanges."""

    tenant: str
    subscriber: str
    instance: str
    token: str
    """Empty: from nowhere."""
    channels: frozenset[Channel]
    """Empty: all."""
    topics: tuple[str, ...]
    """Sorted, none beneath another. Empty: all."""
    max_staleness_seconds: float
    rule_version: int
    normaliser_version: int
    verifiable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAsked:
    """ReportApplied."""

    tenant: str
    stream_id: str
    applied_revision: Revision
    probe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferAsked:
    """OfferRecords."""

    call: WriteCall
    subscriber: str
    epoch: bytes
    """The life of the store that they are of."""
    offered: tuple[Offered, ...]
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationAsked:
    """GetPropagation."""

    tenant: str
    revision: Revision
    """0: the head of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinesAsked:
    """GetDeadlines."""

    tenant: str
    before: Revision
    """0: from the head of the log."""
    page_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberAsked:
    """DeclareSubscriber or WithdrawSubscriber."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTargetsAsked:
    """ListWebhookTargets."""

    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersAsked:
    """ListDeadLetters."""

    tenant: str
    target: str
    page_size: int
    cursor: str
    """Where the page before ended; empty: from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersAsked:
    """ReplayDeadLetters or DiscardDeadLetters."""

    tenant: str
    target: str
    letter_ids: tuple[str, ...] | None
    """None: all."""


@dataclass(slots=True)
class StreamAsked:
    """One request of StreamCheckSuppression."""

    sequence: int
    batch: BatchAsked
    """The queries that are well-formed, in order."""
    refused: dict[int, InvalidArgumentError]
    """What is wrong with the others, by their positions in the request."""

    @property
    def tenant(self) -> str:
        """Whose log is asked."""
        return self.batch.tenant

    @property
    def count(self) -> int:
        """How many queries the request has."""
        return len(self.batch.queries) + len(self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionAsked:
    """GetInclusionProof."""

    tenant: str
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedAsked:
    """GetReceipt."""

    tenant: str
    claim: ReceiptClaim
    revision: Revision
    """One of the claim's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyAsked:
    """GetConsistencyProof."""

    tenant: str
    old_size: int
    new_size: int
    """0: that of the last checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileAsked:
    """GetTile."""

    tenant: str
    path: str
