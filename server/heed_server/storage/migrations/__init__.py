"""Numbered, forward-only migrations, and the check that a schema is the one this code knows.

Laws:
- A migration is never edited once released; the next one has the next number.
- All that are due run in one transaction: a crash leaves the schema as it was.
- It locks what writes lock first, before all else: nodes write on while it waits, and while it runs
  they wait; another order would deadlock with theirs.
- Nothing is opened that has an older schema; nor a later one, unless the database says that it may
  be: each migration leaves it said (`compatibility`) since which schema its code could still read
  it (ADR 0036).

Alembic runs them. It is imported only when there is something to run, since that takes long.
"""

from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, inspect, select, text
from sqlalchemy.sql.expression import column, table

from heed_server.storage.errors import SchemaError, SchemaOlderError
from heed_server.storage.schema import (
    LOOKUP_KEYS_SINCE,
    READABLE_SINCE,
    SCHEMA_VERSION,
    compatibility,
    heads,
)

_VERSIONS = table("alembic_version", column("version_num"))
_LOCK_HEADS = text("LOCK TABLE heads IN ACCESS EXCLUSIVE MODE")


def schema_version(connection: Connection) -> int:
    """Return the number of the last migration that ran; 0 in an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return 0
    return int(connection.execute(select(_VERSIONS.c.version_num)).scalar() or 0)


def require_schema(connection: Connection) -> None:
    """Refuse a database whose schema this code does not know.

    Raises:
        SchemaError: says which it is, and what to do.
    """
    found = schema_version(connection)
    if found < SCHEMA_VERSION:
        raise SchemaOlderError(
            f"the database's schema is {found or 'missing'} and {SCHEMA_VERSION} is needed; "
            "run `heed-server migrate`"
        )
    _refuse_unreadable(connection, found)


def upgrade(connection: Connection) -> bool:
    """Run every migration that is due, in the caller's transaction; False when none was.

    Raises:
        SchemaError: the schema is of a later heed.
    """
    found = schema_version(connection)
    if found >= SCHEMA_VERSION:
        _refuse_unreadable(connection, found)
        return False
    if found and connection.dialect.name == "postgresql":
        connection.execute(_LOCK_HEADS)
    migrate_to(connection, SCHEMA_VERSION)
    say_readable(connection)
    return True


def say_readable(connection: Connection) -> None:
    """Write down which code may open the database, whose schema is the one this code knows."""
    newest = connection.execute(select(func.max(heads.c.lookup_key_id))).scalar() or 1
    before = connection.execute(select(compatibility.c.readable_since)).scalar() or 0
    since = max(READABLE_SINCE, before, LOOKUP_KEYS_SINCE if newest > 1 else 0)
    connection.execute(delete(compatibility))
    connection.execute(insert(compatibility).values(id=1, readable_since=since))


def migrate_to(connection: Connection, version: int) -> None:
    """Run the migrations up to one, in the caller's transaction: of a backup of an older heed."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, f"{version:04}")


def _refuse_unreadable(connection: Connection, found: int) -> None:
    if found <= SCHEMA_VERSION:
        return
    since = connection.execute(select(compatibility.c.readable_since)).scalar()
    if since is None or since > SCHEMA_VERSION:
        raise SchemaError(
            f"the database's schema is {found} and this heed knows {SCHEMA_VERSION}; "
            "run the later heed that wrote it"
        )
