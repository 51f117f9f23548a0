"""One transaction of the log: the writes of a group, judged and written together.

Laws:
- Heads are locked first, in the order of tenant ids; nothing is read before that.
- All that the group touches is loaded, then each write is judged in order, then all is inserted: a
  refused write leaves the group and costs its neighbours nothing.
- Key row, changes, records, addresses and head are of one transaction: a crash in it leaves none
  of them.
- Every transaction that acknowledges something changes the head's row, also one that only found
  replays. Its commit is then as durable as the commit of the answer it repeats, which the row's
  mere presence does not prove.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from heed.errors import ConflictError, ErrorReason, HeedError, NotFoundError
from heed.model import Change, Head, Instant, Revision, SubjectKey, TenantId
from heed_server.acts import (
    AddProtections,
    Appended,
    Committed,
    DeclareTopic,
    LiftHold,
    Outcome,
    PlaceHold,
    ReleaseSuppression,
    RetireTopic,
    SetPreferences,
    Write,
)
from heed_server.judge import Held, Ledger, Ruling, SlotKey, Slots, judge, slot_key
from heed_server.storage.clock import (
    Clock,
    ClockStart,
    is_trusted,
    off_ms_by_boot,
    off_ms_by_database,
)
from heed_server.storage.content import ContentEncoder
from heed_server.storage.entries import RandomBytes, write_down
from heed_server.storage.rows import (
    HOLD_COLUMNS,
    RECORD_COLUMNS,
    TOPIC_COLUMNS,
    address_row,
    hold_of,
    hold_row,
    record_of,
    record_row,
    topic_of,
    topic_row,
)
from heed_server.storage.schema import (
    addresses,
    changes,
    heads,
    holds,
    keys,
    records,
    topics,
)
from heed_server.storage.statements import (
    ON_CONFLICT_FAIL,
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Dialect,
    Row,
    Statement,
    parameter,
)

_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """What is the same for every group of one open store."""

    clock: Clock
    clock_start: ClockStart
    random_bytes: RandomBytes
    epoch: bytes
    keys_kept_days: int


class Answered(NamedTuple):
    """What one transaction made of its writes, in their order."""

    answers: list["Appended | Exception"]
    committed: list[Committed]
    must_commit: bool
    """False: nothing was written and nothing acknowledged that needs to be durable."""


class GroupStatements:
    """The statements of the transaction, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.lock_heads = AmongSelect(
            select(
                heads.c.tenant_id,
                heads.c.revision,
                heads.c.running_hash,
                heads.c.commit_time,
                heads.c.commits,
                dialect.database_time(),
            )
            .order_by(heads.c.tenant_id)
            .with_for_update(),
            heads.c.tenant_id,
        )
        self.keys_of = AmongSelect(
            select(
                keys.c.tenant_id,
                keys.c.idempotency_key,
                keys.c.payload_hash,
                keys.c.answer,
                keys.c.revision,
            ),
            keys.c.tenant_id,
            keys.c.idempotency_key,
        )
        self.records_of = AmongSelect(
            select(
                *RECORD_COLUMNS, records.c.tenant_id, records.c.standing, records.c.release_time
            ),
            records.c.tenant_id,
            records.c.subject,
        )
        self.topics_of = AmongSelect(select(topics.c.tenant_id, *TOPIC_COLUMNS), topics.c.tenant_id)
        self.holds_of = AmongSelect(select(holds.c.tenant_id, *HOLD_COLUMNS), holds.c.tenant_id)
        self.delete_hold = Statement(
            delete(holds).where(
                holds.c.tenant_id == parameter("tenant"), holds.c.hold_id == parameter("hold")
            ),
            dialect,
            "tenant",
            "hold",
        )


class _KeyRow(NamedTuple):
    payload_hash: bytes
    answer: bytes
    revision: Revision


class _Log:
    """One tenant's log within the transaction: where it ends, and what the group has added."""

    def __init__(self, head: Head, commits: int) -> None:
        self.head = head
        self.commits = commits
        self.ledger = Ledger()
        self.keys: dict[str, _KeyRow] = {}
        self.changes: list[Change] = []
        self.must_commit = False


class _Rows:
    """What the group will insert."""

    def __init__(self) -> None:
        self.changes: list[Row] = []
        self.records: dict[tuple[TenantId, SubjectKey, SlotKey], Held] = {}
        self.addresses: dict[tuple[TenantId, SubjectKey], Row] = {}
        self.keys: list[Row] = []
        self.topics: dict[tuple[TenantId, str], Row] = {}
        self.holds: dict[tuple[TenantId, str], Row] = {}
        self.lifted: list[tuple[TenantId, str]] = []


def append_group(
    connection: Connection,
    statements: GroupStatements,
    writes: Sequence[Write],
    rules: GroupRules,
) -> Answered:
    """Judge the writes and insert what comes of them; the caller commits, or rolls back."""
    logs, now, clock_off_ms = _lock(connection, statements, writes, rules)
    _load(connection, statements, writes, logs)
    rows = _Rows()
    encoder = ContentEncoder()
    answers: list[Appended | Exception] = []
    for write in writes:
        try:
            log = _log_of(write.tenant_id, logs)
            answers.append(_append(write, log, rows, encoder, now, clock_off_ms, rules))
        except HeedError as refusal:
            answers.append(refusal)
        except Exception as error:  # noqa: BLE001 - a write's own encoder must not fail the others
            answers.append(error)
    _insert(connection, statements, rows, logs)
    return Answered(
        answers,
        [
            Committed(tenant_id=tenant_id, changes=tuple(log.changes), head=log.head)
            for tenant_id, log in logs.items()
            if log.changes
        ],
        any(log.must_commit for log in logs.values()),
    )


def _lock(
    connection: Connection,
    statements: GroupStatements,
    writes: Sequence[Write],
    rules: GroupRules,
) -> tuple[dict[TenantId, _Log], Instant, int | None]:
    """Lock the heads; return the logs, the time, and by how much a clock not trusted is off."""
    tenant_ids = sorted({write.tenant_id for write in writes})
    asked = rules.clock.now()
    rows = statements.dialect.fetch_among(connection, statements.lock_heads, tenant_ids)
    now = rules.clock.now()
    off_ms = off_ms_by_boot(rules.clock_start, now, rules.clock.boot())
    logs: dict[TenantId, _Log] = {}
    for tenant_id, revision, running, commit_time, commits, database_time in rows:
        if database_time is not None:
            off_ms = off_ms_by_database(asked, database_time, now)
        head = Head(
            revision=revision, running_hash=running, commit_time=commit_time, epoch=rules.epoch
        )
        logs[tenant_id] = _Log(head, commits)
    return logs, now, None if is_trusted(off_ms) else off_ms


def _load(
    connection: Connection,
    statements: GroupStatements,
    writes: Sequence[Write],
    logs: dict[TenantId, _Log],
) -> None:
    """Fill the logs with every key, record, topic and hold that the writes touch."""
    dialect = statements.dialect
    tenant_ids = sorted(logs)
    asked_keys = list(dict.fromkeys(write.idempotency_key for write in writes))
    for tenant_id, key, *row in dialect.fetch_among(
        connection, statements.keys_of, tenant_ids, asked_keys
    ):
        logs[tenant_id].keys[key] = _KeyRow(*row)
    subjects = list(dict.fromkeys(key for write in writes for key in _subjects_of(write)))
    if subjects:
        for *row, tenant_id, standing, release_time in dialect.fetch_among(
            connection, statements.records_of, tenant_ids, subjects
        ):
            record = record_of(row)
            slots: Slots = logs[tenant_id].ledger.records.setdefault(row[0], {})
            slots[slot_key(record)] = Held(record, bool(standing), release_time)
    with_topics = {w.tenant_id for w in writes if isinstance(w.act, DeclareTopic | RetireTopic)}
    if with_topics:
        for tenant_id, *row in dialect.fetch_among(
            connection, statements.topics_of, sorted(with_topics)
        ):
            logs[tenant_id].ledger.topics[row[0]] = topic_of(row)
    with_holds = {w.tenant_id for w in writes if isinstance(w.act, PlaceHold | LiftHold)}
    if with_holds:
        for tenant_id, *row in dialect.fetch_among(
            connection, statements.holds_of, sorted(with_holds)
        ):
            logs[tenant_id].ledger.holds[row[0]] = hold_of(row)


def _subjects_of(write: Write) -> list[SubjectKey]:
    match write.act:
        case SetPreferences(people=people):
            return [subject.key for person in people for subject in person.subjects]
        case AddProtections(protections=protections):
            return [protection.subject.key for protection in protections]
        case ReleaseSuppression(subject=subject):
            return [subject.key]
        case _:
            return []


def _log_of(tenant_id: TenantId, logs: dict[TenantId, _Log]) -> _Log:
    try:
        return logs[tenant_id]
    except KeyError:
        raise NotFoundError(f"no tenant has the id {tenant_id}") from None


def _append(
    write: Write,
    log: _Log,
    rows: _Rows,
    encoder: ContentEncoder,
    now: Instant,
    clock_off_ms: int | None,
    rules: GroupRules,
) -> Appended:
    act = write.act
    is_dry_run = isinstance(act, AddProtections) and act.dry_run
    first = None if is_dry_run else log.keys.get(write.idempotency_key)
    if first is not None:
        return _replay(write, first, log)
    head = log.head
    commit_time = Instant(head.commit_time + 1)
    if clock_off_ms is None:
        commit_time = max(now, commit_time)
    ruling = judge(
        act,
        log.ledger,
        after=head.revision,
        commit_time=commit_time,
        clock_off_ms=clock_off_ms,
    )
    if is_dry_run:
        return Appended(
            answer=write.encode_answer(_outcome(ruling, head, commit_time)),
            replayed=False,
            revision=head.revision,
        )
    written = write_down(ruling, write.tenant_id, head, encoder, rules.random_bytes)
    answer = write.encode_answer(_outcome(ruling, written.head, commit_time))
    # From here on nothing raises: the write is accepted.
    log.head = written.head
    log.must_commit = True
    log.changes += written.changes
    log.ledger.accept(ruling)
    log.keys[write.idempotency_key] = _KeyRow(write.payload_hash, answer, log.head.revision)
    expire_time = commit_time + rules.keys_kept_days * _MICROSECONDS_A_DAY
    rows.changes += written.rows
    rows.keys.append(
        (
            write.tenant_id,
            write.idempotency_key,
            write.payload_hash,
            answer,
            log.head.revision,
            expire_time,
        )
    )
    _keep(ruling, write.tenant_id, rows)
    return Appended(answer=answer, replayed=False, revision=log.head.revision)


def _replay(write: Write, first: _KeyRow, log: _Log) -> Appended:
    if first.payload_hash != write.payload_hash:
        key = write.idempotency_key.partition(":")[2] or write.idempotency_key
        raise ConflictError(
            f"the idempotency key {key!r} named another payload before; use a new key",
            reason=ErrorReason.IDEMPOTENCY_KEY_REUSED,
            metadata={"idempotency_key": key},
        )
    log.must_commit = True
    return Appended(answer=first.answer, replayed=True, revision=first.revision)


def _outcome(ruling: Ruling, head: Head, commit_time: Instant) -> Outcome:
    return Outcome(
        revision=head.revision,
        running_hash=head.running_hash,
        epoch=head.epoch,
        commit_time=head.commit_time if ruling.drafts else commit_time,
        stored=tuple(ruling.stored),
        released=tuple(ruling.released),
        standing=tuple(ruling.standing),
        tally=ruling.tally,
        topic=ruling.topic,
        hold=ruling.hold,
    )


def _keep(ruling: Ruling, tenant_id: TenantId, rows: _Rows) -> None:
    """Note the rows that an accepted ruling changes; a later one of the group replaces them."""
    for draft in ruling.drafts:
        subject = draft.subject
        if subject is not None:
            rows.addresses[tenant_id, subject.key] = address_row(tenant_id, subject)
    for key, slot in ruling.touched:
        rows.records[tenant_id, key, slot] = ruling.records[key][slot]
    for topic in ruling.topics:
        rows.topics[tenant_id, topic.name] = topic_row(tenant_id, topic)
    for hold in ruling.placed:
        rows.holds[tenant_id, hold.hold_id] = hold_row(tenant_id, hold)
    for hold in ruling.lifted:
        # A hold that was placed in this very group is not in the table yet.
        if rows.holds.pop((tenant_id, hold.hold_id), None) is None:
            rows.lifted.append((tenant_id, hold.hold_id))


def _insert(
    connection: Connection,
    statements: GroupStatements,
    rows: _Rows,
    logs: dict[TenantId, _Log],
) -> None:
    insert = statements.dialect.insert
    record_rows = [
        record_row(tenant_id, key, held) for (tenant_id, key, _), held in rows.records.items()
    ]
    head_rows = [
        (
            tenant_id,
            log.head.revision,
            log.head.running_hash,
            log.head.commit_time,
            log.commits + 1,
        )
        for tenant_id, log in logs.items()
        if log.must_commit
    ]
    for table, batch, on_conflict in (
        (changes, rows.changes, ON_CONFLICT_FAIL),
        (records, record_rows, ON_CONFLICT_REPLACE),
        (addresses, list(rows.addresses.values()), ON_CONFLICT_KEEP),
        (keys, rows.keys, ON_CONFLICT_FAIL),
        (topics, list(rows.topics.values()), ON_CONFLICT_REPLACE),
        (holds, list(rows.holds.values()), ON_CONFLICT_REPLACE),
        (heads, head_rows, ON_CONFLICT_REPLACE),
    ):
        if batch:
            insert(connection, table, batch, on_conflict)
    for tenant_id, hold_id in rows.lifted:
        statements.delete_hold.run(connection, tenant_id, hold_id)
