"""0015: how far webhooks were sent to each target, what is late there, and dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhook_targets",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("target", _text, nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("running_hash", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("delivered_time", sa.BigInteger),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("failure", _text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "target", name="webhook_targets_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "webhook_late",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("target", _text, nullable=False),
        sa.Column("lane", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_time", sa.BigInteger),
        sa.Column("next_time", sa.BigInteger, nullable=False),
        sa.Column("failure", _text, nullable=False),
        sa.Column("replay", sa.Integer, nullable=False),
        sa.Column("behind", sa.LargeBinary),
        sa.Column("notice", _text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "target", "lane", name="webhook_late_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "webhook_dead",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("target", _text, nullable=False),
        sa.Column("letter_id", _text, nullable=False),
        sa.Column("lane", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("event", _text, nullable=False),
        sa.Column("dead_time", sa.BigInteger, nullable=False),
        sa.Column("first_time", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failure", _text, nullable=False),
        sa.Column("replay", sa.Integer, nullable=False),
        sa.Column("notice", _text, nullable=False),
        sa.Column("is_asked", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "target", "letter_id", name="webhook_dead_pk"),
        sqlite_with_rowid=False,
    )
