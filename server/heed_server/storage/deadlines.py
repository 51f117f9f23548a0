"""What the watch on deadlines keeps: whom it warned of up to where, and what all had applied."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from heed.model import Instant, Revision, TenantId
from heed_server.deadline_marks import AppliedByAll, DeadlineMark
from heed_server.storage.moving import Run
from heed_server.storage.schema import applied_by_all, deadline_marks


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineTables:
    """The two tables of one store (see `DeadlineStore`)."""

    read: Run
    write: Run

    async def marks(self, tenant_id: TenantId) -> Sequence[DeadlineMark]:
        """Return a tenant's, by subscriber."""
        return await self.read(lambda c: _read_marks(c, tenant_id))

    async def put_marks(self, tenant_id: TenantId, marks: Sequence[DeadlineMark]) -> None:
        """Put these in the place of all of a tenant's."""
        await self.write(lambda c: _replace_marks(c, tenant_id, marks))

    async def note_applied_by_all(
        self, tenant_id: TenantId, seen: AppliedByAll, keep_from: Instant
    ) -> None:
        """Keep that this was seen, unless as much was; forget what is older (`DeadlineStore`)."""
        await self.write(lambda c: _note_applied(c, tenant_id, seen, keep_from))

    async def applied_by_all(
        self, tenant_id: TenantId, first: Revision, last: Revision
    ) -> Sequence[AppliedByAll]:
        """Return those that say when revisions of a range were applied (see `DeadlineStore`)."""
        return await self.read(lambda c: _read_applied(c, tenant_id, first, last))


def _read_marks(connection: Connection, tenant_id: TenantId) -> list[DeadlineMark]:
    columns = deadline_marks.c
    statement = (
        select(columns.subscriber, columns.look_time, columns.read_revision, columns.rules)
        .where(columns.tenant_id == tenant_id)
        .order_by(columns.subscriber)
    )
    return [DeadlineMark(*row) for row in connection.execute(statement)]


def _replace_marks(
    connection: Connection, tenant_id: TenantId, marks: Sequence[DeadlineMark]
) -> None:
    connection.execute(delete(deadline_marks).where(deadline_marks.c.tenant_id == tenant_id))
    if marks:
        rows = [{"tenant_id": tenant_id, **mark._asdict()} for mark in marks]
        connection.execute(insert(deadline_marks), rows)


def _note_applied(
    connection: Connection, tenant_id: TenantId, seen: AppliedByAll, keep_from: Instant
) -> None:
    columns = applied_by_all.c
    of_tenant = columns.tenant_id == tenant_id
    known = connection.execute(select(func.max(columns.revision)).where(of_tenant)).scalar()
    if known is not None and known >= seen.revision:
        return
    connection.execute(
        insert(applied_by_all).values(tenant_id=tenant_id, revision=seen.revision, time=seen.time)
    )
    last_before = select(func.max(columns.revision)).where(of_tenant, columns.time < keep_from)
    kept = connection.execute(last_before).scalar()
    if kept is not None:
        connection.execute(delete(applied_by_all).where(of_tenant, columns.revision < kept))


def _read_applied(
    connection: Connection, tenant_id: TenantId, first: Revision, last: Revision
) -> list[AppliedByAll]:
    columns = applied_by_all.c
    of_tenant = columns.tenant_id == tenant_id
    end = select(func.min(columns.revision)).where(of_tenant, columns.revision >= last)
    found = connection.execute(end).scalar()
    through = columns.revision <= (last if found is None else found)
    statement = (
        select(columns.revision, columns.time)
        .where(of_tenant, columns.revision >= first, through)
        .order_by(columns.revision)
    )
    return [AppliedByAll(*row) for row in connection.execute(statement)]
