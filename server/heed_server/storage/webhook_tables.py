"""The tables of webhooks; the laws are those of `heed_server.storage.schema`, which names them."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table

from heed_server.storage.tables import metadata, text

webhook_targets = Table(
    "webhook_targets",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("target", text, primary_key=True),
    Column("epoch", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("running_hash", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("delivered_time", BigInteger),
    Column("failing_since", BigInteger),
    Column("failure", text, nullable=False),
    sqlite_with_rowid=False,
)
"""How far of each log webhooks were sent to each target (ADR 0049). `version` is who may write
here; `asked` rises with what others have asked for."""

webhook_late = Table(
    "webhook_late",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("target", text, primary_key=True),
    Column("lane", LargeBinary, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_time", BigInteger),
    Column("next_time", BigInteger, nullable=False),
    Column("failure", text, nullable=False),
    Column("replay", Integer, nullable=False),
    Column("behind", LargeBinary),
    Column("notice", text, nullable=False),
    sqlite_with_rowid=False,
)
"""Lanes of targets that are behind their position: from which change on, and when it is tried."""

webhook_dead = Table(
    "webhook_dead",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("target", text, primary_key=True),
    Column("letter_id", text, primary_key=True),
    Column("lane", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("event", text, nullable=False),
    Column("dead_time", BigInteger, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failure", text, nullable=False),
    Column("replay", Integer, nullable=False),
    Column("notice", text, nullable=False),
    Column("is_asked", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""Events that were given up, until an operator has them sent anew or discards them. `is_asked`:
they are to be sent anew, and the node that delivers has not begun."""
