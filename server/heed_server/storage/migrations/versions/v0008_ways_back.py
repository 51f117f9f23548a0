"""0008: which code may open the database, and holds that mandatory messages pass."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the row of compatibility's table, and tell holds apart."""
    op.create_table(
        "compatibility",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("readable_since", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="compatibility_pk"),
    )
    op.add_column(
        "holds",
        sa.Column("spares_mandatory", sa.Boolean, nullable=False, server_default=sa.false()),
    )
