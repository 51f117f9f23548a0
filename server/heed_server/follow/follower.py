"""What keeps a tenant's index in step with its log.

Laws:
- The index is usable or it is not: one that could not take a change, met damage, or stands in
  another log than the database's gives no answer at all until it is made anew.
- Where changes that this node knew of are gone from the log of the same epoch, it gives no answer
  for this tenant, also after a restart, until an operator begins a new epoch, under a hold
  (docs/operations.md): the lost changes may be opt-outs. The index knows of them; what is kept
  beside it (`position`) does too, when the index was not closed; and the file that says that they
  are lost (`loss`), until the log is of another epoch.
- What this node commits is applied at once, before the write is acknowledged; what others commit
  is found by asking for the head, which a wake-up only makes sooner.
- Age counts, on the boot clock, from the *asking* of the head that the index has caught up with:
  everything committed before that instant is known here.
- Before it takes what may stand under a lookup key, it knows that key, and so does everybody who
  looks up in its index (`tell_lookup_keys`).
- All state is written on the event loop: by `offer`, and by the one task that is in `start` or
  `run`.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from heed.errors import ErrorReason, HeedError, UnavailableError
from heed.index import Fault, Index, IndexGapError, IndexUnusableError
from heed.model import Change, Head, Revision
from heed_server.backoff import doubled_seconds
from heed_server.follow.limits import FollowLimits
from heed_server.follow.log import (
    HistoryLostError,
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
    within,
)
from heed_server.follow.loss import LossMarker
from heed_server.follow.position import KEPT_SECONDS, Position, keep_position, kept_position
from heed_server.follow.rebuild import rebuild_index
from heed_server.store import LogDamagedError, LogReader, Tenant
from heed_server.writes import Committed

_UNUSABLE = (IndexUnusableError, IndexGapError, LogForkedError, LogDamagedError)
"""What an index cannot survive."""

_log = structlog.stdlib.get_logger("heed_server.follow")


class Listener(Protocol):
    """Told of what a follower's index took, on the event loop. It MUST NOT raise, nor wait."""

    def took(self, changes: Sequence[Change]) -> None:
        """Take note: the index has just moved by these, which continue where it stood."""
        ...

    def made_anew(self) -> None:
        """Take note: the index was given up, or made anew. What it took may be of another log."""
        ...


class Follower:
    """Follows one tenant's log. Use: `await start()`, then `run()` in a task group, `close()`."""

    def __init__(
        self,
        reader: LogReader,
        tenant: Tenant,
        directory: Path,
        *,
        boot_seconds: Callable[[], float],
        limits: FollowLimits | None = None,
    ) -> None:
        """`directory` is for this node's indexes alone; `boot_seconds` also counts sleep."""
        self.tenant = tenant
        self.head_revision = Revision(0)
        """The newest revision heard of."""
        self.rebuilds = 0
        """How often the index was made anew since the process started."""
        self._reader = reader
        self._path = directory / f"tenant-{tenant.tenant_id}"
        self._loss = LossMarker.beside(self._path)
        self._position_path = directory / f"tenant-{tenant.tenant_id}.position"
        self._keeping = threading.Lock()  # a thread may still write when the index is closed
        self._kept_revision = Revision(-1)
        self._kept_at = -math.inf
        self._boot_seconds = boot_seconds
        self._limits = limits or FollowLimits()
        self._index: Index | None = None
        self._in_step_at = -math.inf
        self._told_of_age: list[Callable[[float], None]] = []
        self._offered: deque[Sequence[Change]] = deque()
        self._offered_count = 0
        self._is_draining = False
        self._wake = asyncio.Event()
        self._waiters: dict[asyncio.Future[None], Revision] = {}
        self._listeners: list[Listener] = []
        self._told_of_keys: list[Callable[[Tenant], None]] = []

    @property
    def index(self) -> Index:
        """The index, to be read before the next await.

        Raises:
            UnavailableError: STATE_STALE: it is being made anew, or history was lost.
        """
        index = self._index
        if index is None or index.is_unusable:
            raise UnavailableError(
                "this node has no index that it may answer by; ask another node, or do not send",
                reason=ErrorReason.STATE_STALE,
            )
        return index

    @property
    def is_usable(self) -> bool:
        """Whether there is an index to answer from, of whatever age."""
        return self._index is not None and not self._index.is_unusable

    @property
    def revision(self) -> Revision:
        """Where the index stands; 0 while there is none."""
        return Revision(0) if self._index is None else self._index.revision

    def source_age_seconds(self) -> float:
        """How long ago everything that was committed was known here; infinite before the start."""
        return self._boot_seconds() - self._in_step_at

    @property
    def in_step_at(self) -> float:
        """All that was committed at this time of the boot clock is in the index."""
        return self._in_step_at

    def tell_age(self, told: Callable[[float], None]) -> None:
        """Call this with `in_step_at` whenever it changes, on the event loop; it must not raise."""
        self._told_of_age.append(told)

    def tell_lookup_keys(self, told: Callable[[Tenant], None]) -> None:
        """Tell of the tenant's lookup keys, now and before anything stands under another.

        What raises a HeedError is told again; until then nothing more is taken.
        """
        self._told_of_keys.append(told)
        told(self.tenant)

    def listen(self, listener: Listener) -> None:
        """Tell a listener of everything from now on."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Open the index, or make it, and catch up with the log.

        Opening reads the whole file on the calling thread: a second for 1 GB.

        Raises:
            UnavailableError: the database does not answer.
            HistoryLostError: acknowledged changes are gone from the log, now or at an earlier run.
            IndexClaimedError: another process uses the directory.
            HeedError: the index cannot be made; the message says why.
        """
        head = await self._read_head()
        self._require_history(head)
        try:
            self._index = Index.open(
                self._path,
                tenant_id=self.tenant.tenant_id,
                epoch=head.epoch,
                map_bytes_max=self._limits.map_bytes_max,
            )
        except IndexUnusableError as error:
            _log.info("index_not_opened", tenant=self.tenant.name, why=error.message)
            await self._require_kept_position(head)
        await self._step()
        await self._keep_position()

    async def run(self) -> None:
        """Follow until cancelled. Outlives whatever the database or the index does."""
        failures = 0
        while True:
            pause_seconds = self._limits.poll_seconds
            try:
                await self._step()
                await self._keep_position()
                if failures:
                    _log.info("log_followed_again", tenant=self.tenant.name, failures=failures)
                failures = 0
            except HeedError as error:
                failures += 1
                pause_seconds = doubled_seconds(
                    pause_seconds, failures, self._limits.backoff_seconds_max
                )
                if failures == 1:
                    _log.warning("log_not_followed", tenant=self.tenant.name, why=error.message)
            await self._pause(pause_seconds, is_wakeable=not failures)

    def wake(self) -> None:
        """Ask for the head now: another node says that it committed."""
        self._wake.set()

    def offer(self, committed: Committed) -> None:
        """Take what this node committed, at once if it continues the index; never raises.

        What does not is read from the log by `run`. Of a large group the first
        `apply_changes_max` changes are taken here, the rest by `run`.
        """
        index = self._index
        if index is None or committed.tenant_id != self.tenant.tenant_id:
            return
        self.head_revision = max(self.head_revision, committed.head.revision)
        if (
            self._is_draining
            or self._offered
            or committed.head.epoch != index.epoch
            or not self._knows_key(committed.head.lookup_key_id)
        ):
            self._put_off(committed.changes)
            return
        try:
            changes = self._continuing(index, committed.changes)
            self._take(index, changes[: self._limits.apply_changes_max])
        except _UNUSABLE as error:
            self._refuse(error)
            return
        if index.revision < committed.head.revision:
            self._put_off(changes[self._limits.apply_changes_max :])

    async def reached(self, revision: Revision, timeout_seconds: float) -> bool:
        """Wait until the index knows a revision; False if it does not in time."""
        if self.is_usable and self.revision >= revision:
            return True
        if len(self._waiters) >= self._limits.waiters_max:
            return False
        arrival = asyncio.get_running_loop().create_future()
        self._waiters[arrival] = revision
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                await arrival
        except TimeoutError:
            return False
        finally:
            del self._waiters[arrival]
        return True

    def give_up(self, why: str) -> None:
        """Answer nothing by this index any more: somebody else who reads it met damage."""
        self._refuse(IndexUnusableError(Fault.DAMAGED, why))

    async def close(self) -> None:
        """Close and seal the index. `run` must have ended."""
        index, self._index = self._index, None
        if index is None:
            return
        self._keep(_position_of(index))
        try:
            index.close()
        except (HeedError, OSError) as error:
            _log.warning("index_not_sealed", tenant=self.tenant.name, why=str(error))

    async def _step(self) -> None:
        """Bring the index in step with the log; an unusable one is made anew at once, once."""
        if self._loss.is_noted:
            self._require_history(await self._read_head())
        try:
            await self._follow()
        except HistoryLostError:
            self._loss.require_none(self.tenant.name)
            raise
        except _UNUSABLE:
            await self._follow()

    async def _follow(self) -> None:
        if self._index is not None and self._index.is_unusable:
            self._refuse(IndexUnusableError(Fault.DAMAGED, "a look-up met damage"))
        try:
            if self._index is None:
                await self._rebuild()
            await self._catch_up()
        except _UNUSABLE as error:
            self._refuse(error)
            raise

    async def _require_kept_position(self, head: Head) -> None:
        """Refuse a log that has not what an earlier run knew of; its index cannot say so."""
        kept = kept_position(self._position_path)
        if kept is None or kept.epoch != head.epoch or not kept.revision:
            return

        def hash_at(revision: Revision) -> bytes | None:
            return kept.running_hash if revision == kept.revision else None

        try:
            require_same_log(head, epoch=kept.epoch, revision=kept.revision, hash_at=hash_at)
            changes = await within(
                self._limits.read_timeout_seconds,
                read_after(self._reader, self.tenant.tenant_id, kept.revision, 0),
            )
            continuation(changes, revision=kept.revision, hash_at=hash_at)
        except HistoryLostError as error:
            self._note_loss(error, kept.epoch)
            self._loss.require_none(self.tenant.name)

    async def _keep_position(self) -> None:
        """Write down now and then where the index stands, in a thread: it waits for the disk."""
        index, now = self.index, self._boot_seconds()
        if index.revision == self._kept_revision or now - self._kept_at < KEPT_SECONDS:
            return
        self._kept_at = now
        await asyncio.to_thread(self._keep, _position_of(index))

    def _keep(self, position: Position) -> None:
        try:
            with self._keeping:
                keep_position(self._position_path, position)
        except OSError as error:
            _log.error("position_not_kept", tenant=self.tenant.name, why=str(error))
        else:
            self._kept_revision = position.revision

    async def _rebuild(self) -> None:
        begun = self._boot_seconds()
        index = await rebuild_index(self._reader, self.tenant.tenant_id, self._path, self._limits)
        try:
            await self._learn_keys()
        except BaseException:
            index.abandon()
            raise
        self._index = index
        self.rebuilds += 1
        stats = self._index.stats()
        _log.info(
            "index_rebuilt",
            tenant=self.tenant.name,
            revision=self._index.revision,
            subjects=stats.subjects,
            seconds=round(self._boot_seconds() - begun, 3),
        )
        self._tell_waiters(self._index)
        for listener in self._listeners:
            listener.made_anew()

    async def _catch_up(self) -> None:
        await self._drain_offered()
        index = self.index
        stood_at = index.revision
        asked_at = self._boot_seconds()
        head = await self._read_head()
        require_same_log(head, epoch=index.epoch, revision=stood_at, hash_at=index.hash_at)
        self.head_revision = max(self.head_revision, head.revision)
        if head.revision - index.revision > self._limits.catch_up_changes_max:
            raise IndexUnusableError(
                Fault.BEHIND, f"the index stands at {index.revision}, the log at {head.revision}"
            )
        while index.revision < head.revision:
            await self._read_on(index)
        self._be_in_step(asked_at)

    async def _read_head(self) -> Head:
        return await within(
            self._limits.head_timeout_seconds, self._reader.head(self.tenant.tenant_id)
        )

    def _be_in_step(self, at: float) -> None:
        self._in_step_at = at
        for told in self._told_of_age:
            told(at)

    async def _read_on(self, index: Index) -> None:
        stood_at = index.revision
        changes = await within(
            self._limits.read_timeout_seconds,
            read_after(
                self._reader, self.tenant.tenant_id, stood_at, self._limits.read_changes_max
            ),
        )
        if changes[-1].revision == stood_at:
            raise LogForkedError(f"the log ends at {stood_at} and its head says that it does not")
        await self._take_in_slices(changes)

    async def _drain_offered(self) -> None:
        self._is_draining = True
        try:
            while self._offered:
                changes = self._offered.popleft()
                self._offered_count -= len(changes)
                await self._take_in_slices(changes)
        finally:
            self._is_draining = False

    async def _take_in_slices(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.rekey is not None and not self._knows_key(change.rekey.key_id):
                await self._learn_keys()
        for start in range(0, len(changes), self._limits.apply_changes_max):
            index = self.index
            piece = changes[start : start + self._limits.apply_changes_max]
            self._take(index, self._continuing(index, piece))
            await asyncio.sleep(0)

    def _knows_key(self, key_id: int) -> bool:
        return key_id <= self.tenant.lookup_key.key_id

    async def _learn_keys(self) -> None:
        """Read the tenant's lookup keys, and tell them, before anything stands under a new one."""
        keys = await within(
            self._limits.read_timeout_seconds, self._reader.lookup_keys(self.tenant.tenant_id)
        )
        if keys != self.tenant.lookup_keys:
            tenant = replace(self.tenant, lookup_keys=keys)
            for told in self._told_of_keys:
                told(tenant)
            self.tenant = tenant
            _log.info("lookup_keys_learned", tenant=tenant.name, newest=keys[-1].key_id)

    def _continuing(self, index: Index, changes: Sequence[Change]) -> Sequence[Change]:
        return continuation(changes, revision=index.revision, hash_at=index.hash_at)

    def _take(self, index: Index, changes: Sequence[Change]) -> None:
        if changes:
            index.apply(changes)
            self._tell_waiters(index)
            for listener in self._listeners:
                listener.took(changes)

    def _put_off(self, changes: Sequence[Change]) -> None:
        """Leave changes to the loop; those dropped, or not continuing, it reads from the log."""
        self._offered_count += len(changes)
        self._offered.append(changes)
        if self._offered_count > self._limits.offered_changes_max:
            self._offered.clear()
            self._offered_count = 0
        self._wake.set()

    def _tell_waiters(self, index: Index) -> None:
        for arrival, revision in self._waiters.items():
            if revision <= index.revision and not arrival.done():
                arrival.set_result(None)

    def _refuse(self, error: HeedError) -> None:
        """Answer nothing by this index any more, and have it made anew."""
        self._offered.clear()
        self._offered_count = 0
        index, self._index = self._index, None
        self._be_in_step(-math.inf)
        self._wake.set()
        if index is not None:
            _log.error("index_refused", tenant=self.tenant.name, why=error.message)
            if isinstance(error, HistoryLostError):
                self._note_loss(error, index.epoch)
            index.abandon()
            for listener in self._listeners:
                listener.made_anew()

    def _note_loss(self, error: HistoryLostError, epoch: bytes) -> None:
        """Write down, before the index that knew it is given up, that history was lost.

        Where that fails this run goes on without an answer all the same: the index stays given up.
        """
        try:
            self._loss.note(error.message, epoch)
            # From now on the file says it.
            self._position_path.unlink(missing_ok=True)
        except OSError as failure:
            _log.critical("history_loss_not_kept", tenant=self.tenant.name, why=str(failure))

    def _require_history(self, head: Head) -> None:
        """Return if nothing was lost, or the log is of an epoch that was begun since."""
        if self._loss.is_noted:
            if self._loss.is_over(head.epoch):
                _log.warning("history_loss_confirmed", tenant=self.tenant.name)
            self._loss.require_none(self.tenant.name)

    async def _pause(self, seconds: float, *, is_wakeable: bool) -> None:
        if not is_wakeable:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()


def _position_of(index: Index) -> Position:
    return Position(epoch=index.epoch, revision=index.revision, running_hash=index.running_hash)
