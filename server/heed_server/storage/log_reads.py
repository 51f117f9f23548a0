"""Reading a log and what stands, for followers and for people who ask.

Laws:
- What is read together is of one revision: the caller's transaction is one view.
- Rows that are not dense, or that nobody here wrote, raise; nothing is guessed.
"""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, and_, select, tuple_
from sqlalchemy.types import BigInteger

from heed.errors import NotFoundError
from heed.model import Change, Head, Hold, Record, Revision, SubjectKey, TenantId, Topic
from heed_server.storage.content import decode_change
from heed_server.storage.rows import (
    HOLD_COLUMNS,
    RECORD_COLUMNS,
    TOPIC_COLUMNS,
    hold_of,
    record_of,
    records_of,
    topic_of,
)
from heed_server.storage.schema import EPOCH_IN_FORCE, changes, heads, holds, records, topics
from heed_server.storage.statements import AmongSelect, Dialect, Row, Statement, parameter
from heed_server.store import LogDamagedError, Standing, StandingHold, StandingRecord

CHANGE_COLUMNS = (
    changes.c.revision,
    changes.c.commit_time,
    changes.c.kind,
    changes.c.effect,
    changes.c.running_hash,
    changes.c.subject,
    changes.c.content,
)
CHANGE_OF_RECORD = and_(
    changes.c.tenant_id == records.c.tenant_id, changes.c.revision == records.c.revision
)

Place = tuple[bytes, int, int, int, int, str]
"""Where a record stands among its tenant's: subject, kind, cause, slot_reach, channel, topic."""

FIRST_PLACE: Place = (b"", 0, 0, 0, 0, "")

PLACE_COLUMNS = (
    records.c.subject,
    records.c.kind,
    records.c.cause,
    records.c.slot_reach,
    records.c.channel,
    records.c.topic,
)


class LogStatements:
    """The statements that read logs and what stands, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        tenant = parameter("tenant", BigInteger())
        limit = parameter("limit", BigInteger())
        self.head = Statement(
            select(
                heads.c.revision,
                heads.c.running_hash,
                heads.c.commit_time,
                EPOCH_IN_FORCE,
                heads.c.lookup_key_id,
            ).where(heads.c.tenant_id == tenant),
            dialect,
            "tenant",
        )
        self.changes_after = Statement(
            select(*CHANGE_COLUMNS)
            .where(
                changes.c.tenant_id == tenant,
                changes.c.revision > parameter("after", BigInteger()),
            )
            .order_by(changes.c.revision)
            .limit(limit),
            dialect,
            *("tenant", "after", "limit"),
        )
        place = [column.name for column in PLACE_COLUMNS]
        places = [parameter(column.name, column.type) for column in PLACE_COLUMNS]
        self.records_after = Statement(
            select(*RECORD_COLUMNS, records.c.slot_reach)
            .where(
                records.c.tenant_id == tenant,
                tuple_(*PLACE_COLUMNS) > tuple_(*places),
                records.c.standing,
            )
            .order_by(*PLACE_COLUMNS)
            .limit(limit),
            dialect,
            *("tenant", *place, "limit"),
        )
        self.topics = Statement(
            select(*TOPIC_COLUMNS).where(topics.c.tenant_id == tenant).order_by(topics.c.name),
            dialect,
            "tenant",
        )
        change_of_hold = and_(
            changes.c.tenant_id == holds.c.tenant_id, changes.c.revision == holds.c.revision
        )
        self.holds = Statement(
            select(*HOLD_COLUMNS, *CHANGE_COLUMNS)
            .join_from(holds, changes, change_of_hold)
            .where(holds.c.tenant_id == tenant)
            .order_by(holds.c.revision),
            dialect,
            "tenant",
        )
        self.standing_of = AmongSelect(
            select(*RECORD_COLUMNS, *CHANGE_COLUMNS)
            .join_from(records, changes, CHANGE_OF_RECORD)
            .where(records.c.standing),
            records.c.tenant_id,
            records.c.subject,
        )
        self.database_time = Statement(select(dialect.database_time()), dialect)


@cache
def log_statements(dialect: Dialect) -> LogStatements:
    """Return them for a kind of database, for which a process compiles them once."""
    return LogStatements(dialect)


def read_head(connection: Connection, statements: LogStatements, tenant_id: TenantId) -> Head:
    """Return where a log ends. Raises NotFoundError."""
    rows = statements.head.fetch(connection, tenant_id)
    if not rows:
        raise NotFoundError(f"no tenant has the id {tenant_id}")
    revision, running_hash, commit_time, epoch, lookup_key_id = rows[0]
    return Head(
        revision=revision,
        running_hash=running_hash,
        commit_time=commit_time,
        epoch=epoch,
        lookup_key_id=lookup_key_id,
    )


def read_changes(
    connection: Connection,
    statements: LogStatements,
    tenant_id: TenantId,
    after: Revision,
    limit: int,
) -> list[Change]:
    """Return up to `limit` changes after a revision, dense; raises LogDamagedError otherwise."""
    rows = statements.changes_after.fetch(connection, tenant_id, after, limit)
    if len(rows) < limit:
        head = read_head(connection, statements, tenant_id)
        if after + len(rows) < head.revision:
            raise LogDamagedError(
                f"of the changes after {after}, {len(rows)} are there; the head is {head.revision}"
            )
    changes_read: list[Change] = []
    for number, row in enumerate(rows, start=after + 1):
        if row[0] != number:
            raise LogDamagedError(f"change {number} of tenant {tenant_id} is missing")
        changes_read.append(change_of(row))
    return changes_read


def read_standing_batch(
    connection: Connection,
    statements: LogStatements,
    tenant_id: TenantId,
    place: Place,
    limit: int,
) -> tuple[list[tuple[SubjectKey, Record]], Place | None]:
    """Return the next standing records in order, and from where to go on; None at the end."""
    rows = statements.records_after.fetch(connection, tenant_id, *place, limit)
    found = records_of(rows)
    if len(rows) < limit:
        return found, None
    subject, kind, cause, _, channel, topic, *_, slot_reach = rows[-1]
    return found, (subject, kind, cause, slot_reach, channel, topic)


def read_topics(
    connection: Connection, statements: LogStatements, tenant_id: TenantId
) -> tuple[Topic, ...]:
    """Return the declared topics by name, retired ones too."""
    return tuple(topic_of(row) for row in statements.topics.fetch(connection, tenant_id))


def read_holds(
    connection: Connection, statements: LogStatements, tenant_id: TenantId
) -> tuple[StandingHold, ...]:
    """Return the holds that were not lifted, by revision."""
    found: list[StandingHold] = []
    for row in statements.holds.fetch(connection, tenant_id):
        width = len(HOLD_COLUMNS)
        change = change_of(row[width:])
        hold: Hold = hold_of(row[:width])
        found.append(StandingHold(hold=hold, commit_time=change.commit_time, origin=change.origin))
    return tuple(found)


def read_standing(
    connection: Connection,
    statements: LogStatements,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
) -> Standing:
    """Return what stands for some subjects, with all topics and holds."""
    head = read_head(connection, statements, tenant_id)
    asked = list(dict.fromkeys(keys))
    rows = (
        statements.dialect.fetch_among(connection, statements.standing_of, [tenant_id], asked)
        if asked
        else []
    )
    order = {key: index for index, key in enumerate(asked)}
    found = [standing_record_of(row) for row in rows]
    found.sort(
        key=lambda one: (
            order[one.key],
            one.record.kind,
            one.record.topic,
            one.record.channel,
            one.record.cause,
            one.record.reach,
        )
    )
    return Standing(
        head=head,
        records=tuple(found),
        topics=read_topics(connection, statements, tenant_id),
        holds=read_holds(connection, statements, tenant_id),
    )


def standing_record_of(row: Row) -> StandingRecord:
    """Return the record in a row of RECORD_COLUMNS and CHANGE_COLUMNS."""
    width = len(RECORD_COLUMNS)
    change = change_of(row[width : width + len(CHANGE_COLUMNS)])
    return StandingRecord(
        key=row[0],
        record=record_of(row[:width]),
        commit_time=change.commit_time,
        origin=change.origin,
        evidence=change.evidence,
        reason=change.reason,
        is_erased=change.is_erased,
        batch_id=change.batch_id,
    )


def change_of(row: Row) -> Change:
    """Return the change in a row of CHANGE_COLUMNS."""
    revision, commit_time, kind, effect, running_hash, subject, content = row
    return decode_change(
        revision=revision,
        commit_time=commit_time,
        kind=kind,
        effect=effect,
        running_hash=running_hash,
        subject=subject,
        content=content,
    )
