"""New keys in the place of old ones, and ciphertext in the place of what was readable.

Laws:
- Everything goes in bounded transactions, each of which leaves the store whole: a crash between two
  leaves work that the next who asks finds and goes on with.
- What reads or writes a tenant's addresses anew locks the head of its log first, as writers do: so
  nothing is written under a key that is being dropped, and nothing is kept that an erasure deletes.
- A key is dropped only when nothing is under it: of addresses, once all were read after the new key
  was there; of root keys, once every secret of the purpose is under the key that wraps today, from
  which on none is added under an older one (`wrapped`).
"""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, and_, delete, select, update

from heed.model import Instant, SubjectKey, TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import (
    ADDRESSES,
    FIRST_LOOKUP_KEY_ID,
    PURPOSES,
    SECRETS,
    address_keyset_name,
    check_name,
    link_keyset_name,
    purpose_of,
)
from heed_server.secrets.root import RootKeys
from heed_server.secrets.sealing import SealingKeyset
from heed_server.secrets.states import RootState
from heed_server.storage.keyring import Keyring, decrypt_address, encrypt_address
from heed_server.storage.schema import addresses, encrypted_addresses, heads, secrets
from heed_server.storage.statements import (
    ON_CONFLICT_KEEP,
    ON_CONFLICT_REPLACE,
    Batch,
    Dialect,
    Row,
)
from heed_server.storage.wrapped import (
    ensure_address_keyset,
    ensure_link_keyset,
    move_check,
    read_secret,
    read_wrapped,
)

BATCH_ROWS: Final = 500
"""Addresses, or secrets, of one transaction; writes to the tenant wait for it."""


def encrypt_readable(
    connection: Connection, dialect: Dialect, keyring: Keyring, now: Instant
) -> int:
    """Encrypt some of the addresses that an earlier heed left readable; return how many."""
    found = connection.execute(select(addresses.c.tenant_id).limit(1)).scalar()
    if found is None:
        return 0
    tenant_id = TenantId(found)
    _lock_head(connection, tenant_id)
    rows = connection.execute(
        select(addresses.c.subject, addresses.c.type, addresses.c.address)
        .where(addresses.c.tenant_id == tenant_id)
        .order_by(addresses.c.subject)
        .limit(BATCH_ROWS)
    ).fetchall()
    keyset = ensure_address_keyset(connection, keyring, tenant_id, now)
    encrypted = [
        _encrypted(
            keyset,
            tenant_id,
            SubjectKey(bytes(subject)),
            subject_type,
            address,
            FIRST_LOOKUP_KEY_ID,
        )
        for subject, subject_type, address in rows
    ]
    if encrypted:
        # One that a write of this heed has encrypted meanwhile says the same.
        batch = Batch(encrypted_addresses, encrypted, ON_CONFLICT_KEEP)
        dialect.insert_all(connection, [batch])
        connection.execute(
            delete(addresses).where(
                addresses.c.tenant_id == tenant_id,
                addresses.c.subject.in_([row[1] for row in encrypted]),
            )
        )
    return len(encrypted)


def add_address_key(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, now: Instant
) -> bool:
    """Have a tenant's addresses encrypted under a new key from here on.

    False: an earlier rotation is not done yet, and nothing was changed.
    """
    _lock_head(connection, tenant_id)
    keyset = ensure_address_keyset(connection, keyring, tenant_id, now)
    if len(keyset.key_ids) > 1:
        return False
    _replace_keyset(connection, keyring, tenant_id, keyset.with_new_key(is_primary=True))
    return True


def rotating_address_key(
    connection: Connection, keyring: Keyring, tenant_id: TenantId
) -> int | None:
    """Return the key under which a tenant's addresses are to be put; None: all of them are."""
    keyset = _keyset(connection, keyring, tenant_id)
    return None if keyset is None or len(keyset.key_ids) == 1 else keyset.primary_id


def encrypt_again(
    connection: Connection,
    dialect: Dialect,
    keyring: Keyring,
    tenant_id: TenantId,
    after: bytes,
) -> tuple[int, bytes | None]:
    """Put some addresses under the key that encrypts today.

    Returns how many it changed, and after which subject to go on; None: these were the last.
    """
    _lock_head(connection, tenant_id)
    keyset = _keyset(connection, keyring, tenant_id)
    table = encrypted_addresses.c
    rows = connection.execute(
        select(table.subject, table.type, table.ciphertext, table.lookup_key_id)
        .where(table.tenant_id == tenant_id, table.subject > after)
        .order_by(table.subject)
        .limit(BATCH_ROWS)
    ).fetchall()
    changed: list[Row] = []
    for subject, subject_type, ciphertext, lookup_key_id in rows:
        if keyset is None or not ciphertext:  # erased, and to stay so
            continue
        if key_id_of(bytes(ciphertext)) == keyset.primary_id:
            continue
        key = SubjectKey(bytes(subject))
        address = decrypt_address(keyset, tenant_id, key, subject_type, bytes(ciphertext))
        changed.append(_encrypted(keyset, tenant_id, key, subject_type, address, lookup_key_id))
    if changed:
        dialect.insert_all(connection, [Batch(encrypted_addresses, changed, ON_CONFLICT_REPLACE)])
    return len(changed), bytes(rows[-1][0]) if len(rows) == BATCH_ROWS else None


def drop_old_address_keys(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, primary_id: int
) -> None:
    """Drop the keys that nothing is under any more.

    `primary_id` is the key that encrypted before the first of all addresses was looked at; if it is
    no longer, nothing happens.
    """
    _lock_head(connection, tenant_id)
    keyset = _keyset(connection, keyring, tenant_id)
    if keyset is not None and keyset.primary_id == primary_id and len(keyset.key_ids) > 1:
        _replace_keyset(connection, keyring, tenant_id, keyset.without_old_keys())


def add_link_key(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, now: Instant
) -> None:
    """Have a tenant's links opened by a new key, which seals none yet; one that waits is kept."""
    keyset = SealingKeyset(ensure_link_keyset(connection, keyring, tenant_id, now))
    if keyset.key_ids[-1] == keyset.primary_id:
        name = link_keyset_name(tenant_id)
        _replace_secret(connection, keyring, name, keyset.with_new_key().to_bytes())


def seal_by_last_link_key(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, now: Instant
) -> None:
    """Have a tenant's links sealed by the key that was added last."""
    keyset = SealingKeyset(ensure_link_keyset(connection, keyring, tenant_id, now))
    name = link_keyset_name(tenant_id)
    _replace_secret(connection, keyring, name, keyset.with_last_as_primary().to_bytes())


def _lock_head(connection: Connection, tenant_id: TenantId) -> None:
    connection.execute(
        select(heads.c.tenant_id).where(heads.c.tenant_id == tenant_id).with_for_update()
    )


def _encrypted(
    keyset: Keyset,
    tenant_id: TenantId,
    key: SubjectKey,
    subject_type: int,
    address: str,
    lookup_key_id: int,
) -> Row:
    ciphertext = encrypt_address(keyset, tenant_id, key, subject_type, address)
    return (tenant_id, key, subject_type, ciphertext, lookup_key_id)


def _keyset(connection: Connection, keyring: Keyring, tenant_id: TenantId) -> Keyset | None:
    serialized = read_secret(connection, keyring, address_keyset_name(tenant_id))
    return None if serialized is None else Keyset.from_bytes(serialized)


def _replace_keyset(
    connection: Connection, keyring: Keyring, tenant_id: TenantId, keyset: Keyset
) -> None:
    _replace_secret(connection, keyring, address_keyset_name(tenant_id), keyset.to_bytes())


def _replace_secret(connection: Connection, keyring: Keyring, name: str, secret: bytes) -> None:
    root = keyring.root()
    move_check(connection, root, purpose_of(name), keyring)
    wrapped = root.wrap(name, secret)
    connection.execute(update(secrets).where(secrets.c.name == name).values(wrapped=wrapped))


def wrap_again(connection: Connection, keyring: Keyring, after: str) -> tuple[int, str | None]:
    """Wrap some secrets by the root keys that wrap today.

    Returns how many it changed, and after which name to go on; None: these were the last.

    Raises:
        SecretsError: the root keys do not open one, or are of before another's rotation.
    """
    root = keyring.root()
    for purpose in PURPOSES:
        move_check(connection, root, purpose, keyring)
    rows = connection.execute(
        select(secrets.c.name, secrets.c.wrapped)
        .where(secrets.c.name > after)
        .order_by(secrets.c.name)
        .limit(BATCH_ROWS)
        .with_for_update()
    ).fetchall()
    changed = 0
    for name, wrapped in rows:
        if root.is_current(name, bytes(wrapped)):
            continue
        again = root.wrap(name, keyring.unwrap(name, bytes(wrapped)))
        connection.execute(update(secrets).where(secrets.c.name == name).values(wrapped=again))
        changed += 1
    return changed, rows[-1][0] if len(rows) == BATCH_ROWS else None


def root_state(connection: Connection, root: RootKeys) -> Sequence[RootState]:
    """Return what wraps the secrets, by purpose."""
    counts: dict[str, dict[int, int]] = {purpose: {} for purpose in PURPOSES}
    for name, wrapped in connection.execute(select(secrets.c.name, secrets.c.wrapped)):
        by = counts[purpose_of(name)]
        key_id = key_id_of(bytes(wrapped)) or 0
        by[key_id] = by.get(key_id, 0) + 1
    return [
        RootState(
            purpose=purpose,
            key_ids=root.keyset(purpose).key_ids,
            primary_id=root.keyset(purpose).primary_id,
            wrapped=counts[purpose],
        )
        for purpose in PURPOSES
    ]


def require_all_current(
    connection: Connection, keyring: Keyring, purposes: Collection[str]
) -> None:
    """Check that every secret of these purposes is under the key that wraps today.

    Raises:
        SecretsError: one is not; a rotation has to be finished first.
    """
    root = keyring.root()
    for purpose in PURPOSES:
        if purpose in purposes:
            move_check(connection, root, purpose, keyring)
    for state in root_state(connection, root):
        behind = sum(count for key_id, count in state.wrapped.items() if key_id != state.primary_id)
        if state.purpose in purposes and behind:
            raise SecretsError(
                f"{behind} secrets of the purpose {state.purpose!r} are still under an older root "
                "key; finish the rotation: `heed-server keys root rotate`"
            )


def forget_addresses(connection: Connection, keyring: Keyring) -> int:
    """Delete the addresses and keysets that the root keys cannot open; return of how many tenants.

    It is for a backup that is older than a root key which was destroyed: its stops stand, and
    nobody can read whose they are.

    Raises:
        SecretsError: the root keys are of another database altogether; nothing is deleted.
    """
    root = keyring.root()
    check = check_name(SECRETS)
    keyring.unwrap(check, read_wrapped(connection, [check]).get(check, b""))
    mine = and_(secrets.c.name >= f"{ADDRESSES}/", secrets.c.name < f"{ADDRESSES}0")
    gone = 0
    for name, wrapped in connection.execute(
        select(secrets.c.name, secrets.c.wrapped).where(mine).with_for_update()
    ).fetchall():
        try:
            root.unwrap(name, bytes(wrapped))
        except SecretsError:
            connection.execute(delete(secrets).where(secrets.c.name == name))
            tenant = name.rpartition("/")[2]
            if tenant.isdigit():
                gone += 1
                connection.execute(
                    delete(encrypted_addresses).where(
                        encrypted_addresses.c.tenant_id == int(tenant),
                        encrypted_addresses.c.ciphertext != b"",  # erased ones are to stay so
                    )
                )
    return gone
