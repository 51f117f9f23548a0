"""0009: what principals have used of their caps in the last hour."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the uses of caps."""
    op.create_table(
        "cap_uses",
        sa.Column("tenant_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("principal", _text, nullable=False),
        sa.Column("cap", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "principal", "cap", "minute", name="cap_uses_pk"),
        sqlite_with_rowid=False,
    )
