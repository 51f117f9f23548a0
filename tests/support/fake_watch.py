"""A server of the watch contract that does what a test says, and what it should unless told so.

It answers everything else as `heed.testing.FakeService` does. Its streams are the test's to write
to: `FakeWatch.streams` gives each as it is opened. While `is_obedient`, a stream is opened, given
its snapshot or what it missed, its probes are echoed, and `publish` sends what was written since.
"""

import hashlib
import queue
from collections.abc import Generator, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_status import rpc_status

from heed.connection.methods import FOLLOWING, METHODS
from heed.errors import ConflictError, ErrorReason, HeedError
from heed.keys import LOOKUP_KEY_BYTES
from heed.model import Channel, Record, RecordKind, Revision, SubjectKey
from heed.testing import FakeService
from heed.testing.memory import EPOCH, Memory
from heed.tokens import encode_token
from heed.topics import covers_topic
from heed.wire import format as told
from heed.wire import watched
from heed.wire.status import to_status
from heed_proto.v1 import watch_service_pb2 as pb

WAIT_SECONDS_MAX = 60
"""How long anything is waited for before the test fails."""
STREAMS_MAX = 24

Standing = dict[SubjectKey, tuple[Record, ...]]


class WatchStream:
    """One stream: what it asked, and what it is told."""

    def __init__(self, server: "FakeWatch", request: pb.WatchChangesRequest) -> None:
        self.server = server
        self.request = request
        self.position = 0
        self.ended = False
        self.stream_id = f"stream-{id(self)}"
        self._messages: queue.Queue[pb.WatchChangesResponse | HeedError | None] = queue.Queue()

    def send(self, **event: Any) -> None:
        self._messages.put(pb.WatchChangesResponse(**event))

    def opened(self, **said: Any) -> None:
        memory = self.server.memory
        fields: dict[str, Any] = {
            "stream_id": self.stream_id,
            "epoch": self.server.epoch,
            "lookup_keys": [pb.LookupKey(key_id=1, key=bytes(LOOKUP_KEY_BYTES))],
            "rule_version": 1,
            "normaliser_version": 1,
            "heartbeat_interval": Duration(seconds=self.server.heartbeat_seconds),
            "tenant": memory.name,
            "head_revision": memory.revision,
            "tenant_id": memory.tenant_id,
        }
        self.send(opened=pb.Opened(**(fields | said)))

    def snapshot(
        self,
        reason: "pb.ResyncReason.ValueType" = pb.RESYNC_REASON_NEW,
        *,
        checksum: bytes = b"",
        size: int = 100,
    ) -> None:
        self.begin_snapshot(reason)
        self.end_snapshot(self.chunks(size), checksum=checksum)

    def begin_snapshot(self, reason: "pb.ResyncReason.ValueType" = pb.RESYNC_REASON_NEW) -> None:
        memory = self.server.memory
        self.send(
            snapshot_begin=pb.SnapshotBegin(
                reason=reason,
                revision=memory.revision,
                topics=[told.topic(topic) for topic in memory.ledger.topics.values()],
                holds=[told.hold(hold) for hold in memory.ledger.holds.values()],
            )
        )

    def chunks(self, size: int) -> list[bytes]:
        """Send every record that the filter wants, `size` subjects a chunk."""
        subjects = [
            (key, wanted)
            for key, records in sorted(self.server.standing().items())
            if (wanted := self.wanted(records))
        ]
        chunks = [
            watched.subjects_to(subjects[at : at + size]) for at in range(0, len(subjects), size)
        ]
        for chunk in chunks:
            self.send(snapshot_chunk=pb.SnapshotChunk(records=chunk))
        return chunks

    def end_snapshot(self, chunks: Sequence[bytes], *, checksum: bytes = b"") -> None:
        memory = self.server.memory
        count = sum(len(records) for chunk in chunks for _, records in watched.subjects_from(chunk))
        self.position = memory.revision
        self.send(
            snapshot_end=pb.SnapshotEnd(
                record_count=count,
                checksum=checksum or hashlib.sha256(b"".join(chunks)).digest(),
                token=self.server.token(memory.revision),
                running_hash=self.server.running_hash(memory.revision),
            )
        )

    def changes(self, **said: Any) -> None:
        """Send what was written since the stream's position."""
        memory = self.server.memory
        fields: dict[str, Any] = {
            "after": self.position,
            "through": memory.revision,
            "changes": self.server.changes_after(self.position, self),
            "token": self.server.token(memory.revision),
            "running_hash": self.server.running_hash(memory.revision),
        } | said
        self.position = fields["through"]
        self.send(changes=pb.Changes(**fields))

    def heartbeat(self, probe: int = 0, **said: Any) -> None:
        fields: dict[str, Any] = {
            "through": self.position,
            "now_us": self.server.service.clock.instant(),
            "probe": probe,
            "source_age_ms": 0,
        }
        self.send(heartbeat=pb.Heartbeat(**(fields | said)))

    def draining(self, seconds: int) -> None:
        self.send(draining=pb.Draining(reconnect_after=Duration(seconds=seconds)))

    def end(self, error: HeedError | None = None) -> None:
        self._messages.put(error)

    def wanted(self, records: Sequence[Record]) -> tuple[Record, ...]:
        return tuple(record for record in records if self._wants(record))

    def _wants(self, record: Record) -> bool:
        channels = {*self.request.channels, int(Channel.ANY)}
        by_channel = not self.request.channels or record.channel in channels
        return by_channel and (
            not self.request.topics
            or any(
                covers_topic(topic, record.topic) or covers_topic(record.topic, topic)
                for topic in self.request.topics
            )
        )

    def run(self, context: grpc.ServicerContext) -> Iterator[bytes]:
        if not context.add_callback(self._leave):
            return  # its caller had gone before this thread ran: nobody would ever call `_leave`
        if self.server.is_obedient:
            self._begin()
        self.server.streams.put(self)
        while True:
            message = self._messages.get()
            if message is None:
                return
            if isinstance(message, HeedError):
                context.abort_with_status(rpc_status.to_status(to_status(message)))
            yield message.SerializeToString()

    def _begin(self) -> None:
        server, request = self.server, self.request
        self.opened()
        resumed = next(
            (at for at in range(server.memory.revision + 1) if server.token(at) == request.token),
            None,
        )
        if resumed is None:
            reason = pb.RESYNC_REASON_EPOCH_CHANGED if request.token else pb.RESYNC_REASON_NEW
            self.snapshot(reason)
        else:
            self.position = resumed
            if resumed < server.memory.revision:
                self.changes()
        server.obeyed.append(self)

    def _leave(self) -> None:
        self.ended = True
        self._messages.put(None)


class FakeWatch:
    """The server."""

    def __init__(self) -> None:
        self.service = FakeService()
        self.address = ""
        self.is_obedient = True
        self.heartbeat_seconds = 10
        self.source_age_ms = 0
        self.epoch = EPOCH
        self.streams: queue.Queue[WatchStream] = queue.Queue()
        """Each stream, once it was opened and has done what it does by itself."""
        self.obeyed: list[WatchStream] = []
        self.reports: queue.Queue[pb.ReportAppliedRequest] = queue.Queue()
        self.asked: list[str] = []
        """Names of the other methods that were called."""
        self.failure: HeedError | None = None
        """What every other method fails with."""
        self._history: dict[int, tuple[Standing, dict[str, Any], dict[str, Any]]] = {}
        self._note()

    @property
    def memory(self) -> Memory:
        return next(iter(self.service._tenants.values()))

    def stream(self) -> WatchStream:
        """The next stream that is opened."""
        return self.streams.get(timeout=WAIT_SECONDS_MAX)

    def report(self) -> pb.ReportAppliedRequest:
        """The next probe."""
        return self.reports.get(timeout=WAIT_SECONDS_MAX)

    def report_of(self, stream: WatchStream) -> pb.ReportAppliedRequest:
        """The next probe of this stream; those of others before it are passed over.

        One that is resumed and has missed nothing is told of once while its time stands still. Of
        a new one it may be once or twice: as it is opened and as it is whole, or as both.
        """
        while True:
            report = self.report()
            if report.stream_id == stream.stream_id:
                return report

    def publish(self) -> int:
        """Send what was written since to every stream that obeys; return the revision."""
        self._note()
        for stream in self.obeyed:
            if not stream.ended and stream.position < self.memory.revision:
                stream.changes()
        return self.memory.revision

    def running_hash(self, revision: int) -> bytes:
        return hashlib.sha256(revision.to_bytes(8)).digest()

    def token(self, revision: int) -> str:
        return encode_token(
            epoch=self.epoch,
            tenant_id=self.memory.tenant_id,
            revision=Revision(revision),
            running_hash=self.running_hash(revision),
        )

    def standing(self) -> Standing:
        memory = self.memory
        return {
            key: tuple(memory.standing(key))
            for key in memory.ledger.records
            if memory.standing(key)
        }

    def changes_after(self, revision: int, stream: WatchStream) -> list[pb.Change]:
        """What leads from a revision that was published to what stands."""
        before, topics, holds = self._history[revision]
        now, ledger = self.standing(), self.memory.ledger
        changes: list[tuple[int, pb.Change]] = []
        for key in before.keys() | now.keys():
            old = {record.slot: record for record in before.get(key, ())}
            new = {record.slot: record for record in now.get(key, ())}
            for slot, record in new.items():
                if old.get(slot) != record and stream.wanted([record]):
                    change = pb.Change(subject_key=key, set_record=watched.record_to(record))
                    changes.append((record.revision, change))
            for slot, record in old.items():
                if slot not in new and stream.wanted([record]):
                    assert record.kind is RecordKind.SUPPRESSION
                    change = pb.Change(subject_key=key, remove_record=watched.record_to(record))
                    changes.append((self.memory.revision, change))
        for name, topic in ledger.topics.items():
            if topics.get(name) != topic:
                changes.append((topic.revision, pb.Change(set_topic=told.topic(topic))))
        for hold_id, hold in ledger.holds.items():
            if hold_id not in holds:
                changes.append((hold.revision, pb.Change(set_hold=told.hold(hold))))
        changes += [
            (self.memory.revision, pb.Change(remove_hold_id=hold_id))
            for hold_id in holds.keys() - ledger.holds.keys()
        ]
        changes.sort(key=lambda one: one[0])
        for at, change in changes:
            change.revision = at
            change.commit_time_us = self.memory.head.commit_time
        return [change for _, change in changes]

    def answer(self, name: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        if name == "ReportApplied":
            report = pb.ReportAppliedRequest.FromString(data)
            for stream in self.obeyed:
                if (
                    self.is_obedient
                    and not stream.ended
                    and report.stream_id.endswith(str(id(stream)))
                ):
                    stream.heartbeat(report.probe, source_age_ms=self.source_age_ms)
            self.reports.put(report)
            return b""
        self.asked.append(name)
        try:
            if self.failure is not None:
                raise self.failure
            if name == "OfferRecords":
                raise ConflictError(
                    "no hold of a restore stands here", reason=ErrorReason.OFFERS_CLOSED
                )
            return self.service.answer(name, data)
        except HeedError as error:
            context.abort_with_status(rpc_status.to_status(to_status(error)))
            raise AssertionError from error

    def _note(self) -> None:
        memory = self.memory
        self._history[memory.revision] = (
            self.standing(),
            dict(memory.ledger.topics),
            dict(memory.ledger.holds),
        )

    def handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        specs = (*METHODS, *FOLLOWING)
        for service in sorted({spec.service for spec in specs}):
            methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
            for spec in specs:
                if spec.service != service:
                    continue
                if spec.name == "WatchChanges":
                    methods[spec.name] = grpc.unary_stream_rpc_method_handler(self._watch)
                else:
                    methods[spec.name] = grpc.unary_unary_rpc_method_handler(self._unary(spec.name))
            yield grpc.method_handlers_generic_handler(service, methods)

    def _watch(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        return WatchStream(self, pb.WatchChangesRequest.FromString(data)).run(context)

    def _unary(self, name: str) -> Any:
        return lambda data, context: self.answer(name, data, context)


@contextmanager
def fake_watch(
    address: str = "127.0.0.1:0", watch: FakeWatch | None = None
) -> Generator[FakeWatch]:
    """Serve."""
    serving = watch or FakeWatch()
    with futures.ThreadPoolExecutor(STREAMS_MAX) as pool:
        server = grpc.server(pool)
        for handler in serving.handlers():
            server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port(address)
        serving.address = f"127.0.0.1:{port}"
        server.start()
        try:
            yield serving
        finally:
            server.stop(None).wait()
