"""Making an index anew: the current records at one revision, then the hashes of the log before it.

A crash or a cancellation at any point leaves no index, and the next start makes one again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from heed.index import HASHES_KEPT_MAX, HashRing, Index, IndexBuilder
from heed.model import Record, Revision, SubjectKey, TenantId
from heed_server.follow.limits import FollowLimits
from heed_server.follow.log import LogForkedError, within
from heed_server.store import LogReader, Snapshot

_ADD_RECORDS_MAX = 2000
"""Records added before the loop has its turn; each takes some 3 µs."""


async def rebuild_index(
    reader: LogReader, tenant_id: TenantId, path: Path, limits: FollowLimits
) -> Index:
    """Make the index of a tenant from what stands, in the place of the one that is there.

    Raises:
        UnavailableError: the database does not answer, or the index cannot be written.
        LogForkedError: the log changed under the rebuild; begin again.
        HeedError: the log is damaged.
    """
    async with AsyncExitStack() as opened:
        snapshot = await within(
            limits.read_timeout_seconds, opened.enter_async_context(reader.snapshot(tenant_id))
        )
        builder = IndexBuilder(
            path,
            tenant_id=tenant_id,
            head=snapshot.head,
            topics=snapshot.topics,
            holds=snapshot.holds,
            map_bytes_max=limits.map_bytes_max,
        )
        try:
            async for batch in _batches(snapshot, limits.read_timeout_seconds):
                for start in range(0, len(batch), _ADD_RECORDS_MAX):
                    builder.add(batch[start : start + _ADD_RECORDS_MAX])
                    await asyncio.sleep(0)
            index = builder.finish()
        except BaseException:
            builder.abandon()
            raise
    try:
        await _seed_hashes(reader, index, limits)
    except BaseException:
        index.abandon()
        raise
    return index


async def _batches(
    snapshot: Snapshot, timeout_seconds: float
) -> AsyncIterator[Sequence[tuple[SubjectKey, Record]]]:
    batches = aiter(snapshot.records())
    while (batch := await within(timeout_seconds, anext(batches, None))) is not None:
        yield batch


async def _seed_hashes(reader: LogReader, index: Index, limits: FollowLimits) -> None:
    ring: HashRing | None = None
    after = Revision(max(0, index.revision - HASHES_KEPT_MAX))
    while after < index.revision:
        wanted = min(limits.read_changes_max, index.revision - after)
        changes = await within(
            limits.read_timeout_seconds, reader.read_changes(index.tenant_id, after, wanted)
        )
        if not changes:
            raise LogForkedError(f"the log has no change after revision {after} any more")
        for change in changes:
            if ring is None:
                ring = HashRing(change.revision, change.running_hash)
            else:
                ring.push(change.running_hash)
        after = changes[-1].revision
    if ring is not None:
        try:
            index.seed_hashes(ring)
        except ValueError as error:
            raise LogForkedError(f"the log changed under the rebuild: {error}") from error
