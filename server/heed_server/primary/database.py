"""Opening the database that the settings name."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from heed.errors import ConflictError, UnavailableError
from heed.keys import LOOKUP_KEY_BYTES
from heed_server.config import Config
from heed_server.config.places import FIRST_TENANT, database_file, database_url
from heed_server.primary.limits import limits_of
from heed_server.secrets.root_file import RootFile
from heed_server.storage import (
    Clock,
    SqlStore,
    StorageLimits,
    SystemClock,
    forget_addresses,
    migrate,
    open_store,
    root_path,
)


@asynccontextmanager
async def open_database(config: Config, *, clock: Clock | None = None) -> AsyncGenerator[SqlStore]:
    """Open the database, its schema brought up to date first where the settings say so.

    Raises:
        UnavailableError: it cannot be had, another process owns it, or its schema is another.
    """
    database = database_file(config)
    if database is not None:
        _make_private(database)
    migrates = None if config.storage.migrate == "auto" else config.storage.migrate
    async with await open_store(
        database_url(config),
        clock=clock or SystemClock(),
        limits=limits_of(StorageLimits, config.storage),
        migrates=migrates,
        root_file=config.keys.root_file,
    ) as store:
        yield store


async def migrate_database(config: Config) -> bool:
    """Bring the schema up to date; False when it was already.

    Raises:
        UnavailableError: as `open_database`.
    """
    database = database_file(config)
    if database is not None:
        _make_private(database)
    return await migrate(
        database_url(config),
        limits=limits_of(StorageLimits, config.storage),
        root_file=config.keys.root_file,
    )


def root_file_of(config: Config) -> RootFile:
    """Return the file of the root keys.

    Raises:
        InvalidArgumentError: the database is one that several nodes may share, and none is named.
    """
    return RootFile(root_path(database_url(config), config.keys.root_file))


async def forget_unreadable(config: Config) -> int:
    """Delete the addresses that the root keys cannot open; return of how many tenants.

    Raises:
        SecretsError: there are no root keys.
        UnavailableError: the database cannot be had, or another process owns it.
    """
    return await forget_addresses(
        database_url(config),
        limits=limits_of(StorageLimits, config.storage),
        root_file=config.keys.root_file,
    )


async def ensure_tenant(store: SqlStore) -> bool:
    """Make the first tenant if there is none; True if this call made it.

    Raises:
        UnavailableError: the database does not answer.
    """
    if await store.tenants():
        return False
    try:
        await store.create_tenant(FIRST_TENANT, secrets.token_bytes(LOOKUP_KEY_BYTES))
    except ConflictError:
        return False  # another node was quicker
    return True


def _make_private(database: Path) -> None:
    """Make a new database's file this user's alone; SQLite gives its other files the same mode.

    Raises:
        UnavailableError: it cannot be made there.
    """
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{database} cannot be made: {error.strerror}") from error
