"""Leases: what one node at a time does for all that share the database.

A lease is a courtesy, never a proof: a node that was stopped in the middle may go on after its
lease went to another. Whatever is done under one must be safe when two do it.
Times are the database's where it has a clock, so that the clocks of nodes need not agree.
"""

from sqlalchemy import BigInteger, Connection, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError

from heed.model import Instant
from heed_server.storage.schema import leases
from heed_server.storage.statements import Dialect


def take(
    connection: Connection, dialect: Dialect, name: str, holder: str, seconds: float, now: Instant
) -> bool:
    """Take a lease, or hold it for longer; False if another has it.

    `now` is this node's time, used where the database has none.
    """
    time = func.coalesce(dialect.database_time(), literal(now, BigInteger))
    until = time + round(seconds * 1_000_000)
    is_free = or_(leases.c.holder == holder, leases.c.expire_time <= time)
    taken = connection.execute(
        update(leases)
        .where(leases.c.name == name, is_free)
        .values(holder=holder, expire_time=until)
    )
    if taken.rowcount:
        return True
    if connection.execute(select(leases.c.name).where(leases.c.name == name)).first():
        return False
    try:
        with connection.begin_nested():
            connection.execute(insert(leases).values(name=name, holder=holder, expire_time=until))
    except IntegrityError:
        return False  # another node was quicker
    return True


def release(connection: Connection, name: str, holder: str) -> None:
    """Give a lease back, if this holder has it."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))
