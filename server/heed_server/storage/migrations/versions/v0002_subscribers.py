"""0002: who follows a tenant's log, and how far they are."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the registry of subscribers."""
    op.create_table(
        "subscribers",
        sa.Column("tenant_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subscriber", _text, nullable=False),
        sa.Column("stream_id", _text, nullable=False),
        sa.Column("instance", _text, nullable=False),
        sa.Column("node", _text, nullable=False),
        sa.Column("open_time", sa.BigInteger, nullable=False),
        sa.Column("close_time", sa.BigInteger),
        sa.Column("probe_time", sa.BigInteger, nullable=False),
        sa.Column("max_staleness", sa.BigInteger, nullable=False),
        sa.Column("applied_revision", sa.BigInteger, nullable=False),
        sa.Column("applied_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subscriber", "stream_id", name="subscribers_pk"),
        sqlite_with_rowid=False,
    )
