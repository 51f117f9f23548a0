"""What followers offered back since the last restore, by who offered it: read out of the logs.

Nothing is counted but what is in a log: an offer that changed nothing is not.
"""

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.types import BigInteger

from heed.model import Change, ChangeKind, Method, RecordKind, Revision, SubjectKey, TenantId
from heed_server.storage.epochs import hold_of_epoch
from heed_server.storage.log_reads import CHANGE_COLUMNS, change_of
from heed_server.storage.past_reads import PastStatements, read_changes_of_tenant
from heed_server.storage.schema import changes, store, tenants
from heed_server.storage.statements import Dialect, Statement, parameter

CHANGES_A_READ: Final = 5_000
"""Changes that are read at a time."""

_NAMED: Final = b'"method":"' + Method.OFFERED.name.lower().encode() + b'"'
"""What stands in the content of a change that was offered, and seldom in another's."""
_LAST_REVISION: Final = Revision(2**63 - 1)


@dataclass(slots=True, kw_only=True)
class OfferedBy:
    """What one subscriber offered, by one principal, that was lacking in one tenant's log."""

    tenant: str
    subscriber: str
    principal: str
    opt_outs: int = 0
    pauses: int = 0
    suppressions: int = 0
    holds: int = 0
    keys: set[SubjectKey] = field(default_factory=set[SubjectKey], repr=False)
    """Whom it is about."""

    def count(self, change: Change) -> None:
        """Count one change of it."""
        if change.kind is ChangeKind.HOLD:
            self.holds += 1
        elif change.record is not None and change.subject is not None:
            self.keys.add(change.subject)
            match change.record.kind:
                case RecordKind.OPT_OUT:
                    self.opt_outs += 1
                case RecordKind.PAUSE:
                    self.pauses += 1
                case _:
                    self.suppressions += 1


def read_offered(connection: Connection, dialect: Dialect) -> list[OfferedBy]:
    """Return what was offered since this life of the store began, by tenant and subscriber.

    Raises:
        LogDamagedError: a change is not what was written.
    """
    epoch = connection.execute(select(store.c.epoch)).scalar_one()
    named = connection.execute(
        select(tenants.c.tenant_id, tenants.c.name).order_by(tenants.c.name)
    ).all()
    page = Statement(
        select(*CHANGE_COLUMNS)
        .where(
            changes.c.tenant_id == parameter("tenant", BigInteger()),
            changes.c.revision > parameter("after", BigInteger()),
        )
        .order_by(changes.c.revision)
        .limit(parameter("limit", BigInteger())),
        dialect,
        *("tenant", "after", "limit"),
    )
    past, hold_id = PastStatements(dialect), hold_of_epoch(bytes(epoch))
    found: dict[tuple[str, str, str], OfferedBy] = {}
    for tenant_id, name in named:
        after = _begun_at(connection, past, TenantId(tenant_id), hold_id)
        while after is not None:
            rows = page.fetch(connection, tenant_id, after, CHANGES_A_READ)
            for change in (change_of(row) for row in rows if _NAMED in bytes(row[-1])):
                origin = change.origin
                if origin is not None and origin.method is Method.OFFERED:
                    by = (name, origin.source, origin.actor)
                    of = found.setdefault(
                        by, OfferedBy(tenant=name, subscriber=origin.source, principal=origin.actor)
                    )
                    of.count(change)
            after = Revision(rows[-1][0]) if len(rows) == CHANGES_A_READ else None
    return [found[by] for by in sorted(found)]


def _begun_at(
    connection: Connection, past: PastStatements, tenant_id: TenantId, hold_id: str
) -> Revision | None:
    """Return the change that placed the hold of this epoch; None: it began with no restore."""
    after = Revision(0)
    while True:
        page = read_changes_of_tenant(
            connection, past, tenant_id, after=after, through=_LAST_REVISION, limit=CHANGES_A_READ
        )
        for change in page:
            hold = change.hold if change.kind is ChangeKind.HOLD else None
            if hold is not None and hold.hold_id == hold_id:
                return change.revision
        if len(page) < CHANGES_A_READ:
            return None
        after = page[-1].revision
