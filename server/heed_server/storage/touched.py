"""What a group touches: locked first, then loaded, and in the end inserted.

Laws:
- Heads are locked in the order of tenant ids, before anything else is read.
- A few statements load everything and a few insert everything, however many writes there are.
- Every transaction that acknowledges something changes the head's row, also one that only found
  replays. Its commit is then as durable as the commit of the answer it repeats, which the row's
  mere presence does not prove.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from heed.acts import (
    AddProtections,
    DeclareTopic,
    EraseSubjects,
    LiftHold,
    OfferRecords,
    PlaceHold,
    RekeySubjects,
    ReleaseSuppression,
    ReleaseSuppressions,
    RetireTopic,
    RevertBatch,
    SetPreferences,
    says_more,
)
from heed.judge import Held, Ledger, Ruling, SlotKey, Slots, slot_key
from heed.keys import LookupKey
from heed.model import Change, Head, Instant, Revision, Subject, SubjectKey, TenantId
from heed_server.secrets.names import lookup_key_name
from heed_server.storage.addresses import AddressStatements, encrypted_rows
from heed_server.storage.caps import CapStatements, CapUse, Used, minute_of
from heed_server.storage.erasing import (
    ErasingStatements,
    empty_slot,
    erase_subject,
    read_history,
)
from heed_server.storage.keyring import Keyring
from heed_server.storage.moving import take_away
from heed_server.storage.node_rules import keep_out_earlier, rules_of_nodes
from heed_server.storage.rows import (
    HOLD_COLUMNS,
    RECORD_COLUMNS,
    TOPIC_COLUMNS,
    hold_of,
    hold_row,
    record_of,
    record_row,
    topic_of,
    topic_row,
)
from heed_server.storage.schema import (
    EPOCH_IN_FORCE,
    LOOKUP_KEYS_SINCE,
    batches,
    cap_uses,
    changes,
    encrypted_addresses,
    heads,
    holds,
    keys,
    records,
    reserves,
    topics,
)
from heed_server.storage.settling import SettlingStatements
from heed_server.storage.statements import (
    ON_CONFLICT_FAIL,
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Batch,
    Dialect,
    Row,
    Statement,
    parameter,
)
from heed_server.storage.undoing import (
    UndoingStatements,
    batch_row,
    load_undoing,
    reserve_row,
)
from heed_server.storage.wrapped import ensure_secret
from heed_server.writes import Write


class GroupStatements:
    """The statements of the transaction, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.erasing = ErasingStatements(dialect)
        self.lock_heads = AmongSelect(
            select(
                heads.c.tenant_id,
                heads.c.revision,
                heads.c.running_hash,
                heads.c.commit_time,
                heads.c.commits,
                EPOCH_IN_FORCE,
                heads.c.lookup_key_id,
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
        self.addresses = AddressStatements()
        self.undoing = UndoingStatements(dialect)
        self.moving = self.undoing.moving
        self.settling = SettlingStatements(dialect, self.moving)
        self.delete_hold = Statement(
            delete(holds).where(
                holds.c.tenant_id == parameter("tenant"), holds.c.hold_id == parameter("hold")
            ),
            dialect,
            "tenant",
            "hold",
        )
        self.caps = CapStatements(dialect)


@cache
def group_statements(dialect: Dialect) -> GroupStatements:
    """Return them for a kind of database, for which a process compiles them once."""
    return GroupStatements(dialect)


class KeyRow(NamedTuple):
    """What the store keeps of a call that happened."""

    payload_hash: bytes
    answer: bytes
    revision: Revision


class Log:
    """One tenant's log within the transaction: where it ends, and what the group has added."""

    def __init__(self, head: Head, commits: int) -> None:
        self.head = head
        self.commits = commits
        self.ledger = Ledger()
        self.ledger.lookup_key_id = head.lookup_key_id
        self.keys: dict[str, KeyRow] = {}
        self.used: Used = {}
        """What principals have used of their caps."""
        self.changes: list[Change] = []
        self.must_commit = False


class Rows:
    """What the group will insert."""

    def __init__(self, key_ids: Mapping[tuple[TenantId, SubjectKey], int]) -> None:
        """`key_ids` says which lookup key made a subject's key where that is not the newest."""
        self.key_ids = key_ids
        self.changes: list[Row] = []
        self.records: dict[tuple[TenantId, SubjectKey, SlotKey], Held] = {}
        self.addresses: dict[tuple[TenantId, SubjectKey], Subject] = {}
        self.keys: list[Row] = []
        self.topics: dict[tuple[TenantId, str], Row] = {}
        self.holds: dict[tuple[TenantId, str], Row] = {}
        self.lifted: list[tuple[TenantId, str]] = []
        self.cap_uses: dict[tuple[TenantId, CapUse, int], Row] = {}
        self.emptied: list[tuple[TenantId, SubjectKey, SlotKey]] = []
        self.erased: list[tuple[TenantId, SubjectKey]] = []
        self.renewed: set[tuple[TenantId, SubjectKey]] = set()
        """Erased subjects whose person opted in anew: the address is kept again."""
        self.batches: dict[tuple[TenantId, str], Row] = {}
        self.reserves: dict[tuple[TenantId, SubjectKey, SlotKey], Row] = {}
        self.moved: list[tuple[TenantId, SubjectKey, SubjectKey]] = []
        """Subjects that stand under another key since: the earlier one, and that."""
        self.lookup_keys: list[tuple[TenantId, LookupKey]] = []
        """Lookup keys that began."""
        self.says_more = False
        """Whether there is what an earlier release would not know."""


def lock_heads(
    connection: Connection, statements: GroupStatements, writes: Sequence[Write]
) -> tuple[dict[TenantId, Log], int | None]:
    """Lock the heads of the writes' tenants; return their logs, and the database's own time."""
    tenant_ids = sorted({write.tenant_id for write in writes})
    rows = statements.dialect.fetch_among(connection, statements.lock_heads, tenant_ids)
    logs: dict[TenantId, Log] = {}
    for tenant_id, revision, running, commit_time, commits, epoch, lookup_key_id, _ in rows:
        head = Head(
            revision=revision,
            running_hash=running,
            commit_time=commit_time,
            epoch=epoch,
            lookup_key_id=lookup_key_id,
        )
        logs[tenant_id] = Log(head, commits)
    return logs, rows[-1][-1] if rows else None


def load(
    connection: Connection,
    statements: GroupStatements,
    writes: Sequence[Write],
    logs: dict[TenantId, Log],
    now: Instant,
) -> None:
    """Fill the logs with every key, record, topic and hold that the writes touch."""
    if not logs:
        return
    if any(says_more(write.act) for write in writes):
        rule_version = rules_of_nodes(connection, now)
        for log in logs.values():
            log.ledger.rule_version = rule_version
    dialect = statements.dialect
    tenant_ids = sorted(logs)
    asked_keys = list(dict.fromkeys(write.idempotency_key for write in writes))
    for tenant_id, key, *row in dialect.fetch_among(
        connection, statements.keys_of, tenant_ids, asked_keys
    ):
        logs[tenant_id].keys[key] = KeyRow(*row)
    for tenant_id, used in statements.caps.used(connection, writes).items():
        logs[tenant_id].used = used
    subjects = list(dict.fromkeys(key for write in writes for key in _subjects_of(write)))
    if subjects:
        for *row, tenant_id, standing, release_time in dialect.fetch_among(
            connection, statements.records_of, tenant_ids, subjects
        ):
            record = record_of(row)
            slots: Slots = logs[tenant_id].ledger.records.setdefault(row[0], {})
            slots[slot_key(record)] = Held(record, bool(standing), release_time)
    with_topics = {w.tenant_id for w in writes if isinstance(w.act, _OF_TOPICS)}
    if with_topics:
        for tenant_id, *row in dialect.fetch_among(
            connection, statements.topics_of, sorted(with_topics)
        ):
            logs[tenant_id].ledger.topics[row[0]] = topic_of(row)
    with_holds = {w.tenant_id for w in writes if isinstance(w.act, _OF_HOLDS)}
    if with_holds:
        for tenant_id, *row in dialect.fetch_among(
            connection, statements.holds_of, sorted(with_holds)
        ):
            logs[tenant_id].ledger.holds[row[0]] = hold_of(row)
    ledgers = {tenant_id: log.ledger for tenant_id, log in logs.items()}
    load_undoing(connection, statements.undoing, writes, ledgers)

    for write in writes:
        if isinstance(write.act, EraseSubjects) and write.tenant_id in logs:
            histories = logs[write.tenant_id].ledger.histories
            for key in write.act.keys:
                history = read_history(connection, statements.erasing, write.tenant_id, key)
                if history is not None:
                    histories[key] = history
        elif isinstance(write.act, RekeySubjects) and write.tenant_id in logs:
            found = dialect.fetch_among(
                connection,
                statements.moving.readable_of,
                [write.tenant_id],
                [move.previous for move in write.act.moves],
            )
            logs[write.tenant_id].ledger.readable.update(SubjectKey(bytes(key)) for _, key in found)


def _subjects_of(write: Write) -> list[SubjectKey]:
    match write.act:
        case SetPreferences(people=people):
            return [subject.key for person in people for subject in person.subjects]
        case AddProtections(protections=protections):
            return [protection.subject.key for protection in protections]
        case OfferRecords(offered=offered):
            return [one.key for one in offered]
        case ReleaseSuppression(subject=subject):
            return [subject.key]
        case ReleaseSuppressions(found=found):
            return [one.key for one in found]
        case EraseSubjects(keys=keys) | RevertBatch(keys=keys):
            return list(keys)
        case RekeySubjects(moves=moves):
            return [key for move in moves for key in (move.previous, move.subject.key)]
        case _:
            return []


_OF_TOPICS = (DeclareTopic, RetireTopic, RevertBatch)
"""The acts that are judged by all topics."""

_OF_HOLDS = (PlaceHold, LiftHold, OfferRecords)
"""The acts that are judged by all holds."""


def keep(ruling: Ruling, tenant_id: TenantId, rows: Rows) -> None:
    """Note the rows that an accepted ruling changes; a later one of the group replaces them."""
    for draft in ruling.drafts:
        subject = draft.subject
        if subject is not None:
            rows.addresses[tenant_id, subject.key] = subject.subject
            if subject.key in ruling.renewed:
                rows.renewed.add((tenant_id, subject.key))
        elif draft.erased is not None:
            rows.erased.append((tenant_id, draft.erased))
        if draft.rekey is not None and draft.rekey.previous is not None and subject is not None:
            rows.moved.append((tenant_id, draft.rekey.previous, subject.key))
    if ruling.lookup_key is not None:
        rows.lookup_keys.append((tenant_id, ruling.lookup_key))
    for key, slot in ruling.emptied:
        rows.emptied.append((tenant_id, key, slot))
    for key, slot in ruling.touched:
        rows.records[tenant_id, key, slot] = ruling.records[key][slot]
    for batch_id, batch in ruling.batches.items():
        rows.batches[tenant_id, batch_id] = batch_row(tenant_id, batch_id, batch)
    for (key, slot), reserve in ruling.reserves.items():
        rows.reserves[tenant_id, key, slot] = reserve_row(tenant_id, key, slot, reserve)
    for topic in ruling.topics:
        rows.topics[tenant_id, topic.name] = topic_row(tenant_id, topic)
    for hold in ruling.placed:
        rows.holds[tenant_id, hold.hold_id] = hold_row(tenant_id, hold)
    for hold in ruling.lifted:
        # A hold that was placed in this very group is not in the table yet.
        if rows.holds.pop((tenant_id, hold.hold_id), None) is None:
            rows.lifted.append((tenant_id, hold.hold_id))


def note_uses(
    taken: Mapping[CapUse, int], log: Log, tenant_id: TenantId, now: Instant, rows: Rows
) -> None:
    """Note what an accepted write took of its caps."""
    minute = minute_of(now)
    for use, amount in taken.items():
        of_minutes = log.used.setdefault(use, {})
        of_minutes[minute] = of_minutes.get(minute, 0) + amount
        rows.cap_uses[tenant_id, use, minute] = (tenant_id, *use, minute, of_minutes[minute])


def insert_all(
    connection: Connection,
    statements: GroupStatements,
    rows: Rows,
    logs: dict[TenantId, Log],
    keyring: Keyring,
    now: Instant,
) -> None:
    """Insert what the group noted, and the heads of the logs that must be committed.

    Raises:
        SecretsError: a tenant's first addresses cannot be encrypted for want of the root keys.
    """
    # Keys are random: in their order a page is gone to once for all the rows that belong on it.
    record_rows = [
        record_row(tenant_id, key, held)
        for (tenant_id, key, _), held in sorted(rows.records.items(), key=itemgetter(0))
    ]
    newest = {tenant_id: log.head.lookup_key_id for tenant_id, log in logs.items()}
    address_rows = [
        (*row, rows.key_ids.get((row[0], row[1]), newest[row[0]]))
        for row in encrypted_rows(
            connection, statements.dialect, statements.addresses, keyring, rows.addresses, now
        )
    ]
    head_rows = [
        (
            tenant_id,
            log.head.revision,
            log.head.running_hash,
            log.head.commit_time,
            log.commits + 1,
            log.head.lookup_key_id,
        )
        for tenant_id, log in logs.items()
        if log.must_commit
    ]
    if rows.says_more:
        keep_out_earlier(connection)
    if rows.moved or rows.lookup_keys:
        _change_lookup_keys(connection, statements, rows, keyring, now)
    for tenant_id, key, slot in rows.emptied:
        empty_slot(connection, statements.erasing, tenant_id, key, slot)
    for tenant_id, key in rows.erased:
        erase_subject(connection, statements.erasing, tenant_id, key)
    if rows.renewed:
        renewed = [row for row in address_rows if (row[0], row[1]) in rows.renewed]
        address_rows = [row for row in address_rows if (row[0], row[1]) not in rows.renewed]
        again = Batch(encrypted_addresses, renewed, ON_CONFLICT_REPLACE)
        statements.dialect.insert_all(connection, [again])
    for tenant_id, hold_id in rows.lifted:
        statements.delete_hold.run(connection, tenant_id, hold_id)
    for tenant_id, use, minute in rows.cap_uses:
        statements.caps.forget(connection, tenant_id, use.principal, minute)
    inserts = [
        Batch(changes, rows.changes, ON_CONFLICT_FAIL),
        Batch(records, record_rows, ON_CONFLICT_REPLACE),
        Batch(encrypted_addresses, address_rows, ON_CONFLICT_KEEP),
        Batch(keys, rows.keys, ON_CONFLICT_FAIL),
        Batch(topics, list(rows.topics.values()), ON_CONFLICT_REPLACE),
        Batch(holds, list(rows.holds.values()), ON_CONFLICT_REPLACE),
        Batch(cap_uses, list(rows.cap_uses.values()), ON_CONFLICT_REPLACE),
        Batch(batches, list(rows.batches.values()), ON_CONFLICT_REPLACE),
        Batch(reserves, list(rows.reserves.values()), ON_CONFLICT_REPLACE),
        Batch(heads, head_rows, ON_CONFLICT_REPLACE),
    ]
    there = [batch for batch in inserts if batch.rows]
    if there:
        statements.dialect.insert_all(connection, there)


def _change_lookup_keys(
    connection: Connection,
    statements: GroupStatements,
    rows: Rows,
    keyring: Keyring,
    now: Instant,
) -> None:
    for tenant_id, key in rows.lookup_keys:
        ensure_secret(connection, keyring, lookup_key_name(tenant_id, key.key_id), key.key, now)
        keep_out_earlier(connection, LOOKUP_KEYS_SINCE)
    for tenant_id in {tenant_id for tenant_id, _, _ in rows.moved}:
        moved = [(previous, key) for tenant, previous, key in rows.moved if tenant == tenant_id]
        take_away(connection, statements.dialect, tenant_id, moved)
