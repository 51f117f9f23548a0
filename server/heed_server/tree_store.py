"""The contract between the verifiable log and its database: leaves, tiles, signed checkpoints.

A store MUST keep one signed checkpoint a tenant, and MUST replace it only where it is still the one
that the new one was grown from, in the transaction that also adds the tiles: so what was signed
once is never signed otherwise, whoever signs. Leaves are the log's own rows; tiles can be made from
them again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from heed.audit.tiles import FullTile, Tile
from heed.model import Instant, Revision, TenantId

Hashes = Sequence[bytes]
"""The hashes of a tile."""


class Leaf(NamedTuple):
    """A row of the log as its tree has it."""

    revision: Revision
    entry: bytes
    leaf_hash: bytes
    running_hash: bytes


class LoggedChange(NamedTuple):
    """A row of the log as a receipt tells it."""

    leaf: Leaf
    salt: bytes
    subject_key: bytes | None
    content: bytes


class Signed(NamedTuple):
    """The last checkpoint that was signed of a tenant's log."""

    tenant_id: TenantId
    size: int
    running_hash: bytes
    """That of the log at this size."""
    note: str
    """The checkpoint as a signed note."""


class KeptCheckpoint(NamedTuple):
    """A checkpoint that was kept, as it was signed."""

    sign_time: Instant
    note: str

    @property
    def origin(self) -> str:
        """The log's name, as the note says it: nothing of it is believed yet."""
        return self.note.partition("\n")[0]


class TreeStore(Protocol):
    """Where the verifiable log is kept."""

    async def leaves(self, tenant_id: TenantId, after: Revision, limit: int) -> Sequence[Leaf]:
        """Return up to `limit` leaves from revision `after` + 1 on, ascending.

        Raises:
            UnavailableError: the database does not answer.
        """
        ...

    async def logged_change(self, tenant_id: TenantId, revision: Revision) -> LoggedChange | None:
        """Return one change; None: there is none. Raises: as `leaves`."""
        ...

    async def logged_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[LoggedChange]:
        """Return up to `limit` changes from revision `after` + 1 on, ascending.

        An erased one has no salt, and its residue in the place of its content. Raises: as `leaves`.
        """
        ...

    async def signed(self, tenant_id: TenantId) -> Signed | None:
        """Return the last signed checkpoint; None: there is none yet. Raises: as `leaves`."""
        ...

    async def tiles(self, tenant_id: TenantId, wanted: Sequence[Tile]) -> Mapping[Tile, Hashes]:
        """Return the hashes of tiles of a tree that was signed.

        Raises:
            LogDamagedError: one of them is not there.
            UnavailableError: the database does not answer.
        """
        ...

    async def put_signed(
        self,
        signed: Signed,
        full: Sequence[FullTile],
        instead_of: Signed | None,
    ) -> bool:
        """Put a checkpoint in the place of the one it was grown from, with the tiles now full.

        Returns False, and changes nothing, where that is not the last one any more.
        """
        ...

    async def kept_checkpoints(self, tenant_id: TenantId, limit: int) -> Sequence[KeptCheckpoint]:
        """Return the last checkpoints that were kept, at most one an hour, the newest first.

        The store MUST keep each that it is given an hour or more after the one kept last. Raises:
        as `leaves`.
        """
        ...
