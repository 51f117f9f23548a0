"""Reading the past: the changes of some subjects, those of the tenant, and where the log was when.

Laws:
- Lists ascend, and hold no more than they were asked for; the last entry says where to go on.
- The changes of subjects are found by an index that holds their numbers alone, so that a subject
  with very many costs no more rows than are returned.
- A revision is found by its time without an index of times: commit times strictly increase.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, literal_column, select
from sqlalchemy.types import BigInteger

from heed.model import Change, Head, Instant, Revision, SubjectKey, TenantId
from heed.proof import EMPTY_LOG_HASH
from heed_server.storage.log_reads import CHANGE_COLUMNS, LogStatements, change_of, read_head
from heed_server.storage.schema import changes
from heed_server.storage.statements import AmongSelect, Dialect, Statement, parameter
from heed_server.store import LogDamagedError


class PastStatements:
    """The statements that read the past, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        of_tenant = changes.c.tenant_id == parameter("tenant", BigInteger())
        within = (
            changes.c.revision > parameter("after", BigInteger()),
            changes.c.revision <= parameter("through", BigInteger()),
        )
        self.changes_of = AmongSelect(
            select(changes.c.tenant_id, changes.c.revision).where(
                changes.c.subject.is_not(None), *within
            ),
            changes.c.tenant_id,
            changes.c.subject,
            around=_first_changes,
        )
        self.changes_of_tenant = Statement(
            select(*CHANGE_COLUMNS)
            .where(of_tenant, changes.c.subject.is_(None), *within)
            .order_by(changes.c.revision)
            .limit(parameter("limit", BigInteger())),
            dialect,
            *("tenant", "after", "through", "limit"),
        )
        self.place_of = Statement(
            select(changes.c.running_hash, changes.c.commit_time).where(
                of_tenant, changes.c.revision == parameter("revision", BigInteger())
            ),
            dialect,
            *("tenant", "revision"),
        )


def read_changes_of(
    connection: Connection,
    statements: PastStatements,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
    *,
    after: Revision,
    through: Revision,
    limit: int,
) -> list[Change]:
    """Return the first changes of some subjects after one revision and up to another."""
    asked = list(dict.fromkeys(keys))
    if not asked:
        return []
    rows = statements.dialect.fetch_among(
        connection,
        statements.changes_of,
        [tenant_id],
        asked,
        after=after,
        through=through,
        limit=limit,
    )
    # Of many subjects each part of them has its first changes.
    rows.sort(key=itemgetter(0))
    return [change_of(row) for row in rows[:limit]]


def read_changes_of_tenant(
    connection: Connection,
    statements: PastStatements,
    tenant_id: TenantId,
    *,
    after: Revision,
    through: Revision,
    limit: int,
) -> list[Change]:
    """Return the first changes without a subject after one revision and up to another."""
    rows = statements.changes_of_tenant.fetch(connection, tenant_id, after, through, limit)
    return [change_of(row) for row in rows]


def read_head_at(
    connection: Connection,
    log: LogStatements,
    statements: PastStatements,
    tenant_id: TenantId,
    revision: Revision,
) -> Head | None:
    """Return where a log ended when it had this revision; None where it does not have it yet.

    Raises:
        LogDamagedError: the change is missing.
    """
    now = read_head(connection, log, tenant_id)
    if revision > now.revision:
        return None
    running_hash, commit_time = EMPTY_LOG_HASH, Instant(0)
    if revision:
        running_hash, commit_time = _place_of(connection, statements, tenant_id, revision)
    return Head(
        revision=revision,
        running_hash=running_hash,
        commit_time=commit_time,
        epoch=now.epoch,
    )


def find_revision(
    connection: Connection,
    log: LogStatements,
    statements: PastStatements,
    tenant_id: TenantId,
    instant: Instant,
) -> Revision:
    """Return the last revision committed at or before an instant; 0 where there is none.

    Raises:
        LogDamagedError: a change on the way is missing.
    """
    at_or_before, after = 0, read_head(connection, log, tenant_id).revision + 1
    while after - at_or_before > 1:
        middle = Revision((at_or_before + after) // 2)
        _, commit_time = _place_of(connection, statements, tenant_id, middle)
        if commit_time <= instant:
            at_or_before = middle
        else:
            after = middle
    return Revision(at_or_before)


def _first_changes(numbers: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Return the statement of the first of some changes, of which only the numbers are found."""
    numbered = numbers.subquery("numbered")
    # A sum, so that no database walks all changes in their order for those of these subjects.
    first = (
        select(numbered.c.tenant_id, numbered.c.revision)
        .order_by(numbered.c.revision + literal_column("0"))
        .limit(parameter("limit", BigInteger()))
        .subquery("first")
    )
    is_first = and_(
        changes.c.tenant_id == first.c.tenant_id, changes.c.revision == first.c.revision
    )
    return select(*CHANGE_COLUMNS).join(first, is_first).order_by(changes.c.revision)


def _place_of(
    connection: Connection, statements: PastStatements, tenant_id: TenantId, revision: Revision
) -> tuple[bytes, Instant]:
    rows = statements.place_of.fetch(connection, tenant_id, revision)
    if not rows:
        raise LogDamagedError(f"change {revision} of tenant {tenant_id} is missing")
    running_hash, commit_time = rows[0]
    return running_hash, commit_time
