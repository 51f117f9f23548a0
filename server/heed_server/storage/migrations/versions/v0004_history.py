"""0004: the changes of one subject, and those that are of none.

Each index is built while writes to the log wait. On PostgreSQL an operator who cannot have that
builds both beforehand with CREATE INDEX CONCURRENTLY, by these names (docs/operations.md).
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Index the log by its subjects."""
    subject: sa.ColumnClause[bytes] = sa.column("subject", sa.LargeBinary)
    op.create_index(
        "changes_subject",
        "changes",
        ["tenant_id", "subject", "revision"],
        sqlite_where=subject.is_not(None),
        postgresql_where=subject.is_not(None),
        if_not_exists=True,
    )
    op.create_index(
        "changes_of_tenant",
        "changes",
        ["tenant_id", "revision"],
        sqlite_where=subject.is_(None),
        postgresql_where=subject.is_(None),
        if_not_exists=True,
    )
