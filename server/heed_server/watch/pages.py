"""The log, read a page at a time for streams that are behind, each page once for all of them.

Pages begin at multiples of their size, so that streams which stand at different revisions share
them (etcd#16839: laggards that each read for themselves took the memory of the server).
"""

import asyncio
from collections import OrderedDict
from typing import Final

from heed.model import Revision, TenantId
from heed.tokens import TOKEN_HASH_BYTES
from heed.wire.limits import BATCH_CHANGES_MAX
from heed_server.follow import read_after, within
from heed_server.store import LogReader
from heed_server.watch.batch import Batch

PAGES_KEPT_MAX: Final = 8
"""Of a tenant. Higher: more memory. Lower: streams behind at different places read more often."""

READ_SECONDS_MAX: Final = 10.0
"""How long reading one may take, before the database counts as away."""


class Pages:
    """The pages of one tenant's log that were read last."""

    def __init__(self, reader: LogReader, tenant_id: TenantId) -> None:
        self._reader = reader
        self._tenant_id = tenant_id
        # By number, the one asked for last at the end.
        self._kept: OrderedDict[int, Batch] = OrderedDict()
        self._turn = asyncio.Lock()
        self.reads = 0
        """How many pages were read since the start."""

    async def after(self, position: Revision, head: Revision, epoch: bytes) -> Batch:
        """Return a batch that has the change after a position, which is before the head.

        Raises:
            UnavailableError: the database does not answer.
            HistoryLostError: the log has no such change any more.
            HeedError: the log's rows are damaged.
        """
        number = position // BATCH_CHANGES_MAX
        async with self._turn:
            kept = self._kept.get(number)
            if kept is not None and kept.through > position:
                self._kept.move_to_end(number)
                return kept
            page = self._kept[number] = await self._read(number, head, epoch)
            self._kept.move_to_end(number)
            if len(self._kept) > PAGES_KEPT_MAX:
                self._kept.popitem(last=False)
            return page

    async def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first bytes of the running hash at a revision; None: the log has none there.

        Raises:
            UnavailableError: the database does not answer.
        """
        before = Revision(revision - 1)
        changes = await within(
            READ_SECONDS_MAX, self._reader.read_changes(self._tenant_id, before, 1)
        )
        return changes[0].running_hash[:TOKEN_HASH_BYTES] if changes else None

    def forget(self) -> None:
        """Forget every page: the log may be another."""
        self._kept.clear()

    async def _read(self, number: int, head: Revision, epoch: bytes) -> Batch:
        after = Revision(number * BATCH_CHANGES_MAX)
        limit = min(BATCH_CHANGES_MAX, head - after)
        self.reads += 1
        changes = await within(
            READ_SECONDS_MAX, read_after(self._reader, self._tenant_id, after, limit)
        )
        hash_before = None
        if changes[0].revision == after:
            hash_before, changes = changes[0].running_hash, changes[1:]
        return Batch(changes, hash_before=hash_before, tenant_id=self._tenant_id, epoch=epoch)
