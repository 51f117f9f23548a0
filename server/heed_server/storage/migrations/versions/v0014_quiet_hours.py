"""0014: quiet hours, times not to ask before, and by which rules the nodes decide.

It only expands: what an earlier heed writes has none of it. Once any of it stands, no earlier heed
may open the database (ADR 0045); it is taken only while none runs, which the nodes' own rows tell.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns."""
    for table in ("records", "reserves"):
        op.add_column(table, sa.Column("quiet_hours", _text))
        op.add_column(table, sa.Column("no_ask_until", sa.BigInteger))
    op.add_column(
        "subscribers",
        sa.Column("rule_version", sa.SmallInteger, nullable=False, server_default="1"),
    )
