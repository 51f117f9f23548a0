"""0011: which lives of the store this one goes on from.

Of those that ended before, nothing is known: what followers hold of them may be lacking whole.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "earlier_epochs",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "epoch", name="earlier_epochs_pk"),
        sqlite_with_rowid=False,
    )
