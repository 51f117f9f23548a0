"""The contract between heed's service and its database; `tests/contract` holds every backend to it.

A store MUST acknowledge (`append` returns) only what is committed and fsynced. It MUST number a
tenant's changes 1, 2, 3 … in commit order without gaps, with strictly increasing commit times. It
MUST NOT let the cancellation of a caller, or a caller's deadline, reach a commit. After a failed or
interrupted commit it MUST report the outcome as unknown (`OutcomeUnknownError`), never as failed,
unless it has since learned by the key row which it was.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

from heed.errors import UnavailableError
from heed.keys import LookupKey
from heed.model import (
    RULE_VERSION,
    ApprovalState,
    Cause,
    Change,
    Evidence,
    Head,
    Hold,
    Instant,
    Origin,
    Record,
    RecordKind,
    Revision,
    Scope,
    Subject,
    SubjectKey,
    TenantId,
    Topic,
)
from heed_server.approvals import Approval, AskedCall
from heed_server.deadline_marks import DeadlineStore
from heed_server.erasures import Erased
from heed_server.key_store import KeyStore
from heed_server.webhook_store import WebhookStore
from heed_server.writes import Appended, Committed, Write

T = TypeVar("T")


class LogDamagedError(UnavailableError):
    """The rows of the log, or of what stands, are not what was written. Nothing is guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant as the store knows it."""

    tenant_id: TenantId
    name: str
    create_time: Instant
    lookup_keys: tuple[LookupKey, ...]
    """The keys under which this tenant's subjects are hashed, ascending by id."""
    link_keyset: bytes = field(default=b"", repr=False)
    """What this tenant's links are sealed under. Empty: an earlier heed made the tenant meanwhile,
    or none are made here (workers, agents)."""

    @property
    def lookup_key(self) -> LookupKey:
        """The newest."""
        return self.lookup_keys[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRecord:
    """A record with what the log says of the change that set it."""

    key: SubjectKey
    record: Record
    commit_time: Instant
    origin: Origin | None
    evidence: Evidence | None
    reason: str
    is_erased: bool = False
    """Whether who said so, how and why was erased with the subject."""
    batch_id: str = ""
    """The batch that the change is of; empty: of none."""
    subject: Subject | None = field(default=None, repr=False)
    """The readable subject, where the method's docstring says that it is filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSubject:
    """What is kept of a subject beside the log."""

    key: SubjectKey
    subject: Subject | None = field(default=None, repr=False)
    """None: its readable address is not kept."""
    erase_time: Instant | None = None
    """When it was erased last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingHold:
    """A hold with what the log says of the change that placed it."""

    hold: Hold
    commit_time: Instant
    origin: Origin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands for some subjects, read in one transaction."""

    head: Head
    records: tuple[StandingRecord, ...]
    """By the order of the keys asked for, then kind, topic, channel."""
    topics: tuple[Topic, ...]
    holds: tuple[StandingHold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierEpoch:
    """A life of the store that a restore ended."""

    epoch: bytes
    revision: Revision
    """The last revision of it that the tenant's log is known to have; 0: none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of a list. `next_cursor` is empty on the last page."""

    items: tuple[T, ...]
    next_cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """Which records to list or export. Empty collections and None match all."""

    kinds: frozenset[RecordKind] = frozenset()
    causes: frozenset[Cause] = frozenset()
    from_time: Instant | None = None
    """Only those decided, or seen, at this time or later."""
    before_time: Instant | None = None
    """Only those decided, or seen, before this time."""
    scope: Scope | None = None
    """Only records whose scope this one covers."""


class Snapshot(Protocol):
    """One tenant's current state, all of one revision."""

    head: Head
    topics: tuple[Topic, ...]
    holds: tuple[Hold, ...]

    def records(self) -> AsyncIterator[Sequence[tuple[SubjectKey, Record]]]:
        """Yield every standing record once, in batches, ascending by subject key."""
        ...


class LogReader(Protocol):
    """How every follower reads: the index here, Watch and the publisher later."""

    async def head(self, tenant_id: TenantId) -> Head:
        """Return where the tenant's log ends."""
        ...

    async def read_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[Change]:
        """Return up to `limit` changes from `after` + 1 on, dense and ascending; none at the head.

        Raises:
            UnavailableError: the database does not answer.
            LogDamagedError: the rows read are not dense, or not what was written.
        """
        ...

    async def lookup_keys(self, tenant_id: TenantId) -> tuple[LookupKey, ...]:
        """Return a tenant's lookup keys, ascending by id. Raises NotFoundError."""
        ...

    def snapshot(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Snapshot]:
        """Open one consistent view of what stands, for rebuilding an index."""
        ...

    async def earlier_epochs(self, tenant_id: TenantId, limit: int) -> Sequence[EarlierEpoch]:
        """Return the lives of the store that the tenant's log goes on from, the last one first.

        Raises UnavailableError: the database does not answer.
        """
        ...


class PastReader(Protocol):
    """How the past is read: what some subjects, or the tenant's operators, did to the log.

    Every list ascends, and the last of a full page says where the next one begins.
    """

    async def changes_of(
        self,
        tenant_id: TenantId,
        keys: Sequence[SubjectKey],
        *,
        after: Revision = ...,
        through: Revision = ...,
        limit: int,
    ) -> Sequence[Change]:
        """Return the first `limit` changes of these subjects after one revision up to another.

        Without `through`: up to the head. Found by an index; any number of subjects may be named.

        Raises:
            UnavailableError: the database does not answer.
            LogDamagedError: a row is not what was written.
        """
        ...

    async def changes_of_tenant(
        self, tenant_id: TenantId, *, after: Revision = ..., through: Revision = ..., limit: int
    ) -> Sequence[Change]:
        """Return the same of the changes that are of no subject: topics and holds.

        Raises: as `changes_of`.
        """
        ...

    async def head_at(self, tenant_id: TenantId, revision: Revision) -> Head | None:
        """Return where the log ended when it had this revision; None: it does not have it yet.

        Of the empty log the commit time is 0. Raises: as `changes_of`.
        """
        ...

    async def revision_at(self, tenant_id: TenantId, instant: Instant) -> Revision:
        """Return the last revision committed at or before an instant; 0: none was.

        Raises: as `changes_of`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """How far one stream's reader said to be; without a stream, the declaration of a subscriber.

    Durations are whole microseconds. Times are those of the node that has the stream.
    """

    tenant_id: TenantId
    name: str
    stream_id: str
    """Made by the node for each stream; empty: a declaration."""
    instance: str
    """Which run of the subscriber it is. Of the streams of one instance only the last counts."""
    node: str
    open_time: Instant
    close_time: Instant | None
    """When the node saw the stream end; None: it has not."""
    probe_time: Instant
    """When the last report arrived."""
    max_staleness: int
    """Until so long after its last probe it may allow by what it knows."""
    applied_revision: Revision
    applied_time: Instant
    """When it first said so."""
    rule_version: int = RULE_VERSION
    """By which rules the node decides that wrote this."""


class SubscriberStore(Protocol):
    """Where all nodes see each other's subscribers. None of it is of a log."""

    async def put_subscribers(self, of_node: Sequence[Subscriber]) -> None:
        """Add these, in the place of those of the same tenant, name and stream."""
        ...

    async def subscribers(self, tenant_id: TenantId) -> Sequence[Subscriber]:
        """Return a tenant's, by name and then by the opening of their streams."""
        ...

    async def forget_subscribers(self, gone: Sequence[Subscriber]) -> None:
        """Remove these, if nothing was put in their place since."""
        ...


class LeaseStore(Protocol):
    """Where nodes agree on which of them does what only one should do at a time.

    A lease keeps two from doing the same work; it does not make it safe that they do.
    """

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease, or hold it for longer; False if another has it.

        Raises:
            UnavailableError: the database does not answer.
        """
        ...

    async def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back, if this holder has it."""
        ...


class BatchFound(NamedTuple):
    """Whom a batch touched, as it was when it was looked for."""

    keys: tuple[SubjectKey, ...]
    """Ascending."""
    last: Revision
    """Its last change."""


class KeptBatch(NamedTuple):
    """Where in the log a batch is, with the changes that tell of it."""

    batch_id: str
    first_revision: Revision
    last_revision: Revision
    """One less than the first where the batch changed nothing."""
    first: Change | None
    """None: it changed nothing."""
    last: Change | None
    undone: Change | None
    """The change by which its undoing began; None: it stands."""


class BatchReader(Protocol):
    """How batches are listed, and how one is found that is to be undone."""

    async def batches(self, tenant_id: TenantId, cursor: str, limit: int) -> Page[KeptBatch]:
        """Return a page of a tenant's batches, the one that began last first.

        Raises:
            InvalidArgumentError: the cursor is not one that an earlier page gave.
        """
        ...

    async def find_batch(self, tenant_id: TenantId, batch_id: str) -> BatchFound | None:
        """Return whom a batch touched; None: there is no such batch."""
        ...

    async def has_answer(self, tenant_id: TenantId, idempotency_key: str) -> bool:
        """Whether a call with this key was answered, so that sending it again is a replay."""
        ...

    async def are_movable(self, tenant_id: TenantId, key_id: int) -> bool:
        """Whether anybody readable stands under an older lookup key. Reads addresses up to one."""
        ...


class ApprovalStore(Protocol):
    """Where calls that need a second person wait. None of it is of a log."""

    async def ask_approval(self, new: Approval, granted_from: Instant) -> Approval:
        """Return a live one of the same call that covers what it would do, or add this one.

        The same whichever node asks: it is looked for and added under the lock of the tenant's
        head. One granted goes before one that waits; one granted before `granted_from` is of no
        more use. One that showed less is rejected in the principal's name.

        Raises:
            ExhaustedError: LIMIT_REACHED, as many are pending, of all or of the principal, as may
                be.
        """
        ...

    async def approval(self, tenant_id: TenantId, approval_id: str) -> Approval | None:
        """Return one."""
        ...

    async def granted_approval(self, call: AskedCall, now: Instant) -> Approval | None:
        """Return the one by which a call may go on now, the last if there are several."""
        ...

    async def approvals(self, tenant_id: TenantId, cursor: str, limit: int) -> "Page[Approval]":
        """Return a page of a tenant's, the newest first."""
        ...

    async def decide_approval(
        self, before: Approval, state: ApprovalState, by: str, at: Instant
    ) -> Approval | None:
        """Grant or reject one that is as it was before; None: somebody else did either."""
        ...


class Store(
    LogReader,
    PastReader,
    KeyStore,
    SubscriberStore,
    LeaseStore,
    BatchReader,
    ApprovalStore,
    Protocol,
):
    """Everything the service asks of a database."""

    @property
    def deadlines(self) -> DeadlineStore:
        """What the watch on deadlines keeps."""
        ...

    @property
    def webhooks(self) -> WebhookStore:
        """What webhooks keep."""
        ...

    async def append(self, write: Write) -> Appended:
        """Commit a write together with others that are waiting, and return its answer.

        Judged under the log's lock: replay of its key, consent, what is superseded. A refused
        write raises and leaves no trace; its neighbours in the group are not touched. Cancelling
        this call leaves the write to happen or not; its key tells.

        Raises:
            ConflictError: IDEMPOTENCY_KEY_REUSED, CONSENT_REQUIRED, TOPIC_WOULD_LOOSEN, …
            NotFoundError: TOPIC_UNKNOWN, HOLD_UNKNOWN, SUPPRESSION_UNKNOWN.
            InvalidArgumentError: an opt-in ahead of the commit time.
            ExhaustedError: LIMIT_REACHED, or OVERLOADED when `writes_queued_max` are waiting.
            UnavailableError: STORE_UNAVAILABLE or CLOCK_UNTRUSTED; nothing was written.
            OutcomeUnknownError: the commit's answer was lost.
        """
        ...

    def on_commit(self, publish: Callable[[Committed], None]) -> None:
        """Name who is told of each commit, on the event loop, in order, before `append` returns."""
        ...

    async def tenants(self) -> Sequence[Tenant]:
        """Return every tenant, by name."""
        ...

    async def create_tenant(self, name: str, lookup_key: bytes) -> Tenant:
        """Create a tenant. Raises ConflictError TENANT_EXISTS."""
        ...

    async def standing(self, tenant_id: TenantId, keys: Sequence[SubjectKey]) -> Standing:
        """Return what stands for these subjects, with topics and holds, in one transaction."""
        ...

    async def list_suppressions(
        self, tenant_id: TenantId, filter_: RecordFilter, cursor: str, limit: int
    ) -> Page[StandingRecord]:
        """Return a page of standing suppressions, `subject` filled where one is kept."""
        ...

    def export(
        self, tenant_id: TenantId, filter_: RecordFilter, batch: int
    ) -> AbstractAsyncContextManager[tuple[Head, AsyncIterator[Sequence[StandingRecord]]]]:
        """Open every record that matches, of one revision, `subject` filled where one is kept."""
        ...

    async def known(
        self, tenant_id: TenantId, keys: Sequence[SubjectKey]
    ) -> Sequence[KnownSubject]:
        """Return what is kept of each of these subjects, in their order."""
        ...

    async def finish_erasure(self, tenant_id: TenantId, keys: Sequence[SubjectKey]) -> bool:
        """Do what follows the commit of an erasure, once or again, and return whether all is done.

        The subjects MUST stand in the ledger that a restore erases by, where the store keeps one,
        when this returns. False: what was erased is not yet overwritten in the database's files.

        Raises:
            OutcomeUnknownError: the ledger cannot be written; calling again completes it.
        """
        ...

    async def erasures(self) -> Sequence[Erased]:
        """Return every subject that was erased, by tenant and key. Reads all records."""
        ...

    async def ping(self) -> datetime:
        """Ask the database for its time. Raises UnavailableError when it does not answer."""
        ...

    async def close(self) -> None:
        """Finish the group under way, refuse the rest with DRAINING, and close."""
        ...
