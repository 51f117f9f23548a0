"""0006: the tiles of the logs' trees, and the checkpoints that were signed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create both; they are filled from the log that is there."""
    op.create_table(
        "tiles",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("level", sa.SmallInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "level", "number", name="tiles_pk"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("running_hash", sa.LargeBinary, nullable=False),
        sa.Column("note", _text, nullable=False),
        sa.Column("sign_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="checkpoints_pk"),
        sqlite_with_rowid=False,
    )
