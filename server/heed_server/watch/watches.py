"""Every stream of this node: how one is opened, found again by its reports, and ended.

Laws:
- Where a stream begins is decided before anything is told: by the token's epoch, revision and hash.
  What does not continue this log begins with a snapshot, and with the reason of it.
- A token from ahead of this node is waited for, and then fails; it never begins with a snapshot,
  which would take back what its holder knows.
- So many streams may be open, in all and of one principal.
- Written on the event loop alone.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from heed.errors import ErrorReason, NotFoundError, UnavailableError
from heed.model import Instant, Revision, TenantId
from heed.tokens import Token, decode_token
from heed.wire.limits import EARLIER_EPOCHS_MAX
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.follow import Follower
from heed_server.propagation import Registry
from heed_server.room import Room
from heed_server.store import LogReader
from heed_server.watch.hub import Hub
from heed_server.watch.limits import WatchLimits
from heed_server.watch.snapshots import Snapshots
from heed_server.watch.stream import Reader, Start, Stream
from heed_server.watch.verifiable import Proofs

JITTER: Final = 0.1
"""Heartbeats of a stream differ by so much of their interval, so that no two go on together."""

RECONNECT_SECONDS_MAX: Final = 1.0
"""How long a reader of a node that stops is asked to wait, at most."""


class Watches:
    """The streams of a node. Use it in `async with`: its end gives up what is being made."""

    def __init__(
        self,
        reader: LogReader,
        directory: Path,
        registry: Registry,
        proofs: Proofs,
        *,
        limits: WatchLimits | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`directory` is where snapshots are, in files without a name.

        `registry` keeps what the readers of these streams say to have applied. `proofs` are for
        those that verify.
        """
        self.limits = limits or WatchLimits()
        self.snapshots = Snapshots(reader, directory, proofs, self.limits)
        self.resyncs: Counter[tuple[str, str]] = Counter()
        """Snapshots that streams began with, by tenant and reason."""
        self._reader = reader
        self._proofs = proofs
        self._chance = chance or random.SystemRandom()
        self._registry = registry
        self._hubs: dict[TenantId, Hub] = {}
        self._streams: dict[str, Stream] = {}
        self._room = Room(
            "streams",
            most=("streams_max", self.limits.streams_max),
            most_of_principal=("streams_of_principal_max", self.limits.streams_of_principal_max),
        )

    @property
    def hubs(self) -> list[Hub]:
        """The hubs of tenants that were ever watched."""
        return list(self._hubs.values())

    async def __aenter__(self) -> Self:
        await self.snapshots.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.snapshots.__aexit__(kind, error, trace)

    async def open(
        self,
        follower: Follower,
        reader: Reader,
        token: str,
        *,
        now: Callable[[], Instant],
        wait_seconds: float,
    ) -> Stream:
        """Return a stream that begins where a token says; `close` it, whatever happens.

        Raises:
            InvalidArgumentError: BAD_TOKEN.
            ExhaustedError: LIMIT_REACHED, or OVERLOADED: too many wait for a snapshot.
            UnavailableError: STATE_STALE, NODE_BEHIND, DRAINING.
        """
        self._room.require(reader.principal)
        hub = self._hub(follower)
        start = await _start(hub, token, self.limits, wait_seconds)
        offers_taken = await self._offers_taken(hub)
        self._room.require(reader.principal)
        stream = Stream(
            hub,
            self.snapshots,
            self.limits,
            stream_id=f"{self._chance.getrandbits(128):032x}",
            reader=reader,
            start=start,
            offers_taken=offers_taken,
            now=now,
            heartbeat_seconds=self._about(self.limits.heartbeat_seconds),
            life_seconds=self.limits.stream_seconds_max * self._chance.uniform(0.5, 1.0),
        )
        if start.resync is not None:
            reason = pb.ResyncReason.Name(start.resync).removeprefix("RESYNC_REASON_")
            self.resyncs[hub.tenant.name, reason] += 1
        self._room.take(reader.principal)
        self._streams[stream.stream_id] = stream
        self._registry.open(
            hub.tenant_id,
            reader.subscriber,
            stream.stream_id,
            instance=reader.instance or stream.stream_id,
            max_staleness_seconds=reader.max_staleness_seconds,
            applied=stream.applied_revision,
        )
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream that ended."""
        stream.leave()
        if self._streams.pop(stream.stream_id, None) is not None:
            self._room.give_back(stream.reader.principal)
            self._registry.close(stream.stream_id)

    def report(
        self,
        tenant_id: TenantId,
        principal: Hashable,
        stream_id: str,
        *,
        probe: int,
        applied: Revision,
        source_age_seconds: float,
    ) -> None:
        """Take a report of a stream's reader.

        Raises:
            NotFoundError: STREAM_UNKNOWN, the principal has no such stream of the tenant here.
        """
        stream = self._streams.get(stream_id)
        if (
            stream is None
            or stream.reader.principal != principal
            or stream.hub.tenant_id != tenant_id
        ):
            raise NotFoundError(
                "this node has no such stream; open another", reason=ErrorReason.STREAM_UNKNOWN
            )
        stream.report(probe, applied, source_age_seconds)
        self._registry.report(stream_id, stream.applied_revision)

    def drain(self, seconds: float) -> None:
        """Open no further stream, and end those there are, each at its own time within so long."""
        self._room.close()
        for stream in self._streams.values():
            stream.end_in(
                self._chance.uniform(0, seconds),
                reconnect_after_seconds=self._chance.uniform(0, RECONNECT_SECONDS_MAX),
            )

    def _hub(self, follower: Follower) -> Hub:
        tenant_id = follower.tenant.tenant_id
        hub = self._hubs.get(tenant_id)
        if hub is None:
            hub = self._hubs[tenant_id] = Hub(self._reader, follower, self._proofs, self.limits)
        return hub

    async def _offers_taken(self, hub: Hub) -> pb.OffersTaken | None:
        """What of earlier lives of the store the log has, while its followers are asked for it.

        None also where nobody can tell: a follower that holds something then offers all of it.
        """
        follower = hub.follower
        if not follower.is_usable or not any(one.spares_mandatory for one in follower.index.holds):
            return None
        try:
            earlier = await self._reader.earlier_epochs(hub.tenant_id, EARLIER_EPOCHS_MAX)
        except UnavailableError:
            return None
        return pb.OffersTaken(
            earlier=[pb.EarlierEpoch(epoch=one.epoch, revision=one.revision) for one in earlier]
        )

    def _about(self, seconds: float) -> float:
        return seconds * self._chance.uniform(1 - JITTER, 1 + JITTER)


_NOWHERE: Final = Revision(0)


async def _start(hub: Hub, text: str, limits: WatchLimits, wait_seconds: float) -> Start:
    """Decide where a stream begins."""
    follower = hub.follower
    if not text:
        return _with_snapshot(pb.RESYNC_REASON_NEW)
    token = decode_token(text)
    if token.epoch != follower.index.epoch:
        return _with_snapshot(pb.RESYNC_REASON_EPOCH_CHANGED)
    if token.tenant_id != hub.tenant_id:
        return _with_snapshot(pb.RESYNC_REASON_HISTORY_CHANGED)
    if token.revision > follower.revision:
        await _reach(follower, token, wait_seconds)
    if follower.revision - token.revision > limits.replay_changes_max:
        return _with_snapshot(pb.RESYNC_REASON_BEHIND, token.revision)
    if not await hub.has(token.revision, token.running_hash):
        return _with_snapshot(pb.RESYNC_REASON_HISTORY_CHANGED, token.revision)
    return Start(
        position=token.revision,
        stood_at=token.revision,
        hash=token.running_hash,
        resync=None,
    )


async def _reach(follower: Follower, token: Token, wait_seconds: float) -> None:
    if not await follower.reached(token.revision, wait_seconds):
        raise UnavailableError(
            f"this node is at revision {follower.revision} and the token at {token.revision}; "
            "open the stream again, or at another node",
            reason=ErrorReason.NODE_BEHIND,
            metadata={"applied": str(follower.revision)},
        )


def _with_snapshot(reason: "pb.ResyncReason.ValueType", stood_at: Revision = _NOWHERE) -> Start:
    return Start(position=_NOWHERE, stood_at=stood_at, hash=None, resync=reason)
