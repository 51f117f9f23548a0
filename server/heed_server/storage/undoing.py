"""What a batch is undone by: where it is, whom it touched, what was said of them, and reserves.

Laws:
- What an undoing is judged by is read under the lock of the tenant's head, as all else that a group
  touches; whom a batch touched is looked for before, since a closed batch never grows.
- A batch is told from the rest of the log by its name in the stored content, byte for byte.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, literal_column, select
from sqlalchemy.types import BigInteger

from heed.acts import AddProtections, OfferRecords, RekeySubjects, RevertBatch
from heed.judge import Batch, Ledger, Reserve, Said, SlotKey, batch_of, slot_key
from heed.model import Change, Revision, SubjectKey, TenantId
from heed_server.storage.moving import MovingStatements, moved_of, now_under
from heed_server.storage.past_reads import PastStatements, read_changes_of
from heed_server.storage.rows import records_of, text_of
from heed_server.storage.schema import batches, changes, reserves
from heed_server.storage.statements import AmongSelect, Dialect, Row, Statement, parameter
from heed_server.store import BatchFound
from heed_server.writes import Write

CHANGES_A_READ = 10_000
"""Changes that are read at a time."""

_NO_REVISION = Revision(0)
_LAST_REVISION = Revision(2**63 - 1)


class UndoingStatements:
    """The statements, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.past = PastStatements(dialect)
        self.moving = MovingStatements(dialect)
        self.dialect = dialect
        self.batches_of = AmongSelect(select(batches), batches.c.tenant_id)
        self.reserves_of = AmongSelect(
            select(
                reserves.c.subject,
                reserves.c.kind,
                reserves.c.cause,
                reserves.c.reach,
                reserves.c.channel,
                reserves.c.topic,
                reserves.c.decided_time,
                reserves.c.end_time,
                literal_column(str(_NO_REVISION)),
                reserves.c.quiet_hours,
                reserves.c.no_ask_until,
                reserves.c.slot_reach,
                reserves.c.tenant_id,
                reserves.c.batch_id,
            ),
            reserves.c.tenant_id,
            reserves.c.subject,
        )
        self.contents_within = Statement(
            select(changes.c.revision, changes.c.subject, changes.c.content)
            .where(
                changes.c.tenant_id == parameter("tenant", BigInteger()),
                changes.c.revision > parameter("after", BigInteger()),
                changes.c.revision <= parameter("through", BigInteger()),
            )
            .order_by(changes.c.revision)
            .limit(parameter("limit", BigInteger())),
            dialect,
            *("tenant", "after", "through", "limit"),
        )


def load_undoing(
    connection: Connection,
    statements: UndoingStatements,
    writes: Sequence[Write],
    ledgers: dict[TenantId, Ledger],
) -> None:
    """Fill the ledgers with what batches, imports and undoings of a group are judged by."""
    with_batches = {
        write.tenant_id
        for write in writes
        if isinstance(write.act, RevertBatch | OfferRecords | RekeySubjects) or batch_of(write.act)
    } & ledgers.keys()
    if not with_batches:
        return
    rows = statements.dialect.fetch_among(connection, statements.batches_of, sorted(with_batches))
    for tenant_id, batch_id, first, last, reverted in rows:
        ledgers[tenant_id].batches[batch_id] = Batch(first, last, reverted)
    subjects = list(dict.fromkeys(key for write in writes for key in _reserved(write)))
    if subjects:
        for *row, tenant_id, batch_id in statements.dialect.fetch_among(
            connection, statements.reserves_of, sorted(with_batches), subjects
        ):
            [(key, record)] = records_of([row])
            of_subject = ledgers[tenant_id].reserves.setdefault(key, {})
            of_subject[slot_key(record)] = Reserve(record, batch_id)
    for write in writes:
        if isinstance(write.act, RevertBatch) and write.tenant_id in ledgers:
            _load_said(connection, statements, write.tenant_id, write.act.keys, ledgers)


def find_batch(
    connection: Connection, statements: UndoingStatements, tenant_id: TenantId, batch_id: str
) -> BatchFound | None:
    """Return whom a batch touched; None: there is no such batch."""
    rows = statements.dialect.fetch_among(connection, statements.batches_of, [tenant_id])
    found = next((row for row in rows if row[1] == batch_id), None)
    if found is None:
        return None
    _, _, first, last, _ = found
    named = b'"batch":' + msgspec.json.encode(batch_id)
    keys: set[SubjectKey] = set()
    after = first - 1
    while after < last:
        page = statements.contents_within.fetch(connection, tenant_id, after, last, CHANGES_A_READ)
        if not page:
            break
        keys.update(key for _, key, content in page if key is not None and named in content)
        after = page[-1][0]
    now = now_under(connection, statements.moving, tenant_id, sorted(keys)) if keys else {}
    return BatchFound(tuple(sorted({now.get(key, key) for key in keys})), Revision(last))


def said_of(change: Change) -> Said:
    """Return what a change of the log said."""
    asked = change.record if change.asked is None else change.asked
    standing = () if change.erasure is None else change.erasure.standing
    return Said(change.kind, asked, change.commit_time, change.batch_id, standing)


def batch_row(tenant_id: TenantId, batch_id: str, batch: Batch) -> Row:
    """Return the row of a batch."""
    return (tenant_id, batch_id, batch.first, batch.last, batch.reverted)


def reserve_row(tenant_id: TenantId, key: SubjectKey, slot: SlotKey, reserve: Reserve) -> Row:
    """Return the row of a reserve."""
    record = reserve.record
    return (
        tenant_id,
        key,
        int(record.kind),
        int(record.cause),
        slot[0] >> 4 & 0xF,
        int(record.channel),
        record.topic,
        int(record.reach),
        record.decided_time,
        record.end_time,
        reserve.batch_id,
        text_of(record.quiet_hours),
        record.no_ask_until,
    )


def _reserved(write: Write) -> Sequence[SubjectKey]:
    """Whose reserves a write may meet."""
    match write.act:
        case AddProtections(batch_id=batch_id, protections=protections) if batch_id:
            return [protection.subject.key for protection in protections]
        case RevertBatch(keys=keys):
            return keys
        case OfferRecords(offered=offered):
            return [one.key for one in offered]
        case RekeySubjects(moves=moves):
            return [move.previous for move in moves]
        case _:
            return ()


def _load_said(
    connection: Connection,
    statements: UndoingStatements,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
    ledgers: dict[TenantId, Ledger],
) -> None:
    said = ledgers[tenant_id].said
    people = {key: key for key in keys if key not in said}
    for key in people:
        said[key] = []
    if people:
        people |= moved_of(connection, statements.moving, tenant_id, list(people))
    wanted = list(people)
    left: set[SubjectKey] = set()
    after = _NO_REVISION
    while wanted:
        page = read_changes_of(
            connection,
            statements.past,
            tenant_id,
            wanted,
            after=after,
            through=_LAST_REVISION,
            limit=CHANGES_A_READ,
        )
        for change in page:
            if change.rekey is not None and change.rekey.previous is not None:
                left.add(change.rekey.previous)
            # What erases a subject where they stand no more says nothing of what stands.
            elif change.subject is not None and change.subject not in left:
                said[people[change.subject]].append(said_of(change))
        if len(page) < CHANGES_A_READ:
            return
        after = page[-1].revision
