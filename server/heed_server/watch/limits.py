"""The bounds of streams; each says what going higher or lower costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How many streams there are, how often they are written to, and what is kept for them."""

    streams_max: int = 4_000
    """Streams of the process; one more is LIMIT_REACHED. Higher: more memory, some 50 KiB each,
    and each batch takes longer to hand out. Lower: subscribers are refused."""
    streams_of_principal_max: int = 2_000
    """The same of one principal. Higher: one may take all. Lower: its subscribers are refused."""
    heartbeat_seconds: float = 1.0
    """How long a stream stays silent at most, give or take a tenth. Higher: a dead stream is
    noticed later. Lower: more messages that say nothing."""
    coalesce_seconds_max: float = 0.02
    """What passes between two batches at most, under load: a fifth of a millisecond a stream.
    Higher: changes come later. Lower: many streams take the loop from writes."""
    window_bytes_max: int = 8 << 20
    """The last changes of a tenant that are kept for streams that are a little behind. Higher:
    more memory. Lower: they read the log sooner."""
    replay_changes_max: int = 1_000_000
    """A stream further behind is sent a snapshot. Higher: long replays where a snapshot is quicker.
    Lower: snapshots where a replay is quicker."""
    snapshots_max: int = 4
    """Snapshots that are being delivered. Higher: each is slower. Lower: others wait longer."""
    snapshots_queued_max: int = 4_000
    """Streams that wait for theirs; one more is OVERLOADED. Higher: more streams that know nothing
    yet. Lower: new subscribers are refused sooner."""
    snapshot_kept_seconds: float = 30.0
    """How long a snapshot's file is kept for the next who ask. Higher: space on the disk, and a
    longer replay after it. Lower: it is made more often."""
    write_seconds_max: float = 60.0
    """How long a stream waits for its reader before it is cut off. Higher: a stuck reader holds its
    place for longer. Lower: slow readers are cut off."""
    stream_seconds_max: float = 1_200.0
    """How long a stream lives, or down to half of it. Higher: the load of nodes evens out later.
    Lower: streams are opened more often."""
