"""`heed-server keys`: make, list and revoke API keys.

On PostgreSQL the database is asked. On SQLite, which one process owns, the server that runs is
asked through its socket, and the database itself only while none runs.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from heed.errors import invalid_field
from heed.model import Instant
from heed_server.auth.key_socket import KeySocket, is_served, socket_path
from heed_server.auth.keys import make_key
from heed_server.auth.policy import Right
from heed_server.cli.times import text_of
from heed_server.config import Config
from heed_server.config.places import database_file
from heed_server.key_store import ApiKey, KeyRotations, KeyStore

NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A key that was made."""

    text: str = field(repr=False)
    """What a caller sends; nobody can read it again."""
    key: ApiKey
    """What is kept of it."""
    is_first: bool
    """Whether there was none before it, so that it closed the servers that were open."""


@asynccontextmanager
async def open_keys(config: Config) -> AsyncGenerator[KeyStore]:
    """Open the keys of this database, wherever they can be changed.

    Raises:
        UnavailableError: the database does not answer, or another process owns it and offers no
            socket.
    """
    served = await _served(config)
    if served is not None:
        yield served
        return
    from heed_server.primary.database import ensure_tenant, open_database

    async with open_database(config) as store:
        # As a server does at its start, so that keys can be made before the first one.
        await ensure_tenant(store)
        yield store


@asynccontextmanager
async def open_rotations(config: Config) -> AsyncGenerator[KeyRotations]:
    """Open the rotations of this database, wherever they can be asked for.

    Raises:
        UnavailableError: as `open_keys`.
    """
    served = await _served(config)
    if served is not None:
        yield served
        return
    from heed_server.primary.database import open_database
    from heed_server.primary.rotations import Rotations

    async with open_database(config) as store:
        yield Rotations(store)


async def _served(config: Config) -> KeySocket | None:
    """The socket of the server that runs on this database; None: none offers one."""
    database = database_file(config)
    if database is None:
        return None
    socket = socket_path(database)
    return KeySocket(socket) if await is_served(socket) else None


async def create(
    config: Config,
    *,
    name: str,
    rights: frozenset[Right],
    tenant: str,
    lifetime: timedelta | None,
    now: Instant,
) -> Made:
    """Make a key.

    Raises:
        InvalidArgumentError: the name is malformed.
        NotFoundError: TENANT_UNKNOWN.
        UnavailableError: as `open_keys`.
    """
    if not 0 < len(name) <= NAME_CHARACTERS_MAX or not name.isprintable():
        said = f"is 1 to {NAME_CHARACTERS_MAX} printable characters"
        raise invalid_field("name", said)
    text, made = make_key(secrets.token_bytes)
    expire_time = None
    if lifetime is not None:
        expire_time = Instant(now + lifetime // timedelta(microseconds=1))
    key = ApiKey(
        key_id=made.key_id,
        secret_hash=made.secret_hash,
        name=name,
        rights=frozenset(right.value for right in rights),
        tenant=tenant,
        create_time=now,
        expire_time=expire_time,
    )
    async with open_keys(config) as keys:
        is_first = not await keys.api_keys()
        await keys.put_api_key(key)
    return Made(text=text, key=key, is_first=is_first)


async def every(config: Config) -> list[ApiKey]:
    """Return every key, by creation."""
    async with open_keys(config) as keys:
        return list(await keys.api_keys())


async def revoke(config: Config, key_id: str, *, now: Instant) -> bool:
    """Revoke a key; False if there is no such key."""
    async with open_keys(config) as keys:
        return await keys.revoke_api_key(key_id, now)


def state_of(key: ApiKey, now: Instant) -> str:
    """In one word: `active`, `revoked` or `expired`."""
    if key.revoke_time is not None:
        return "revoked"
    if key.expire_time is not None and now >= key.expire_time:
        return "expired"
    return "active"


def in_json(key: ApiKey, now: Instant) -> dict[str, object]:
    """Return what may be shown of a key."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "rights": sorted(key.rights),
        "tenant": key.tenant,
        "state": state_of(key, now),
        "create_time": text_of(key.create_time),
        "expire_time": None if key.expire_time is None else text_of(key.expire_time),
        "revoke_time": None if key.revoke_time is None else text_of(key.revoke_time),
    }
