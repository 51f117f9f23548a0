"""What differs in SQLite's statements, and SQLAlchemy's engine over apsw that compiles them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final
from typing import cast as cast_type

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Engine,
    Table,
    bindparam,
    cast,
    create_engine,
    null,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import ColumnElement

from heed_server.storage import apsw_driver
from heed_server.storage.statements import (
    ON_CONFLICT_FAIL,
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Batch,
    Row,
)

_AMONG_MAX: Final = 512
"""Values compared with in one statement."""

_INSERTED_MAX: Final = 64
"""Rows inserted by one statement; a power of two."""


_Among = tuple[str, Sequence[str], Mapping[str, object]]
"""A statement, which value each of its parameters is, and those that never change."""


class SqliteDialect:
    """What differs in SQLite's statements."""

    def __init__(self) -> None:
        self.compiler = new_engine(Path(":memory:")).dialect
        self._among: dict[tuple[AmongSelect, tuple[int, ...]], _Among] = {}
        self._inserts: dict[tuple[str, str, int], str] = {}

    def fetch_among(
        self,
        connection: Connection,
        select: AmongSelect,
        *lists: Sequence[object],
        **values: object,
    ) -> list[Row]:
        """Return the rows whose columns are each one of the values of a list."""
        found: list[Row] = []
        *first, last = lists
        head = [_padded(one) for one in first]
        for start in range(0, len(last), _AMONG_MAX):
            full = [*head, _padded(last[start : start + _AMONG_MAX])]
            text, order, constants = self._text_among(select, tuple(len(one) for one in full))
            named = {**constants, **values}
            for column, among in zip(select.among, full, strict=True):
                named |= {f"{column.name}_{index}": one for index, one in enumerate(among)}
            found += self.fetch(connection, text, tuple([named[name] for name in order]))
        return found

    def insert_all(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Insert the rows of each batch, many by one statement.

        The driver gives up the interpreter's lock for each statement, and a busy event loop lets
        it wait for up to 5 ms until it has it back: so there are to be few.
        """
        driver = driver_of(connection)
        for table, rows, on_conflict in batches:
            start = 0
            for size in _sizes(len(rows)):
                values = tuple(chain.from_iterable(rows[start : start + size]))
                driver.fetch(self._text_insert(table, on_conflict, size), values)
                start += size

    def load(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Write rows into a table that has none of them."""
        # Not among the kept texts: it may have other columns, in another order.
        text = self._compile_insert(table, ON_CONFLICT_FAIL, 1)
        driver_of(connection).run_each(text, rows)

    def number_after(self, connection: Connection, column: Column[Any], last: int) -> None:
        """Do nothing: SQLite numbers on after the greatest that is there."""

    def fetch(self, connection: Connection, text: str, values: tuple[Any, ...]) -> list[Row]:
        """Run one statement and return its rows."""
        return list[Row](driver_of(connection).fetch(text, values))

    def run(self, connection: Connection, text: str, values: tuple[Any, ...]) -> None:
        """Run one statement that returns none."""
        driver_of(connection).run(text, values)

    def database_time(self) -> ColumnElement[int]:
        """Return NULL: SQLite's clock is this node's own."""
        return cast(null(), BigInteger)

    def _text_among(self, select: AmongSelect, sizes: tuple[int, ...]) -> _Among:
        """Return the statement for lists of these sizes."""
        known = self._among.get((select, sizes))
        if known is None:
            conditions: list[ColumnElement[bool]] = []
            for column, size in zip(select.among, sizes, strict=True):
                values: list[BindParameter[Any]] = [
                    bindparam(f"{column.name}_{index}") for index in range(size)
                ]
                conditions.append(column.in_(values))
            compiled = select.where(conditions).compile(dialect=self.compiler)
            names: list[str] = list(getattr(compiled, "positiontup", ()))
            known = str(compiled), names, dict(compiled.params or {})
            self._among[select, sizes] = known
        return known

    def _text_insert(self, table: Table, on_conflict: str, size: int) -> str:
        text = self._inserts.get((table.name, on_conflict, size))
        if text is None:
            text = self._compile_insert(table, on_conflict, size)
            self._inserts[table.name, on_conflict, size] = text
        return text

    def _compile_insert(self, table: Table, on_conflict: str, size: int) -> str:
        statement = sqlite_insert(table).values(
            [
                {column.name: bindparam(f"{column.name}_{row}") for column in table.c}
                for row in range(size)
            ]
        )
        if on_conflict == ON_CONFLICT_KEEP:
            statement = statement.on_conflict_do_nothing()
        elif on_conflict == ON_CONFLICT_REPLACE:
            statement = statement.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key},
            )
        return str(statement.compile(dialect=self.compiler))


@cache
def sqlite_dialect() -> SqliteDialect:
    """Return the one of this process: what was compiled for one store is so for the next."""
    return SqliteDialect()


def new_engine(path: Path) -> Engine:
    """Return SQLAlchemy's engine for a file; it keeps no connections."""
    # Autocommit for SQLAlchemy: BEGIN and COMMIT are said here, where their errors are told apart.
    return create_engine(
        f"sqlite:///{path}",
        module=apsw_driver,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )


def driver_of(connection: Connection) -> apsw_driver.Connection:
    """Return the driver's connection beneath SQLAlchemy's."""
    return cast_type("apsw_driver.Connection", connection.connection.dbapi_connection)


def _sizes(count: int) -> Iterator[int]:
    """Part a number of rows into powers of two, so that few statements are compiled."""
    size = _INSERTED_MAX
    while count:
        while size > count:
            size >>= 1
        yield size
        count -= size


def _padded(values: Sequence[object]) -> Sequence[object]:
    """Repeat the last value up to a power of two, so that few statements are compiled."""
    size = 1 << max(len(values) - 1, 0).bit_length()
    return [*values, *([values[-1]] * (size - len(values)))]
