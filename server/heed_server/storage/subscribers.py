"""The registry of subscribers: rows that all nodes see, and that are not of a log."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from heed.model import TenantId
from heed_server.storage.schema import subscribers
from heed_server.storage.statements import ON_CONFLICT_REPLACE, Batch, Dialect, Row
from heed_server.store import Subscriber


def put(connection: Connection, dialect: Dialect, of_node: Sequence[Subscriber]) -> None:
    """Add these, in the place of those of the same tenant, name and stream."""
    # The last of each wins, for one statement may touch a row once.
    rows = {(one.tenant_id, one.name, one.stream_id): _row(one) for one in of_node}
    batch = Batch(subscribers, list(rows.values()), ON_CONFLICT_REPLACE)
    dialect.insert_all(connection, [batch])


def read(connection: Connection, tenant_id: TenantId) -> list[Subscriber]:
    """Return a tenant's, by name and then by the opening of their streams."""
    statement = (
        select(subscribers)
        .where(subscribers.c.tenant_id == tenant_id)
        .order_by(subscribers.c.subscriber, subscribers.c.open_time, subscribers.c.stream_id)
    )
    return [_subscriber_of(row) for row in connection.execute(statement)]


def delete_same(connection: Connection, gone: Sequence[Subscriber]) -> None:
    """Remove these, if nothing was put in their place since."""
    for one in gone:
        connection.execute(
            delete(subscribers).where(
                subscribers.c.tenant_id == one.tenant_id,
                subscribers.c.subscriber == one.name,
                subscribers.c.stream_id == one.stream_id,
                subscribers.c.probe_time == one.probe_time,
                subscribers.c.open_time == one.open_time,
            )
        )


def _row(one: Subscriber) -> Row:
    return (
        one.tenant_id,
        one.name,
        one.stream_id,
        one.instance,
        one.node,
        one.open_time,
        one.close_time,
        one.probe_time,
        one.max_staleness,
        one.applied_revision,
        one.applied_time,
        one.rule_version,
    )


def _subscriber_of(row: Row) -> Subscriber:
    (
        tenant_id,
        name,
        stream_id,
        instance,
        node,
        open_time,
        close_time,
        probe_time,
        max_staleness,
        applied_revision,
        applied_time,
        rule_version,
    ) = row
    return Subscriber(
        tenant_id=tenant_id,
        name=name,
        stream_id=stream_id,
        instance=instance,
        node=node,
        open_time=open_time,
        close_time=close_time,
        probe_time=probe_time,
        max_staleness=max_staleness,
        applied_revision=applied_revision,
        applied_time=applied_time,
        rule_version=rule_version,
    )
