"""Moving subjects under the newest lookup key: the rows, and who is left to be moved (ADR 0042).

Laws:
- What the log says of a subject stays under the key that it was written with; where they are now,
  `moved_subjects` tells, however often they were moved.
- All rows of a subject move in the transaction that logs it, and none is left behind.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Select, Table, delete, func, select, update

from heed.model import Subject, SubjectKey, TenantId
from heed_server.storage.addresses import AddressReader
from heed_server.storage.keyring import Keyring
from heed_server.storage.schema import (
    addresses,
    encrypted_addresses,
    moved_subjects,
    records,
    reserves,
)
from heed_server.storage.statements import ON_CONFLICT_FAIL, AmongSelect, Batch, Dialect

T = TypeVar("T")

_OF_SUBJECTS: tuple[Table, ...] = (records, reserves, encrypted_addresses, addresses)
"""The tables that know a subject by the key that it stands under."""


class Movable(NamedTuple):
    """A readable subject that stands under an older lookup key than the newest."""

    previous: SubjectKey
    subject: Subject


class KeyCount(NamedTuple):
    """How many subjects stand under one lookup key."""

    key_id: int
    readable: int
    erased: int


class Run(Protocol):
    """Runs a body in a view."""

    def __call__(self, body: Callable[[Connection], T], /) -> Awaitable[T]:
        """Return what the body returns."""
        ...


class MovingStatements:
    """The statements, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.readable_of = AmongSelect(
            select(encrypted_addresses.c.tenant_id, encrypted_addresses.c.subject).where(
                encrypted_addresses.c.ciphertext != b""
            ),
            encrypted_addresses.c.tenant_id,
            encrypted_addresses.c.subject,
        )
        moved = select(
            moved_subjects.c.tenant_id, moved_subjects.c.previous, moved_subjects.c.subject
        )
        self.moved_to = AmongSelect(moved, moved_subjects.c.tenant_id, moved_subjects.c.subject)
        self.moved_from = AmongSelect(moved, moved_subjects.c.tenant_id, moved_subjects.c.previous)


def take_away(
    connection: Connection,
    dialect: Dialect,
    tenant_id: TenantId,
    moved: Sequence[tuple[SubjectKey, SubjectKey]],
) -> None:
    """Delete the rows of subjects under the keys that they stood under, and note where they are.

    `moved` are pairs of the earlier key and the one since.
    """
    previous = [one for one, _ in moved]
    for table in _OF_SUBJECTS:
        connection.execute(
            delete(table).where(table.c.tenant_id == tenant_id, table.c.subject.in_(previous))
        )
    again = connection.execute(
        select(moved_subjects.c.subject)
        .where(moved_subjects.c.tenant_id == tenant_id, moved_subjects.c.subject.in_(previous))
        .distinct()
    ).fetchall()
    since = dict(moved)
    for (key,) in again:
        connection.execute(
            update(moved_subjects)
            .where(moved_subjects.c.tenant_id == tenant_id, moved_subjects.c.subject == key)
            .values(subject=since[SubjectKey(bytes(key))])
        )
    rows = [(tenant_id, *pair) for pair in sorted(moved)]
    dialect.insert_all(connection, [Batch(moved_subjects, rows, ON_CONFLICT_FAIL)])


def find_movable(
    connection: Connection,
    keyring: Keyring,
    tenant_id: TenantId,
    key_id: int,
    after: bytes,
    limit: int,
) -> list[Movable]:
    """Return the next readable subjects that stand under older lookup keys than this.

    Raises:
        SecretsError: an address cannot be decrypted.
    """
    subject_of = encrypted_addresses.c.subject
    rows = connection.execute(
        _of_movable(tenant_id, key_id).where(subject_of > after).order_by(subject_of).limit(limit)
    ).fetchall()
    reader = AddressReader(connection, keyring, tenant_id)
    return [
        Movable(key := SubjectKey(bytes(subject)), reader.subject(key, type_, bytes(ciphertext)))
        for subject, type_, ciphertext in rows
    ]


def are_movable(connection: Connection, tenant_id: TenantId, key_id: int) -> bool:
    """Return whether anybody readable stands under an older lookup key than this."""
    statement = select(_of_movable(tenant_id, key_id).exists())
    return bool(connection.execute(statement).scalar())


def _of_movable(tenant_id: TenantId, key_id: int) -> Select[Any, Any, Any]:
    table = encrypted_addresses.c
    return select(table.subject, table.type, table.ciphertext).where(
        table.tenant_id == tenant_id,
        table.lookup_key_id < key_id,
        table.ciphertext != b"",
    )


def count_subjects(connection: Connection, tenant_id: TenantId) -> list[KeyCount]:
    """Return how many subjects stand under each lookup key, by its id. Reads all addresses."""
    table = encrypted_addresses.c
    rows = connection.execute(
        select(
            table.lookup_key_id,
            func.count().filter(table.ciphertext != b""),
            func.count().filter(table.ciphertext == b""),
        )
        .where(table.tenant_id == tenant_id)
        .group_by(table.lookup_key_id)
        .order_by(table.lookup_key_id)
    )
    return [KeyCount(*row) for row in rows]


def moved_of(
    connection: Connection,
    statements: MovingStatements,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
) -> Mapping[SubjectKey, SubjectKey]:
    """Return the earlier keys of those who stand under these, with the one that each has now."""
    rows: Sequence[Any] = statements.dialect.fetch_among(
        connection, statements.moved_to, [tenant_id], list(keys)
    )
    return {SubjectKey(bytes(previous)): SubjectKey(bytes(key)) for _, previous, key in rows}


def now_under(
    connection: Connection,
    statements: MovingStatements,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
) -> Mapping[SubjectKey, SubjectKey]:
    """Return the keys that subjects stand under now, by those that they were moved from."""
    rows: Sequence[Any] = statements.dialect.fetch_among(
        connection, statements.moved_from, [tenant_id], list(keys)
    )
    return {SubjectKey(bytes(previous)): SubjectKey(bytes(key)) for _, previous, key in rows}


class MoveReader:
    """What there is to be moved in an open store, and how far that is."""

    def __init__(self, *, read: Run, keyring: Keyring) -> None:
        self._read = read
        self._keyring = keyring

    async def movable(
        self, tenant_id: TenantId, key_id: int, after: bytes, limit: int
    ) -> Sequence[Movable]:
        """Return the next readable subjects that stand under older lookup keys than this."""
        return await self._read(
            lambda c: find_movable(c, self._keyring, tenant_id, key_id, after, limit)
        )

    async def counts(self, tenant_id: TenantId) -> Sequence[KeyCount]:
        """Return how many subjects stand under each lookup key, by its id."""
        return await self._read(lambda c: count_subjects(c, tenant_id))
