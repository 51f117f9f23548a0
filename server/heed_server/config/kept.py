"""The settings of what is kept: the log in the database, the index, and how old it may be."""

from pathlib import Path

from pydantic import SecretStr

from heed_server.config.section import AutoBool, Section, setting


class StorageConfig(Section):
    """Where the log is kept."""

    url: SecretStr = setting(
        SecretStr(""),
        "`postgresql://user:password@host/name`, or `sqlite:///path`. Empty: SQLite in "
        "`storage.data_dir`.",
    )
    data_dir: Path = setting(
        Path("heed-data"),
        "The folder of the SQLite database and of the index; made, with mode 0700, if missing.",
    )
    migrate: AutoBool = setting(
        "auto",
        "Whether `serve` brings the schema up to date. `auto`: on SQLite, which one server owns. "
        "On PostgreSQL run `heed-server migrate` once before the servers.",
    )
    writes_queued_max: int = setting(
        4_096,
        "Writes that wait, calls for several people at most half of them, and a quarter kept for "
        "stops of one person; more are refused with OVERLOADED.",
        higher="more memory, longer waits",
        lower="bursts are refused sooner",
        ge=2,
        le=1_000_000,
    )
    records_queued_max: int = setting(
        100_000,
        "Records that wait of calls for several people; those of one person do not count.",
        higher="more memory",
        lower="imports are told to wait sooner",
        ge=1_000,
        le=10_000_000,
    )
    group_writes_max: int = setting(
        256,
        "Writes of one transaction.",
        higher="more share one fsync, and each waits longer for it",
        lower="fewer writes a second",
        ge=1,
        le=10_000,
    )
    group_wait_seconds_max: float = setting(
        0.01,
        "How long a transaction waits for the writes of calls that have arrived, while more come.",
        higher="more share one fsync, and each waits longer for it",
        lower="fewer writes a second",
        ge=0,
        le=1,
    )
    group_records_max: int = setting(
        10_000,
        "Records of one transaction, unless one write alone has more.",
        higher="single writes wait longer behind imports",
        lower="imports are slower",
        ge=1,
        le=1_000_000,
    )
    retry_seconds_max: float = setting(
        8.0,
        "How long a group is tried again: after a deadlock, a lost connection, a lost commit.",
        higher="callers wait longer for a bad answer",
        lower="short outages fail writes",
        ge=0,
        le=300,
    )
    keys_kept_days: int = setting(
        35,
        "How long an idempotency key gives its first answer.",
        higher="more rows are kept",
        lower="the contract promises 30 days",
        ge=30,
        le=3650,
    )
    readers_max: int = setting(
        4,
        "Reads at a time.",
        higher="more connections",
        lower="reads wait for each other",
        ge=1,
        le=1_000,
    )
    streams_max: int = setting(
        4,
        "Snapshots and exports at a time. Each holds one view of the database open.",
        higher="old rows are kept for longer",
        lower="rebuilds wait for exports",
        ge=1,
        le=1_000,
    )
    read_wait_seconds_max: float = setting(
        5.0,
        "How long a read waits for its turn before it is refused with OVERLOADED.",
        higher="callers wait longer for a bad answer",
        lower="bursts are refused sooner",
        ge=0.1,
        le=300,
    )
    read_seconds_max: float = setting(
        30.0,
        "How long one statement of a read may take on PostgreSQL.",
        higher="a hanging one holds its connection",
        lower="slow exports fail",
        ge=0.1,
        le=3600,
    )
    connect_seconds_max: float = setting(
        5.0,
        "How long opening a connection to PostgreSQL may take.",
        higher="an absent database is noticed later",
        lower="a slow one counts as absent",
        ge=0.1,
        le=300,
    )
    lock_seconds_max: float = setting(
        2.0,
        "How long a transaction waits for another node's, or for another process on SQLite.",
        higher="callers wait longer for a bad answer",
        lower="writes of several nodes fail under load",
        ge=0.1,
        le=300,
    )
    page_cache_mib: int = setting(
        32,
        "Memory in which SQLite's writing connection keeps pages, in MiB.",
        higher="more memory; imports into millions of people stay fast",
        lower="writes read more pages from the file",
        ge=1,
        le=1_048_576,
    )
    overwrite_seconds_max: float = setting(
        5.0,
        "How long the answer of an erasure waits until SQLite's files hold nothing of it any more.",
        higher="an erasure beside a long export takes longer",
        lower="more answers say that it is not overwritten yet",
        ge=0,
        le=300,
    )
    close_seconds_max: float = setting(
        20.0,
        "How long closing waits for the commit under way.",
        higher="stopping takes longer",
        lower="its callers learn the outcome only by their keys",
        ge=0.1,
        le=300,
    )
    wake_ups: bool = setting(
        True,
        "Whether nodes on one PostgreSQL tell each other of commits by NOTIFY, and so follow "
        "within milliseconds. Without, and through a pooler that keeps no LISTEN, they follow by "
        "`index.poll_seconds`.",
    )
    wake_seconds_min: float = setting(
        0.005,
        "The time from one notification of a node's commits to the next.",
        higher="busy nodes' commits are known elsewhere later",
        lower="more notifications, each of which every node hears",
        ge=0.001,
        le=1,
    )
    wake_check_seconds: float = setting(
        3.0,
        "After how long without a notification a node sends one to hear it, and how long that may "
        "take before the connection counts as dead.",
        higher="a dead one is noticed later",
        lower="more small queries; a slow database counts as dead",
        ge=0.1,
        le=60,
    )
    wake_retry_seconds_max: float = setting(
        5.0,
        "The longest pause before that connection is opened again; failures double it.",
        higher="wake-ups come back later",
        lower="it is asked more while it is away",
        ge=0.1,
        le=60,
    )


class KeysConfig(Section):
    """The root keys: they wrap lookup keys, signing keys, and what addresses are encrypted by."""

    root_file: Path | None = setting(
        None,
        "The file of the root keys, 0600; keep it outside the database and outside its backups. "
        "Unset: on SQLite the database's own name with `.root`, made at the first start. On "
        "PostgreSQL every server of one database names the same; `heed-server keys root create` "
        "makes it.",
    )


class IndexConfig(Section):
    """The LMDB index that Checks read, and how it follows the log."""

    directory: Path | None = setting(
        None, "The folder of the index. Unset: `index` in `storage.data_dir`. On a local disk."
    )
    poll_seconds: float = setting(
        0.25,
        "How often the head of the log is asked for when nothing wakes the follower.",
        higher="changes of other nodes come later where wake-ups are lost",
        lower="more small queries",
        ge=0.01,
        le=5,
    )
    head_timeout_seconds: float = setting(
        1.0,
        "How long the head is waited for.",
        higher="a hanging database is noticed later",
        lower="a slow one counts as away",
        ge=0.05,
        le=60,
    )
    read_timeout_seconds: float = setting(
        10.0,
        "The same for one read of changes, or one batch of a snapshot.",
        higher="as above",
        lower="as above",
        ge=0.1,
        le=600,
    )
    backoff_seconds_max: float = setting(
        2.0,
        "The longest pause after failures, which double it.",
        higher="a database that came back is noticed later; keep it below the staleness",
        lower="it is asked more while it is away",
        ge=0.1,
        le=60,
    )
    read_changes_max: int = setting(
        1000,
        "Changes of one read.",
        higher="more memory at once",
        lower="more round trips when far behind",
        ge=1,
        le=100_000,
    )
    apply_changes_max: int = setting(
        256,
        "Changes of one write transaction of the index.",
        higher="Checks wait longer behind a large write",
        lower="large writes take longer",
        ge=1,
        le=10_000,
    )
    offered_changes_max: int = setting(
        20_000,
        "Changes of this node's own writes that wait to be applied; more are read from the log.",
        higher="more memory",
        lower="more is read twice",
        ge=1,
        le=1_000_000,
    )
    catch_up_changes_max: int = setting(
        200_000,
        "An index further behind than this is made anew from the current records.",
        higher="long catch-ups where a rebuild is quicker",
        lower="rebuilds where a catch-up is quicker",
        ge=0,
        le=100_000_000,
    )
    waiters_max: int = setting(
        10_000,
        "Calls that wait for a revision; the next is told at once that it is not reached.",
        higher="more memory",
        lower="calls fail sooner while the node is behind",
        ge=1,
        le=1_000_000,
    )
    map_bytes_max: int = setting(
        64 << 30,
        "The largest index file, one a tenant; address space, not memory.",
        higher="a runaway index fills the disk",
        lower="an index that reaches it answers nothing",
        ge=16 << 20,
        le=1 << 44,
    )


class StalenessConfig(Section):
    """For how long "allowed" is answered while the log cannot be read."""

    promotional_seconds: float = setting(
        5.0,
        "The oldest knowledge by which a promotional message is allowed.",
        higher="an opt-out made elsewhere may be missed for longer while the database is away",
        lower="short outages of the database already refuse Checks",
        ge=1,
        le=3600,
    )
    transactional_seconds: float = setting(
        60.0,
        "The same for transactional messages.",
        higher="as above",
        lower="as above",
        ge=1,
        le=86_400,
    )
    mandatory_seconds: float = setting(
        900.0,
        "The same for mandatory messages.",
        higher="as above",
        lower="as above",
        ge=1,
        le=86_400,
    )
