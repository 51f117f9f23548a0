"""What differs in PostgreSQL's statements: lists are arrays, and rows are arrays of columns."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
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
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine

from heed_server.storage.statements import (
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Row,
)


class PostgresDialect:
    """What differs in PostgreSQL's statements."""

    def __init__(self) -> None:
        self.compiler = create_async_engine("postgresql+asyncpg://", poolclass=NullPool).dialect
        self._among: dict[AmongSelect, str] = {}
        self._inserts: dict[tuple[str, str], str] = {}

    def fetch_among(
        self, connection: Connection, select: AmongSelect, *lists: Sequence[object]
    ) -> list[Row]:
        """Return the rows whose columns are each one of the values of a list."""
        text = self._among.get(select)
        if text is None:
            text = self._among[select] = self._text_among(select)
        return self.fetch(connection, text, lists)

    def insert(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: str
    ) -> None:
        """Insert rows, in the order of the table's columns."""
        text = self._inserts.get((table.name, on_conflict))
        if text is None:
            text = self._text_insert(table, on_conflict)
            self._inserts[table.name, on_conflict] = text
        self.run(connection, text, tuple(zip(*rows, strict=True)))

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

    def _text_among(self, among: AmongSelect) -> str:
        statement = among.select
        for column in among.among:
            statement = statement.where(column == any_(_array(column.name, column.type)))
        return str(statement.compile(dialect=self.compiler))

    def _text_insert(self, table: Table, on_conflict: str) -> str:
        names = [column.name for column in table.c]
        arrays = [_array(column.name, column.type) for column in table.c]
        rows: Select[*tuple[Any, ...]] = select(
            func.unnest(*arrays).table_valued(*names).render_derived()
        )
        statement = postgres_insert(table).from_select(names, rows)
        if on_conflict == ON_CONFLICT_KEEP:
            statement = statement.on_conflict_do_nothing()
        elif on_conflict == ON_CONFLICT_REPLACE:
            statement = statement.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key},
            )
        return str(statement.compile(dialect=self.compiler))


def _array(name: str, of: TypeEngine[Any]) -> BindParameter[Any]:
    # Without its collation, which belongs to the column and not to a value.
    return bindparam(name, type_=ARRAY(type(of)()))
