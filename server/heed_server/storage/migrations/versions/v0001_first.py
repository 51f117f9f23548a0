"""0001: the tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table."""
    _create_store()
    _create_log()
    _create_records()
    _create_keys_and_addresses()
    _create_topics_and_holds()
    _create_api_keys()


def _create_store() -> None:
    op.create_table(
        "store",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="store_pk"),
    )
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Integer, sa.Identity(always=True), nullable=False),
        sa.Column("name", _text, nullable=False),
        sa.Column("lookup_key", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="tenants_pk"),
        sa.UniqueConstraint("name", name="tenants_name_uq"),
    )


def _create_log() -> None:
    op.create_table(
        "heads",
        _tenant_id(),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("running_hash", sa.LargeBinary, nullable=False),
        sa.Column("commit_time", sa.BigInteger, nullable=False),
        sa.Column("commits", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="heads_pk"),
        postgresql_with={"fillfactor": "10"},
    )
    op.create_table(
        "changes",
        _tenant_id(),
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("effect", sa.SmallInteger, nullable=False),
        sa.Column("subject", sa.LargeBinary),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.Column("running_hash", sa.LargeBinary, nullable=False),
        sa.Column("commit_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "revision", name="changes_pk"),
    )


def _create_records() -> None:
    slot = ("subject", "kind", "cause", "slot_reach", "channel", "topic")
    op.create_table(
        "records",
        _tenant_id(),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("cause", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("slot_reach", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("channel", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("topic", _text, nullable=False),
        sa.Column("reach", sa.SmallInteger, nullable=False),
        sa.Column("decided_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("standing", sa.Boolean, nullable=False),
        sa.Column("release_time", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant_id", *slot, name="records_pk"),
        sqlite_with_rowid=False,
    )
    is_standing_suppression = (sa.column("kind") == sa.literal_column("4")) & sa.column(
        "standing", sa.Boolean
    )
    op.create_index(
        "records_suppressions",
        "records",
        ["tenant_id", "cause", "subject", "slot_reach", "channel", "topic"],
        sqlite_where=is_standing_suppression,
        postgresql_where=is_standing_suppression,
    )


def _create_keys_and_addresses() -> None:
    op.create_table(
        "keys",
        _tenant_id(),
        sa.Column("idempotency_key", _text, nullable=False),
        sa.Column("payload_hash", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "idempotency_key", name="keys_pk"),
    )
    op.create_index("keys_expire_time", "keys", ["expire_time"])
    op.create_table(
        "addresses",
        _tenant_id(),
        sa.Column("subject", sa.LargeBinary, nullable=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        sa.Column("address", _text, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subject", name="addresses_pk"),
        sqlite_with_rowid=False,
    )


def _create_topics_and_holds() -> None:
    op.create_table(
        "topics",
        _tenant_id(),
        sa.Column("name", _text, nullable=False),
        sa.Column("topic_class", sa.SmallInteger, nullable=False),
        sa.Column("mandatory_channels", sa.Integer, nullable=False),
        sa.Column("requires_opt_in", sa.Boolean, nullable=False),
        sa.Column("suppress_undeclared", sa.Boolean, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.Column("title", _text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="topics_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holds",
        _tenant_id(),
        sa.Column("hold_id", _text, nullable=False),
        sa.Column("channel", sa.SmallInteger),
        sa.Column("topic", _text, nullable=False),
        sa.Column("campaign", _text, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("reason", _text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "hold_id", name="holds_pk"),
        sqlite_with_rowid=False,
    )


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", _text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("name", _text, nullable=False),
        sa.Column("rights", _text, nullable=False),
        sa.Column("tenant", _text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("expire_time", sa.BigInteger),
        sa.Column("revoke_time", sa.BigInteger),
        sa.PrimaryKeyConstraint("key_id", name="api_keys_pk"),
        sqlite_with_rowid=False,
    )


def _tenant_id() -> "sa.Column[int]":
    return sa.Column("tenant_id", sa.BigInteger, autoincrement=False, nullable=False)
