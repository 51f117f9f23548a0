"""A subscriber as somebody would write one in another language: by the contract, with no cache.

It keeps what it was told in plain dictionaries and checks every promise of the stream as it reads.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from grpc import aio

from heed.wire.watched import hold_from, subjects_from, topic_from
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.told_changes import ToldChanges

WATCH = "/heed.v1.WatchService/WatchChanges"
REPORT = "/heed.v1.WatchService/ReportApplied"
WAIT_SECONDS_MAX = 60.0

Read = Callable[[pb.WatchChangesResponse], object]


class Knowledge(ToldChanges):
    """What one subscriber knows; it outlives its streams."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = pb.Opened()
        self.token = ""
        self.revision = 0
        self.running_hash = b""
        self.reasons: list[str] = []
        """Why each snapshot was sent."""
        self.snapshot_revision = 0
        """Where the last snapshot stood."""
        self.changes = 0
        """How many changes were applied one by one."""
        self.heartbeats: list[pb.Heartbeat] = []
        self.draining: pb.Draining | None = None
        self.probe = 0
        """The last probe that was sent."""
        self.is_whole = False
        self._snapshot: list[bytes] = []

    def take(self, message: pb.WatchChangesResponse) -> None:
        """Apply a message, checking what it promises."""
        match message.WhichOneof("event"):
            case "opened":
                self.opened = message.opened
                self.probe = 0
            case "snapshot_begin":
                self._begin(message.snapshot_begin)
            case "snapshot_chunk":
                assert not self.is_whole
                self._snapshot.append(message.snapshot_chunk.records)
            case "snapshot_end":
                self._end(message.snapshot_end)
            case "changes":
                self._apply(message.changes)
            case "heartbeat":
                self._hear(message.heartbeat)
            case "draining":
                self.draining = message.draining
            case other:
                raise AssertionError(f"an event of a later version: {other}")

    def _begin(self, begin: pb.SnapshotBegin) -> None:
        self.reasons.append(pb.ResyncReason.Name(begin.reason).removeprefix("RESYNC_REASON_"))
        self.is_whole = False
        self._snapshot = []
        self.revision = self.snapshot_revision = begin.revision
        self.topics = {one.name: topic_from(one) for one in begin.topics}
        self.holds = {one.hold_id: hold_from(one) for one in begin.holds}

    def _end(self, end: pb.SnapshotEnd) -> None:
        assert hashlib.sha256(b"".join(self._snapshot)).digest() == end.checksum
        subjects = [one for chunk in self._snapshot for one in subjects_from(chunk)]
        assert [key for key, _ in subjects] == sorted({key for key, _ in subjects})
        self.records = {key: {one.slot: one for one in records} for key, records in subjects}
        assert sum(map(len, self.records.values())) == end.record_count
        assert all(self.records.values())
        self._stand(self.revision, end.token, end.running_hash)
        self.is_whole = True
        self._snapshot = []

    def _apply(self, changes: pb.Changes) -> None:
        assert self.is_whole
        assert changes.after == self.revision, "there is a gap"
        assert changes.through > changes.after
        last = changes.after
        for message in changes.changes:
            assert last < message.revision <= changes.through
            last = message.revision
            self.changes += 1
            if message.HasField("rekey"):
                assert message.rekey.key_id in {key.key_id for key in self.opened.lookup_keys}
            self.apply(message)
        self._stand(changes.through, changes.token, changes.running_hash)

    def _hear(self, heartbeat: pb.Heartbeat) -> None:
        assert heartbeat.through in ({self.revision} if self.is_whole else {0, self.revision})
        if self.heartbeats:
            assert heartbeat.probe <= self.probe
        self.heartbeats.append(heartbeat)

    def _stand(self, revision: int, token: str, running_hash: bytes) -> None:
        assert token
        assert len(running_hash) == 32
        self.revision, self.token, self.running_hash = revision, token, running_hash


class Subscriber(Knowledge):
    """A subscriber over gRPC."""

    def __init__(
        self,
        channel: aio.Channel,
        name: str = "mailer-1",
        *,
        key: str = "",
        tenant: str = "",
        channels: tuple["types.Channel.ValueType", ...] = (),
        topics: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.name = name
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._tenant, self._channels, self._topics = tenant, channels, topics

    def use(self, channel: aio.Channel) -> None:
        """Open streams over another connection from now on."""
        self._channel = channel

    @asynccontextmanager
    async def stream(self, *, max_staleness_seconds: int = 5) -> AsyncGenerator["OpenStream"]:
        """Open a stream where this subscriber stands, read up to and with `Opened`."""
        asked = pb.WatchChangesRequest(
            tenant=self._tenant,
            subscriber=self.name,
            token=self.token,
            channels=self._channels,
            topics=self._topics,
        )
        asked.max_staleness.seconds = max_staleness_seconds
        method: aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(WATCH)
        call = method(asked.SerializeToString(), metadata=self._metadata)
        stream = OpenStream(self, call)
        try:
            first = await stream.read()
            assert first.WhichOneof("event") == "opened"
            yield stream
        finally:
            call.cancel()

    async def report(self, *, applied: int | None = None) -> int:
        """Send a probe with how far this subscriber is, and return its number."""
        self.probe += 1
        asked = pb.ReportAppliedRequest(
            tenant=self._tenant,
            stream_id=self.opened.stream_id,
            applied_revision=self.revision if applied is None else applied,
            probe=self.probe,
        )
        method: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(REPORT)
        await method(asked.SerializeToString(), metadata=self._metadata, timeout=WAIT_SECONDS_MAX)
        return self.probe


class OpenStream:
    """A stream that is read message by message."""

    def __init__(self, subscriber: Subscriber, call: "aio.UnaryStreamCall[bytes, bytes]") -> None:
        self.call = call
        self._subscriber = subscriber
        self._messages = aiter(call)

    async def read(self) -> pb.WatchChangesResponse:
        """Take the next message."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            message = pb.WatchChangesResponse.FromString(await anext(self._messages))
        self._subscriber.take(message)
        return message

    async def read_until(self, is_enough: Callable[[], bool]) -> None:
        """Take messages until something is true."""
        while not is_enough():
            await self.read()

    async def reach(self, revision: int) -> None:
        """Take messages until the subscriber stands at a revision, its snapshot whole."""
        subscriber = self._subscriber
        await self.read_until(lambda: subscriber.is_whole and subscriber.revision >= revision)

    async def heartbeat_of(self, probe: int) -> pb.Heartbeat:
        """Take messages until a heartbeat gives a probe back, and return it."""
        heartbeats = self._subscriber.heartbeats
        await self.read_until(lambda: bool(heartbeats) and heartbeats[-1].probe >= probe)
        return heartbeats[-1]

    async def read_to_end(self) -> None:
        """Take everything until the server ends the stream."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            async for data in self.call:
                self._subscriber.take(pb.WatchChangesResponse.FromString(data))
