"""The load's other kind of connection: HTTP/1.1 kept alive, one request under way at a time.

A request is bytes as they go on the wire, head and body (`request`). Like its neighbour it is no
client: an answer ends by its Content-Length, and 200 and 201 alone are answers; whatever else comes
is a failure by its status, and a connection that is closed ends the load.
"""

import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

GOOD: Final = frozenset({b"200", b"201"})
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
SAMPLES_MAX: Final = 64
READ_BYTES: Final = 1 << 16


class Http1Connection:
    """One connection; what is asked while an answer is awaited goes out after it."""

    def __init__(self, connected: socket.socket) -> None:
        """Takes a socket that does not block."""
        self.socket = connected
        self.begun: dict[int, float] = {}
        self.ended: list[tuple[float, float]] = []
        """(when the call began or was due, when it ended)"""
        self.failures: dict[str, int] = {}
        self.samples: list[bytes] = []
        self.made = 0
        """How many requests it was given."""
        self._waiting: deque[bytes] = deque()
        self._is_asking = False
        self._in = bytearray()
        self._out = bytearray()

    def call(self, message: bytes, due: float) -> None:
        """Begin one request, or have it wait for the one before."""
        self.begun[self.made] = due
        self.made += 1
        self._waiting.append(message)
        self._ask()

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
        """Read what is there, and end the request whose answer is whole."""
        try:
            received = self.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not received:
            raise ConnectionError("the server closed the connection")
        self._in += received
        head_end = self._in.find(HEAD_END)
        if head_end < 0:
            return
        head = bytes(self._in[:head_end])
        body_at = head_end + len(HEAD_END)
        end = body_at + _length_of(head)
        if len(self._in) >= end:
            self._end(head, bytes(self._in[body_at:end]))
            del self._in[:end]
            self._ask()

    def _end(self, head: bytes, body: bytes) -> None:
        begun = self.begun.pop(next(iter(self.begun)))
        self._is_asking = False
        status = head[len(b"HTTP/1.1 ") :][:3]
        if status not in GOOD:
            self.failures[status.decode()] = self.failures.get(status.decode(), 0) + 1
            return
        self.ended.append((begun, time.perf_counter()))
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(body)

    def _ask(self) -> None:
        if self._waiting and not self._is_asking:
            self._is_asking = True
            self._out += self._waiting.popleft()


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return a POST as it goes on the wire."""
    said = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(LENGTH):
            return int(line.removeprefix(LENGTH))
    raise ConnectionError(f"an answer says no length: {head[:100]!r}")
