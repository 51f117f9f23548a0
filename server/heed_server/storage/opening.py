"""Opening a store by its URL, and bringing a database's schema up to date.

Law: what speaks to PostgreSQL is loaded only where a URL names one: with it come SQLAlchemy's
asyncio and ORM, and the driver.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import Revision, TenantId
from heed_server.secrets.root_file import RootFile
from heed_server.storage import rotation
from heed_server.storage.admin import ensure_epoch
from heed_server.storage.backend import StorageLimits
from heed_server.storage.clock import Clock, ClockStart, SystemClock
from heed_server.storage.ends import require_ends
from heed_server.storage.entries import RandomBytes
from heed_server.storage.group import GroupRules
from heed_server.storage.heights import Heights
from heed_server.storage.keyring import Keyring
from heed_server.storage.migrations import require_schema, upgrade
from heed_server.storage.sql_store import SqlStore
from heed_server.storage.sqlite import SqliteBackend
from heed_server.storage.wrapped import (
    ensure_link_keysets,
    has_readable_lookup_keys,
    has_secrets,
    require_root,
    wrap_lookup_keys,
)

if TYPE_CHECKING:
    from heed_server.storage.postgres import PostgresBackend
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
    root_file: Path | None = None,
) -> SqlStore:
    """Open the store that a URL names: `sqlite:///path` or `postgresql://user@host/name`.

    `migrates` says whether the schema is brought up to date first; None: on SQLite, which one
    process owns, yes; on PostgreSQL, no. `root_file` holds the root keys; None: on SQLite the file
    beside the database; on PostgreSQL it has to be named. For a SQLite database that is new it is
    made where it is missing, for another never.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows, or names no root file.
        SchemaError: the schema is missing, older or later; says what to do.
        SecretsError: the root keys are missing, or not those of this database.
        LogDamagedError: a log does not end where its head says.
        UnavailableError: the database cannot be opened, or another process owns it.
    """
    found = parse_url(url)
    backend = backend_of(found, limits)
    is_sqlite = isinstance(backend, SqliteBackend)
    keyring = Keyring(RootFile(root_file or _root_path(found)))
    if migrates and not isinstance(backend, SqliteBackend):
        await backend.run_alone(upgrade)

    epochs: list[bytes] = []

    def prepare(connection: Connection) -> None:
        if is_sqlite and migrates is not False:
            upgrade(connection)
        require_schema(connection)
        require_ends(connection)
        epochs.append(ensure_epoch(connection, clock.now(), random_bytes))
        if is_sqlite:
            _make_root_of_new(connection, keyring)
        require_root(connection, backend.dialect, keyring, clock.now())
        wrap_lookup_keys(connection, keyring, clock.now())
        ensure_link_keysets(connection, keyring, clock.now())

    await backend.open(prepare)
    rules = GroupRules(
        clock=clock,
        clock_start=ClockStart(clock.now(), clock.boot()),
        random_bytes=random_bytes,
        keys_kept_days=limits.keys_kept_days,
        heights=Heights(epochs[-1]),
        keyring=keyring,
    )
    return SqlStore(backend, rules, limits)


def open_wake_ups(
    url: str,
    *,
    limits: StorageLimits = _DEFAULT_LIMITS,
    on_heard: Callable[[TenantId, Revision], None],
    on_open: Callable[[], None],
) -> "WakeUps | None":
    """Return the wake-ups of a node, to be run; None on SQLite, which one node owns."""
    found = parse_url(url)
    if found.get_backend_name() != "postgresql":
        return None
    from heed_server.storage.wakeups import WakeUps

    return WakeUps(found, limits, on_heard=on_heard, on_open=on_open)


async def migrate(
    url: str, *, limits: StorageLimits = _DEFAULT_LIMITS, root_file: Path | None = None
) -> bool:
    """Bring a database's schema up to date, and return whether there was anything to do.

    Lookup keys that an earlier heed left readable are wrapped; only for these the root keys are
    needed on PostgreSQL.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows, or names no root file.
        SchemaError: the schema is of a later heed.
        SecretsError: the root keys are needed, and missing or not those of this database.
        UnavailableError: the database cannot be opened, or another process owns it.
    """
    found = parse_url(url)
    backend = backend_of(found, limits)
    clock = _SYSTEM_CLOCK

    def bring_up_to_date(connection: Connection) -> bool:
        is_changed = upgrade(connection)
        if not has_readable_lookup_keys(connection):
            return is_changed
        keyring = Keyring(RootFile(root_file or _root_path(found)))
        if isinstance(backend, SqliteBackend):
            _make_root_of_new(connection, keyring)
        require_root(connection, backend.dialect, keyring, clock.now())
        return wrap_lookup_keys(connection, keyring, clock.now()) > 0 or is_changed

    if not isinstance(backend, SqliteBackend):
        return await backend.run_alone(bring_up_to_date)
    ran: list[bool] = []
    await backend.open(lambda connection: ran.append(bring_up_to_date(connection)))
    await backend.close()
    return ran[-1]


async def forget_addresses(
    url: str, *, limits: StorageLimits = _DEFAULT_LIMITS, root_file: Path | None = None
) -> int:
    """Delete the addresses that the root keys cannot open; return of how many tenants.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows, or names no root file.
        SchemaError: the schema is missing, older or later.
        SecretsError: there are no root keys.
        UnavailableError: the database cannot be opened, or another process owns it.
    """
    found = parse_url(url)
    backend = backend_of(found, limits)
    keyring = Keyring(RootFile(root_file or _root_path(found)))
    gone: list[int] = []

    def forget(connection: Connection) -> None:
        require_schema(connection)
        gone.append(rotation.forget_addresses(connection, keyring))

    await backend.open(forget)
    await backend.close()
    return gone[-1]


def root_path(url: str, root_file: Path | None) -> Path:
    """Return where the root keys of a database are, if they are not at a place that is named.

    Raises:
        InvalidArgumentError: the URL is of no database that heed knows, or the place has to be
            named.
    """
    return root_file or _root_path(parse_url(url))


def _root_path(url: URL) -> Path:
    if url.get_backend_name() == "sqlite" and url.database:
        database = Path(url.database)
        return database.with_name(f"{database.name}.root")
    said = "is needed with PostgreSQL; every server of the database names the same file"
    raise InvalidArgumentError(
        f"keys.root_file {said}", violations=[FieldViolation("keys.root_file", said)]
    )


def _make_root_of_new(connection: Connection, keyring: Keyring) -> None:
    """Make root keys for a database that needs none yet; another's must be found.

    A crash after this leaves a file that the next start takes.
    """
    if not (keyring.root_file.exists or has_secrets(connection)):
        keyring.root_file.create()


def backend_of(url: URL, limits: StorageLimits) -> "SqliteBackend | PostgresBackend":
    """Return what a database is reached by; nothing is opened yet. Raises InvalidArgumentError."""
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return SqliteBackend(Path(url.database), limits)
        case "postgresql":
            from heed_server.storage.postgres import PostgresBackend

            return PostgresBackend(url, limits)
        case _:
            raise _unreadable()


def parse_url(url: str) -> URL:
    """Read the URL of a database. Raises InvalidArgumentError, which does not repeat it."""
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
