"""Writing a copy of a store into an empty database, in one transaction.

Laws:
- Nothing is taken on trust: numbers and hashes are computed from what is written, compared with
  where the copy says that each log ended, and then again from what the database gives back.
- Who was erased after the copy was made is erased again, before anybody can read of them.
- What is restored is of a new epoch, under a hold (`epochs`), or it is not there at all.
- A copy of an older schema is written into that schema, and then migrated as any database is.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, func, select, tuple_
from sqlalchemy.types import BigInteger

from heed.acts import EraseSubjects
from heed.errors import invalid_field
from heed.model import Instant, Method, Origin, Revision, TenantId
from heed_server.erasures import Erased
from heed_server.revocations import Revoked
from heed_server.storage.admin import revoke_if_good
from heed_server.storage.chain import Chain, CopiedChange
from heed_server.storage.copying import (
    BATCH_ROWS,
    DERIVED,
    Loader,
    LogEnd,
    copied_tables,
    is_empty,
    read_facts,
)
from heed_server.storage.entries import RandomBytes
from heed_server.storage.epochs import NewEpoch, begin_epoch, require_appended, rules_of_command
from heed_server.storage.erasing import read_erased
from heed_server.storage.errors import SchemaError
from heed_server.storage.group import append_group
from heed_server.storage.migrations import migrate_to, say_readable, upgrade
from heed_server.storage.node_rules import has_quiet_hours, keep_out_earlier
from heed_server.storage.schema import SCHEMA_VERSION, changes
from heed_server.storage.statements import Dialect, Row, Statement, parameter
from heed_server.storage.touched import group_statements
from heed_server.store import LogDamagedError
from heed_server.writes import Write


class CopyPart(Protocol):
    """Some rows of one table."""

    @property
    def table(self) -> str:
        """Its name."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values of a row, in order."""
        ...

    @property
    def rows(self) -> Sequence[Row]:
        """The rows."""
        ...


class Copy(Protocol):
    """A copy of a store, whole and verified as far as itself says."""

    @property
    def schema_version(self) -> int:
        """The schema that its tables are of."""
        ...

    @property
    def logs(self) -> Sequence[LogEnd]:
        """Where each tenant's log ended."""
        ...

    def parts(self) -> Iterable[CopyPart]:
        """Yield all rows; those of `changes` in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was written."""

    logs: tuple[LogEnd, ...]
    """Where each tenant's log stood before the hold was placed."""
    rows: int
    begun: NewEpoch
    erased_again: int
    """Subjects that were erased after the copy was made, and are erased again."""
    revoked_again: int = 0
    """API keys that were revoked after the copy was made, and are revoked again."""


def restore_into(
    connection: Connection,
    dialect: Dialect,
    copy: Copy,
    *,
    reason: str,
    erased: Sequence[Erased],
    revoked: Sequence[Revoked] = (),
    random_bytes: RandomBytes,
) -> Restored:
    """Write a copy, in the caller's transaction, which must not commit when this raises.

    `erased` is the ledger of erasures: who was erased after the copy was made is erased again; and
    `revoked` that of API keys, which are revoked again.

    Raises:
        InvalidArgumentError: the database is not empty.
        SchemaError: the copy is of a later heed.
        LogDamagedError: a log is not what was written.
    """
    if copy.schema_version > SCHEMA_VERSION:
        raise SchemaError(
            f"the backup's schema is {copy.schema_version} and this heed knows {SCHEMA_VERSION}; "
            "restore it by the later heed that took it"
        )
    if not is_empty(connection):
        raise invalid_field("--database", "is not empty; restore into an empty one")
    migrate_to(connection, copy.schema_version)
    counts = _write(connection, dialect, copy)
    upgrade(connection)
    say_readable(connection)
    if has_quiet_hours(connection):
        keep_out_earlier(connection)
    logs = read_facts(connection).logs
    _require_same(connection, logs, copy, counts)
    begun = begin_epoch(
        connection, dialect, reason=reason, is_whole=True, random_bytes=random_bytes
    )
    again = _erase_again(connection, dialect, erased, begun.epoch, random_bytes)
    _require_ends(verified_chain(connection, dialect), read_facts(connection).logs)
    return Restored(
        logs=logs,
        rows=sum(counts.values()),
        begun=begun,
        erased_again=again,
        revoked_again=sum(revoke_if_good(connection, *one) for one in revoked),
    )


def _erase_again(
    connection: Connection,
    dialect: Dialect,
    erased: Sequence[Erased],
    epoch: bytes,
    random_bytes: RandomBytes,
) -> int:
    """Erase whom the copy does not know to be erased; one that opted in since was known to be.

    Also of whom it knows nothing: an opt-in from before the erasure may arrive late.
    """
    is_known = {(one.tenant_id, one.key): one.erase_time for one in read_erased(connection)}
    there = {log.tenant_id for log in read_facts(connection).logs}
    wanted = {
        (one.tenant_id, one.key)
        for one in erased
        if one.tenant_id in there
        and is_known.get((one.tenant_id, one.key), Instant(-1)) < one.erase_time
    }
    rules, statements = rules_of_command(epoch, random_bytes), group_statements(dialect)
    for tenant_id, key in sorted(wanted):
        name = f"EraseSubject:again-{epoch.hex()}-{key.hex()}"
        write = Write(
            tenant_id=tenant_id,
            idempotency_key=name,
            payload_hash=hashlib.sha256(name.encode()).digest(),
            act=EraseSubjects(
                keys=(key,),
                origin=Origin(source="heed-server", method=Method.OPERATOR),
                reason="erased before, and brought back by a restore",
                was_lost=True,
            ),
            encode_answer=lambda _: b"",
        )
        # An erasure has a group to itself: what it rewrites must be in the tables.
        require_appended(append_group(connection, statements, [write], rules))
    return len(wanted)


def _write(connection: Connection, dialect: Dialect, copy: Copy) -> dict[str, int]:
    loader, chain = Loader(dialect), Chain()
    counts: dict[str, int] = {}
    for part in copy.parts():
        columns, rows = part.columns, part.rows
        if part.table == changes.name:
            columns, rows = (*columns, *DERIVED[changes.name]), _hashed(chain, columns, rows)
        loader.put(connection, part.table, columns, rows)
        counts[part.table] = counts.get(part.table, 0) + len(rows)
    loader.finish(connection)
    _require_ends(chain, copy.logs)
    return counts


def _hashed(chain: Chain, columns: tuple[str, ...], rows: Sequence[Row]) -> list[Row]:
    places = [columns.index(name) for name in CopiedChange._fields]
    return [(*row, *chain.add(CopiedChange._make(row[place] for place in places))) for row in rows]


def _require_ends(chain: Chain, logs: Sequence[LogEnd]) -> None:
    for log in logs:
        chain.require_end(log.tenant_id, log.revision, log.running_hash)
    unknown = chain.tenant_ids - {log.tenant_id for log in logs}
    if unknown:
        raise LogDamagedError(f"there are changes of tenants that are not there: {unknown}")


def _require_same(
    connection: Connection, logs: Sequence[LogEnd], copy: Copy, counts: dict[str, int]
) -> None:
    """Compare what the database says of itself with what was to be written."""
    for table in copied_tables():
        if table.name not in counts:  # no row was written, or a later migration made it
            continue
        found = connection.execute(select(func.count()).select_from(table)).scalar()
        if found != counts[table.name]:
            raise LogDamagedError(
                f"{table.name} has {found} rows after the restore, not {counts[table.name]}"
            )
    if tuple(logs) != tuple(copy.logs):
        raise LogDamagedError("the heads of the logs are not those that the backup names")


def verified_chain(connection: Connection, dialect: Dialect) -> Chain:
    """Compute every hash of every log from what is stored, and compare. Raises LogDamagedError."""
    chain = Chain()
    for change, leaf, running in _stored_changes(connection, dialect):
        if chain.add(change) != (leaf, running):
            raise LogDamagedError(
                f"change {change.revision} of tenant {change.tenant_id} has another hash stored"
            )
    return chain


def _stored_changes(
    connection: Connection, dialect: Dialect
) -> Iterator[tuple[CopiedChange, bytes, bytes]]:
    keys = (changes.c.tenant_id, changes.c.revision)
    hashes = [changes.c[name] for name in DERIVED[changes.name]]
    after = tuple_(parameter("tenant", BigInteger()), parameter("after", BigInteger()))
    statement = Statement(
        select(*(changes.c[name] for name in CopiedChange._fields), *hashes)
        .where(tuple_(*keys) > after)
        .order_by(*keys)
        .limit(parameter("limit", BigInteger())),
        dialect,
        *("tenant", "after", "limit"),
    )
    tenant_id, revision = TenantId(0), Revision(0)
    while rows := statement.fetch(connection, tenant_id, revision, BATCH_ROWS):
        for row in rows:
            values: Sequence[Any] = row
            yield CopiedChange._make(values[: -len(hashes)]), values[-2], values[-1]
        tenant_id, revision = rows[-1][0], rows[-1][1]
