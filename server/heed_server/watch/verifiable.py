"""What verifiable streams are told beside the changes: the leaf of every revision.

Laws:
- A leaf is told by what it is made of where the change is told too, and by its hash alone where the
  filter leaves the change out, where it did nothing, and where an erasure took its salt.
- Batches are those of all streams (`heed_server.watch.batch`): who asks for no leaves pays nothing.
  The rows of one are read once, and its messages encoded once, for all who verify.
- Nothing moves silently: a batch of which the filter leaves all out is told by its leaves.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from heed.audit.snapshots import Vouched
from heed.model import Head, Revision, TenantId
from heed.tokens import encode_token
from heed.wire.watched import changes_message, leaf_content_part, leaf_hash_part
from heed_server.follow import within
from heed_server.store import LogDamagedError
from heed_server.tree_store import LoggedChange
from heed_server.watch.batch import FILTERS_REMEMBERED_MAX, Batch
from heed_server.watch.filter import WatchFilter

BATCHES_KEPT_MAX: Final = 16
"""Of a tenant, with their contents. Higher: more memory, up to a MiB each. Lower: verifiable
streams that stand at different places read rows more often."""

PIECE_BYTES_MAX: Final = 1 << 20
"""A message of more than so many bytes is not added to: contents are larger than changes."""

READ_SECONDS_MAX: Final = 10.0
"""How long reading the rows of a batch may take, before the database counts as away."""


class Proofs(Protocol):
    """What proves what is in the logs, as streams need it."""

    async def logged(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[LoggedChange]:
        """Return up to `limit` rows of the log after a revision, ascending.

        Raises:
            UnavailableError: the database does not answer.
        """
        ...

    async def vouched(self, tenant_id: TenantId, head: Head, line: str) -> Vouched:
        """Return a signed checkpoint of exactly `head`, with this extension line.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN: nothing so large was signed yet.
            LogNotSignedError: the log is not what was signed.
            UnavailableError: the database does not answer.
        """
        ...


class Piece(NamedTuple):
    """A message, and where whoever took it stands."""

    message: bytes
    through: Revision
    token: str
    running_hash: bytes


class VerifiableBatch:
    """A batch with its leaves."""

    def __init__(
        self, batch: Batch, logged: Sequence[LoggedChange], *, tenant_id: TenantId, epoch: bytes
    ) -> None:
        """`logged` are the rows of the batch.

        Raises:
            LogDamagedError: they are not, by their numbers and running hashes.
        """
        self._batch = batch
        self._tenant_id = tenant_id
        self._epoch = epoch
        if len(logged) != batch.through - batch.after:
            raise LogDamagedError(f"of the changes after {batch.after} {len(logged)} are there")
        self._hashed: list[bytes] = []
        self._told: list[bytes] = []
        for row, (change, running_hash) in zip(logged, batch.told(), strict=True):
            if row.leaf.running_hash != running_hash:
                raise LogDamagedError(
                    f"change {row.leaf.revision} is not the one that was followed"
                )
            hashed = leaf_hash_part(row.leaf.leaf_hash)
            has_content = bool(change and row.salt)
            self._hashed.append(hashed)
            self._told.append(leaf_content_part(row.salt, row.content) if has_content else hashed)
        self._pieces: dict[WatchFilter, Sequence[Piece]] = {}

    def pieces(self, filter_: WatchFilter, position: Revision) -> Sequence[Piece]:
        """Return the messages that bring whoever stands at a position to the batch's end."""
        if position != self._batch.after:
            return self._put_together(filter_, position)
        known = self._pieces.get(filter_)
        if known is None:
            known = self._put_together(filter_, position)
            if len(self._pieces) < FILTERS_REMEMBERED_MAX:
                self._pieces[filter_] = known
        return known

    def _put_together(self, filter_: WatchFilter, position: Revision) -> list[Piece]:
        pieces: list[Piece] = []
        parts: list[bytes] = []
        after, bytes_ = position, 0
        start = position - self._batch.after
        wanted = self._batch.wanted(filter_)
        told = list(self._batch.told())
        for at in range(start, len(told)):
            change, running_hash = told[at]
            added = (change, self._told[at]) if wanted[at] else (b"", self._hashed[at])
            parts += added
            bytes_ += len(added[0]) + len(added[1])
            through = Revision(self._batch.after + at + 1)
            if bytes_ < PIECE_BYTES_MAX and at + 1 < len(told):
                continue
            token = encode_token(
                epoch=self._epoch,
                tenant_id=self._tenant_id,
                revision=through,
                running_hash=running_hash,
            )
            message = changes_message(
                after, through, b"".join(parts), token=token, running_hash=running_hash
            )
            pieces.append(Piece(message, through, token, running_hash))
            parts, after, bytes_ = [], through, 0
        return pieces


class VerifiableBatches:
    """Those of one tenant that were asked for last."""

    def __init__(self, proofs: Proofs, tenant_id: TenantId) -> None:
        self._proofs = proofs
        self._tenant_id = tenant_id
        self._kept: OrderedDict[Batch, VerifiableBatch] = OrderedDict()
        self._turn = asyncio.Lock()

    async def of(self, batch: Batch, epoch: bytes) -> VerifiableBatch:
        """Return a batch with its leaves.

        Raises:
            UnavailableError: the database does not answer.
            LogDamagedError: the log has other rows by now.
        """
        async with self._turn:
            found = self._kept.get(batch)
            if found is None:
                rows = await within(
                    READ_SECONDS_MAX,
                    self._proofs.logged(self._tenant_id, batch.after, batch.through - batch.after),
                )
                found = VerifiableBatch(batch, rows, tenant_id=self._tenant_id, epoch=epoch)
                self._kept[batch] = found
                if len(self._kept) > BATCHES_KEPT_MAX:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(batch)
            return found

    def forget(self) -> None:
        """Forget every batch: the log may be another."""
        self._kept.clear()
