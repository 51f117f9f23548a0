"""Who is sent a snapshot now, who waits, and which snapshots are there to be sent.

Laws:
- So many are delivered at a time in the process; the others wait in the order in which they came,
  and their streams stay alive meanwhile.
- One snapshot a tenant and filter serves all who ask while it is fresh: until a while after its
  last delivery, and while the log has not moved far beyond it, nor to another lookup key.
- Written on the event loop alone.
"""

import asyncio
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from heed.errors import ErrorReason, ExhaustedError
from heed.model import TenantId
from heed_server.background import Background
from heed_server.store import LogReader, Tenant
from heed_server.watch.filter import EVERYTHING, WatchFilter
from heed_server.watch.hub import Hub
from heed_server.watch.limits import WatchLimits
from heed_server.watch.snapshot import SharedSnapshot, Wakeable
from heed_server.watch.verifiable import Proofs

FRESH_CHANGES_MAX: Final = 100_000
"""A snapshot this far behind the log is not given to anybody new."""

_log = structlog.stdlib.get_logger("heed_server.watch")

_Key = tuple[TenantId, WatchFilter]


class Turn:
    """A place in the queue of deliveries. `leave` it, whatever happens."""

    __slots__ = ("_turns", "is_granted", "waker")

    def __init__(self, turns: "Turns", waker: Wakeable) -> None:
        self._turns = turns
        self.waker = waker
        self.is_granted = False

    def leave(self) -> None:
        """Give the place back; again: nothing."""
        self._turns.give_back(self)


class Turns:
    """Lets so many deliveries go on at a time."""

    def __init__(self, limits: WatchLimits) -> None:
        self._limits = limits
        self._granted: set[Turn] = set()
        self._queue: deque[Turn] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def ask(self, waker: Wakeable) -> Turn:
        """Return a turn, granted at once or when one before it ends.

        Raises:
            ExhaustedError: OVERLOADED, too many wait.
        """
        turn = Turn(self, waker)
        if len(self._granted) < self._limits.snapshots_max:
            self._grant(turn)
            return turn
        if len(self._queue) >= self._limits.snapshots_queued_max:
            raise ExhaustedError(
                f"{len(self._queue)} streams wait for a snapshot; wait and try again",
                reason=ErrorReason.OVERLOADED,
                metadata={"limit": "snapshots_queued_max"},
            )
        self._queue.append(turn)
        return turn

    def give_back(self, turn: Turn) -> None:
        """End a turn, and grant the next."""
        if turn in self._granted:
            self._granted.remove(turn)
            if self._queue:
                self._grant(self._queue.popleft())
        elif turn in self._queue:
            self._queue.remove(turn)

    def _grant(self, turn: Turn) -> None:
        self._granted.add(turn)
        turn.is_granted = True
        turn.waker.wake()


class Snapshots:
    """The snapshots of a process. Use it in `async with`; its end gives up what is being made."""

    def __init__(
        self, reader: LogReader, directory: Path, proofs: Proofs, limits: WatchLimits
    ) -> None:
        """`directory` is where the files are, without names."""
        self.turns = Turns(limits)
        self.made = 0
        """How many were made since the start."""
        self.last_seconds = 0.0
        """How long the last one took."""
        self._reader = reader
        self._directory = directory
        self._proofs = proofs
        self._limits = limits
        self._kept: dict[_Key, SharedSnapshot] = {}
        self._users: dict[SharedSnapshot, int] = {}
        self._makers: dict[SharedSnapshot, asyncio.Task[None]] = {}
        self._vouchers: dict[SharedSnapshot, asyncio.Task[None]] = {}
        self._background = Background()

    async def __aenter__(self) -> Self:
        await self._background.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._background.__aexit__(kind, error, trace)
        for snapshot in (*self._kept.values(), *self._users):
            snapshot.close()

    def use(self, hub: Hub, filter_: WatchFilter) -> SharedSnapshot:
        """Return the snapshot to send; `end_use` it, whatever happens.

        Raises:
            UnavailableError: no file can be made for it.
        """
        key = (hub.tenant_id, filter_)
        snapshot = self._kept.get(key)
        if snapshot is not None and not _is_fresh(snapshot, hub):
            self._drop(key, snapshot)
            snapshot = None
        if snapshot is None:
            snapshot = SharedSnapshot(self._directory)
            self._kept[key] = snapshot
            self._users[snapshot] = 0
            self._makers[snapshot] = self._background.start(
                f"snapshot-{hub.tenant.name}", self._make(key, snapshot, hub)
            )
        self._users[snapshot] += 1
        return snapshot

    def vouch(self, hub: Hub, filter_: WatchFilter, snapshot: SharedSnapshot) -> None:
        """Begin to have a whole one vouched for, unless that was done or is under way."""
        if snapshot.vouched is None and snapshot not in self._vouchers:
            snapshot.vouch_failure = None
            self._vouchers[snapshot] = self._background.start(
                f"vouch-{hub.tenant.name}", self._vouch(hub.tenant, filter_, snapshot)
            )

    def end_use(self, hub: Hub, filter_: WatchFilter, snapshot: SharedSnapshot) -> None:
        """Say that a delivery ended."""
        self._users[snapshot] -= 1
        if self._users[snapshot]:
            return
        key = (hub.tenant_id, filter_)
        if self._kept.get(key) is not snapshot:
            self._close(snapshot)
        elif not snapshot.is_whole:
            self._drop(key, snapshot)
        else:
            asyncio.get_running_loop().call_later(
                self._limits.snapshot_kept_seconds, self._drop_unused, key, snapshot
            )

    def forget(self, tenant_id: TenantId) -> None:
        """Give no snapshot of a tenant's to anybody new: its log may be another."""
        for key in [key for key in self._kept if key[0] == tenant_id]:
            self._drop(key, self._kept[key])

    def _drop_unused(self, key: _Key, snapshot: SharedSnapshot) -> None:
        if self._kept.get(key) is snapshot and not self._users[snapshot]:
            self._drop(key, snapshot)

    def _drop(self, key: _Key, snapshot: SharedSnapshot) -> None:
        """Give it to nobody new; its file goes with its last user."""
        del self._kept[key]
        if not self._users[snapshot]:
            self._close(snapshot)

    def _close(self, snapshot: SharedSnapshot) -> None:
        del self._users[snapshot]
        maker = self._makers.get(snapshot)
        if maker is None:
            snapshot.close()
        else:
            maker.cancel()  # which closes it

    async def _vouch(self, tenant: Tenant, filter_: WatchFilter, snapshot: SharedSnapshot) -> None:
        try:
            await snapshot.vouch(self._proofs, tenant, filter_)
        except Exception as error:  # noqa: BLE001 - the root of a task
            _log.exception("snapshot_not_vouched", error=type(error).__name__)
        finally:
            del self._vouchers[snapshot]

    async def _make(self, key: _Key, snapshot: SharedSnapshot, hub: Hub) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await snapshot.make(self._reader, hub.tenant_id, key[1])
        except Exception as error:  # noqa: BLE001 - the root of a task
            _log.exception("snapshot_failed", tenant=hub.tenant.name, error=type(error).__name__)
        finally:
            del self._makers[snapshot]
            if snapshot not in self._users:
                snapshot.close()
        if snapshot.failure is not None:
            _log.warning("snapshot_not_made", tenant=hub.tenant.name, why=snapshot.failure.message)
            if self._kept.get(key) is snapshot:
                self._drop(key, snapshot)
            return
        self.made += 1
        self.last_seconds = loop.time() - begun
        _log.info(
            "snapshot_made",
            tenant=hub.tenant.name,
            revision=snapshot.head.revision if snapshot.head else None,
            records=snapshot.record_count,
            is_filtered=key[1] is not EVERYTHING,
            seconds=round(self.last_seconds, 3),
        )


def _is_fresh(snapshot: SharedSnapshot, hub: Hub) -> bool:
    if snapshot.failure is not None:
        return False
    head = snapshot.head
    return head is None or (
        head.epoch == hub.epoch
        and head.lookup_key_id >= hub.tenant.lookup_keys[-1].key_id
        and hub.head - head.revision <= FRESH_CHANGES_MAX
    )
