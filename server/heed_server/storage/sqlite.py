"""SQLite: its engine, its connections, and the threads that own them.

Laws:
- The engine is one without the WAL-reset bug, which silently drops committed transactions (3.7.0 to
  3.51.2; fixed in 3.51.3, 3.50.7 and 3.44.6; sqlite.org/wal.html#walresetbug). Others are refused.
- Commits are fsynced: WAL with synchronous=FULL, verified after opening.
- One process owns the database: an advisory lock on a file beside it, held while the store is open.
- One connection writes and does every checkpoint; the others never do. It checkpoints between
  transactions, where an I/O error is seen and stops the writer.
- After an I/O error nothing more is written: what the kernel still shows may not be on the disk.
  Nor when another file has taken the database's place: what is written would be in neither.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from heed.errors import ErrorReason, UnavailableError
from heed_server.erasures import Erased, append_to_ledger, ledger_path
from heed_server.revocations import Revoked, add_revocations, revocations_path
from heed_server.storage import apsw_driver
from heed_server.storage.backend import StorageLimits, Turns
from heed_server.storage.errors import CommitLostError, NotWrittenError, store_unavailable
from heed_server.storage.placing import require_no_restore
from heed_server.storage.sqlite_dialect import driver_of, new_engine, sqlite_dialect

T = TypeVar("T")

_log = structlog.stdlib.get_logger("heed_server.storage")

CHECKPOINT_BYTES: Final = 64 << 20
"""The size of the WAL from which it is copied into the database: a page that was written often is
copied once. Reading so much at a start after a crash takes some tenths of a second."""
_WAL_BYTES_KEPT: Final = CHECKPOINT_BYTES
"""How long the WAL stays: writing over what is there costs less than growing it anew."""
READER_CACHE_MIB: Final = 32
"""Memory in which each reading connection keeps pages: what it reads twice is small."""

NEW_FILE_DUE: Final = 1
"""`user_version` of a database that holds, or has deleted, what an earlier heed wrote readable."""
_EMPTY_WAL_DUE: Final = 2

_REFUSED = (apsw_driver.Error, DBAPIError)
"""What a statement raises: by the driver's own way, or by SQLAlchemy's."""

_CUT_OFF_RETRY_SECONDS: Final = 0.05

_BUSY, _LOCKED, _FULL = 5, 6, 13
_TRY_AGAIN: Final = frozenset({_BUSY, _LOCKED})
_STOPS_WRITER: Final = frozenset({7, 8, 10, 11, 14, 26})
"""NOMEM, READONLY, IOERR, CORRUPT, CANTOPEN, NOTADB."""


def is_safe_engine(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version keeps what it committed in WAL mode."""
    return (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51, 0)
        or (3, 44, 6) <= version < (3, 45, 0)
    )


class SqliteBackend:
    """One database file, its writing thread and its reading threads."""

    def __init__(self, path: Path, limits: StorageLimits) -> None:
        """Nothing is opened yet: `open` does, and tells what is wrong."""
        self.dialect = sqlite_dialect()
        self._path = path
        self._limits = limits
        self._lock_file = -1
        self._inode = -1
        self._writer = _Thread(path, limits, "heed-writer")
        self._readers: list[_Thread] = []
        self._turns = Turns(limits)
        self._checkpoint_bytes = CHECKPOINT_BYTES
        # Both by the writing thread: how far the WAL is in use, and was when it was last copied.
        self._wal_bytes = 0
        self._copied_bytes = 0
        self._failure = ""

    async def open(self, prepare: Callable[[Connection], None]) -> None:
        """Lock the file, open the writing connection, and prepare the schema.

        Raises:
            UnavailableError: another process owns the database, the engine is not a safe one, or
                the file cannot be opened as it must be.
        """
        _require_safe_engine()
        self._lock_file = lock_file(self._path)
        try:
            require_no_restore(self._path)
            _make_private(self._path)
            await self._writer.run(lambda connection: _prepare_writer(connection, prepare))
            self._inode = _inode(self._path)
        except BaseException as error:
            await self.close()
            if isinstance(error, (*_REFUSED, NotWrittenError, CommitLostError)):
                raise store_unavailable(f"{self._path}: {_text(error)}") from error
            raise

    def require_readable(self) -> None:
        """Return if the database can be read beside the process that owns it, without the lock.

        A reader takes nothing from the owner: it neither writes nor checkpoints, and while its view
        is open the WAL grows instead of being written from its start again.

        Raises:
            UnavailableError: there is no database, or the engine is not a safe one.
        """
        _require_safe_engine()
        if not _size(self._path):
            raise store_unavailable(f"there is no database at {self._path}")

    async def write(
        self, body: Callable[[Connection], T], *, must_commit: Callable[[T], bool]
    ) -> T:
        """Run a body in a transaction in the writing thread (see `Backend.write`)."""

        def transaction(connection: Connection) -> T:
            # Asked here, after the checkpoint that may have been started before.
            if self._failure:
                raise NotWrittenError(self._failure, fatal=True)
            if _inode(self._path) != self._inode:
                self._failure = f"{self._path} was replaced or taken away while it was open"
                raise NotWrittenError(self._failure, fatal=True)
            result = _in_transaction(connection, body, must_commit)
            self._wal_bytes = driver_of(connection).wal_bytes
            if self._wal_bytes < self._copied_bytes:  # it is written from its start again
                self._copied_bytes = 0
            return result

        result = await self._writer.run(transaction)
        if self._wal_bytes - self._copied_bytes >= self._checkpoint_bytes:
            # Not awaited: the answer of this commit need not wait for it, the next commit does.
            self._writer.start(self._checkpoint)
        return result

    @asynccontextmanager
    async def reading(self, *, is_stream: bool = False) -> AsyncGenerator["_Reading"]:
        """Open a view of the database as it is now."""
        async with self._turns.take(is_stream=is_stream):
            thread = (
                self._readers.pop()
                if self._readers
                else _Thread(self._path, self._limits, "heed-reader")
            )
            try:
                yield _Reading(thread)
            finally:
                # Not awaited: a reader that is cancelled gives its thread back all the same.
                thread.start(_roll_back)
                self._readers.append(thread)

    async def note_erased(self, erased: Sequence[Erased]) -> None:
        """Add to the ledger beside the database (see `Backend.note_erased`)."""
        path = ledger_path(self._path)
        await self._writer.run(lambda _: append_to_ledger(path, erased))

    async def note_revoked(self, revoked: Sequence[Revoked]) -> None:
        """Add to the ledger beside the database (see `Backend.note_revoked`)."""
        path = revocations_path(self._path)
        await self._writer.run(lambda _: add_revocations(path, revoked))

    async def overwrite_erased(self, seconds_max: float) -> bool:
        """Copy the WAL into the database and cut it off, as soon as no reader needs it.

        Deleted content is overwritten with zeros already (`secure_delete`), so that after this
        neither file has any. Tried without waiting for readers: a write that waits comes first.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds_max
        while not (is_done := await self._writer.run(self._cut_off_wal)):
            if loop.time() >= deadline:
                break
            await asyncio.sleep(_CUT_OFF_RETRY_SECONDS)
        return is_done

    async def scrub(self) -> None:
        """Write a database anew that once held what was readable (see `Backend.scrub`)."""

        def write_anew(connection: Connection) -> None:
            if not self._failure:
                _write_anew(connection)

        try:
            await self._writer.run(write_anew)
        except apsw_driver.Error as error:
            if _code(error) in _STOPS_WRITER:
                self._failure = f"the database could not be written anew: {_text(error)}"
            raise store_unavailable(_text(error)) from error

    async def close(self) -> None:
        """Copy the WAL into the database, close every connection, and give up the lock."""
        try:
            for thread in self._readers:
                await thread.close()
            if self._writer.is_open and not self._failure:
                await self._writer.run(_checkpoint_all)
        except apsw_driver.Error as error:
            # All that was acknowledged is in the WAL, which the next opening reads.
            _log.warning("last_checkpoint_failed", why=_text(error))
        finally:
            await self._writer.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    def _cut_off_wal(self, connection: Connection) -> bool:
        """Copy all of the WAL and cut it off; False: a reader needs it. In the writing thread."""
        if self._failure:
            raise NotWrittenError(self._failure, fatal=True)
        driver = driver_of(connection)
        ((patience_ms,),) = driver.fetch("PRAGMA busy_timeout", ())
        try:
            driver.fetch("PRAGMA busy_timeout=0", ())
            ((is_busy, _, _),) = driver.fetch("PRAGMA wal_checkpoint(TRUNCATE)", ())
        except apsw_driver.Error as error:
            if error.code in _TRY_AGAIN:
                return False
            self._failure = f"the checkpoint failed: {_text(error)}"
            raise NotWrittenError(self._failure, fatal=True) from error
        finally:
            driver.fetch(f"PRAGMA busy_timeout={patience_ms}", ())
        self._copied_bytes = self._wal_bytes
        return not is_busy

    def _checkpoint(self, connection: Connection) -> None:
        """Copy what no reader needs any more into the database. Runs in the writing thread."""
        try:
            driver_of(connection).fetch("PRAGMA wal_checkpoint(PASSIVE)", ())
        except apsw_driver.Error as error:
            if error.code not in _TRY_AGAIN:
                self._failure = f"the checkpoint failed: {_text(error)}"
            return
        self._copied_bytes = self._wal_bytes


class _Thread:
    """A connection and the one thread that uses it; opened by its first use."""

    def __init__(self, path: Path, limits: StorageLimits, name: str) -> None:
        self._path = path
        self._limits = limits
        self._is_reader = name == "heed-reader"
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: Connection | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def run(self, body: Callable[[Connection], T]) -> T:
        """Run a body to its end, also when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: body(self._opened()))

    def start(self, body: Callable[[Connection], object]) -> None:
        """Run a body, which raises nothing, after all that was asked before."""
        self._executor.submit(lambda: body(self._opened()))

    async def close(self) -> None:
        """Close the connection after all that was asked before."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self._close)
        finally:
            self._executor.shutdown(wait=False)

    def _opened(self) -> Connection:
        if self._connection is None:
            connection = new_engine(self._path).connect()
            if self._is_reader:
                driver_of(connection).leave_wal()
            cache_mib = READER_CACHE_MIB if self._is_reader else self._limits.page_cache_mib
            busy_ms = round(self._limits.lock_seconds_max * 1_000)
            for pragma in (
                f"busy_timeout={busy_ms}",
                "wal_autocheckpoint=0",
                "mmap_size=0",
                "temp_store=MEMORY",
                "secure_delete=ON",
                f"cache_size={-cache_mib * 1_024}",
                *(("query_only=ON",) if self._is_reader else ()),
            ):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            if not self._is_reader:
                driver_of(connection).watch_wal()
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Reading:
    """A view in a reading thread; the transaction begins with the first body."""

    def __init__(self, thread: _Thread) -> None:
        self._thread = thread
        self._has_begun = False

    async def run(self, body: Callable[[Connection], T]) -> T:
        """Return what a body reads."""
        try:
            return await self._thread.run(lambda connection: self._run(connection, body))
        except _REFUSED as error:
            raise store_unavailable(_text(error)) from error

    def _run(self, connection: Connection, body: Callable[[Connection], T]) -> T:
        if not self._has_begun:
            driver_of(connection).run("BEGIN")
            self._has_begun = True
        return body(connection)


def _prepare_writer(connection: Connection, prepare: Callable[[Connection], None]) -> None:
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "fullfsync": 1,
        "journal_size_limit": _WAL_BYTES_KEPT,
    }
    for name, value in wanted.items():
        connection.exec_driver_sql(f"PRAGMA {name}={value}")
    for name, value in {**wanted, "wal_autocheckpoint": 0}.items():
        found = connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        if found != value:
            raise UnavailableError(
                f"SQLite answers {name}={found} where it must be {value}; "
                "keep the database on a local disk",
                reason=ErrorReason.STORE_UNAVAILABLE,
            )
    _in_transaction(connection, prepare, lambda _: True)


def _in_transaction(
    connection: Connection, body: Callable[[Connection], T], must_commit: Callable[[T], bool]
) -> T:
    driver = driver_of(connection)
    try:
        driver.run("BEGIN IMMEDIATE")
        result = body(connection)
        if not must_commit(result):
            driver.run("ROLLBACK")
            return result
    except _REFUSED as error:
        # A crash or an error here leaves nothing: the transaction was not yet to be committed.
        is_clean = _roll_back(connection)
        code = _code(error)
        raise NotWrittenError(
            _text(error),
            again=code in _TRY_AGAIN,
            fatal=code in _STOPS_WRITER or not is_clean,
        ) from error
    except BaseException:
        _roll_back(connection)
        raise
    _commit(connection)
    return result


def _commit(connection: Connection) -> None:
    try:
        driver_of(connection).run("COMMIT")
    except apsw_driver.Error as error:
        code = _code(error)
        # A full disk or a lock is met before the last frame is written, so that rolling back is
        # certain; after any other error what is on the disk is not known.
        if code in {_BUSY, _LOCKED, _FULL} and _roll_back(connection):
            raise NotWrittenError(_text(error), again=code in _TRY_AGAIN) from error
        raise CommitLostError(_text(error), fatal=True) from error


def _roll_back(connection: Connection) -> bool:
    """Roll back what is open; False when even that failed."""
    try:
        driver = driver_of(connection)
        if driver.in_transaction:
            driver.run("ROLLBACK")
    except apsw_driver.Error:
        return False
    return True


def _write_anew(connection: Connection) -> None:
    """Write the whole file anew if that is due, then empty the WAL.

    A crash between the steps leaves the step in `user_version`, and the next start goes on.
    """
    driver = driver_of(connection)
    ((due,),) = driver.fetch("PRAGMA user_version", ())
    if due == NEW_FILE_DUE:
        # In a file: in memory there would be all of the database.
        driver.run("PRAGMA temp_store=FILE")
        try:
            driver.run("VACUUM")
        finally:
            driver.run("PRAGMA temp_store=MEMORY")
        driver.run(f"PRAGMA user_version={_EMPTY_WAL_DUE}")
        due = _EMPTY_WAL_DUE
    if due == _EMPTY_WAL_DUE:
        ((is_busy, _, _),) = driver.fetch("PRAGMA wal_checkpoint(TRUNCATE)", ())
        if not is_busy:  # by a reader; asked again later
            driver.run("PRAGMA user_version=0")


def _checkpoint_all(connection: Connection) -> None:
    driver_of(connection).run("PRAGMA wal_checkpoint(TRUNCATE)")


def _require_safe_engine() -> None:
    if not is_safe_engine(apsw_driver.sqlite_version_info):
        raise UnavailableError(
            f"SQLite {apsw_driver.sqlite_version} can lose committed transactions in WAL mode; "
            "install the package apsw, 3.51.3 or later",
            reason=ErrorReason.STORE_UNAVAILABLE,
        )


def lock_file(path: Path) -> int:
    """Take the lock beside the database; the kernel gives it up with the process.

    Raises:
        UnavailableError: another process has it.
    """
    lock_path = path.with_name(f"{path.name}-lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise store_unavailable(f"{lock_path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UnavailableError(
            f"another process has {path} open; stop it, or ask that server instead",
            reason=ErrorReason.STORE_UNAVAILABLE,
        ) from error
    return descriptor


def _make_private(path: Path) -> None:
    """Make a new file its user's alone: SQLite gives its other files the mode of the database."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise store_unavailable(f"{path}: {error.strerror}") from error


def _inode(path: Path) -> int:
    """Return which file a path is; -1: none."""
    try:
        return path.stat().st_ino
    except OSError:
        return -1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _code(error: BaseException) -> int:
    """Return SQLite's primary result code, 0 for what is not SQLite's."""
    cause = _cause(error)
    return cause.code if isinstance(cause, apsw_driver.Error) else 0


def _text(error: BaseException) -> str:
    """Return what went wrong, without statement and parameters."""
    return str(_cause(error))
