"""The bounds of the outbox; each says what going higher or lower costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """How much is under way to NATS, and how long anything is waited for."""

    batch_changes_max: int = 100
    """Changes of a tenant that are read from the log, and under way to NATS, at a time. Higher:
    the event loop, and with it Checks, wait longer for each batch. Lower: fewer changes a second,
    since a batch costs a round trip."""
    read_seconds_max: float = 10.0
    """How long one read of the log may take. Higher: a hanging database is noticed later. Lower: a
    slow one counts as away."""
    ack_seconds_max: float = 5.0
    """How long NATS may take to say that it stored a message, or to answer about a stream. Higher:
    one that hangs is noticed later. Lower: a slow one counts as away."""
    connect_seconds_max: float = 5.0
    """How long connecting may take. Higher: an absent NATS is noticed later. Lower: a slow one
    counts as away."""
    retry_seconds_max: float = 10.0
    """The longest pause after failures, which double it. Higher: publishing goes on later after
    NATS came back, or a stream was put right. Lower: it is asked more while it is away."""
    lease_seconds: float = 10.0
    """How long a node is the one that publishes without saying so again, which it does every third
    of it. Higher: after a node was killed another takes over later. Lower: more small writes to the
    database, and a slow one costs the lease."""
    stream_replicas: int = 1
    """On how many servers NATS keeps a stream that heed makes. Higher: each change is stored as
    often. Lower: a stream is away with its server."""
    stream_bytes_max: int = 0
    """The size of a stream that heed makes, past which NATS drops the oldest messages; 0: none.
    Higher: space on NATS's disks. Lower: consumers that come new cannot rebuild what stands."""
