"""0003: what one node at a time does for all."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the leases."""
    op.create_table(
        "leases",
        sa.Column("name", _text, nullable=False),
        sa.Column("holder", _text, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="leases_pk"),
        sqlite_with_rowid=False,
    )
