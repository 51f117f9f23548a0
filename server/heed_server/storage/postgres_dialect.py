"""What differs in PostgreSQL's statements: lists are arrays, and rows are arrays of columns."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Select,
    Table,
    any_,
    bindparam,
    cast,
    extract,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine

from heed_server.storage.statements import (
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Batch,
    Row,
)

_Among = tuple[str, Sequence[str], Mapping[str, object]]
"""A statement, which value each of its parameters is, and those that never change."""


class PostgresDialect:
    """What differs in PostgreSQL's statements."""

    def __init__(self) -> None:
        self.compiler = create_async_engine("postgresql+asyncpg://", poolclass=NullPool).dialect
        self._among: dict[AmongSelect, _Among] = {}
        self._inserts: dict[tuple[tuple[str, str], ...], tuple[str, list[int]]] = {}

    def fetch_among(
        self,
        connection: Connection,
        select: AmongSelect,
        *lists: Sequence[object],
        **values: object,
    ) -> list[Row]:
        """Return the rows whose columns are each one of the values of a list."""
        known = self._among.get(select)
        if known is None:
            known = self._among[select] = self._text_among(select)
        text, order, constants = known
        named = {**constants, **values}
        for column, among in zip(select.among, lists, strict=True):
            named[column.name] = among
        return self.fetch(connection, text, tuple([named[name] for name in order]))

    def insert_all(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Insert the rows of all batches by one statement, thus one round trip."""
        shape = tuple((table.name, on_conflict) for table, _, on_conflict in batches)
        known = self._inserts.get(shape)
        if known is None:
            known = self._inserts[shape] = self._text_inserts(batches)
        text, order = known
        columns = [column for batch in batches for column in zip(*batch.rows, strict=True)]
        self.run(connection, text, tuple([columns[index] for index in order]))

    def load(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Write rows by COPY, which takes numbers also where the database makes them."""
        connection.connection.run_async(
            lambda driver: driver.copy_records_to_table(
                table.name, records=rows, columns=[column.name for column in table.c]
            )
        )

    def number_after(self, connection: Connection, column: Column[Any], last: int) -> None:
        """Move the column's sequence."""
        sequence = func.pg_get_serial_sequence(column.table.name, column.name)
        connection.execute(select(func.setval(sequence, last)))

    def fetch(self, connection: Connection, text: str, values: tuple[Any, ...]) -> list[Row]:
        """Run one statement and return its rows."""
        cursor = connection.connection.cursor()
        cursor.execute(text, values)
        return list[Row](cursor.fetchall())

    def run(self, connection: Connection, text: str, values: tuple[Any, ...]) -> None:
        """Run one statement that returns none."""
        connection.connection.cursor().execute(text, values)

    def database_time(self) -> ColumnElement[int]:
        """Return the server's clock in microseconds."""
        return cast(
            extract("epoch", func.clock_timestamp()) * literal_column("1000000"), BigInteger
        )

    def _text_among(self, select: AmongSelect) -> _Among:
        """Return the statement for lists of any size."""
        conditions = [column == any_(_array(column.name, column.type)) for column in select.among]
        compiled = select.where(conditions).compile(dialect=self.compiler)
        return str(compiled), list(getattr(compiled, "positiontup", ())), compiled.params or {}

    def _text_inserts(self, batches: Sequence[Batch]) -> tuple[str, list[int]]:
        """Return one statement for all batches, and which of their columns each parameter is."""
        *first, last = (_insert(table, on_conflict) for table, _, on_conflict in batches)
        statement = last
        for number, insert in enumerate(first):
            # PostgreSQL runs what stands in WITH although nothing refers to it.
            statement = statement.add_cte(insert.cte(f"insert_{number}"))
        compiled = statement.compile(dialect=self.compiler)
        names = [_name(table, column) for table, _, _ in batches for column in table.c]
        return str(compiled), [names.index(name) for name in getattr(compiled, "positiontup", ())]


@cache
def postgres_dialect() -> PostgresDialect:
    """Return the one of this process: what was compiled for one store is so for the next."""
    return PostgresDialect()


def _insert(table: Table, on_conflict: str) -> Insert:
    names = [column.name for column in table.c]
    arrays = [_array(_name(table, column), column.type) for column in table.c]
    rows: Select[*tuple[Any, ...]] = select(
        func.unnest(*arrays).table_valued(*names, name=f"new_{table.name}").render_derived()
    )
    statement = postgres_insert(table).from_select(names, rows)
    if on_conflict == ON_CONFLICT_KEEP:
        return statement.on_conflict_do_nothing()
    if on_conflict == ON_CONFLICT_REPLACE:
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key},
        )
    return statement


def _name(table: Table, column: Column[Any]) -> str:
    return f"{table.name}_{column.name}"


def _array(name: str, of: TypeEngine[Any]) -> BindParameter[Any]:
    # Without its collation, which belongs to the column and not to a value.
    return bindparam(name, type_=ARRAY(type(of)()))
