"""What a tenant's streams share: where the log stands, its last batches, pages and snapshots.

Laws:
- The live part comes from the node's follower, right after its index took it; nothing here reads
  the database for it. So no stream is ever told of what this node could not answer by.
- A stream has a position and no queue. What comes after it is in the window, in the log, or, too
  far back, in a snapshot: nothing is dropped, and a stream takes no more memory by being slow.
- A batch goes out at the next turn of the loop. Under load batches wait for one another, a fifth
  of a millisecond for each stream and 20 ms at most, so that handing out takes no more than a part
  of the loop's time.
- Written on the event loop alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from heed.model import Change, Head, Revision, TenantId
from heed.tokens import encode_token
from heed.wire.limits import BATCH_CHANGES_MAX
from heed_server.follow import Follower
from heed_server.store import LogReader, Tenant
from heed_server.watch.batch import Batch
from heed_server.watch.limits import WatchLimits
from heed_server.watch.pages import Pages
from heed_server.watch.verifiable import Proofs, VerifiableBatches
from heed_server.watch.window import Window

PAUSE_SECONDS_A_STREAM: Final = 0.0002
"""What passes between two batches for each stream: three times what handing one out takes."""


class Member(Protocol):
    """A stream, as its hub knows it."""

    def wake(self) -> None:
        """Look again: there may be something to tell. It MUST NOT raise, nor wait."""
        ...

    @property
    def position(self) -> Revision:
        """The revision up to which it told everything."""
        ...


class Hub:
    """The streams of one tenant and what they share."""

    def __init__(
        self, reader: LogReader, follower: Follower, proofs: Proofs, limits: WatchLimits
    ) -> None:
        self.follower = follower
        self.head = Revision(0)
        """The revision up to which streams may be told."""
        self.generation = 0
        """Moves when what was told before may be of another log."""
        self.members: set[Member] = set()
        self.pages = Pages(reader, self.tenant_id)
        self.verifiable = VerifiableBatches(proofs, self.tenant_id)
        self._limits = limits
        self._window = Window(limits.window_bytes_max)
        self._pending: list[Change] = []
        self.epoch = b""
        """The life of the store whose log this is."""
        self._hash_before: bytes | None = None
        self._stand_with_index()
        self._published_at = 0.0
        self._publishing: asyncio.Handle | None = None
        follower.listen(self)

    @property
    def tenant(self) -> Tenant:
        """The tenant, with the lookup keys that its follower knows."""
        return self.follower.tenant

    @property
    def tenant_id(self) -> TenantId:
        """The tenant's number."""
        return self.tenant.tenant_id

    @property
    def rule_version(self) -> int:
        """The version of the rules that is needed by what the log has had; 1 without an index."""
        return self.follower.index.rule_version if self.follower.is_usable else 1

    def join(self, member: Member) -> None:
        """Wake a stream from now on."""
        self.members.add(member)

    def leave(self, member: Member) -> None:
        """Wake a stream no more."""
        self.members.discard(member)

    def took(self, changes: Sequence[Change]) -> None:
        """Take what the index took (see `Listener`)."""
        if not self.members:
            self._catch_up_unwatched(changes[-1])
            return
        self._pending.extend(changes)
        if self._publishing is not None:
            return
        loop = asyncio.get_running_loop()
        pause = min(self._limits.coalesce_seconds_max, PAUSE_SECONDS_A_STREAM * len(self.members))
        due = self._published_at + pause
        if due <= loop.time():
            self._publishing = loop.call_soon(self._publish)
        else:
            self._publishing = loop.call_at(due, self._publish)

    def made_anew(self) -> None:
        """Forget what may be of another log (see `Listener`); every stream looks where it is."""
        self._pending.clear()
        self._window.clear()
        self.pages.forget()
        self.verifiable.forget()
        self.generation += 1
        self._stand_with_index()
        for member in self.members:
            member.wake()

    def recent(self, position: Revision) -> Batch | None:
        """Return a batch of the last ones that has the change after a position; None: none has."""
        return self._window.after(position)

    async def has(self, revision: Revision, hash_: bytes | None) -> bool:
        """Whether the log has this hash, or its first bytes, at a revision; None: any.

        Of a revision ahead of the index it is not known, and is compared with the batch that
        brings it.

        Raises:
            UnavailableError: the database does not answer.
        """
        if hash_ is None or not revision or revision > self.follower.revision:
            return True
        known = self.follower.index.hash_at(revision)
        if known is None:
            known = await self.pages.hash_at(revision)
        return known == hash_

    @property
    def window_bytes(self) -> int:
        """What the last batches take."""
        return self._window.bytes

    def lag(self) -> int:
        """Return how many revisions the stream furthest behind has to go; read by scrapes too."""
        positions = [member.position for member in tuple(self.members)]
        return max(0, self.head - min(positions)) if positions else 0

    def _catch_up_unwatched(self, last: Change) -> None:
        """Nobody listens: whoever comes reads the log."""
        self._pending.clear()
        self._window.clear()
        self.head = last.revision
        self._hash_before = last.running_hash

    def _publish(self) -> None:
        self._publishing = None
        changes, self._pending = self._pending, []
        if not changes:
            return  # the index was made anew meanwhile
        for start in range(0, len(changes), BATCH_CHANGES_MAX):
            piece = changes[start : start + BATCH_CHANGES_MAX]
            self._window.add(
                Batch(
                    piece,
                    hash_before=self._hash_before,
                    tenant_id=self.tenant_id,
                    epoch=self.epoch,
                )
            )
            self._hash_before = piece[-1].running_hash
        self.head = changes[-1].revision
        self._published_at = asyncio.get_running_loop().time()
        for member in self.members:
            member.wake()

    def _stand_with_index(self) -> None:
        if self.follower.is_usable:
            index = self.follower.index
            self.head, self.epoch = index.revision, index.epoch
            self._hash_before = index.running_hash


def token_of(tenant_id: TenantId, head: Head) -> str:
    """Return the token of a place in a log."""
    return encode_token(
        epoch=head.epoch,
        tenant_id=tenant_id,
        revision=head.revision,
        running_hash=head.running_hash,
    )
