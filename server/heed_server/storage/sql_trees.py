"""The verifiable log's part of a store (`heed_server.tree_store`), on SQLite or PostgreSQL."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from heed.audit.tiles import FullTile, Tile
from heed.errors import ConflictError
from heed.model import Instant, Revision, TenantId
from heed_server.storage import trees
from heed_server.tree_store import Hashes, KeptCheckpoint, Leaf, LoggedChange, Signed

T = TypeVar("T")


class SqlTrees:
    """What signs and proves reads and writes this; `SqlStore` is one."""

    @abstractmethod
    async def _read(self, body: Callable[[Connection], T]) -> T:
        """Run a read."""

    @abstractmethod
    async def _write(
        self,
        body: Callable[[Connection], T],
        *,
        is_taken: Callable[[], ConflictError] | None = None,
    ) -> T:
        """Run a write, in a transaction of its own."""

    @abstractmethod
    def _now(self) -> Instant:
        """Return the time by the store's clock."""

    async def leaves(self, tenant_id: TenantId, after: Revision, limit: int) -> Sequence[Leaf]:
        """Return up to `limit` leaves after a revision (see `TreeStore.leaves`)."""
        return await self._read(lambda c: trees.read_leaves(c, tenant_id, after, limit))

    async def logged_change(self, tenant_id: TenantId, revision: Revision) -> LoggedChange | None:
        """Return one change; None: there is none."""
        return await self._read(lambda c: trees.read_change(c, tenant_id, revision))

    async def logged_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[LoggedChange]:
        """Return up to `limit` changes after a revision (see `TreeStore.logged_changes`)."""
        return await self._read(lambda c: trees.read_changes(c, tenant_id, after, limit))

    async def signed(self, tenant_id: TenantId) -> Signed | None:
        """Return the last signed checkpoint; None: there is none yet."""
        return await self._read(lambda c: trees.read_signed(c, tenant_id))

    async def tiles(self, tenant_id: TenantId, wanted: Sequence[Tile]) -> Mapping[Tile, Hashes]:
        """Return the hashes of tiles of a tree that was signed (see `TreeStore.tiles`)."""
        return await self._read(lambda c: trees.read_tiles(c, tenant_id, wanted))

    async def put_signed(
        self, signed: Signed, full: Sequence[FullTile], instead_of: Signed | None
    ) -> bool:
        """Put a checkpoint in the place of the one it was grown from (see `TreeStore`)."""
        now = self._now()
        return await self._write(lambda c: trees.put_signed(c, signed, full, instead_of, now))

    async def kept_checkpoints(self, tenant_id: TenantId, limit: int) -> Sequence[KeptCheckpoint]:
        """Return the last checkpoints that were kept (see `TreeStore`)."""
        return await self._read(lambda c: trees.read_kept(c, tenant_id, limit))
