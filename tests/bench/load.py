"""A light load: many calls of one gRPC method, from one process, counted and timed.

It is no client. It speaks just enough HTTP/2 (RFC 9113) and HPACK (RFC 7541) to make one shape of
call again and again, because a Python gRPC client costs more than the server that is measured:
- it sends request headers by index after the first call, as real clients do, and forbids the
  server a dynamic table (SETTINGS_HEADER_TABLE_SIZE 0), so that equal trailers are equal bytes;
- it keeps both flow-control windows, answers SETTINGS and PING, and takes everything else that is
  not HEADERS or DATA (GOAWAY, RST_STREAM, CONTINUATION, padding, Huffman names) for a failure;
- a call is counted only when its trailers end the stream with grpc-status 0; over one call that
  asks again and again, each message is counted when its answer is whole.

It never sleeps while it measures. A halted virtual core is woken by an interrupt that the waker
pays for, so that a load which sleeps makes the server slower the quicker it is; `idle_share` says
instead how much of the time there was nothing to do.

With `rate` None a fixed number of calls is kept in flight (closed loop). With a rate, calls are due
at even intervals and their latency counts from when they were due (open loop), so that a server
that stalls is not asked less.
"""

import json
import os
import selectors
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.bench.hpack import literals, text
from tests.bench.http1 import Http1Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 1, 2, 4
FRAME_BYTES_MAX = 16_384
WINDOW_MAX = 2**31 - 1
WINDOW_DEFAULT = 65_535
REPLENISH_BYTES = 1 << 28
DRAIN_SECONDS_MAX = 10.0
"""How long calls that are under way at the end may take before they count as unanswered."""
SAMPLES_MAX = 64
"""Replies handed back, so that whoever measures can look at what was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What to ask, how often, for how long."""

    port: int
    method: str
    """`/heed.v1.PreferenceService/CheckSuppression`"""
    requests: str
    """A file written by `write_requests`; used in turn."""
    repeats: bool = True
    """Whether to begin again after the last request; False ends the load there."""
    connections: int = 4
    in_flight: int = 64
    """Calls under way over all connections."""
    rate: float | None = None
    warm_seconds: float = 0.3
    seconds: float = 2.0
    metadata: dict[str, str] = field(default_factory=dict)
    certificate: str | None = None
    """A PEM file to trust; None: no TLS."""
    shown: tuple[str, str] | None = None
    """PEM files of a certificate to show, and of its key; None: none is shown."""
    core: int | None = None
    is_stream: bool = False
    """Whether each connection makes one call for all its requests, answered in their order."""
    is_http1: bool = False
    """Whether requests are HTTP/1.1 as they go on the wire, one under way on each connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What came of it, in the seconds after the warming up."""

    calls: int
    seconds: float
    all_calls: int
    """Those of the warming up too."""
    failures: dict[str, int]
    p50_ms: float
    p99_ms: float
    idle_share: float
    """For how much of the time the load had nothing to do; near 0 the load itself is the limit."""
    replies: list[str]
    """The first replies, as hex, without the five bytes before each message."""

    @property
    def calls_per_second(self) -> float:
        """How many calls ended well in a second."""
        return self.calls / self.seconds


def write_requests(path: Path, messages: list[bytes]) -> None:
    """Write messages for a load to send, each after its length."""
    with path.open("wb") as file:
        for message in messages:
            file.write(struct.pack(">I", len(message)) + message)


class Connection:
    """One HTTP/2 connection that makes one kind of call."""

    def __init__(self, spec: LoadSpec) -> None:
        self.socket = _connected(spec, "h2")
        self.begun: dict[int, float] = {}
        self.ended: list[tuple[float, float]] = []
        """(when the call began or was due, when it ended)"""
        self.failures: dict[str, int] = {}
        self.samples: list[bytes] = []
        self._first_headers, self._headers = _header_blocks(spec)
        self._stream = 1
        self._window = WINDOW_DEFAULT
        self._stream_window = WINDOW_DEFAULT
        self._windows: dict[int, int] = {}
        self._unsent: deque[tuple[int, memoryview]] = deque()
        self._statuses: dict[bytes, str] = {}
        self._received = 0
        self._in = bytearray()
        self._out = bytearray(PREFACE)
        settings = ((HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, WINDOW_MAX))
        self._frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in settings))
        self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW_MAX - WINDOW_DEFAULT))

    def call(self, message: bytes, due: float) -> None:
        """Begin one call."""
        stream = self._stream
        self._stream += 2
        headers, self._first_headers = self._first_headers or self._headers, b""
        self._frame(HEADERS, END_HEADERS, stream, headers)
        body = b"\0" + struct.pack(">I", len(message)) + message
        self.begun[stream] = due
        if not self._unsent and len(body) <= min(
            self._window, self._stream_window, FRAME_BYTES_MAX
        ):
            self._window -= len(body)
            self._frame(DATA, END_STREAM, stream, body)
        else:
            self._windows[stream] = self._stream_window
            self._unsent.append((stream, memoryview(body)))
            self._send_unsent()

    @property
    def made(self) -> int:
        """How many calls it was given."""
        return self._stream // 2

    @property
    def has_output(self) -> bool:
        """Whether something waits to be written to the socket."""
        return bool(self._out)

    def write(self) -> None:
        """Write what the socket takes."""
        try:
            sent = self.socket.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        del self._out[:sent]

    def read(self) -> None:
        """Read what is there and act on each whole frame."""
        try:
            received = self.socket.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not received:
            raise ConnectionError("the server closed the connection")
        self._in += received
        self._received += len(received)
        if self._received > REPLENISH_BYTES:
            self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received))
            self._received = 0
        buffer, at, end = self._in, 0, len(self._in)
        while end - at >= 9:
            size = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if end - at - 9 < size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9])
            self._act(kind, flags, stream, bytes(buffer[at + 9 : at + 9 + size]))
            at += 9 + size
        del self._in[:at]

    def _act(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            if flags & END_STREAM:
                self._end(stream, self._status_of(payload))
        elif kind == DATA:
            if len(self.samples) < SAMPLES_MAX:
                self.samples.append(payload[5:])
            if flags & END_STREAM:
                self._end(stream, "no trailers")
        elif kind == SETTINGS:
            if not flags & ACK:
                self._take_settings(payload)
                self._frame(SETTINGS, ACK, 0, b"")
        elif kind == PING:
            if not flags & ACK:
                self._frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload) & WINDOW_MAX)
        elif kind == RST_STREAM:
            self._end(stream, f"reset {int.from_bytes(payload)}")
        else:
            raise ConnectionError(f"frame {kind} {payload!r}: not for a load like this")

    def _end(self, stream: int, status: str) -> None:
        begun = self.begun.pop(stream)
        if status == "0":
            self.ended.append((begun, time.perf_counter()))
        else:
            self.failures[status] = self.failures.get(status, 0) + 1

    def _status_of(self, block: bytes) -> str:
        status = self._statuses.get(block)
        if status is None:
            status = self._statuses[block] = next(
                (value for name, value in literals(block) if name == "grpc-status"), "none"
            )
        return status

    def _take_settings(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", payload):
            if name == INITIAL_WINDOW_SIZE:
                wider = value - self._stream_window
                self._stream_window = value
                for stream in self._windows:
                    self._windows[stream] += wider
                self._send_unsent()

    def _widen(self, stream: int, wider: int) -> None:
        if stream == 0:
            self._window += wider
        elif stream in self._windows:
            self._windows[stream] += wider
        self._send_unsent()

    def _send_unsent(self) -> None:
        while self._unsent:
            stream, rest = self._unsent[0]
            size = min(len(rest), self._window, self._windows[stream], FRAME_BYTES_MAX)
            if size <= 0:
                return
            is_last = size == len(rest)
            self._frame(DATA, END_STREAM if is_last else 0, stream, bytes(rest[:size]))
            self._window -= size
            self._windows[stream] -= size
            if is_last:
                self._unsent.popleft()
                del self._windows[stream]
            else:
                self._unsent[0] = (stream, rest[size:])

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._out += struct.pack(">BHBBI", size >> 16, size & 0xFFFF, kind, flags, stream)
        self._out += payload


class StreamConnection(Connection):
    """One HTTP/2 connection with one call, over which everything is asked."""

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self._frame(HEADERS, END_HEADERS, 1, self._first_headers)
        self._windows[1] = self._stream_window
        self._answers = bytearray()
        self._number = 0

    def call(self, message: bytes, due: float) -> None:
        """Ask over the call that there is."""
        self._number += 1
        self.begun[self._number] = due
        self._unsent.append((1, memoryview(b"\0" + struct.pack(">I", len(message)) + message)))
        self._send_unsent()

    def _send_unsent(self) -> None:
        while self._unsent:
            _, rest = self._unsent[0]
            size = min(len(rest), self._window, self._windows[1], FRAME_BYTES_MAX)
            if size <= 0:
                return
            self._frame(DATA, 0, 1, bytes(rest[:size]))
            self._window -= size
            self._windows[1] -= size
            self._unsent.popleft()
            if size < len(rest):
                self._unsent.appendleft((1, rest[size:]))

    def _act(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS and not flags & END_STREAM:
            return
        if kind != DATA:
            if kind in {HEADERS, RST_STREAM}:
                raise ConnectionError("the server ended the stream")
            super()._act(kind, flags, stream, payload)
            return
        self._answers += payload
        while len(self._answers) >= 5:
            size = 5 + int.from_bytes(self._answers[1:5])
            if len(self._answers) < size:
                return
            if len(self.samples) < SAMPLES_MAX:
                self.samples.append(bytes(self._answers[5:size]))
            del self._answers[:size]
            oldest = next(iter(self.begun))
            self.ended.append((self.begun.pop(oldest), time.perf_counter()))


AnyConnection: TypeAlias = Connection | Http1Connection


def run(spec: LoadSpec) -> LoadResult:
    """Make the load and say what came of it. Fails if the server ends a connection."""
    requests = _requests(spec)
    connections = [_connection(spec) for _ in range(spec.connections)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    begun = time.perf_counter()
    measured_from, stop_at = begun + spec.warm_seconds, begun + spec.warm_seconds + spec.seconds
    pace = _paced if spec.rate else _full
    is_over, idle_seconds, now = False, 0.0, begun
    while not is_over or any(connection.begun for connection in connections):
        if not is_over:
            is_over = now >= stop_at or not pace(spec, connections, requests, now, begun)
        elif now > stop_at + DRAIN_SECONDS_MAX:
            break
        for connection in connections:
            if connection.has_output:
                connection.write()
        ready = selector.select(0)
        for key, _ in ready:
            key.data.read()
        before, now = now, time.perf_counter()
        if not ready:
            idle_seconds += now - before
    idle_share = idle_seconds / (now - begun)
    return _result(spec, connections, (measured_from, min(stop_at, now)), idle_share)


def _full(
    spec: LoadSpec,
    connections: list[AnyConnection],
    requests: Iterator[bytes],
    now: float,
    begun: float,
) -> bool:
    """Fill each connection up to its share of the calls in flight."""
    share = spec.in_flight // len(connections)
    for connection in connections:
        for _ in range(share - len(connection.begun)):
            message = next(requests, None)
            if message is None:
                return False
            connection.call(message, now)
    return True


def _paced(
    spec: LoadSpec,
    connections: list[AnyConnection],
    requests: Iterator[bytes],
    now: float,
    begun: float,
) -> bool:
    """Begin the calls that have become due."""
    rate = spec.rate or 0.0
    made = sum(connection.made for connection in connections)
    for number in range(made, int((now - begun) * rate)):
        message = next(requests, None)
        if message is None:
            return False
        connections[number % len(connections)].call(message, begun + number / rate)
    return True


def _result(
    spec: LoadSpec,
    connections: list[AnyConnection],
    measured: tuple[float, float],
    idle_share: float,
) -> LoadResult:
    start, stop = measured
    ended = [end for connection in connections for end in connection.ended]
    within = [(begun, end) for begun, end in ended if start <= end < stop]
    latencies = sorted(end - begun for begun, end in within)
    failures: dict[str, int] = {}
    for connection in connections:
        for status, count in connection.failures.items():
            failures[status] = failures.get(status, 0) + count
        if connection.begun:
            failures["unanswered"] = failures.get("unanswered", 0) + len(connection.begun)
        connection.socket.close()
    return LoadResult(
        calls=len(within),
        all_calls=len(ended),
        seconds=stop - start,
        failures=failures,
        p50_ms=_quantile(latencies, 0.50),
        p99_ms=_quantile(latencies, 0.99),
        idle_share=idle_share,
        replies=[one.hex() for connection in connections for one in connection.samples],
    )


def _quantile(latencies: list[float], share: float) -> float:
    return latencies[int(len(latencies) * share)] * 1000 if latencies else 0.0


def _requests(spec: LoadSpec) -> Iterator[bytes]:
    content, at = Path(spec.requests).read_bytes(), 0
    messages: list[bytes] = []
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        messages.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    while True:
        yield from messages
        if not spec.repeats:
            return


def _connection(spec: LoadSpec) -> AnyConnection:
    if spec.is_http1:
        return Http1Connection(_connected(spec, "http/1.1"))
    return StreamConnection(spec) if spec.is_stream else Connection(spec)


def _connected(spec: LoadSpec, protocol: str) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", spec.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected = raw
    if spec.certificate:
        connected = _with_tls(raw, spec.certificate, spec.shown, protocol)
    connected.setblocking(False)
    return connected


def _header_blocks(spec: LoadSpec) -> tuple[bytes, bytes]:
    """The headers of the first call, which teach the server their indexes, and of all others."""
    fields = {
        ":path": spec.method,
        ":authority": f"localhost:{spec.port}",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "heed-bench",
        "grpc-timeout": "20S",
        **spec.metadata,
    }
    method_and_scheme = b"\x83\x87" if spec.certificate else b"\x83\x86"
    literals = b"".join(
        b"\x40" + text(name.encode()) + text(value.encode()) for name, value in fields.items()
    )
    # The newest entry of the dynamic table has index 62, the first number after the static one.
    indexes = bytes(0x80 | 62 + age for age in reversed(range(len(fields))))
    return method_and_scheme + literals, method_and_scheme + indexes


def _with_tls(
    raw: socket.socket, certificate: str, shown: tuple[str, str] | None, protocol: str
) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=certificate)
    if shown is not None:
        context.load_cert_chain(*shown)
    context.set_alpn_protocols([protocol])
    return context.wrap_socket(raw, server_hostname="localhost")


def main() -> None:
    """Read a spec from standard input and write the result to standard output, as JSON."""
    asked: dict[str, Any] = json.load(sys.stdin)
    spec = LoadSpec(**asked)
    if spec.core is not None:
        os.sched_setaffinity(0, {spec.core})
    result = run(spec)
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
