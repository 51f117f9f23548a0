"""0005: calls that need a second person."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the approvals."""
    op.create_table(
        "approvals",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("approval_id", _text, nullable=False),
        sa.Column("method", _text, nullable=False),
        sa.Column("idempotency_key", _text, nullable=False),
        sa.Column("payload_hash", sa.LargeBinary, nullable=False),
        sa.Column("about", _text, nullable=False),
        sa.Column("reason", _text, nullable=False),
        sa.Column("shown", _text, nullable=False),
        sa.Column("asked_by", _text, nullable=False),
        sa.Column("ask_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("decided_by", _text, nullable=False),
        sa.Column("decide_time", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant_id", "approval_id", name="approvals_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("approvals_call", "approvals", ["tenant_id", "method", "idempotency_key"])
