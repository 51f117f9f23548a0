"""Whether each log ends where its head says.

A head that was changed past heed would otherwise be written on: over a change that is there, past
one that is not, or with hashes that lead nowhere.
"""

from sqlalchemy import Connection, and_, func, or_, select

from heed_server.storage.schema import changes, heads
from heed_server.store import LogDamagedError


def require_ends(connection: Connection) -> None:
    """Compare every head with the last change of its log: two look-ups a tenant.

    Raises:
        LogDamagedError: it is not that change's.
    """
    each = changes.alias()
    last = (
        select(func.max(each.c.revision))
        .where(each.c.tenant_id == heads.c.tenant_id)
        .scalar_subquery()
    )
    is_its_last = and_(
        changes.c.tenant_id == heads.c.tenant_id,
        changes.c.revision == heads.c.revision,
        changes.c.running_hash == heads.c.running_hash,
        changes.c.commit_time == heads.c.commit_time,
    )
    # Of one statement, so of one view: other nodes may write meanwhile.
    wrong = connection.execute(
        select(heads.c.tenant_id, heads.c.revision, func.coalesce(last, 0))
        .outerjoin(changes, is_its_last)
        .where(
            or_(
                heads.c.revision != func.coalesce(last, 0),
                and_(heads.c.revision != 0, changes.c.revision.is_(None)),
            )
        )
        .order_by(heads.c.tenant_id)
    ).first()
    if wrong is not None:
        tenant_id, said, found = wrong
        raise LogDamagedError(
            f"the head of tenant {tenant_id}'s log says revision {said}, the log ends at {found}, "
            "or with another hash or time there: the database was changed past heed; keep it as it "
            "is, and restore a backup"
        )
