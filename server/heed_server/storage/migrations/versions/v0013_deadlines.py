"""0013: whom the watch on deadlines warned of, and when everybody had applied what."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deadline_marks",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("subscriber", _text, nullable=False),
        sa.Column("look_time", sa.BigInteger, nullable=False),
        sa.Column("read_revision", sa.BigInteger, nullable=False),
        sa.Column("rules", _text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subscriber", name="deadline_marks_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "applied_by_all",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "revision", name="applied_by_all_pk"),
        sqlite_with_rowid=False,
    )
