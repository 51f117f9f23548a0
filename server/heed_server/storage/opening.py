"""Opening a store by its URL, and bringing a database's schema up to date."""

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import Revision, TenantId
from heed_server.storage.admin import ensure_epoch
from heed_server.storage.backend import StorageLimits
from heed_server.storage.clock import Clock, ClockStart, SystemClock
from heed_server.storage.entries import RandomBytes
from heed_server.storage.group import GroupRules
from heed_server.storage.migrations import require_schema, upgrade
from heed_server.storage.postgres import PostgresBackend, migrate_postgres
from heed_server.storage.sql_store import SqlStore
from heed_server.storage.sqlite import SqliteBackend
from heed_server.storage.wakeups import WakeUps

_DEFAULT_LIMITS = StorageLimits()
_SYSTEM_CLOCK = SystemClock()


async def open_store(
    url: str,
    *,
    clock: Clock = _SYSTEM_CLOCK,
    limits: StorageLimits = _DEFAULT_LIMITS,
    random_bytes: RandomBytes = os.urandom,
    migrates: bool | None = None,
) -> SqlStore:
    """Open the store that a URL names: `sqlite:///path` or `postgresql://user@host/name`.

    `migrates` says whether the schema is brought up to date first; None: on SQLite, which one
    process owns, yes; on PostgreSQL, no.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows.
        SchemaError: the schema is missing, older or later; says what to do.
        UnavailableError: the database cannot be opened, or another process owns it.
    """
    found = _parse(url)
    backend = _backend(found, limits)
    is_sqlite = isinstance(backend, SqliteBackend)
    if migrates and not is_sqlite:
        await migrate_postgres(found, limits, upgrade)
    epochs: list[bytes] = []

    def prepare(connection: Connection) -> None:
        if is_sqlite and migrates is not False:
            upgrade(connection)
        require_schema(connection)
        epochs.append(ensure_epoch(connection, clock.now(), random_bytes))

    await backend.open(prepare)
    rules = GroupRules(
        clock=clock,
        clock_start=ClockStart(clock.now(), clock.boot()),
        random_bytes=random_bytes,
        epoch=epochs[-1],
        keys_kept_days=limits.keys_kept_days,
    )
    return SqlStore(backend, rules, limits)


def open_wake_ups(
    url: str,
    *,
    limits: StorageLimits = _DEFAULT_LIMITS,
    on_heard: Callable[[TenantId, Revision], None],
    on_open: Callable[[], None],
) -> WakeUps | None:
    """Return the wake-ups of a node, to be run; None on SQLite, which one node owns."""
    found = _parse(url)
    if found.get_backend_name() != "postgresql":
        return None
    return WakeUps(found, limits, on_heard=on_heard, on_open=on_open)


async def migrate(url: str, *, limits: StorageLimits = _DEFAULT_LIMITS) -> bool:
    """Bring a database's schema up to date, and return whether there was anything to do.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows.
        SchemaError: the schema is of a later heed.
        UnavailableError: the database cannot be opened, or another process owns it.
    """
    found = _parse(url)
    backend = _backend(found, limits)
    if isinstance(backend, PostgresBackend):
        return await migrate_postgres(found, limits, upgrade)
    ran: list[bool] = []
    await backend.open(lambda connection: ran.append(upgrade(connection)))
    await backend.close()
    return ran[-1]


def _backend(url: URL, limits: StorageLimits) -> SqliteBackend | PostgresBackend:
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return SqliteBackend(Path(url.database), limits)
        case "postgresql":
            return PostgresBackend(url, limits)
        case _:
            raise _unreadable()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text is not repeated: it may hold a password.
        raise _unreadable() from error
    if parsed.get_backend_name() != "postgresql":
        return parsed
    parsed = parsed.set(drivername="postgresql+asyncpg")
    if "sslmode" in parsed.query:
        # libpq's name of what asyncpg calls ssl; the values are the same.
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def _unreadable() -> InvalidArgumentError:
    said = "cannot be read; write sqlite:///path or postgresql://user@host/name"
    return InvalidArgumentError(
        f"storage.url {said}", violations=[FieldViolation("storage.url", said)]
    )
