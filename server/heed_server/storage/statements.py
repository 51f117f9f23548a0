"""Statements written in SQLAlchemy Core and compiled once for the dialect at hand.

Compiling (or even looking up what was compiled) for every execution costs more than most of these
statements do, and so does the way through SQLAlchemy's execution, about 100 us where the processor
has not just been there. A `Statement` is compiled when the first store of a process opens; running
it hands values to the driver's own cursor by position, and rows come back as the driver has them.

Laws:
- No text of SQL is put together by hand; values are always parameters.
- What differs between the databases is behind `Dialect`: one small file each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import BindParameter, Column, Connection, Select, Table, bindparam
from sqlalchemy.engine import Dialect as Compiler
from sqlalchemy.sql import ClauseElement, ColumnElement
from sqlalchemy.types import TypeEngine

Row = Sequence[Any]
"""A row of a result, by position."""

ON_CONFLICT_FAIL = "fail"
ON_CONFLICT_KEEP = "keep"
ON_CONFLICT_REPLACE = "replace"


class Batch(NamedTuple):
    """Rows for a table, each in the order of its columns; at least one."""

    table: Table
    rows: Sequence[Row]
    on_conflict: str


class Dialect(Protocol):
    """What differs between the databases in a transaction's statements."""

    compiler: Compiler

    def __hash__(self) -> int:
        """Return what stands for this very object: statements are kept by it."""
        ...

    def fetch_among(
        self,
        connection: Connection,
        select: "AmongSelect",
        *lists: Sequence[object],
        **values: object,
    ) -> list[Row]:
        """Return the rows whose columns (`select.among`) are each one of the values of a list.

        `values` are the select's own parameters. A long last list is asked about in parts, each
        with rows in the select's order and up to its limit.
        """
        ...

    def insert_all(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Insert the rows of each batch, which are of different tables."""
        ...

    def load(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Write rows as fast as can be into a table that has none of them, whatever its schema."""
        ...

    def number_after(self, connection: Connection, column: Column[Any], last: int) -> None:
        """Have the database number on after `last` in a column whose values it makes."""
        ...

    def fetch(self, connection: Connection, text: str, values: tuple[Any, ...]) -> list[Row]:
        """Run one statement and return its rows."""
        ...

    def run(self, connection: Connection, text: str, values: tuple[Any, ...]) -> None:
        """Run one statement that returns none."""
        ...

    def database_time(self) -> ColumnElement[int]:
        """Return the database's clock in microseconds, NULL where it is this node's own."""
        ...


class Statement:
    """One statement, compiled."""

    __slots__ = ("_constants", "_dialect", "_order", "_text")

    def __init__(self, statement: ClauseElement, dialect: Dialect, *names: str) -> None:
        """`names` are the statement's parameters in the order in which values will be given."""
        self._dialect = dialect
        compiled = statement.compile(dialect=dialect.compiler)
        positions = {name: index for index, name in enumerate(names)}
        order = getattr(compiled, "positiontup", None)
        if order is None or not set(names) <= set(order):
            raise ValueError(f"a statement has the parameters {order}, not {names}")
        self._text = str(compiled)
        # What is not named is a constant of the statement.
        constants = [name for name in dict.fromkeys(order) if name not in positions]
        values: Mapping[str, object] = compiled.params or {}
        self._constants = tuple(values[name] for name in constants)
        positions |= {name: index for index, name in enumerate(constants, start=len(names))}
        self._order = tuple(positions[name] for name in order)

    def fetch(self, connection: Connection, *values: object) -> Sequence[Row]:
        """Run it and return its rows."""
        return self._dialect.fetch(connection, self._text, self._arranged(values))

    def run(self, connection: Connection, *values: object) -> None:
        """Run it; it returns no rows."""
        self._dialect.run(connection, self._text, self._arranged(values))

    def _arranged(self, values: Sequence[object]) -> tuple[object, ...]:
        full = (*values, *self._constants)
        return tuple([full[index] for index in self._order])


class AmongSelect:
    """A select with columns that are each compared with a list of any length."""

    __slots__ = ("_around", "_select", "among")

    def __init__(
        self,
        select: Select[*tuple[Any, ...]],
        *among: Column[Any],
        around: Callable[[Select[*tuple[Any, ...]]], Select[*tuple[Any, ...]]] | None = None,
    ) -> None:
        """`among` are the columns that are each to be one of a list's values.

        `around` makes the statement of what was found so: it sorts it, or reads more of each.
        """
        self._select = select
        self.among = among
        self._around = around

    def where(self, conditions: Iterable[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
        """Return the statement whose columns are held to these conditions."""
        found = self._select.where(*conditions)
        return found if self._around is None else self._around(found)


def parameter(name: str, of: TypeEngine[Any] | None = None) -> BindParameter[Any]:
    """Return a named parameter of a type."""
    return bindparam(name, type_=of)
