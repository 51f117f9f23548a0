"""The rows of `secrets`: read, added, and wrapped anew.

Laws:
- A secret is added only under the root key that wraps the check of its purpose, which is locked
  first, or under a later one, to which the check is moved. So a server whose file is of before a
  rotation adds nothing that the file of after it, without its old keys, could not open.
- A secret that is there is never replaced by another.
"""

from collections.abc import Sequence
from os import urandom
from typing import Final

from sqlalchemy import Connection, insert, select, update

from heed.keys import LOOKUP_KEY_BYTES, LookupKey
from heed.model import Instant, TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import (
    FIRST_LOOKUP_KEY_ID,
    PURPOSES,
    address_keyset_name,
    check_name,
    link_keyset_name,
    lookup_key_name,
    purpose_of,
)
from heed_server.secrets.root import RootKeys
from heed_server.secrets.sealing import SealingKeyset
from heed_server.storage.keyring import Keyring
from heed_server.storage.schema import secrets, tenants
from heed_server.storage.statements import ON_CONFLICT_KEEP, Batch, Dialect

_CHECK_BYTES: Final = 16
_NAMES_MAX: Final = 500
"""Secrets of one statement."""


def read_wrapped(connection: Connection, names: Sequence[str]) -> dict[str, bytes]:
    """Return those of the secrets of these names that are there, wrapped."""
    found: dict[str, bytes] = {}
    for start in range(0, len(names), _NAMES_MAX):
        asked = names[start : start + _NAMES_MAX]
        rows = connection.execute(
            select(secrets.c.name, secrets.c.wrapped).where(secrets.c.name.in_(asked))
        )
        found |= {name: bytes(wrapped) for name, wrapped in rows}
    return found


def read_secret(connection: Connection, keyring: Keyring, name: str) -> bytes | None:
    """Return the secret of a name; None: there is none. Raises SecretsError."""
    wrapped = read_wrapped(connection, [name]).get(name)
    return None if wrapped is None else keyring.unwrap(name, wrapped)


def has_secrets(connection: Connection) -> bool:
    """Whether root keys have wrapped anything in this database."""
    return connection.execute(select(secrets.c.name).limit(1)).first() is not None


def has_readable_lookup_keys(connection: Connection) -> bool:
    """Whether an earlier heed left a lookup key readable."""
    readable = select(tenants.c.tenant_id).where(tenants.c.lookup_key != b"").limit(1)
    return connection.execute(readable).first() is not None


def require_root(connection: Connection, dialect: Dialect, keyring: Keyring, now: Instant) -> None:
    """Check that the root keys are those of this database; of a new one they become it.

    Raises:
        SecretsError: they are others, or cannot be read.
    """
    root = keyring.root()
    for purpose in PURPOSES:
        name = check_name(purpose)
        found = read_wrapped(connection, [name])
        if not found:
            # Another node may be quicker: then its own is what stands, and is what must be opened.
            row = (name, root.wrap(name, urandom(_CHECK_BYTES)), now)
            dialect.insert_all(connection, [Batch(secrets, [row], ON_CONFLICT_KEEP)])
            found = read_wrapped(connection, [name])
        keyring.unwrap(name, found[name])


def ensure_secret(
    connection: Connection, keyring: Keyring, name: str, secret: bytes, now: Instant
) -> bytes:
    """Keep a secret under a name, unless there is one; return the one that is there then.

    Raises:
        SecretsError: the root keys are not those of this database, or not of today.
    """
    root = keyring.root()
    move_check(connection, root, purpose_of(name), keyring)
    # The check is locked: nobody adds one of this name meanwhile.
    found = read_secret(connection, keyring, name)
    if found is not None:
        return found
    wrapped = root.wrap(name, secret)
    connection.execute(insert(secrets).values(name=name, wrapped=wrapped, create_time=now))
    keyring.remember(name, wrapped, secret)
    return secret


def ensure_address_keyset(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, now: Instant
) -> Keyset:
    """Return the keyset of a tenant's addresses, a new one where there is none."""
    name = address_keyset_name(tenant_id)
    found = ensure_secret(connection, keyring, name, Keyset.generate().to_bytes(), now)
    return Keyset.from_bytes(found)


def ensure_link_keyset(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, now: Instant
) -> bytes:
    """Return what a tenant's links are sealed under, new where there is nothing."""
    new = SealingKeyset.generate().to_bytes()
    return ensure_secret(connection, keyring, link_keyset_name(tenant_id), new, now)


def ensure_link_keysets(connection: Connection, keyring: Keyring, now: Instant) -> None:
    """Give every tenant that an earlier heed made what its links are sealed under.

    Raises:
        SecretsError: as `ensure_secret`.
    """
    ids = [TenantId(number) for (number,) in connection.execute(select(tenants.c.tenant_id))]
    there = read_wrapped(connection, [link_keyset_name(one) for one in ids])
    for tenant_id in ids:
        if link_keyset_name(tenant_id) not in there:
            ensure_link_keyset(connection, keyring, tenant_id, now)


def link_keyset_of(keyring: Keyring, wrapped: dict[str, bytes], tenant_id: TenantId) -> bytes:
    """Return what a tenant's links are sealed under; empty: an earlier heed made it meanwhile.

    Raises:
        SecretsError: the root keys are not those of this database.
    """
    name = link_keyset_name(tenant_id)
    return keyring.unwrap(name, wrapped[name]) if name in wrapped else b""


def wrap_lookup_keys(connection: Connection, keyring: Keyring, now: Instant) -> int:
    """Wrap the lookup keys that still stand readable among the tenants; return how many.

    Raises:
        SecretsError: as `ensure_secret`; none of them is moved.
    """
    readable = (
        select(tenants.c.tenant_id, tenants.c.lookup_key)
        .where(tenants.c.lookup_key != b"")
        .with_for_update()
    )
    rows = connection.execute(readable).fetchall()
    for number, lookup_key in rows:
        tenant_id = TenantId(number)
        kept = ensure_secret(
            connection, keyring, lookup_key_name(tenant_id), bytes(lookup_key), now
        )
        if kept != bytes(lookup_key):
            raise SecretsError(
                f"tenant {tenant_id} has two lookup keys, one wrapped and another that is not; "
                "restore the database from a backup"
            )
        connection.execute(
            update(tenants).where(tenants.c.tenant_id == tenant_id).values(lookup_key=b"")
        )
    return len(rows)


def lookup_keys_of(
    keyring: Keyring,
    wrapped: dict[str, bytes],
    tenant_id: TenantId,
    newest_id: int,
    readable: bytes,
) -> tuple[LookupKey, ...]:
    """Return a tenant's lookup keys; an earlier heed may have left the first one readable.

    Raises:
        SecretsError: one is missing, or the root keys are not those of this database.
    """
    keys: list[LookupKey] = []
    for key_id in range(FIRST_LOOKUP_KEY_ID, newest_id + 1):
        name = lookup_key_name(tenant_id, key_id)
        if name in wrapped:
            keys.append(LookupKey(key_id, keyring.unwrap(name, wrapped[name])))
        elif key_id == FIRST_LOOKUP_KEY_ID and len(readable) == LOOKUP_KEY_BYTES:
            keys.append(LookupKey(key_id, readable))
        else:
            raise SecretsError(
                f"tenant {tenant_id} lacks its lookup key {key_id}; restore it from a backup"
            )
    return tuple(keys)


def move_check(connection: Connection, root: RootKeys, purpose: str, keyring: Keyring) -> None:
    """Lock the check of a purpose, and have the key that wraps today wrap it too."""
    name = check_name(purpose)
    locked = select(secrets.c.wrapped).where(secrets.c.name == name).with_for_update()
    wrapped = connection.execute(locked).scalar()
    if wrapped is None:
        raise SecretsError(f"{name} is not among the secrets; the database is damaged")
    wrapped = bytes(wrapped)
    if root.is_current(name, wrapped):
        return
    keyset = root.keyset(purpose)
    check = keyring.unwrap(name, wrapped)
    by = key_id_of(wrapped)
    ids = keyset.key_ids
    if by not in ids or ids.index(by) > ids.index(keyset.primary_id):
        raise SecretsError(
            f"the root keys in {keyring.root_file.path} are of before a rotation; put the file "
            "there that this database's other servers have"
        )
    connection.execute(
        update(secrets).where(secrets.c.name == name).values(wrapped=root.wrap(name, check))
    )
