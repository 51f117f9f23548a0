"""The bounds of following; each says what going higher or lower costs."""

from dataclasses import dataclass

from heed.index import MAP_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLimits:
    """How often a follower asks, how long it waits, and how much it takes at once."""

    poll_seconds: float = 0.25
    """How often the head is asked for when nothing wakes the follower. Higher: changes of other
    nodes come later where wake-ups are lost, and the age seen by Checks grows by as much. Lower:
    more small queries."""
    head_timeout_seconds: float = 1.0
    """How long the head is waited for. Higher: a hanging database is noticed later. Lower: a slow
    one counts as away."""
    read_timeout_seconds: float = 10.0
    """The same for one read of changes, or one batch of a snapshot."""
    backoff_seconds_max: float = 2.0
    """The longest pause after failures, which double it. Higher: a database that came back is
    noticed later, to be kept below the staleness of promotional messages. Lower: it is asked more
    while it is away."""
    read_changes_max: int = 1000
    """Changes a read. Higher: more memory at once. Lower: more round trips when far behind."""
    apply_changes_max: int = 256
    """Changes a write transaction of the index, which holds the loop for some 10 µs each. Higher:
    Checks wait longer behind a large write. Lower: large writes take longer."""
    offered_changes_max: int = 20_000
    """Changes of this node's own writes that wait for the loop. Beyond it they are dropped and
    read from the log. Higher: more memory. Lower: more is read twice."""
    catch_up_changes_max: int = 200_000
    """An index further behind than this is made anew from the current records. Higher: long
    catch-ups where a rebuild is quicker. Lower: rebuilds where a catch-up is quicker."""
    waiters_max: int = 10_000
    """Calls that wait for a revision; the next is told at once that it is not reached. Higher:
    more memory. Lower: calls fail sooner while the node is behind."""
    map_bytes_max: int = MAP_BYTES_MAX
    """The cap of the index file's map. An index at it is unusable."""
