"""One stream: what its reader is told, in one order.

Laws:
- The coroutine of the stream writes all of it, so that nothing overtakes anything: a heartbeat says
  what was told before it, and echoes a probe once everything was told that was known here when the
  probe arrived.
- It has a position and no queue (`heed_server.watch.hub`). Its reader's pace is its own.
- What a filter leaves out moves the position silently; before the next heartbeat one message
  without changes tells the reader, so that it never resumes from far behind.
- Nobody is told of what may stand under a lookup key that `Opened` did not name: a stream that was
  opened before ends, and its reader comes back. So it is with rules that the reader does not know:
  it stands nowhere beyond a change that needs them before it was told so.
- While the node's own knowledge is old, heartbeats go on and say so by the age of the probe.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.duration_pb2 import Duration

from heed.audit.snapshots import Vouched
from heed.errors import ExhaustedError, UnavailableError
from heed.model import NORMALISER_VERSION, Head, Instant, Revision
from heed.tokens import TOKEN_HASH_BYTES
from heed.wire import format as told
from heed.wire.watched import changes_message
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.follow import HistoryLostError
from heed_server.room import stopping
from heed_server.watch.batch import Batch
from heed_server.watch.filter import WatchFilter
from heed_server.watch.hub import Hub, token_of
from heed_server.watch.limits import WatchLimits
from heed_server.watch.snapshot import SharedSnapshot
from heed_server.watch.snapshots import Snapshots, Turn

PROBE_SECONDS_MIN: Final = 0.1
"""What passes between two heartbeats at least, however many probes come."""

CREDENTIAL_SECONDS: Final = 15.0
"""How often it is judged again whether the reader may still watch; well below the promised 60."""

PROBES_MAX: Final = 16
"""So many probes wait for their heartbeat; of more, the last ones count as one."""

AGE_MS_MAX: Final = 10**12
"""What is told of an age that is infinite."""

Send = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stream begins."""

    position: Revision
    """From where on it is told; 0 where it is sent a snapshot first."""
    stood_at: Revision
    """Where the reader believes to stand; 0: nowhere in this life of the store."""
    hash: bytes | None
    """The first bytes of the running hash there; None where no log has one."""
    resync: "pb.ResyncReason.ValueType | None"
    """Why a snapshot comes first; None: none does."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a reader sent, and what was known here when it arrived."""

    number: int
    revision: Revision
    source_age_ms: int


@dataclass(slots=True, kw_only=True)
class Reader:
    """Who reads a stream, and what it said of itself."""

    principal: Hashable
    """Who it is, as `Principal.identity` tells it from others."""
    subscriber: str
    instance: str
    filter: WatchFilter
    max_staleness_seconds: float
    is_verifiable: bool
    """Whether it is told the leaf of every revision."""
    require_may_watch: Callable[[], None] = field(repr=False)
    """Raises when the reader's credential is good no more."""


class Stream:
    """One stream of one reader: `run` it once."""

    def __init__(
        self,
        hub: Hub,
        snapshots: Snapshots,
        limits: WatchLimits,
        *,
        stream_id: str,
        reader: Reader,
        start: Start,
        offers_taken: pb.OffersTaken | None,
        now: Callable[[], Instant],
        heartbeat_seconds: float,
        life_seconds: float,
    ) -> None:
        """`heartbeat_seconds` and `life_seconds` are this stream's own, so that no two agree."""
        self.stream_id = stream_id
        self.reader = reader
        self.position = start.position
        self.applied_revision = Revision(0) if start.resync else start.position
        """What its reader said to have applied."""
        self.hub = hub
        self._snapshots = snapshots
        self._offers_taken = offers_taken
        self._limits = limits
        self._now = now
        self._heartbeat_seconds = heartbeat_seconds
        self._hash = start.hash
        self._resync = start.resync
        self._told = start.stood_at
        """Where the reader believes to stand."""
        # Of the position, once something was told of it.
        self._token, self._running_hash = "", b""
        self._is_placed = start.resync is None
        self._epoch, self._generation = hub.epoch, hub.generation
        self._keys = hub.tenant.lookup_keys
        self._rule_version = hub.rule_version
        self._probes: deque[Probe] = deque()
        self._last_probe = 0
        self._echoed = Probe(0, Revision(0), 0)
        self._waiter: asyncio.Future[None] | None = None
        self._is_draining = False
        self._reconnect_after_seconds = 0.0
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ends_at = self._time() + life_seconds
        self._written_at = self._heartbeat_at = self._time()
        self._judged_at = self._time()
        # Last: it may be granted, and so this stream woken, at once.
        self._turn: Turn | None = None if start.resync is None else snapshots.turns.ask(self)

    def wake(self) -> None:
        """Look again: there may be something to tell."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def report(self, number: int, applied: Revision, source_age_seconds: float) -> None:
        """Take note of how far the reader is, and of its probe; an older one does nothing."""
        if self._is_placed:  # before, what its reader has may be of another log
            self.applied_revision = max(self.applied_revision, min(applied, self._told))
        if number <= self._last_probe:
            return
        self._last_probe = number
        if self._generation != self.hub.generation:
            # What is known here may be of another log than what this reader was told of.
            source_age_seconds = math.inf
        age_ms = math.ceil(min(source_age_seconds * 1_000, AGE_MS_MAX))
        if len(self._probes) == PROBES_MAX:
            self._probes.pop()
        self._probes.append(Probe(number, self.hub.follower.revision, age_ms))
        self.wake()

    def end_in(self, seconds: float, *, reconnect_after_seconds: float) -> None:
        """End by itself in so long, at the latest; also in the middle of a snapshot."""
        self._is_draining = True
        self._ends_at = min(self._ends_at, self._time() + seconds)
        self._reconnect_after_seconds = reconnect_after_seconds
        self.wake()

    async def run(self, send: Send) -> None:
        """Tell the reader everything until the stream ends by itself; returns after `Draining`.

        Raises:
            ExhaustedError: the reader takes nothing.
            UnavailableError: no snapshot can be had.
            HeedError: the reader may not watch any more.
        """
        self._send = send
        self.hub.join(self)
        try:
            await self._tell(self._opened())
            if self._resync is not None and self._turn is not None:
                await self._tell_snapshot(self._resync, self._turn)
            while self._time() < self._ends_at:
                await self._go_on()
            await self._tell(draining(self._reconnect_after_seconds))
        finally:
            self.leave()

    def leave(self) -> None:
        """Be told nothing more; again: nothing. A stream that never ran is left too."""
        self.hub.leave(self)
        if self._turn is not None:
            self._turn.leave()

    async def _go_on(self) -> None:
        """Do the next thing there is to do, or wait for one."""
        self._require_may_watch()
        hub = self.hub
        if self._keys != hub.tenant.lookup_keys or self._lacks_rules(hub.rule_version):
            self._end_now()
        elif self._heartbeat_is_due():
            await self._tell_heartbeat()
        elif self._generation != hub.generation:
            await self._find_place()
        elif self.position < hub.head:
            batch = hub.recent(self.position) or await self._page()
            if batch is not None:
                await self._tell_batch(batch)
        else:
            await self._wait()

    def _lacks_rules(self, needed: int) -> bool:
        """Whether rules are needed that its reader neither knows nor was told of."""
        return needed > self._rule_version and not self.reader.filter.knows(needed)

    async def _find_place(self) -> None:
        """See whether the log is still the one that the reader was told of."""
        hub = self.hub
        generation = hub.generation
        if not hub.follower.is_usable:
            await self._wait()
            return
        try:
            is_same = hub.epoch == self._epoch and await hub.has(self.position, self._hash)
        except UnavailableError:
            await self._wait()
            return
        self._generation = generation
        if not is_same:
            self._end_now()

    async def _tell_batch(self, batch: Batch) -> None:
        known = batch.hash_at(self.position)
        if known is not None and self._hash is not None and known != self._hash:
            self._end_now()
            return
        if self.reader.is_verifiable:
            await self._tell_verifiable(batch)
            return
        message = batch.message(self.reader.filter, self.position, self._told)
        self.position = batch.through
        self._token, self._running_hash = batch.token, batch.running_hash
        self._hash = batch.running_hash[:TOKEN_HASH_BYTES]
        if message is not None:
            self._told = batch.through
            await self._tell(message)
        else:
            await asyncio.sleep(0)  # many pages may hold nothing for this reader

    async def _tell_verifiable(self, batch: Batch) -> None:
        """Tell a batch with its leaves; after a while nothing, where its rows cannot be read."""
        hub = self.hub
        try:
            verifiable = await hub.verifiable.of(batch, self._epoch)
        except UnavailableError:
            await self._wait()
            return
        if self._generation != hub.generation:
            return
        for piece in verifiable.pieces(self.reader.filter, self.position):
            self.position = self._told = piece.through
            self._token, self._running_hash = piece.token, piece.running_hash
            self._hash = piece.running_hash[:TOKEN_HASH_BYTES]
            await self._tell(piece.message)

    async def _page(self) -> Batch | None:
        """The next changes from the log; None, after a while, when it cannot be read."""
        hub = self.hub
        try:
            return await hub.pages.after(self.position, hub.head, hub.epoch)
        except HistoryLostError:
            self._end_now()
        except UnavailableError:
            await self._wait()
        return None

    async def _tell_heartbeat(self) -> None:
        while self._probes and self._is_placed and self._probes[0].revision <= self.position:
            self._echoed = self._probes.popleft()
        if self._is_placed and self._told != self.position:
            await self._tell_silent_move()
        echoed = self._echoed
        self._heartbeat_at = self._time()
        await self._tell(
            pb.WatchChangesResponse(
                heartbeat=pb.Heartbeat(
                    through=self._told,
                    now_us=self._now(),
                    probe=echoed.number,
                    source_age_ms=echoed.source_age_ms,
                )
            ).SerializeToString()
        )

    async def _tell_silent_move(self) -> None:
        """Say where the reader stands after changes that its filter left out."""
        after, self._told = self._told, self.position
        await self._tell(
            changes_message(
                after, self._told, b"", token=self._token, running_hash=self._running_hash
            )
        )

    async def _tell_snapshot(self, reason: "pb.ResyncReason.ValueType", turn: Turn) -> None:
        while not turn.is_granted:
            await self._wait_alive()
        snapshot = self._snapshots.use(self.hub, self.reader.filter)
        snapshot.readers.add(self)
        try:
            await self._deliver(snapshot, reason)
        finally:
            snapshot.readers.discard(self)
            self._snapshots.end_use(self.hub, self.reader.filter, snapshot)
            turn.leave()

    async def _deliver(self, snapshot: SharedSnapshot, reason: "pb.ResyncReason.ValueType") -> None:
        while snapshot.head is None:
            _require_made(snapshot)
            await self._wait_alive()
        head = snapshot.head
        if head.epoch != self._epoch:
            raise UnavailableError("the store was put back meanwhile; open another stream")
        if head.lookup_key_id != self._keys[-1].key_id:
            # What is read from the database may be ahead of what this node knows.
            raise UnavailableError("a lookup key was replaced; open another stream")
        await self._tell(_begin(snapshot, head, reason))
        sent = 0
        while sent < snapshot.chunk_count or not snapshot.is_whole:
            if sent < snapshot.chunk_count:
                await self._tell(snapshot.chunk(sent))
                sent += 1
                self._require_going_on()
            else:
                _require_made(snapshot)
                await self._wait_alive()
        if self._lacks_rules(snapshot.rule_version):
            raise UnavailableError("later rules are needed since; open another stream")
        vouched = await self._vouched(snapshot) if self.reader.is_verifiable else _UNVOUCHED
        self._token = token_of(self.hub.tenant_id, head)
        self._running_hash, self._hash = head.running_hash, head.running_hash[:TOKEN_HASH_BYTES]
        self.position = self._told = head.revision
        self._is_placed = True
        end = pb.SnapshotEnd(
            record_count=snapshot.record_count,
            checksum=snapshot.checksum,
            token=self._token,
            running_hash=head.running_hash,
            checkpoint=vouched.checkpoint,
            subtree_hashes=vouched.subtree_hashes,
        )
        await self._tell(pb.WatchChangesResponse(snapshot_end=end).SerializeToString())

    async def _vouched(self, snapshot: SharedSnapshot) -> Vouched:
        """What vouches for a whole snapshot, made once for all who verify."""
        self._snapshots.vouch(self.hub, self.reader.filter, snapshot)
        while snapshot.vouched is None:
            if snapshot.vouch_failure is not None:
                raise snapshot.vouch_failure
            await self._wait_alive()
        return snapshot.vouched

    async def _wait_alive(self) -> None:
        """Wait for somebody else, saying from time to time that the stream is alive."""
        self._require_going_on()
        if self._heartbeat_is_due():
            await self._tell_heartbeat()
        else:
            await self._wait()

    def _heartbeat_is_due(self) -> bool:
        return self._time() >= self._next_heartbeat_at()

    def _next_heartbeat_at(self) -> float:
        silent_until = self._written_at + self._heartbeat_seconds
        if self._probes and self._is_placed and self._probes[0].revision <= self.position:
            return min(silent_until, self._heartbeat_at + PROBE_SECONDS_MIN)
        return silent_until

    async def _wait(self) -> None:
        """Wait until somebody wakes this stream, or something is due."""
        loop = asyncio.get_running_loop()
        until = min(self._next_heartbeat_at(), self._judged_at + CREDENTIAL_SECONDS)
        if self._is_placed or self._is_draining:  # a life that is over waits for its snapshot
            until = min(until, self._ends_at)
        self._waiter = loop.create_future()
        timer = loop.call_at(until, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def _tell(self, message: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.write_seconds_max):
                await self._send(message)
        except TimeoutError:
            raise ExhaustedError(
                f"nothing was read for {self._limits.write_seconds_max} s; open another stream",
                metadata={"limit": "write_seconds_max"},
            ) from None
        self._written_at = self._time()

    def _require_may_watch(self) -> None:
        now = self._time()
        if now - self._judged_at >= CREDENTIAL_SECONDS:
            self._judged_at = now
            self.reader.require_may_watch()

    def _require_going_on(self) -> None:
        """Refuse to go on with a snapshot that is not to be ended any more."""
        self._require_may_watch()
        if self._is_draining and self._time() >= self._ends_at:
            raise stopping()

    def _end_now(self) -> None:
        """End: the reader comes back with its token, and is told then why it has to resync."""
        self._ends_at = self._time()

    def _opened(self) -> bytes:
        hub = self.hub
        opened = pb.Opened(
            stream_id=self.stream_id,
            epoch=self._epoch,
            lookup_keys=[pb.LookupKey(key_id=one.key_id, key=one.key) for one in self._keys],
            rule_version=self._rule_version,
            normaliser_version=NORMALISER_VERSION,
            heartbeat_interval=_duration(self._heartbeat_seconds),
            tenant=hub.tenant.name,
            head_revision=hub.follower.revision,
            tenant_id=hub.tenant_id,
            offers_taken=self._offers_taken,
        )
        return pb.WatchChangesResponse(opened=opened).SerializeToString()


def draining(reconnect_after_seconds: float) -> bytes:
    """Return the last message of a stream, which asks its reader to come back after so long."""
    told_last = pb.Draining(reconnect_after=_duration(reconnect_after_seconds))
    return pb.WatchChangesResponse(draining=told_last).SerializeToString()


def _begin(snapshot: SharedSnapshot, head: Head, reason: "pb.ResyncReason.ValueType") -> bytes:
    return pb.WatchChangesResponse(
        snapshot_begin=pb.SnapshotBegin(
            reason=reason,
            revision=head.revision,
            topics=map(told.topic, snapshot.topics),
            holds=map(told.hold, snapshot.holds),
        )
    ).SerializeToString()


_UNVOUCHED: Final = Vouched("", ())


def _duration(seconds: float) -> Duration:
    told_as = Duration()
    told_as.FromMicroseconds(round(seconds * 1_000_000))
    return told_as


def _require_made(snapshot: SharedSnapshot) -> None:
    if snapshot.failure is not None:
        raise snapshot.failure
