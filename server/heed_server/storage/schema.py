"""The tables, the same on SQLite and PostgreSQL.

Laws:
- Changes, records and keys know a subject only as its keyed hash. What it is called stands in
  `encrypted_addresses` alone, as ciphertext, and nothing refers to it.
- No key is readable: each stands in `secrets`, wrapped by root keys that are in no database.
- Instants are whole microseconds since 1970 in UTC, in 64 bits.
- Numbers of enums are those of `heed.model`.
- On SQLite a table of small rows is its primary key (without rowid). `changes` and `keys`, whose
  rows are large, are not: they grow at one end, and a write splits no page of their rows.
- Text compares byte by byte on both databases, whatever the locale, so that orders and primary
  keys are the same everywhere and survive an upgrade of the operating system.

A change here needs a numbered migration beside it (`migrations/versions`); a test compares them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    UniqueConstraint,
    false,
    literal_column,
    select,
)

from heed_server.storage.tables import metadata
from heed_server.storage.tables import text as _text
from heed_server.storage.webhook_tables import webhook_dead, webhook_late, webhook_targets

SCHEMA_VERSION = 16
"""The number of the last migration."""

READABLE_SINCE = 10
"""The least `SCHEMA_VERSION` whose code may open a database of this schema: that of the last
migration that contracted, took away or changed what code of before it stands on. A migration that
only expands leaves it as it is, and servers of before it may then be started anew beside those of
after it."""

LOOKUP_KEYS_SINCE = 12
"""The least `SCHEMA_VERSION` whose code may open a database that has had a lookup key replaced."""

QUIET_HOURS_SINCE = 14
"""The least whose code may open one in which quiet hours stood, or a time not to ask before."""

compatibility = Table(
    "compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("readable_since", Integer, nullable=False),
)
"""One row: which code may open this database, `READABLE_SINCE` of the code that migrated it."""

store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
)
"""One row: which life of the store this is."""

EPOCH_IN_FORCE = select(store.c.epoch).scalar_subquery()
"""Read with each head, not remembered: an operator may begin another while nodes run."""

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Integer, Identity(always=True), primary_key=True),
    Column("name", _text, nullable=False),
    # Empty: it is wrapped, in `secrets`. Only an earlier heed puts one here.
    Column("lookup_key", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    UniqueConstraint("name"),
)

heads = Table(
    "heads",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("running_hash", LargeBinary, nullable=False),
    Column("commit_time", BigInteger, nullable=False),
    Column("commits", BigInteger, nullable=False),
    Column("lookup_key_id", Integer, nullable=False, server_default="1"),
    # Every commit rewrites this row; room on its page spares PostgreSQL the indexes.
    postgresql_with={"fillfactor": "10"},
)
"""Where each log ends. Locked first by every transaction that writes to that log.

`commits` counts those transactions: even one that only found replays changes its row, so that the
answer it gives is as durable as the answer it repeats. `lookup_key_id` is the newest lookup key;
subjects stand under it, or under one of those before.
"""

changes = Table(
    "changes",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("effect", SmallInteger, nullable=False),
    Column("subject", LargeBinary),
    Column("salt", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("running_hash", LargeBinary, nullable=False),
    Column("commit_time", BigInteger, nullable=False),
)
"""The log. Rows are inserted; nothing changes one but the erasure of its subject (`erasing`)."""

Index(
    "changes_subject",
    changes.c.tenant_id,
    changes.c.subject,
    changes.c.revision,
    sqlite_where=changes.c.subject.is_not(None),
    postgresql_where=changes.c.subject.is_not(None),
)
"""The changes of one subject, in order; which they are is read without going to their rows."""

Index(
    "changes_of_tenant",
    changes.c.tenant_id,
    changes.c.revision,
    sqlite_where=changes.c.subject.is_(None),
    postgresql_where=changes.c.subject.is_(None),
)
"""The changes that are of no subject: topics and holds. There are few."""

records = Table(
    "records",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", LargeBinary, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("cause", SmallInteger, primary_key=True, autoincrement=False),
    Column("slot_reach", SmallInteger, primary_key=True, autoincrement=False),
    Column("channel", SmallInteger, primary_key=True, autoincrement=False),
    Column("topic", _text, primary_key=True),
    Column("reach", SmallInteger, nullable=False),
    Column("decided_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("standing", Boolean, nullable=False),
    Column("release_time", BigInteger),
    Column("quiet_hours", _text),
    Column("no_ask_until", BigInteger),
    sqlite_with_rowid=False,
)
"""What stands, one row a slot; released suppressions stay, with `standing` false.

The row of the opt-in to everything has the time of the subject's last erasure as its release time.

`slot_reach` is the reach, or 0 for a pause or quiet hours, which have one slot for all reaches.
`quiet_hours` is the text of their hours, of no other kind.
"""

IS_STANDING_SUPPRESSION = (records.c.kind == literal_column("4")) & records.c.standing
"""A constant, not a parameter: only so do queries find the index that holds nothing else."""

Index(
    "records_suppressions",
    records.c.tenant_id,
    records.c.cause,
    records.c.subject,
    records.c.slot_reach,
    records.c.channel,
    records.c.topic,
    sqlite_where=IS_STANDING_SUPPRESSION,
    postgresql_where=IS_STANDING_SUPPRESSION,
)

keys = Table(
    "keys",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("idempotency_key", _text, primary_key=True),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
)
"""One row a call that wrote: what it asked (hashed), and the answer that a replay gives again."""

Index("keys_expire_time", keys.c.expire_time)

addresses = Table(
    "addresses",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", LargeBinary, primary_key=True),
    Column("type", SmallInteger, nullable=False),
    Column("address", _text, nullable=False),
    sqlite_with_rowid=False,
)
"""What an earlier heed wrote of subjects: readable. Emptied row by row into the next table."""

encrypted_addresses = Table(
    "encrypted_addresses",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", LargeBinary, primary_key=True),
    Column("type", SmallInteger, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("lookup_key_id", Integer, nullable=False, server_default="1"),
    sqlite_with_rowid=False,
)
"""The normalised subjects, under the address keyset of their tenant. The only such place. Of an
erased subject the type is 0 and the ciphertext empty. `lookup_key_id` is the key that `subject` was
made by; 0: of an erased one nobody knows."""

moved_subjects = Table(
    "moved_subjects",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("previous", LargeBinary, primary_key=True),
    Column("subject", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Where those stand who were moved under a newer lookup key: what the log says of them under the
`previous` one is of the `subject` that they are now."""

Index("moved_subjects_subject", moved_subjects.c.tenant_id, moved_subjects.c.subject)

secrets = Table(
    "secrets",
    metadata,
    Column("name", _text, primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Keys, wrapped by the root keys under their names (`heed_server.secrets`)."""

topics = Table(
    "topics",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", _text, primary_key=True),
    Column("topic_class", SmallInteger, nullable=False),
    Column("mandatory_channels", Integer, nullable=False),
    Column("requires_opt_in", Boolean, nullable=False),
    Column("suppress_undeclared", Boolean, nullable=False),
    Column("retired", Boolean, nullable=False),
    Column("title", _text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Declared topics as they stand. `mandatory_channels`: bit n is the channel with the number n."""

holds = Table(
    "holds",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hold_id", _text, primary_key=True),
    Column("channel", SmallInteger),
    Column("topic", _text, nullable=False),
    Column("campaign", _text, nullable=False),
    Column("end_time", BigInteger),
    Column("reason", _text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    # With a default, since servers of before it go on placing holds while they are replaced.
    Column("spares_mandatory", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)
"""Holds that were not lifted."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", _text, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("name", _text, nullable=False),
    Column("rights", _text, nullable=False),
    Column("tenant", _text, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger),
    Column("revoke_time", BigInteger),
    sqlite_with_rowid=False,
)
"""API keys, by hash. `rights` are joined by commas."""

subscribers = Table(
    "subscribers",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subscriber", _text, primary_key=True),
    Column("stream_id", _text, primary_key=True),
    Column("instance", _text, nullable=False),
    Column("node", _text, nullable=False),
    Column("open_time", BigInteger, nullable=False),
    Column("close_time", BigInteger),
    Column("probe_time", BigInteger, nullable=False),
    Column("max_staleness", BigInteger, nullable=False),
    Column("applied_revision", BigInteger, nullable=False),
    Column("applied_time", BigInteger, nullable=False),
    # With a default, which is that of the nodes that do not write it.
    Column("rule_version", SmallInteger, nullable=False, server_default="1"),
    sqlite_with_rowid=False,
)
"""Who follows a tenant's log, a row a stream, and how far it said to be; written at most once a
second a node. A row without a stream declares a subscriber, that it be missed while it is away.
`rule_version` is that of the node which wrote the row.
"""

leases = Table(
    "leases",
    metadata,
    Column("name", _text, primary_key=True),
    Column("holder", _text, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What one node at a time does for all, which node that is, and until when unless it says more."""

batches = Table(
    "batches",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", _text, primary_key=True),
    Column("first_revision", BigInteger, nullable=False),
    Column("last_revision", BigInteger, nullable=False),
    Column("revert_revision", BigInteger),
    sqlite_with_rowid=False,
)
"""Where in the log each batch is, and the change by which its undoing began, if it did."""

reserves = Table(
    "reserves",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", LargeBinary, primary_key=True),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("cause", SmallInteger, primary_key=True, autoincrement=False),
    Column("slot_reach", SmallInteger, primary_key=True, autoincrement=False),
    Column("channel", SmallInteger, primary_key=True, autoincrement=False),
    Column("topic", _text, primary_key=True),
    Column("reach", SmallInteger, nullable=False),
    Column("decided_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("batch_id", _text, nullable=False),
    Column("quiet_hours", _text),
    Column("no_ask_until", BigInteger),
    sqlite_with_rowid=False,
)
"""What rows of imports asked for that changed nothing, one row a slot as in `records`; an empty
`batch_id`: those of several batches, all in one. They are not in the log (ADR 0033).
"""

earlier_epochs = Table(
    "earlier_epochs",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", LargeBinary, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("end_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The lives of the store that this one goes on from, and the last revision of each that a tenant's
log is known to have; 0: of none is it known (ADR 0040).
"""

approvals = Table(
    "approvals",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("approval_id", _text, primary_key=True),
    Column("method", _text, nullable=False),
    Column("idempotency_key", _text, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("about", _text, nullable=False),
    Column("reason", _text, nullable=False),
    Column("shown", _text, nullable=False),
    Column("asked_by", _text, nullable=False),
    Column("ask_time", BigInteger, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("decided_by", _text, nullable=False),
    Column("decide_time", BigInteger),
    sqlite_with_rowid=False,
)
"""Calls that need a second person, for 30 days. A call is known by its key and hash alone, so that
no address stands here; `shown` is what it would do, as JSON of counts.
"""

Index("approvals_call", approvals.c.tenant_id, approvals.c.method, approvals.c.idempotency_key)
tiles = Table(
    "tiles",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
)
"""The full tiles of each log's tree, 256 hashes each (`heed.audit.tiles`); never changed.

`root` is the hash of the tile above, and stands first: it is read without the hashes.
"""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("running_hash", LargeBinary, nullable=False),
    Column("note", _text, nullable=False),
    Column("sign_time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""The last checkpoint that was signed of each log. A row is only replaced by one grown from it."""

kept_checkpoints = Table(
    "kept_checkpoints",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("sign_time", BigInteger, primary_key=True, autoincrement=False),
    Column("note", _text, nullable=False),
    sqlite_with_rowid=False,
)
"""Checkpoints as they were signed, one an hour at most. Rows are inserted; nothing changes one."""

cap_uses = Table(
    "cap_uses",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("principal", _text, primary_key=True),
    Column("cap", SmallInteger, primary_key=True, autoincrement=False),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many people a principal's writes changed something for under a cap, by the minute since 1970;
only the last hour is kept."""

deadline_marks = Table(
    "deadline_marks",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subscriber", _text, primary_key=True),
    Column("look_time", BigInteger, nullable=False),
    Column("read_revision", BigInteger, nullable=False),
    Column("rules", _text, nullable=False),
    sqlite_with_rowid=False,
)
"""Up to where the opt-outs that a subscriber has not applied were warned of; a row only for who is
behind (ADR 0044)."""

applied_by_all = Table(
    "applied_by_all",
    metadata,
    Column("tenant_id", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""When everybody who counts was seen to have applied a revision, a row a look at most."""

TABLES_OF_WEBHOOKS = (webhook_targets, webhook_late, webhook_dead)
"""They stand in `heed_server.storage.webhook_tables`, and are of the same metadata."""
