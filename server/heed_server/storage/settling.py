"""Which key each subject of a write stands under, where a tenant has had its lookup key replaced.

Laws:
- A person stands under one key at any revision (ADR 0042). A write knows all that may be theirs;
  under the lock of the tenant's head it is seen which one something is held under, and the write
  is of that. Of somebody who is not known it is the key of the newest lookup key.
- A write that found its people by the keys they stood under is of those that they stand under now.
- Where no lookup key was replaced nothing is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from heed.acts import OfferRecords, ReleaseSuppressions, RevertBatch, with_keys
from heed.model import SubjectKey, TenantId
from heed_server.storage.moving import MovingStatements, now_under
from heed_server.storage.schema import encrypted_addresses, records
from heed_server.storage.statements import AmongSelect, Dialect
from heed_server.writes import Write


class SettlingStatements:
    """The statements, compiled for one database."""

    def __init__(self, dialect: Dialect, moving: MovingStatements) -> None:
        self.dialect = dialect
        self.moving = moving
        self.held = tuple(
            AmongSelect(
                select(table.c.tenant_id, table.c.subject).distinct(),
                table.c.tenant_id,
                table.c.subject,
            )
            for table in (records, encrypted_addresses)
        )


def settle(
    connection: Connection, statements: SettlingStatements, writes: Sequence[Write]
) -> tuple[Sequence[Write], Mapping[tuple[TenantId, SubjectKey], int]]:
    """Return the writes, each of the keys that its subjects stand under.

    And which lookup key made those that are not of the newest. To be called for writes to tenants
    that have several.
    """
    asked = {
        key
        for write in writes
        for newest, older in write.older_keys.items()
        for key in (newest, *older)
    }
    tenant_ids = sorted({write.tenant_id for write in writes})
    held = {
        (tenant_id, bytes(key))
        for statement in statements.held
        for tenant_id, key in (
            statements.dialect.fetch_among(connection, statement, tenant_ids, sorted(asked))
            if asked
            else ()
        )
    }
    key_ids: dict[tuple[TenantId, SubjectKey], int] = {}
    settled: list[Write] = []
    for write in writes:
        standing = _standing(write, held, key_ids)
        if isinstance(write.act, RevertBatch | ReleaseSuppressions | OfferRecords):
            standing = now_under(connection, statements.moving, write.tenant_id, _found(write.act))
        settled.append(replace(write, act=with_keys(write.act, standing)) if standing else write)
    return settled, key_ids


def _standing(
    write: Write,
    held: set[tuple[TenantId, bytes]],
    key_ids: dict[tuple[TenantId, SubjectKey], int],
) -> Mapping[SubjectKey, SubjectKey]:
    """By their newest keys, those of whom something is held under an older one."""
    standing: dict[SubjectKey, SubjectKey] = {}
    for newest, older in write.older_keys.items():
        if (write.tenant_id, newest) in held:
            continue
        for back, key in enumerate(older, start=1):
            if (write.tenant_id, key) in held:
                standing[newest] = key
                key_ids[write.tenant_id, key] = write.lookup_key_id - back
                break
    return standing


def _found(act: RevertBatch | ReleaseSuppressions | OfferRecords) -> Sequence[SubjectKey]:
    match act:
        case RevertBatch(keys=keys):
            return keys
        case ReleaseSuppressions(found=found):
            return [one.key for one in found]
        case OfferRecords(offered=offered):
            return [one.key for one in offered]
