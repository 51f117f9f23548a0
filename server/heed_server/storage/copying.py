"""All that a database holds, read table by table in one view, and written into an empty one.

Laws:
- What is read together is of one instant: the caller's view.
- Every table is copied, but those of `NOT_COPIED`, each with its reason; a new table is, too.
- What can be computed is not copied (`DERIVED`), but computed again and compared.
- Values are those of the tables' types, the same from both databases, so that a copy of one is
  written into the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Column, Connection, MetaData, Table, func, inspect, select, tuple_
from sqlalchemy.types import BigInteger

from heed.model import Instant, Revision, TenantId
from heed_server.storage.migrations import schema_version
from heed_server.storage.schema import heads, store, tenants
from heed_server.storage.statements import Dialect, Row, Statement, parameter
from heed_server.storage.tables import metadata

NOT_COPIED: Final = {
    "compatibility": "is what the code that migrates says",
    "deadline_marks": "are of subscribers that are behind",
    "leases": "are of nodes that run",
    "subscribers": "are of streams that are open",
}
"""Tables that a copy leaves out, and why."""

DERIVED: Final = {"changes": ("leaf_hash", "running_hash")}
"""Columns that a copy leaves out: they are computed from the others, and compared."""

BATCH_ROWS: Final = 5_000
"""Rows read at a time, at most."""
BATCH_BYTES: Final = 4 << 20
"""About so much is read at a time: rows of a table may be of a hundred bytes or of a megabyte."""
_FIRST_ROWS: Final = 50
"""Rows of the first batch, before it is known how large they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """Where one tenant's log ends."""

    tenant_id: TenantId
    name: str
    revision: Revision
    running_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What a database is, in one view."""

    schema_version: int
    epoch: bytes
    create_time: Instant
    logs: tuple[LogEnd, ...]
    """By tenant id."""


def copied_tables() -> tuple[Table, ...]:
    """Return the tables that a copy holds, by name."""
    return tuple(table for name, table in sorted(metadata.tables.items()) if name not in NOT_COPIED)


def copied_columns(table: Table) -> tuple[Column[Any], ...]:
    """Return the columns of a table that a copy holds, in order."""
    derived = DERIVED.get(table.name, ())
    return tuple(column for column in table.c if column.name not in derived)


def read_facts(connection: Connection) -> StoreFacts:
    """Return what the database is."""
    epoch, create_time = connection.execute(select(store.c.epoch, store.c.create_time)).one()
    ends = (
        select(tenants.c.tenant_id, tenants.c.name, heads.c.revision, heads.c.running_hash)
        .join_from(tenants, heads, tenants.c.tenant_id == heads.c.tenant_id)
        .order_by(tenants.c.tenant_id)
    )
    return StoreFacts(
        schema_version=schema_version(connection),
        epoch=bytes(epoch),
        create_time=Instant(create_time),
        logs=tuple(
            LogEnd(
                tenant_id=TenantId(tenant_id),
                name=name,
                revision=Revision(revision),
                running_hash=bytes(running_hash),
            )
            for tenant_id, name, revision, running_hash in connection.execute(ends)
        ),
    )


class TableRows:
    """The rows of one table, a batch at a time, in the order of its primary key."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        columns = copied_columns(table)
        self.table = table
        self._booleans = [i for i, column in enumerate(columns) if isinstance(column.type, Boolean)]
        keys = list(table.primary_key)
        self._key_places = [columns.index(column) for column in keys]
        limit = parameter("limit", BigInteger())
        every = select(*columns).order_by(*keys).limit(limit)
        after = tuple_(*(parameter(f"after_{key.name}", key.type) for key in keys))
        self._first = Statement(every, dialect, "limit")
        self._next = Statement(
            every.where(tuple_(*keys) > after),
            dialect,
            *(f"after_{key.name}" for key in keys),
            "limit",
        )
        self._last: Row | None = None
        self._limit = _FIRST_ROWS

    def next(self, connection: Connection) -> Sequence[Row]:
        """Return the next rows; none at the end."""
        last = self._last
        if last is None:
            rows = self._first.fetch(connection, self._limit)
        else:
            after = (last[place] for place in self._key_places)
            rows = self._next.fetch(connection, *after, self._limit)
        if rows:
            self._last = rows[-1]
            fitting = BATCH_BYTES * len(rows) // sum(map(bytes_of, rows))
            # At most doubled: the next rows may be larger than these.
            self._limit = max(1, min(fitting, 2 * self._limit, BATCH_ROWS))
        return [self._typed(row) for row in rows] if self._booleans else [*map(tuple, rows)]

    def _typed(self, row: Row) -> Row:
        typed = list(row)
        for index in self._booleans:
            typed[index] = None if typed[index] is None else bool(typed[index])
        return typed


def bytes_of(row: Row) -> int:
    """Return about how many bytes a row takes; never 0."""
    return sum(len(value) if isinstance(value, bytes | str) else 8 for value in row)


def is_empty(connection: Connection) -> bool:
    """Whether nothing of heed's is in the database, not even tables without a row."""
    return not inspect(connection).has_table("alembic_version")


class Loader:
    """Writes copied rows into tables that are empty."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._tables: dict[tuple[str, tuple[str, ...]], Table] = {}

    def put(
        self, connection: Connection, name: str, columns: tuple[str, ...], rows: Sequence[Row]
    ) -> None:
        """Write rows; the table may be one of an older schema."""
        table = self._tables.get((name, columns))
        if table is None:
            # Only names: values are of the columns' types already.
            table = Table(name, MetaData(), *(Column(column, BigInteger) for column in columns))
            self._tables[name, columns] = table
        self._dialect.load(connection, table, rows)

    def finish(self, connection: Connection) -> None:
        """Have the numbers that the database makes begin after those that were written."""
        for table in metadata.tables.values():
            for column in table.c:
                if column.identity is not None and inspect(connection).has_table(table.name):
                    last = connection.execute(select(func.max(column))).scalar()
                    if last is not None:
                        self._dialect.number_after(connection, column, int(last))
