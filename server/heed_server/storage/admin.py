"""Tenants, API keys and the pruning of idempotency keys: rows that are not of a log."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update

from heed.errors import ConflictError, ErrorReason, NotFoundError
from heed.keys import LookupKey
from heed.model import Instant, TenantId
from heed.proof import EMPTY_LOG_HASH
from heed.tokens import EPOCH_BYTES
from heed_server.key_store import ApiKey
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.names import (
    FIRST_LOOKUP_KEY_ID,
    link_keyset_name,
    lookup_key_name,
)
from heed_server.storage.keyring import Keyring
from heed_server.storage.schema import api_keys, heads, keys, store, tenants
from heed_server.storage.statements import Row
from heed_server.storage.wrapped import (
    ensure_address_keyset,
    ensure_link_keyset,
    ensure_secret,
    link_keyset_of,
    lookup_keys_of,
    read_wrapped,
)
from heed_server.store import Tenant


def ensure_epoch(
    connection: Connection, now: Instant, random_bytes: Callable[[int], bytes]
) -> bytes:
    """Return the store's epoch; a store that has none is new, and gets one."""
    found = connection.execute(select(store.c.epoch).where(store.c.id == 1)).scalar()
    if found is not None:
        return bytes(found)
    epoch = random_bytes(EPOCH_BYTES)
    connection.execute(insert(store).values(id=1, epoch=epoch, create_time=now))
    return epoch


def read_tenants(connection: Connection, keyring: Keyring) -> list[Tenant]:
    """Return every tenant, by name. Raises SecretsError."""
    rows = connection.execute(
        select(
            tenants.c.tenant_id,
            tenants.c.name,
            tenants.c.create_time,
            tenants.c.lookup_key,
            func.coalesce(heads.c.lookup_key_id, FIRST_LOOKUP_KEY_ID),
        )
        .select_from(tenants)
        .outerjoin(heads, tenants.c.tenant_id == heads.c.tenant_id)
        .order_by(tenants.c.name)
    ).fetchall()
    names = [
        lookup_key_name(TenantId(tenant_id), key_id)
        for tenant_id, *_, newest in rows
        for key_id in range(FIRST_LOOKUP_KEY_ID, newest + 1)
    ]
    names += [link_keyset_name(TenantId(tenant_id)) for tenant_id, *_ in rows]
    wrapped = read_wrapped(connection, names)
    return [
        Tenant(
            tenant_id=TenantId(tenant_id),
            name=name,
            create_time=Instant(create_time),
            lookup_keys=lookup_keys_of(
                keyring, wrapped, TenantId(tenant_id), newest, bytes(readable)
            ),
            link_keyset=link_keyset_of(keyring, wrapped, TenantId(tenant_id)),
        )
        for tenant_id, name, create_time, readable, newest in rows
    ]


def read_lookup_keys(
    connection: Connection, keyring: Keyring, tenant_id: TenantId
) -> tuple[LookupKey, ...]:
    """Return a tenant's lookup keys, ascending by id. Raises NotFoundError, SecretsError."""
    found = [one for one in read_tenants(connection, keyring) if one.tenant_id == tenant_id]
    if not found:
        raise NotFoundError(f"no tenant has the id {tenant_id}")
    return found[0].lookup_keys


def insert_tenant(
    connection: Connection, keyring: Keyring, name: str, lookup_key: bytes, now: Instant
) -> Tenant:
    """Create a tenant, its keys and its empty log.

    Raises:
        ConflictError: TENANT_EXISTS.
        SecretsError: the root keys are not those of this database, or not of today.
    """
    if connection.execute(select(tenants.c.name).where(tenants.c.name == name)).first():
        raise tenant_exists(name)
    statement = insert(tenants).values(name=name, lookup_key=b"", create_time=now)
    number = connection.execute(statement.returning(tenants.c.tenant_id)).scalar_one()
    tenant_id = TenantId(number)
    kept = ensure_secret(connection, keyring, lookup_key_name(tenant_id), lookup_key, now)
    if kept != lookup_key:
        raise SecretsError(f"tenant {tenant_id} is new, and has a lookup key already")
    ensure_address_keyset(connection, keyring, tenant_id, now)
    link_keyset = ensure_link_keyset(connection, keyring, tenant_id, now)
    connection.execute(
        insert(heads).values(
            tenant_id=tenant_id,
            revision=0,
            running_hash=EMPTY_LOG_HASH,
            commit_time=now,
            commits=0,
        )
    )
    return Tenant(
        tenant_id=tenant_id,
        name=name,
        create_time=now,
        lookup_keys=(LookupKey(FIRST_LOOKUP_KEY_ID, lookup_key),),
        link_keyset=link_keyset,
    )


def tenant_exists(name: str) -> ConflictError:
    """Return the error of a name that is taken."""
    return ConflictError(
        f"a tenant {name!r} exists; choose another name",
        reason=ErrorReason.TENANT_EXISTS,
        metadata={"tenant": name},
    )


def has_key(connection: Connection, tenant_id: TenantId, idempotency_key: str) -> bool:
    """Whether the key of a call that was answered is kept."""
    statement = select(keys.c.revision).where(
        keys.c.tenant_id == tenant_id, keys.c.idempotency_key == idempotency_key
    )
    return connection.execute(statement).first() is not None


def delete_expired_keys(connection: Connection, now: Instant, limit: int) -> int:
    """Delete up to so many idempotency keys whose time is over; return how many."""
    expired = (
        select(keys.c.tenant_id, keys.c.idempotency_key)
        .where(keys.c.expire_time <= now)
        .order_by(keys.c.expire_time)
        .limit(limit)
    )
    rows = connection.execute(expired).fetchall()
    if rows:
        mine = tuple_(keys.c.tenant_id, keys.c.idempotency_key)
        connection.execute(delete(keys).where(mine.in_([tuple(row) for row in rows])))
    return len(rows)


def insert_api_key(connection: Connection, key: ApiKey) -> None:
    """Add an API key. Raises NotFoundError TENANT_UNKNOWN if its tenant is not there."""
    is_there = select(tenants.c.name).where(tenants.c.name == key.tenant)
    if key.tenant and connection.execute(is_there).first() is None:
        raise NotFoundError(
            f"there is no tenant {key.tenant!r} for the key; create it first, or name another",
            metadata={"tenant": key.tenant},
        )
    connection.execute(
        insert(api_keys).values(
            key_id=key.key_id,
            secret_hash=key.secret_hash,
            name=key.name,
            rights=",".join(sorted(key.rights)),
            tenant=key.tenant,
            create_time=key.create_time,
            expire_time=key.expire_time,
            revoke_time=key.revoke_time,
        )
    )


def read_api_keys(connection: Connection, key_id: str | None = None) -> Sequence[ApiKey]:
    """Return every API key by creation, or the one of an id."""
    statement = select(api_keys).order_by(api_keys.c.create_time, api_keys.c.key_id)
    if key_id is not None:
        statement = statement.where(api_keys.c.key_id == key_id)
    return [_api_key_of(row) for row in connection.execute(statement)]


def set_revoked(connection: Connection, key_id: str, at: Instant) -> bool:
    """Revoke an API key; False if there is none. The first time is kept."""
    if not read_api_keys(connection, key_id):
        return False
    revoke_if_good(connection, key_id, at)
    return True


def revoke_if_good(connection: Connection, key_id: str, at: Instant) -> bool:
    """Revoke an API key that is not revoked yet; False if there is none such."""
    changed = connection.execute(
        update(api_keys)
        .where(api_keys.c.key_id == key_id, api_keys.c.revoke_time.is_(None))
        .values(revoke_time=at)
    )
    return changed.rowcount > 0


def _api_key_of(row: Row) -> ApiKey:
    key_id, secret_hash, name, rights, tenant, create_time, expire_time, revoke_time = row
    return ApiKey(
        key_id=key_id,
        secret_hash=bytes(secret_hash),
        name=name,
        rights=frozenset(rights.split(",") if rights else ()),
        tenant=tenant,
        create_time=create_time,
        expire_time=expire_time,
        revoke_time=revoke_time,
    )
