"""0010: what a batch is undone by: where in the log it is, and what its neighbours asked.

The batches that are in the log already are looked for once, by one pass over it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the batches and the reserves, and find the batches that are there."""
    op.create_table(
        "batches",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("batch_id", _text, nullable=False),
        sa.Column("first_revision", sa.BigInteger, nullable=False),
        sa.Column("last_revision", sa.BigInteger, nullable=False),
        sa.Column("revert_revision", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant_id", "batch_id", name="batches_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reserves",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("cause", sa.SmallInteger, nullable=False),
        sa.Column("slot_reach", sa.SmallInteger, nullable=False),
        sa.Column("channel", sa.SmallInteger, nullable=False),
        sa.Column("topic", _text, nullable=False),
        sa.Column("reach", sa.SmallInteger, nullable=False),
        sa.Column("decided_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("batch_id", _text, nullable=False),
        sa.PrimaryKeyConstraint(
            "tenant_id",
            "subject",
            "kind",
            "cause",
            "slot_reach",
            "channel",
            "topic",
            name="reserves_pk",
        ),
        sqlite_with_rowid=False,
    )
    _find_batches()


def _find_batches() -> None:
    content = sa.column("content", sa.LargeBinary)
    if op.get_bind().dialect.name == "sqlite":
        batch_id = sa.func.json_extract(sa.cast(content, sa.Text), "$.batch")
    else:
        said = sa.cast(sa.func.convert_from(content, "UTF8"), sa.JSON)
        batch_id = sa.func.json_extract_path_text(said, "batch")
    changes = sa.table("changes", sa.column("tenant_id"), sa.column("revision"), content)
    batches = sa.table(
        "batches",
        *map(sa.column, ("tenant_id", "batch_id", "first_revision", "last_revision")),
    )
    of_batch = sa.select(
        changes.c.tenant_id, batch_id.label("batch_id"), changes.c.revision
    ).subquery("of_batch")
    found = (
        sa.select(
            of_batch.c.tenant_id,
            of_batch.c.batch_id,
            sa.func.min(of_batch.c.revision),
            sa.func.max(of_batch.c.revision),
        )
        .where(of_batch.c.batch_id.is_not(None))
        .group_by(of_batch.c.tenant_id, of_batch.c.batch_id)
    )
    op.execute(
        sa.insert(batches).from_select(
            ["tenant_id", "batch_id", "first_revision", "last_revision"], found
        )
    )
