"""What the store asks of a database: transactions that write, and views to read.

A body is a plain function over a SQLAlchemy `Connection`, the same for both databases. On SQLite it
runs in a thread that owns the connection, so that a whole transaction costs one change of threads;
on PostgreSQL it runs on the event loop, which is free while it waits for the server.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from heed.errors import ErrorReason, ExhaustedError
from heed_server.erasures import Erased
from heed_server.revocations import Revoked
from heed_server.storage.statements import Dialect

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLimits:
    """Every bound of an open store. Higher costs memory or waiting, lower refuses sooner."""

    writes_queued_max: int = 4_096
    """Writes that wait, calls for several people at most half of them; more are refused with
    OVERLOADED."""
    records_queued_max: int = 100_000
    """Records that wait of calls for several people; those of one person do not count."""
    group_writes_max: int = 256
    """Writes of one transaction: more share one fsync, and wait longer for it."""
    group_wait_seconds_max: float = 0.01
    """How long a transaction waits for the writes of calls that have arrived, while more come; a
    write that is alone waits some 50 us."""
    group_records_max: int = 10_000
    """Records of one transaction, unless one write alone has more."""
    retry_seconds_max: float = 8.0
    """How long a group is tried again: after a deadlock, a lost connection, a lost commit."""
    keys_kept_days: int = 35
    """How long an idempotency key gives its first answer; never below 30."""
    readers_max: int = 4
    """Reads at a time."""
    streams_max: int = 4
    """Snapshots and exports at a time. Each holds one view of the database open."""
    read_wait_seconds_max: float = 5.0
    """How long a read waits for its turn before it is refused with OVERLOADED."""
    read_seconds_max: float = 30.0
    """How long one statement of a read may take on PostgreSQL."""
    connect_seconds_max: float = 5.0
    """How long opening a connection to PostgreSQL may take."""
    lock_seconds_max: float = 2.0
    """How long a transaction waits for another node's, or for another process on SQLite."""
    page_cache_mib: int = 32
    """Memory in which SQLite's writing connection keeps pages, in MiB."""
    overwrite_seconds_max: float = 5.0
    """How long the answer of an erasure waits until SQLite's files hold nothing of it any more."""
    close_seconds_max: float = 20.0
    """How long closing waits for the commit under way."""
    wake_seconds_min: float = 0.005
    """The time from one notification of this node's commits to the next; PostgreSQL only. Higher:
    busy nodes' commits are known elsewhere later. Lower: more notifications, for every node."""
    wake_check_seconds: float = 3.0
    """After how long without a notification one is sent to be heard, and how long that may take.
    Higher: a dead connection is noticed later. Lower: a slow database counts as dead."""
    wake_retry_seconds_max: float = 5.0
    """The longest pause before the connection for notifications is opened again. Higher: wake-ups
    come back later. Lower: the database is asked more while it is away."""

    def __post_init__(self) -> None:
        """Refuse to forget keys before the time that the contract promises."""
        if self.keys_kept_days < 30:  # noqa: PLR2004 - the contract's promise, in days
            raise ValueError(f"keys are kept for at least 30 days, not {self.keys_kept_days}")


class Reading(Protocol):
    """One consistent view of the database."""

    async def run(self, body: Callable[[Connection], T]) -> T:
        """Return what a body reads. Raises UnavailableError when the database does not answer."""
        ...


class Backend(Protocol):
    """One open database."""

    @property
    def dialect(self) -> Dialect:
        """What differs in its statements."""
        ...

    async def write(
        self, body: Callable[[Connection], T], *, must_commit: Callable[[T], bool]
    ) -> T:
        """Run a body in a transaction of its own, one at a time, and commit it.

        Where `must_commit` says no, it is rolled back. Neither cancelling nor a deadline reaches
        the commit.

        Raises:
            NotWrittenError: it failed before the commit.
            CommitLostError: the commit's answer is not known.
        """
        ...

    def reading(self, *, is_stream: bool = False) -> AbstractAsyncContextManager[Reading]:
        """Open a view. Raises ExhaustedError OVERLOADED, UnavailableError."""
        ...

    async def note_erased(self, erased: Sequence[Erased]) -> None:
        """Put erasures into the ledger that a restore erases by, where it is kept beside the data.

        Raises:
            OSError: it cannot be written.
        """
        ...

    async def note_revoked(self, revoked: Sequence[Revoked]) -> None:
        """Add to the ledger that a restore revokes API keys by, where it is kept beside the data.

        Raises:
            OSError: it cannot be written.
            LedgerUnreadableError: what is there is no ledger.
        """
        ...

    async def overwrite_erased(self, seconds_max: float) -> bool:
        """Have what was replaced overwritten in the files; False: a reader, or the database, waits.

        Raises:
            NotWrittenError: the files cannot be written.
        """
        ...

    async def scrub(self) -> None:
        """Make what an earlier heed left readable, and deleted, unreadable in the files.

        Once a database: on SQLite writes wait until it was written anew. On PostgreSQL nothing is
        done: what was deleted is the server's to vacuum.

        Raises:
            UnavailableError: it could not be done now, and will have to be asked for again.
        """
        ...

    async def close(self) -> None:
        """Close every connection, after the transaction under way."""
        ...


class Turns:
    """Lets so many reads, and so many streams, at the database at a time."""

    def __init__(self, limits: StorageLimits) -> None:
        self._seconds_max = limits.read_wait_seconds_max
        self._reads = asyncio.Semaphore(limits.readers_max)
        self._streams = asyncio.Semaphore(limits.streams_max)

    @asynccontextmanager
    async def take(self, *, is_stream: bool) -> AsyncGenerator[None]:
        """Wait for a turn and hold it. Raises ExhaustedError OVERLOADED."""
        turns, limit = (self._streams, "streams_max") if is_stream else (self._reads, "readers_max")
        try:
            async with asyncio.timeout(self._seconds_max):
                await turns.acquire()
        except TimeoutError as error:
            raise ExhaustedError(
                f"too many reads are under way ({limit}); wait and try again",
                reason=ErrorReason.OVERLOADED,
                metadata={"limit": limit},
            ) from error
        try:
            yield
        finally:
            turns.release()
