"""0007: wrapped keys, and addresses as ciphertext; opening a store moves what was readable."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create what takes the keys and the addresses; nothing that was there changes."""
    _note_what_is_readable()
    op.create_table(
        "secrets",
        sa.Column("name", _text, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="secrets_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "encrypted_addresses",
        sa.Column("tenant_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subject", name="encrypted_addresses_pk"),
        sqlite_with_rowid=False,
    )


def _note_what_is_readable() -> None:
    """On SQLite, ask for the file to be written anew once nothing readable is left in its rows."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    tenants = sa.table("tenants", sa.column("tenant_id"))
    if connection.execute(sa.select(tenants).limit(1)).first() is not None:
        op.execute("PRAGMA user_version = 1")
