"""0012: several lookup keys a tenant: which is the newest, and who was moved under it.

It only expands: what an earlier heed writes is under the first lookup key, which is the only one
until an operator replaces it; from then on no earlier heed may open the database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Note the lookup key of each log and address, and the keys that subjects were moved from."""
    for table in ("heads", "encrypted_addresses"):
        op.add_column(
            table, sa.Column("lookup_key_id", sa.Integer, nullable=False, server_default="1")
        )
    op.create_table(
        "moved_subjects",
        sa.Column("tenant_id", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "previous", name="moved_subjects_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("moved_subjects_subject", "moved_subjects", ["tenant_id", "subject"])
