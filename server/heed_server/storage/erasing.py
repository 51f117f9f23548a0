"""What there is to erase of a subject, and the rows that an erasure rewrites (ADR 0030).

Laws:
- An erased change keeps its entry, its leaf hash and its running hash: every proof still holds. Its
  salt is emptied, so that nobody can test a guess of what it said, and its content is the residue
  that followers need (`heed_server.storage.content.residue_of`).
- In the place of an erased subject's address stands an empty one, which no later write fills but an
  opt-in of the person themselves.
- Judged and rewritten under the lock of the tenant's head, by a transaction that has no other
  write: what it is about to rewrite is in the tables.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    delete,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.types import BigInteger, LargeBinary

from heed.acts import ErasedSubject
from heed.judge import ERASURE_SLOT, History, SlotKey
from heed.model import (
    ChangeKind,
    Effect,
    Instant,
    Revision,
    Subject,
    SubjectKey,
    SubjectType,
    TenantId,
)
from heed.proof import residues_hash
from heed_server.erasures import Erased
from heed_server.storage.addresses import AddressReader
from heed_server.storage.content import decode_change, residue_of
from heed_server.storage.keyring import Keyring
from heed_server.storage.schema import addresses, changes, encrypted_addresses, records, reserves
from heed_server.storage.statements import (
    ON_CONFLICT_REPLACE,
    AmongSelect,
    Batch,
    Dialect,
    Row,
    Statement,
    parameter,
)
from heed_server.store import KnownSubject, LogDamagedError

ERASED_SALT = b""
"""The salt of a change that was erased; every other has `heed.proof.SALT_BYTES`."""

NO_TYPE, NO_ADDRESS = 0, b""
"""What stands in the row of an erased subject's address."""

NO_LOOKUP_KEY = 0
"""What stands there of a subject that was known by its key alone."""

_PAGE_CHANGES = 1_000
"""Changes read and rewritten at a time."""

_REVISION = [column.name for column in changes.c].index("revision")
_EFFECT = [column.name for column in changes.c].index("effect")
_SALT = [column.name for column in changes.c].index("salt")
_CONTENT = [column.name for column in changes.c].index("content")

_IS_ERASED = (
    (records.c.kind == literal_column(str(ERASURE_SLOT[0] >> 12)))
    & (records.c.cause == literal_column(str(ERASURE_SLOT[0] >> 8 & 0xF)))
    & (records.c.slot_reach == literal_column(str(ERASURE_SLOT[0] >> 4 & 0xF)))
    & (records.c.channel == literal_column(str(ERASURE_SLOT[0] & 0xF)))
    & (records.c.topic == literal_column("''"))
    & records.c.release_time.is_not(None)
)
"""Constants, not parameters: an `AmongSelect` has none but its lists."""


class ErasingStatements:
    """The statements of an erasure, compiled for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        of_one = ("tenant", "subject")
        is_erasure = changes.c.kind == literal(int(ChangeKind.ERASURE))
        self.unerased_after = Statement(
            select(*changes.c)
            .where(
                _of_one(changes),
                ~is_erasure,
                changes.c.revision > parameter("after", BigInteger()),
                changes.c.salt != literal(ERASED_SALT, LargeBinary()),
            )
            .order_by(changes.c.revision)
            .limit(literal(_PAGE_CHANGES)),
            dialect,
            *("tenant", "subject", "after"),
        )
        self.last_erasure = Statement(
            select(changes.c.revision, changes.c.commit_time, changes.c.content)
            .where(_of_one(changes), is_erasure)
            .order_by(changes.c.revision.desc())
            .limit(literal(1)),
            dialect,
            *of_one,
        )
        self.encrypted = Statement(
            select(
                encrypted_addresses.c.type,
                encrypted_addresses.c.ciphertext,
                encrypted_addresses.c.lookup_key_id,
            ).where(_of_one(encrypted_addresses)),
            dialect,
            *of_one,
        )
        # What an earlier heed wrote, and is not encrypted yet.
        readable = select(addresses.c.type, addresses.c.address).where(_of_one(addresses))
        self.readable = Statement(readable, dialect, *of_one)
        delete_readable = delete(addresses).where(_of_one(addresses))
        self.delete_readable = Statement(delete_readable, dialect, *of_one)
        # What lists asked for stands on; which lists they were goes.
        self.forget_lists = Statement(
            update(reserves).where(_of_one(reserves)).values(batch_id=literal_column("''")),
            dialect,
            *of_one,
        )
        slot = ("kind", "cause", "slot_reach", "channel", "topic")
        self.delete_record = Statement(
            delete(records).where(
                _of_one(records),
                *(records.c[name] == parameter(name) for name in slot),
            ),
            dialect,
            *of_one,
            *slot,
        )
        self.erase_times = AmongSelect(
            select(records.c.tenant_id, records.c.subject, records.c.release_time).where(
                _IS_ERASED
            ),
            records.c.tenant_id,
            records.c.subject,
        )


def read_history(
    connection: Connection, statements: ErasingStatements, tenant_id: TenantId, key: SubjectKey
) -> History | None:
    """Return what there is to erase of a subject; None: nothing was ever known of it."""
    count = 0

    def residues() -> Iterator[tuple[Revision, Effect, bytes]]:
        nonlocal count
        for page in _pages(connection, statements, tenant_id, key):
            for row in page:
                count += 1
                effect, residue = residue_of(Effect(row[_EFFECT]), bytes(row[_CONTENT]))
                yield Revision(row[_REVISION]), effect, residue

    committed = residues_hash(residues())
    last = _last_erasure(connection, statements, tenant_id, key)
    encrypted = statements.encrypted.fetch(connection, tenant_id, key)
    is_readable = bool(encrypted and encrypted[0][1]) or bool(
        statements.readable.fetch(connection, tenant_id, key)
    )
    if not count and last is None and not is_readable:
        return None
    return History(count, committed, is_readable, last)


def erase_subject(
    connection: Connection, statements: ErasingStatements, tenant_id: TenantId, key: SubjectKey
) -> None:
    """Rewrite every change of a subject and its address; the caller's transaction commits it."""
    dialect = statements.dialect
    for page in _pages(connection, statements, tenant_id, key):
        dialect.insert_all(
            connection, [Batch(changes, [_erased(row) for row in page], ON_CONFLICT_REPLACE)]
        )
    statements.delete_readable.run(connection, tenant_id, key)
    statements.forget_lists.run(connection, tenant_id, key)
    kept = statements.encrypted.fetch(connection, tenant_id, key)
    nothing = (tenant_id, key, NO_TYPE, NO_ADDRESS, kept[0][2] if kept else NO_LOOKUP_KEY)
    dialect.insert_all(connection, [Batch(encrypted_addresses, [nothing], ON_CONFLICT_REPLACE)])


def read_known(
    connection: Connection,
    statements: ErasingStatements,
    keyring: Keyring,
    tenant_id: TenantId,
    keys: Sequence[SubjectKey],
) -> list[KnownSubject]:
    """Return what is kept of each subject beside the log.

    Raises:
        SecretsError: an address cannot be decrypted.
    """
    times = statements.dialect.fetch_among(
        connection, statements.erase_times, [tenant_id], list(keys)
    )
    erase_times = {bytes(key): Instant(time) for _, key, time in times}
    reader = AddressReader(connection, keyring, tenant_id)
    found: list[KnownSubject] = []
    for key in keys:
        subject = None
        encrypted = statements.encrypted.fetch(connection, tenant_id, key)
        readable = statements.readable.fetch(connection, tenant_id, key)
        if encrypted and encrypted[0][1]:
            subject = reader.subject(key, encrypted[0][0], bytes(encrypted[0][1]))
        elif not encrypted and readable:
            subject = Subject(type=SubjectType(readable[0][0]), value=readable[0][1])
        found.append(KnownSubject(key=key, subject=subject, erase_time=erase_times.get(key)))
    return found


def read_erased(connection: Connection) -> list[Erased]:
    """Return every subject that was erased, by tenant and key. Reads all records."""
    rows = connection.execute(
        select(records.c.tenant_id, records.c.subject, records.c.release_time)
        .where(_IS_ERASED)
        .order_by(records.c.tenant_id, records.c.subject)
    )
    return [
        Erased(TenantId(tenant_id), SubjectKey(bytes(key)), Instant(time))
        for tenant_id, key, time in rows
    ]


def empty_slot(
    connection: Connection,
    statements: ErasingStatements,
    tenant_id: TenantId,
    key: SubjectKey,
    slot: SlotKey,
) -> None:
    """Delete the record in a slot."""
    number, topic = slot
    statements.delete_record.run(
        connection,
        *(tenant_id, key, number >> 12, number >> 8 & 0xF, number >> 4 & 0xF, number & 0xF, topic),
    )


def _pages(
    connection: Connection, statements: ErasingStatements, tenant_id: TenantId, key: SubjectKey
) -> Iterator[list[Row]]:
    """The changes of a subject that are not erased, by revision."""
    after = 0
    while page := list(statements.unerased_after.fetch(connection, tenant_id, key, after)):
        yield page
        after = page[-1][_REVISION]


def _erased(row: Row) -> Row:
    effect, residue = residue_of(Effect(row[_EFFECT]), bytes(row[_CONTENT]))
    values = list(row)
    values[_EFFECT], values[_SALT], values[_CONTENT] = int(effect), ERASED_SALT, residue
    return values


def _last_erasure(
    connection: Connection, statements: ErasingStatements, tenant_id: TenantId, key: SubjectKey
) -> ErasedSubject | None:
    rows = statements.last_erasure.fetch(connection, tenant_id, key)
    if not rows:
        return None
    revision, commit_time, content = rows[0]
    change = decode_change(
        revision=revision,
        commit_time=commit_time,
        kind=ChangeKind.ERASURE,
        effect=Effect.APPLIED,
        running_hash=b"",
        subject=key,
        content=content,
    )
    if change.erasure is None:
        raise LogDamagedError(f"change {revision} is an erasure and does not say of what")
    return ErasedSubject(0, Revision(revision), Instant(commit_time), change.erasure.changes_count)


def _of_one(table: Table) -> ColumnElement[bool]:
    """Which rows are of the subject that a statement is given."""
    return (table.c.tenant_id == parameter("tenant", BigInteger())) & (
        table.c.subject == parameter("subject", LargeBinary())
    )
