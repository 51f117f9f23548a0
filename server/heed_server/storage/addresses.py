"""Addresses: encrypted where they are written, readable again where one is to be returned.

Laws:
- The keyset is read after the log's head was locked, in the same transaction: what is written is
  under the key that encrypts at that moment, never under one that was dropped.
- An address is ciphertext for one tenant, subject key and type; moved to another row it is damage.
"""

from collections.abc import Mapping
from operator import itemgetter

from sqlalchemy import Connection, select

from heed.model import Instant, Subject, SubjectKey, SubjectType, TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset
from heed_server.secrets.names import address_keyset_name
from heed_server.storage.errors import NotWrittenError
from heed_server.storage.keyring import Keyring, decrypt_address, encrypt_address
from heed_server.storage.schema import secrets
from heed_server.storage.statements import AmongSelect, Dialect, Row
from heed_server.storage.wrapped import ensure_address_keyset, read_wrapped


class AddressStatements:
    """The statements of a transaction that writes addresses."""

    def __init__(self) -> None:
        self.wrapped_of = AmongSelect(select(secrets.c.name, secrets.c.wrapped), secrets.c.name)


def encrypted_rows(
    connection: Connection,
    dialect: Dialect,
    statements: AddressStatements,
    keyring: Keyring,
    subjects: Mapping[tuple[TenantId, SubjectKey], Subject],
    now: Instant,
) -> list[Row]:
    """Return the rows of `encrypted_addresses` for these subjects, in the order of their keys.

    Raises:
        NotWrittenError: an address is no text (a lone surrogate), which no database takes either.
        SecretsError: a tenant has no keyset yet, or another one than before, and the root keys
            cannot be had to make or open it.
    """
    if not subjects:
        return []
    tenant_of = {address_keyset_name(tenant_id): tenant_id for tenant_id, _ in subjects}
    keysets: dict[TenantId, Keyset] = {}
    found = dialect.fetch_among(connection, statements.wrapped_of, list(tenant_of))
    for name, wrapped in found:
        keysets[tenant_of[name]] = keyring.keyset(name, bytes(wrapped))
    for tenant_id in tenant_of.values():
        if tenant_id not in keysets:  # an earlier heed made the tenant
            keysets[tenant_id] = ensure_address_keyset(connection, keyring, tenant_id, now)
    try:
        return [
            (
                tenant_id,
                key,
                int(subject.type),
                encrypt_address(keysets[tenant_id], tenant_id, key, subject.type, subject.value),
            )
            for (tenant_id, key), subject in sorted(subjects.items(), key=itemgetter(0))
        ]
    except UnicodeEncodeError:
        raise NotWrittenError("an address is no text: it holds half a character") from None


class AddressReader:
    """Reads the addresses of one tenant within one view of the database."""

    def __init__(self, connection: Connection, keyring: Keyring, tenant_id: TenantId) -> None:
        """Raises SecretsError: the root keys do not open the tenant's keyset."""
        name = address_keyset_name(tenant_id)
        wrapped = read_wrapped(connection, [name]).get(name)
        self._keyset = None if wrapped is None else keyring.keyset(name, wrapped)
        self._tenant_id = tenant_id

    def subject(self, key: SubjectKey, subject_type: int, ciphertext: bytes) -> Subject:
        """Return a readable subject.

        Raises:
            SecretsError: it was not encrypted for this tenant and key, or the keyset is gone.
        """
        if self._keyset is None:
            raise SecretsError(f"tenant {self._tenant_id} has addresses, and no keyset for them")
        address = decrypt_address(self._keyset, self._tenant_id, key, subject_type, ciphertext)
        return Subject(type=SubjectType(subject_type), value=address)
