"""The store over either database: `heed_server.store.Store`, made by `open_store`."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heed.errors import ConflictError, OutcomeUnknownError, UnavailableError
from heed.keys import LookupKey
from heed.model import (
    ApprovalState,
    Change,
    Head,
    Instant,
    Revision,
    SubjectKey,
    TenantId,
)
from heed_server.approvals import Approval, AskedCall
from heed_server.erasures import Erased
from heed_server.key_store import ApiKey
from heed_server.ledgers import LedgerUnreadableError
from heed_server.revocations import revoked_of
from heed_server.storage import (
    admin,
    approvals,
    batch_reads,
    epochs,
    erasing,
    leases,
    lists,
    log_reads,
    moving,
    past_reads,
    subscribers,
    undoing,
    wrapped,
)
from heed_server.storage.backend import Backend, Reading, StorageLimits
from heed_server.storage.clock import is_trusted, off_ms_by_boot
from heed_server.storage.deadlines import DeadlineTables
from heed_server.storage.errors import CommitLostError, NotWrittenError, store_unavailable
from heed_server.storage.group import GroupRules
from heed_server.storage.log_reads import Place, log_statements
from heed_server.storage.moving import MoveReader
from heed_server.storage.rotating import KeyRotation
from heed_server.storage.snapshots import SqlSnapshot, batches
from heed_server.storage.sql_trees import SqlTrees
from heed_server.storage.touched import group_statements
from heed_server.storage.webhooks import WebhookTables
from heed_server.storage.writer import Writer, draining
from heed_server.store import (
    BatchFound,
    EarlierEpoch,
    KeptBatch,
    KnownSubject,
    Page,
    RecordFilter,
    Standing,
    StandingRecord,
    Subscriber,
    Tenant,
)
from heed_server.writes import Appended, Committed, Write

T = TypeVar("T")

SNAPSHOT_RECORDS = 5_000
"""Records of one batch of a snapshot."""

NO_REVISION = Revision(0)
LAST_REVISION = Revision(2**63 - 1)
"""No log gets there: up to the head."""


class SqlStore(SqlTrees):
    """A store on SQLite or PostgreSQL. Close it, or use it in `async with`."""

    def __init__(self, backend: Backend, rules: GroupRules, limits: StorageLimits) -> None:
        """`open_store` makes it: the backend is open and its schema is the one this code knows."""
        self._backend = backend
        self._rules = rules
        self._statements = log_statements(backend.dialect)
        of_groups = group_statements(backend.dialect)
        self._undoing = of_groups.undoing
        self._past = of_groups.undoing.past
        self._erasing = of_groups.erasing
        self._is_closed = False
        self._overwrite_seconds_max = limits.overwrite_seconds_max
        self._writer = Writer(backend, of_groups, rules, limits)
        self._writer.on_commit(lambda one: rules.heights.saw(one.tenant_id, one.head))

    @property
    def epoch(self) -> bytes:
        """The 8 bytes that name this life of the store, as it was last read with a head."""
        return self._rules.heights.epoch

    @property
    def rotation(self) -> KeyRotation:
        """What replaces its keys."""
        return KeyRotation(
            read=self._read,
            write=self._write,
            scrub=self._backend.scrub,
            dialect=self._backend.dialect,
            keyring=self._rules.keyring,
            now=self._rules.clock.now,
        )

    @property
    def moves(self) -> MoveReader:
        """Who is to be moved under the newest lookup key."""
        return MoveReader(read=self._read, keyring=self._rules.keyring)

    @property
    def deadlines(self) -> DeadlineTables:
        """What the watch on deadlines keeps."""
        return DeadlineTables(read=self._read, write=self._write)

    @property
    def webhooks(self) -> WebhookTables:
        """What webhooks keep."""
        return WebhookTables(read=self._read, write=self._write)

    @property
    def failure(self) -> str:
        """Why nothing is written any more until this process is started anew; empty: it is."""
        return self._writer.failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish the group under way, refuse the rest with DRAINING, and close; again: nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._writer.close()
        await self._backend.close()

    async def append(self, write: Write) -> Appended:
        """Commit a write together with others that are waiting (see `Store.append`)."""
        return await self._writer.append(write)

    def on_commit(self, publish: Callable[[Committed], None]) -> None:
        """Name who is told of each commit, on the event loop, in order, before `append` returns."""
        self._writer.on_commit(publish)

    async def head(self, tenant_id: TenantId) -> Head:
        """Return where the tenant's log ends."""
        return await self._read(lambda c: self._head(c, tenant_id))

    async def read_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[Change]:
        """Return up to `limit` changes after a revision (see `LogReader.read_changes`)."""
        return await self._read(
            lambda c: log_reads.read_changes(c, self._statements, tenant_id, after, limit)
        )

    async def lookup_keys(self, tenant_id: TenantId) -> tuple[LookupKey, ...]:
        """Return a tenant's lookup keys, ascending by id. Raises NotFoundError."""
        return await self._read(lambda c: admin.read_lookup_keys(c, self._rules.keyring, tenant_id))

    @asynccontextmanager
    async def snapshot(self, tenant_id: TenantId) -> "AsyncGenerator[SqlSnapshot]":
        """Open one consistent view of what stands; its records are read in order, once."""
        async with self._reading(is_stream=True) as reading:

            def begin(connection: Connection) -> SqlSnapshot:
                statements = self._statements
                return SqlSnapshot(
                    head=self._head(connection, tenant_id),
                    topics=log_reads.read_topics(connection, statements, tenant_id),
                    holds=tuple(
                        one.hold for one in log_reads.read_holds(connection, statements, tenant_id)
                    ),
                    read=lambda c, place: log_reads.read_standing_batch(
                        c, statements, tenant_id, place, SNAPSHOT_RECORDS
                    ),
                    reading=reading,
                )

            yield await reading.run(begin)

    async def changes_of(
        self,
        tenant_id: TenantId,
        keys: Sequence[SubjectKey],
        *,
        after: Revision = NO_REVISION,
        through: Revision = LAST_REVISION,
        limit: int,
    ) -> Sequence[Change]:
        """Return the first changes of these subjects (see `PastReader.changes_of`)."""
        return await self._read(
            lambda c: past_reads.read_changes_of(
                c, self._past, tenant_id, keys, after=after, through=through, limit=limit
            )
        )

    async def changes_of_tenant(
        self,
        tenant_id: TenantId,
        *,
        after: Revision = NO_REVISION,
        through: Revision = LAST_REVISION,
        limit: int,
    ) -> Sequence[Change]:
        """Return the first changes that are of no subject (see `PastReader`)."""
        return await self._read(
            lambda c: past_reads.read_changes_of_tenant(
                c, self._past, tenant_id, after=after, through=through, limit=limit
            )
        )

    async def earlier_epochs(self, tenant_id: TenantId, limit: int) -> Sequence[EarlierEpoch]:
        """Return the epochs that a tenant's log goes on from (see `LogReader.earlier_epochs`)."""
        return await self._read(lambda c: epochs.read_earlier(c, tenant_id, limit))

    async def head_at(self, tenant_id: TenantId, revision: Revision) -> Head | None:
        """Return where the log ended at a revision; None: it does not have it yet."""
        return await self._read(
            lambda c: past_reads.read_head_at(c, self._statements, self._past, tenant_id, revision)
        )

    async def revision_at(self, tenant_id: TenantId, instant: Instant) -> Revision:
        """Return the last revision committed at or before an instant; 0: none was."""
        return await self._read(
            lambda c: past_reads.find_revision(c, self._statements, self._past, tenant_id, instant)
        )

    async def known(
        self, tenant_id: TenantId, keys: Sequence[SubjectKey]
    ) -> Sequence[KnownSubject]:
        """Return what is kept of each of these subjects, in their order."""
        keyring = self._rules.keyring
        return await self._read(
            lambda c: erasing.read_known(c, self._erasing, keyring, tenant_id, keys)
        )

    async def finish_erasure(self, tenant_id: TenantId, keys: Sequence[SubjectKey]) -> bool:
        """Note a committed erasure in the ledger and overwrite it (see `Store.finish_erasure`)."""
        rows = await self._read(
            lambda c: self._backend.dialect.fetch_among(
                c, self._erasing.erase_times, [tenant_id], list(keys)
            )
        )
        try:
            await self._backend.note_erased([Erased(*row) for row in rows])
            return await self._backend.overwrite_erased(self._overwrite_seconds_max)
        except (OSError, LedgerUnreadableError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise OutcomeUnknownError(
                f"the erasure is in the log, but not in the ledger of erasures: {why}; "
                "send the same call with the same key again"
            ) from error
        except NotWrittenError as error:
            raise OutcomeUnknownError(
                f"the erasure is in the log, but cannot be overwritten: {error}; "
                "send the same call with the same key again"
            ) from error

    async def erasures(self) -> Sequence[Erased]:
        """Return every subject that was erased, by tenant and key."""
        return await self._read(erasing.read_erased)

    async def standing(self, tenant_id: TenantId, keys: Sequence[SubjectKey]) -> Standing:
        """Return what stands for these subjects, with topics and holds, in one transaction."""
        return await self._read(
            lambda c: log_reads.read_standing(c, self._statements, tenant_id, keys)
        )

    async def list_suppressions(
        self, tenant_id: TenantId, filter_: RecordFilter, cursor: str, limit: int
    ) -> Page[StandingRecord]:
        """Return a page of standing suppressions, `subject` filled where one is kept."""
        keyring = self._rules.keyring
        return await self._read(
            lambda c: lists.read_suppressions(c, keyring, tenant_id, filter_, cursor, limit)
        )

    @asynccontextmanager
    async def export(
        self, tenant_id: TenantId, filter_: RecordFilter, batch: int
    ) -> AsyncGenerator[tuple[Head, AsyncIterator[Sequence[StandingRecord]]]]:
        """Open every record that matches, of one revision, `subject` filled where one is kept."""
        async with self._reading(is_stream=True) as reading:

            def read(
                connection: Connection, place: Place
            ) -> tuple[list[StandingRecord], Place | None]:
                return lists.read_export_batch(
                    connection, self._rules.keyring, tenant_id, filter_, place, batch
                )

            head = await reading.run(lambda c: self._head(c, tenant_id))
            yield head, batches(reading, read)

    async def secret(self, name: str) -> bytes | None:
        """Return the secret of a name, unwrapped; None: there is none. Raises SecretsError."""
        return await self._read(lambda c: wrapped.read_secret(c, self._rules.keyring, name))

    async def ensure_secret(self, name: str, secret: bytes) -> bytes:
        """Keep a secret, wrapped, unless there is one of this name; return the one there is then.

        Raises:
            SecretsError: the root keys are not those of this database, or not of today.
        """
        keyring, now = self._rules.keyring, self._rules.clock.now()
        return await self._write(lambda c: wrapped.ensure_secret(c, keyring, name, secret, now))

    async def tenants(self) -> Sequence[Tenant]:
        """Return every tenant, by name."""
        return await self._read(lambda c: admin.read_tenants(c, self._rules.keyring))

    async def create_tenant(self, name: str, lookup_key: bytes) -> Tenant:
        """Create a tenant. Raises ConflictError TENANT_EXISTS."""
        now = self._rules.clock.now()
        keyring = self._rules.keyring
        return await self._write(
            lambda c: admin.insert_tenant(c, keyring, name, lookup_key, now),
            is_taken=lambda: admin.tenant_exists(name),
        )

    async def put_api_key(self, key: ApiKey) -> None:
        """Add a key. Raises NotFoundError TENANT_UNKNOWN if its tenant is not there."""
        await self._write(lambda c: admin.insert_api_key(c, key))

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return every key, revoked ones too, by creation."""
        return await self._read(admin.read_api_keys)

    async def api_key(self, key_id: str) -> ApiKey | None:
        """Return one key."""
        found = await self._read(lambda c: admin.read_api_keys(c, key_id))
        return found[0] if found else None

    async def revoke_api_key(self, key_id: str, at: Instant) -> bool:
        """Revoke a key; False if there is no such key. Revoking twice keeps the first time.

        Raises:
            UnavailableError: it is revoked, or nothing was done; the message says which.
        """
        is_known = await self._write(lambda c: admin.set_revoked(c, key_id, at))
        if is_known:
            try:
                await self._backend.note_revoked(revoked_of(await self.api_keys()))
            except (OSError, LedgerUnreadableError) as error:
                raise UnavailableError(
                    f"{key_id} is revoked, but not in the ledger of revocations ({error}), so that "
                    "a restore could bring it back; mend that, and revoke it again"
                ) from error
        return is_known

    async def put_subscribers(self, of_node: Sequence[Subscriber]) -> None:
        """Add these, in the place of those of the same tenant, name and stream."""
        if of_node:
            await self._write(lambda c: subscribers.put(c, self._backend.dialect, of_node))

    async def subscribers(self, tenant_id: TenantId) -> Sequence[Subscriber]:
        """Return a tenant's, by name and then by the opening of their streams."""
        return await self._read(lambda c: subscribers.read(c, tenant_id))

    async def forget_subscribers(self, gone: Sequence[Subscriber]) -> None:
        """Remove these, if nothing was put in their place since."""
        if gone:
            await self._write(lambda c: subscribers.delete_same(c, gone))

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take a lease, or hold it for longer; False if another has it."""
        now = self._rules.clock.now()
        dialect = self._backend.dialect
        return await self._write(lambda c: leases.take(c, dialect, name, holder, seconds, now))

    async def release_lease(self, name: str, holder: str) -> None:
        """Give a lease back, if this holder has it."""
        await self._write(lambda c: leases.release(c, name, holder))

    async def batches(self, tenant_id: TenantId, cursor: str, limit: int) -> Page[KeptBatch]:
        """Return a page of a tenant's batches (see `BatchReader.batches`)."""
        return await self._read(lambda c: batch_reads.read_page(c, tenant_id, cursor, limit))

    async def find_batch(self, tenant_id: TenantId, batch_id: str) -> BatchFound | None:
        """Return whom a batch touched (see `BatchReader.find_batch`)."""
        return await self._read(lambda c: undoing.find_batch(c, self._undoing, tenant_id, batch_id))

    async def has_answer(self, tenant_id: TenantId, idempotency_key: str) -> bool:
        """Whether a call with this key was answered (see `BatchReader.has_answer`)."""
        return await self._read(lambda c: admin.has_key(c, tenant_id, idempotency_key))

    async def are_movable(self, tenant_id: TenantId, key_id: int) -> bool:
        """Whether anybody readable stands under an older lookup key."""
        return await self._read(lambda c: moving.are_movable(c, tenant_id, key_id))

    async def ask_approval(self, new: Approval, granted_from: Instant) -> Approval:
        """Return a live one of the same call, or add this one (see `ApprovalStore`)."""
        return await self._write(lambda c: approvals.ask(c, new, granted_from))

    async def approval(self, tenant_id: TenantId, approval_id: str) -> Approval | None:
        """Return one."""
        return await self._read(lambda c: approvals.read_approval(c, tenant_id, approval_id))

    async def granted_approval(self, call: AskedCall, now: Instant) -> Approval | None:
        """Return the one by which a call may go on now, the last if there are several."""
        return await self._read(lambda c: approvals.read_granted(c, call, now))

    async def approvals(self, tenant_id: TenantId, cursor: str, limit: int) -> Page[Approval]:
        """Return a page of a tenant's, the newest first."""
        return await self._read(lambda c: approvals.read_page(c, tenant_id, cursor, limit))

    async def decide_approval(
        self, before: Approval, state: ApprovalState, by: str, at: Instant
    ) -> Approval | None:
        """Grant or reject one that is as it was before; None: somebody else did either."""
        return await self._write(lambda c: approvals.decide(c, before, state, by, at))

    async def prune_keys(self, now: Instant, limit: int) -> int:
        """Delete up to `limit` idempotency keys whose time is over, and return how many.

        None while the clock is not trusted: one that is ahead would forget keys too soon.
        """
        rules = self._rules
        if not is_trusted(off_ms_by_boot(rules.clock_start, now, rules.clock.boot())):
            return 0
        return await self._write(lambda c: admin.delete_expired_keys(c, now, limit))

    async def ping(self) -> datetime:
        """Ask the database for its time. Raises UnavailableError when it does not answer."""
        time = await self._read(self._database_time)
        return datetime.fromtimestamp(time / 1_000_000, UTC)

    def _database_time(self, connection: Connection) -> int:
        found = self._statements.database_time.fetch(connection)[0][0]
        return self._rules.clock.now() if found is None else found

    def _head(self, connection: Connection, tenant_id: TenantId) -> Head:
        head = log_reads.read_head(connection, self._statements, tenant_id)
        self._rules.heights.saw(tenant_id, head)
        return head

    async def _read(self, body: Callable[[Connection], T]) -> T:
        async with self._reading() as reading:
            return await reading.run(body)

    def _reading(self, *, is_stream: bool = False) -> AbstractAsyncContextManager[Reading]:
        if self._is_closed:
            raise draining()
        return self._backend.reading(is_stream=is_stream)

    def _now(self) -> Instant:
        return self._rules.clock.now()

    async def _write(
        self,
        body: Callable[[Connection], T],
        *,
        is_taken: Callable[[], ConflictError] | None = None,
    ) -> T:
        if self._is_closed:
            raise draining()
        try:
            return await self._backend.write(body, must_commit=lambda _: True)
        except NotWrittenError as error:
            if is_taken is not None and isinstance(error.__cause__, IntegrityError):
                # Another node was quicker.
                raise is_taken() from error
            raise store_unavailable(str(error)) from error
        except CommitLostError as error:
            raise OutcomeUnknownError("the commit's answer was lost; look, then retry") from error
