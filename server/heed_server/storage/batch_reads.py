"""Which batches a log has: where each begins, ends, and was undone."""

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from heed.errors import invalid_field
from heed.model import Change, Revision, TenantId
from heed_server.storage.log_reads import CHANGE_COLUMNS, change_of
from heed_server.storage.schema import batches, changes
from heed_server.store import KeptBatch, Page


def read_page(
    connection: Connection, tenant_id: TenantId, cursor: str, limit: int
) -> Page[KeptBatch]:
    """Return a page of a tenant's batches, the one that began last first.

    Raises:
        InvalidArgumentError: the cursor is not one that an earlier page gave.
    """
    statement = select(batches).where(batches.c.tenant_id == tenant_id)
    if cursor:
        statement = statement.where(_is_after(cursor))
    statement = statement.order_by(batches.c.first_revision.desc(), batches.c.batch_id.desc())
    rows = connection.execute(statement.limit(limit + 1)).all()
    page = rows[:limit]
    named = {revision for _, _, first, last, undone in page for revision in (first, last, undone)}
    told = _changes_of(connection, tenant_id, named - {None})
    items = tuple(
        KeptBatch(
            batch_id=batch_id,
            first_revision=Revision(first),
            last_revision=Revision(last),
            first=told.get(first) if first <= last else None,
            last=told.get(last) if first <= last else None,
            undone=told.get(undone),
        )
        for _, batch_id, first, last, undone in page
    )
    is_last = len(rows) <= limit
    return Page(
        items=items,
        next_cursor="" if is_last else f"{items[-1].first_revision}/{items[-1].batch_id}",
    )


def _changes_of(
    connection: Connection, tenant_id: TenantId, revisions: set[int]
) -> dict[int | None, Change]:
    found = connection.execute(
        select(*CHANGE_COLUMNS).where(
            changes.c.tenant_id == tenant_id, changes.c.revision.in_(sorted(revisions))
        )
    )
    return {change.revision: change for change in (change_of(tuple(row)) for row in found)}


def _is_after(cursor: str) -> ColumnElement[bool]:
    first, _, batch_id = cursor.partition("/")
    if not first.isdecimal() or len(first) > len(str(2**63)) or not batch_id:
        raise invalid_field("page_token", "is not the next_page_token of a page of this list")
    return or_(
        batches.c.first_revision < int(first),
        and_(batches.c.first_revision == int(first), batches.c.batch_id < batch_id),
    )
