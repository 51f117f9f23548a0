"""etcd as a peer: how soon a write is with the last of so many of its watchers.

Nothing is generated or vendored for it: the few fields that are used are declared here, with the
numbers that etcd's rpc.proto and kv.proto give them.
Source: etcd 3.4, api/etcdserverpb/rpc.proto and mvccpb/kv.proto.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.bench.figures import quantile
from tests.bench.nodes import SERVER_CORE, BenchError
from tests.support.ports import free_port

START_SECONDS_MAX: Final = 30.0
OPEN_SECONDS_MAX: Final = 60.0
APPLY_SECONDS_MAX: Final = 30.0
_PREFIX: Final = b"person/"
_PREFIX_END: Final = b"person0"

_INT64, _BOOL, _MESSAGE, _BYTES = 3, 8, 11, 12
_FIELDS: Final[dict[str, dict[str, tuple[int, int, str]]]] = {
    "ResponseHeader": {"revision": (3, _INT64, "")},
    "KeyValue": {"key": (1, _BYTES, ""), "mod_revision": (3, _INT64, ""), "value": (5, _BYTES, "")},
    "Event": {"kv": (2, _MESSAGE, "KeyValue")},
    "PutRequest": {"key": (1, _BYTES, ""), "value": (2, _BYTES, "")},
    "PutResponse": {"header": (1, _MESSAGE, "ResponseHeader")},
    "WatchCreateRequest": {"key": (1, _BYTES, ""), "range_end": (2, _BYTES, "")},
    "WatchRequest": {"create_request": (1, _MESSAGE, "WatchCreateRequest")},
    "WatchResponse": {"created": (3, _BOOL, ""), "events": (11, _MESSAGE, "Event")},
}
"""Of each message: name, number, type and type's name of what is used of it."""
_REPEATED: Final = frozenset({"events"})


@contextmanager
def running_etcd(folder: Path) -> Generator[int]:
    """Run an etcd of this machine, fsynced as it is by default; 0 where there is none."""
    program = shutil.which("etcd")
    if program is None:
        yield 0
        return
    port, peers = free_port(), free_port()
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                *("--data-dir", str(folder / "etcd")),
                *("--listen-client-urls", f"http://127.0.0.1:{port}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{port}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peers}"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(START_SECONDS_MAX)
        yield port
    finally:
        process.terminate()
        process.wait()


def propagation(port: int, count: int, writes: int, poll_seconds: float) -> dict[str, float]:
    """Write once at a time, and wait until the last of so many watchers has it.

    The stack is that of heed's caches: synchronous gRPC, and a thread and a channel a watcher.
    """
    kinds = _messages()
    with ExitStack() as opened:
        watchers = [opened.enter_context(_watching(port, kinds)) for _ in range(count)]
        for watcher in watchers:
            if not watcher.is_open.wait(OPEN_SECONDS_MAX):
                raise BenchError("an etcd watcher did not open its stream")
        channel = opened.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
        put: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=kinds["PutRequest"].SerializeToString,
            response_deserializer=kinds["PutResponse"].FromString,
        )
        taken: list[float] = []
        for number in range(writes):
            begun = time.perf_counter()
            request = kinds["PutRequest"](key=_PREFIX + b"%d" % number, value=bytes(64))
            revision = put(request, timeout=10.0).header.revision
            while not all(watcher.revision >= revision for watcher in watchers):
                if time.perf_counter() - begun > APPLY_SECONDS_MAX:
                    raise BenchError("an etcd watcher did not get a write")
                time.sleep(poll_seconds)
            taken.append((time.perf_counter() - begun) * 1000)
    return {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)}


class _Watcher:
    """One watch, which keeps what it hears in memory. Its state is written by its thread only."""

    def __init__(self, port: int, kinds: "dict[str, type[Any]]") -> None:
        self.revision = 0
        self.is_open = threading.Event()
        self._ask = kinds["WatchRequest"](
            create_request=kinds["WatchCreateRequest"](key=_PREFIX, range_end=_PREFIX_END)
        )
        self._over = threading.Event()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        watch: grpc.StreamStreamMultiCallable[Any, Any] = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=kinds["WatchRequest"].SerializeToString,
            response_deserializer=kinds["WatchResponse"].FromString,
        )
        self._stream = watch(self._asked())
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        """End the watch."""
        self._over.set()
        self._stream.cancel()
        self._thread.join()
        self._channel.close()

    def _asked(self) -> Iterator[Any]:
        yield self._ask
        self._over.wait()

    def _read(self) -> None:
        kept: dict[bytes, bytes] = {}
        try:
            for response in self._stream:
                for event in response.events:
                    kept[event.kv.key] = event.kv.value
                    self.revision = event.kv.mod_revision
                if response.created:
                    self.is_open.set()
        except grpc.RpcError:
            return


@contextmanager
def _watching(port: int, kinds: "dict[str, type[Any]]") -> Generator[_Watcher]:
    watcher = _Watcher(port, kinds)
    try:
        yield watcher
    finally:
        watcher.close()


def _messages() -> "dict[str, type[Any]]":
    """The classes of the messages that are used, by name."""
    file = descriptor_pb2.FileDescriptorProto(name="etcd_used.proto", package="etcd_used")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, of) in fields.items():
            message.field.add(
                name=field,
                number=number,
                type=descriptor_pb2.FieldDescriptorProto.Type.Name(kind),  # type: ignore[arg-type]
                type_name=f".etcd_used.{of}" if of else None,
                label="LABEL_REPEATED" if field in _REPEATED else "LABEL_OPTIONAL",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"etcd_used.{name}"))
        for name in _FIELDS
    }
