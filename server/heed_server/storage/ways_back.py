"""Reading a whole database in one view, and writing one: what backup and restore are made of.

Laws:
- Reading needs no lock and holds nobody up: on SQLite a view beside the process that owns the
  database, on PostgreSQL a read-only transaction of REPEATABLE READ.
- Writing needs the database for itself, and is of one transaction: a restore that was broken off
  leaves what stood there, and nothing that could be taken for a database.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from heed.errors import invalid_field
from heed_server.erasures import Erased, append_to_ledger, ledger_path, read_ledger
from heed_server.revocations import Revoked, add_revocations, revocations_path
from heed_server.storage import apsw_driver
from heed_server.storage.backend import Reading, StorageLimits
from heed_server.storage.copying import StoreFacts, TableRows, copied_tables, read_facts
from heed_server.storage.entries import RandomBytes
from heed_server.storage.epochs import NewEpoch, begin_epoch
from heed_server.storage.errors import store_unavailable
from heed_server.storage.migrations import require_schema
from heed_server.storage.offered import OfferedBy, read_offered
from heed_server.storage.opening import backend_of, parse_url
from heed_server.storage.placing import draft_of, finish_waiting, is_waiting, put_in_place
from heed_server.storage.restoring import Copy, Restored, restore_into
from heed_server.storage.sqlite import SqliteBackend, lock_file
from heed_server.storage.sqlite_dialect import driver_of, new_engine
from heed_server.storage.statements import Dialect, Row

T = TypeVar("T")

_DEFAULT_LIMITS = StorageLimits()
_DRAFT_CACHE_KIB = 256 << 10
"""Memory in which the pages of a draft are kept: rows come in the order of their keys, but those of
indexes do not."""


class StoreView:
    """One view of a whole database."""

    def __init__(self, reading: Reading, dialect: Dialect, facts: StoreFacts, kind: str) -> None:
        self.facts = facts
        self.kind = kind
        """`sqlite` or `postgresql`."""
        self._reading = reading
        self._dialect = dialect

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables to copy."""
        return copied_tables()

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Yield the rows of a table, a batch at a time, in the order of its primary key."""
        found = TableRows(table, self._dialect)
        while batch := await self._reading.run(found.next):
            yield batch


@asynccontextmanager
async def open_view(
    url: str, *, limits: StorageLimits = _DEFAULT_LIMITS
) -> AsyncGenerator[StoreView]:
    """Open a view of a database, whether or not servers run on it.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows.
        SchemaError: its schema is not one that this code knows.
        UnavailableError: it cannot be read.
    """
    backend = backend_of(parse_url(url), limits)
    if isinstance(backend, SqliteBackend):
        backend.require_readable()
    kind = "sqlite" if isinstance(backend, SqliteBackend) else "postgresql"

    def facts(connection: Connection) -> StoreFacts:
        require_schema(connection)
        return read_facts(connection)

    try:
        async with backend.reading(is_stream=True) as reading:
            yield StoreView(reading, backend.dialect, await reading.run(facts), kind)
    finally:
        await backend.close()


async def restore_store(
    url: str,
    copy: Copy,
    *,
    reason: str,
    erased: Sequence[Erased],
    time_name: str,
    sets_aside: bool,
    revoked: Sequence[Revoked] = (),
    limits: StorageLimits = _DEFAULT_LIMITS,
    random_bytes: RandomBytes = os.urandom,
) -> tuple[Restored, Path | None]:
    """Write a copy into an empty database; return also where what stood there was set aside.

    `erased` is the ledger of erasures and `revoked` that of revoked API keys. On SQLite what they
    have is first added to those beside the database, for the next restore.
    `time_name` names what is set aside; `sets_aside` allows it, on SQLite alone.

    Raises:
        InvalidArgumentError: the database is not empty, and must not or cannot be set aside.
        SchemaError: the copy is of a later heed.
        LogDamagedError: a log in the copy is not what was written.
        UnavailableError: the database cannot be written, or a server runs on it.
    """
    found = parse_url(url)
    backend = backend_of(found, limits)

    def body(connection: Connection) -> Restored:
        return restore_into(
            connection,
            backend.dialect,
            copy,
            reason=reason,
            erased=erased,
            revoked=revoked,
            random_bytes=random_bytes,
        )

    if not isinstance(backend, SqliteBackend):
        return await backend.run_alone(body), None
    path = Path(found.database or "")
    return await asyncio.to_thread(
        _restore_sqlite, path, body, erased, revoked, time_name, sets_aside=sets_aside
    )


async def finish_restore(url: str, *, limits: StorageLimits = _DEFAULT_LIMITS) -> Path | None:
    """Finish a restore of a SQLite database that was broken off between two renames, if any was.

    Raises:
        UnavailableError: it cannot be finished, or a server runs.
    """
    found = parse_url(url)
    if not isinstance(backend_of(found, limits), SqliteBackend):
        return None
    path = Path(found.database or "")
    if not is_waiting(path):
        return None
    return await asyncio.to_thread(_with_lock, path, lambda: finish_waiting(path))


async def offered_since(url: str, *, limits: StorageLimits = _DEFAULT_LIMITS) -> list[OfferedBy]:
    """Return what followers offered since the last restore, whether or not servers run.

    Raises: as `open_view`.
    """
    backend = backend_of(parse_url(url), limits)
    if isinstance(backend, SqliteBackend):
        backend.require_readable()

    def body(connection: Connection) -> list[OfferedBy]:
        require_schema(connection)
        return read_offered(connection, backend.dialect)

    try:
        async with backend.reading(is_stream=True) as reading:
            return await reading.run(body)
    finally:
        await backend.close()


async def new_epoch(
    url: str,
    *,
    reason: str,
    limits: StorageLimits = _DEFAULT_LIMITS,
    random_bytes: RandomBytes = os.urandom,
) -> NewEpoch:
    """Begin a new epoch of a database under a hold on all but mandatory messages.

    On SQLite no server may run; on PostgreSQL those that run follow into it.

    Raises:
        SchemaError: its schema is not the one this code knows.
        UnavailableError: the database cannot be written, or a server runs on SQLite.
        HeedError: a hold cannot be placed; nothing changed.
    """
    backend = backend_of(parse_url(url), limits)

    def body(connection: Connection) -> NewEpoch:
        require_schema(connection)
        return begin_epoch(
            connection,
            backend.dialect,
            reason=reason,
            is_whole=False,
            random_bytes=random_bytes,
        )

    if not isinstance(backend, SqliteBackend):
        return await backend.run_alone(body)
    backend.require_readable()
    begun: list[NewEpoch] = []
    await backend.open(lambda connection: begun.append(body(connection)))
    await backend.close()
    return begun[-1]


def _restore_sqlite(
    path: Path,
    body: Callable[[Connection], Restored],
    erased: Sequence[Erased],
    revoked: Sequence[Revoked],
    time_name: str,
    *,
    sets_aside: bool,
) -> tuple[Restored, Path | None]:
    if not sets_aside and path.exists() and path.stat().st_size:
        raise invalid_field(
            "--database", f"{path} is there already; --set-aside keeps it under another name"
        )

    def restore() -> tuple[Restored, Path | None]:
        append_to_ledger(ledger_path(path), _not_yet_in(ledger_path(path), erased))
        add_revocations(revocations_path(path), revoked)
        draft = draft_of(path)
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        try:
            restored = _write_draft(draft, body)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return restored, put_in_place(draft, path, time_name)

    return _with_lock(path, restore)


def _not_yet_in(ledger: Path, erased: Sequence[Erased]) -> list[Erased]:
    there = (
        set(read_ledger(ledger.read_bytes().splitlines(keepends=True)))
        if ledger.exists()
        else set()
    )
    return [one for one in erased if one not in there]


def _write_draft(draft: Path, body: Callable[[Connection], T]) -> T:
    """Write a database that is no one's yet: a crash leaves a draft, so nothing is journalled."""
    try:
        with new_engine(draft).connect() as connection:
            driver = driver_of(connection)
            for pragma in (
                "journal_mode=OFF",
                "synchronous=OFF",
                "locking_mode=EXCLUSIVE",
                f"cache_size={-_DRAFT_CACHE_KIB}",
                "secure_delete=ON",  # of who is erased again nothing stays in the file
                "temp_store=MEMORY",
            ):
                driver.run(f"PRAGMA {pragma}")
            driver.run("BEGIN IMMEDIATE")
            result = body(connection)
            driver.run("COMMIT")
    except (apsw_driver.Error, DBAPIError) as error:
        # Without statement and parameters, which may be addresses.
        raise store_unavailable(f"{draft}: {getattr(error, 'orig', error)}") from error
    descriptor = os.open(draft, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return result


def _with_lock(path: Path, act: Callable[[], T]) -> T:
    try:
        lock = lock_file(path)
        try:
            return act()
        finally:
            os.close(lock)
    except OSError as error:
        raise store_unavailable(f"{path}: {error.strerror}") from error
