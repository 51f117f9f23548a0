"""As much of PEP 249 over apsw as SQLAlchemy asks of a SQLite driver.

apsw brings its own SQLite, a current one, and inserts a row of the log in 1.8 us where pysqlite3
takes 7.9 us (both measured with eleven columns of 550 bytes, in executemany; ADR 0012).

Laws:
- Nothing begins or ends a transaction by itself: BEGIN, COMMIT and ROLLBACK are said as statements.
- Every error of apsw leaves here as an `Error` with SQLite's primary result code.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apsw

apilevel: Final = "2.0"
threadsafety: Final = 1
paramstyle: Final = "qmark"
sqlite_version: Final = apsw.sqlite_lib_version()
sqlite_version_info: Final = tuple(int(part) for part in sqlite_version.split("."))
Binary = bytes

_CONSTRAINT: Final = 19
_REFUSALS = (apsw.Error, OverflowError, TypeError, ValueError)
"""What apsw raises: SQLite's errors, and what it says of values that SQLite cannot hold."""


class Error(Exception):
    """What SQLite refused; `code` is its primary result code, 0 where it was never asked."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class DatabaseError(Error):
    """The root of what PEP 249 tells apart."""


class OperationalError(DatabaseError):
    """Every error that is no other."""


class IntegrityError(DatabaseError):
    """A constraint is broken."""


# Never raised here; SQLAlchemy looks the names up.
InterfaceError = DataError = InternalError = ProgrammingError = NotSupportedError = DatabaseError


class Connection:
    """One connection to a database file, of one thread at a time."""

    isolation_level: str | None = None
    """Always autocommit; SQLAlchemy asks for it and sets it."""

    def __init__(self, path: str) -> None:
        self.wal_bytes = 0
        """How far the WAL was in use after the last commit of a connection that watches it. The
        file does not tell: it keeps its length when it is written from its start again."""
        self._page_bytes = 0
        try:
            self._apsw = apsw.Connection(path, statementcachesize=256)
        except _REFUSALS as error:
            raise _translated(error) from error

    def fetch(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        try:
            return self._apsw.execute(text, values).fetchall()
        except _REFUSALS as error:
            raise _translated(error) from error

    def run(self, text: str, values: Sequence[Any] = ()) -> int:
        """Run one statement to its end and return how many rows it changed."""
        self.fetch(text, values)
        return self._apsw.changes()

    def run_each(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        try:
            self._apsw.executemany(text, rows)
        except _REFUSALS as error:
            raise _translated(error) from error

    def leave_wal(self) -> None:
        """Never copy the WAL into the database when this connection is closed, not even last."""
        self._apsw.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def watch_wal(self) -> None:
        """Keep `wal_bytes` from now on; a later `PRAGMA wal_autocheckpoint=` would end it."""
        ((self._page_bytes,),) = self.fetch("PRAGMA page_size", ())
        self._apsw.set_wal_hook(self._note_wal)

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_bytes = pages * self._page_bytes
        return apsw.SQLITE_OK

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._apsw.in_transaction

    def cursor(self) -> "Cursor":
        """Return a cursor, for SQLAlchemy."""
        return Cursor(self._apsw)

    def create_function(
        self, name: str, arguments: int, function: Callable[..., Any], *, deterministic: bool
    ) -> None:
        """Make a function that statements can call; SQLAlchemy's dialect brings some."""
        self._apsw.create_scalar_function(name, function, arguments, deterministic=deterministic)

    def commit(self) -> None:
        """Do nothing: COMMIT is said as a statement."""

    def rollback(self) -> None:
        """Do nothing: ROLLBACK is said as a statement."""

    def close(self) -> None:
        """Close the connection, which rolls back what is open."""
        try:
            self._apsw.close()
        except _REFUSALS as error:
            raise _translated(error) from error


class Cursor:
    """One statement at a time, as SQLAlchemy runs it."""

    arraysize = 1
    lastrowid: int | None = None

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1

    def execute(self, text: str, values: Sequence[Any] = ()) -> None:
        """Run a statement and keep its rows."""
        cursor = self._connection.cursor()
        self.description = None
        # Before the first step, which may be the last: then the columns cannot be asked any more.
        cursor.exec_trace = self._describe
        try:
            cursor.execute(text, values)
            self._rows = cursor.fetchall()
        except _REFUSALS as error:
            raise _translated(error) from error
        self.rowcount = self._connection.changes()

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of values."""
        self.description = None
        try:
            self._connection.executemany(text, rows)
        except _REFUSALS as error:
            raise _translated(error) from error

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows not yet taken."""
        rows, self._rows = self._rows, []
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row."""
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Return the next rows."""
        count = self.arraysize if size is None else size
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    def close(self) -> None:
        """Forget the rows."""
        self._rows = []

    def _describe(self, cursor: apsw.Cursor, _text: str, _values: object) -> bool:
        columns = cursor.get_description()
        self.description = tuple((name, *[None] * 6) for name, _ in columns) or None
        return True


def connect(path: str, **_: object) -> Connection:
    """Open a database file. SQLAlchemy's arguments for another driver mean nothing here."""
    return Connection(path)


def _translated(error: Exception) -> Error:
    code: int = getattr(error, "result", 0)
    if code == _CONSTRAINT:
        return IntegrityError(str(error), code)
    return OperationalError(str(error), code)
