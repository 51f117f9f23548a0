"""Reading a tenant's log in order from where one stands, and noticing that it is another log.

Whoever reads the log (the index here; Watch and the publisher too) stands at a position: an epoch,
a revision, and the running hash there. The running hash covers all that came before, so a log that
has the same hash at the same revision is the same log up to it. Every read begins one change
early, so that this is compared each time and not only at the head; a database that was put back
behind heed's back, and has since given the same revisions to other changes, is found out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from heed.errors import ErrorReason, UnavailableError
from heed.model import Change, Head, Revision, TenantId
from heed_server.store import LogReader

T = TypeVar("T")

HashAt = Callable[[Revision], bytes | None]
"""The first bytes of the running hash that a reader remembers of a revision; None: none."""


class LogForkedError(UnavailableError):
    """The log is not the one that was read before. What was made from it must be made anew."""

    default_reason = ErrorReason.STATE_STALE


class HistoryLostError(LogForkedError):
    """Changes that were read, and acknowledged, are not in the log of the same epoch any more.

    What stood by them may be an opt-out, so nothing made from this log may allow a message until
    an operator has seen it.
    """


def require_same_log(head: Head, *, epoch: bytes, revision: Revision, hash_at: HashAt) -> None:
    """Compare the head with where the reader stood before it asked for it.

    Raises:
        LogForkedError: another epoch.
        HistoryLostError: a head behind `revision`, or another hash at the head.
    """
    if head.epoch != epoch:
        raise LogForkedError("the log is of another epoch: the store was restored, or is another")
    if head.revision < revision:
        raise HistoryLostError(
            f"the log ends at revision {head.revision} and ended at {revision} or later before: "
            "the database was put back"
        )
    _require_same_hash(head.revision, head.running_hash, hash_at)


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """Return what the database answers.

    Raises:
        UnavailableError: it did not within so long.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise UnavailableError(f"the database did not answer within {seconds} s") from None


async def read_after(
    reader: LogReader, tenant_id: TenantId, revision: Revision, limit: int
) -> Sequence[Change]:
    """Return the change at a revision, if that is not 0, and up to `limit` changes after it.

    Hand them to `continuation`, which compares the first with what the reader remembers.

    Raises:
        UnavailableError: the database does not answer.
        HistoryLostError: the log has no change at the revision any more.
        HeedError: the log's rows are damaged (see `LogReader.read_changes`).
    """
    first = max(revision, 1)
    changes = await reader.read_changes(tenant_id, Revision(first - 1), limit + 1)
    if not changes or changes[0].revision != first:
        raise HistoryLostError(f"the log has no change {first} any more: the database was put back")
    return changes


def continuation(
    changes: Sequence[Change], *, revision: Revision, hash_at: HashAt
) -> Sequence[Change]:
    """Return those of some consecutive changes that come after a revision.

    Empty when there are none, or when there is a gap between the two.

    Raises:
        HistoryLostError: the newest change that the reader already has is another.
    """
    if not changes or changes[0].revision > revision + 1:
        return ()
    known_count = min(len(changes), revision + 1 - changes[0].revision)
    if known_count:
        known = changes[known_count - 1]
        _require_same_hash(known.revision, known.running_hash, hash_at)
    return changes[known_count:]


def _require_same_hash(revision: Revision, running_hash: bytes, hash_at: HashAt) -> None:
    remembered = hash_at(revision)
    if remembered is not None and not running_hash.startswith(remembered):
        raise HistoryLostError(
            f"the log has another change at revision {revision} than before: "
            "the database was put back"
        )
