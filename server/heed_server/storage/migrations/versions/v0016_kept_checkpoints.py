"""0016: one signed checkpoint an hour, kept for ever, so that a log can be seen to go on."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "kept_checkpoints",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("sign_time", sa.BigInteger, nullable=False),
        sa.Column("note", _text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "sign_time", name="kept_checkpoints_pk"),
        sqlite_with_rowid=False,
    )
