"""What a stranger's connection may hold of an HTTP edge: bytes by hand, at a listener in here."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heed.errors import ExhaustedError
from heed.task_group import TaskGroup
from heed_server.config.addresses import Address
from heed_server.web import bodies
from heed_server.web.certificate import EdgeCertificate
from heed_server.web.limits import ListenerLimits
from heed_server.web.listener import App, Listener
from heed_server.web.measures import WebMetrics
from tests.support.served import WAIT_SECONDS_MAX, Authority
from tests.support.servers import Running, running_server
from tests.support.web import PRESS, URLENCODED, app_of, link_for

HASTY = ListenerLimits(connections_max=8, request_seconds_max=0.3)
OPENED = 40
EXCHANGES = 30
LARGE_BYTES = 1 << 25
LENGTH = f"Content-Length: {len(PRESS)}"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


@asynccontextmanager
async def listening(
    app: App, tls: ssl.SSLContext | None = None, *, limits: ListenerLimits = HASTY
) -> AsyncGenerator[tuple[int, CollectorRegistry]]:
    """The port of an edge in this process, and what it counts."""
    async with listened(app, tls, limits=limits) as (listener, registry):
        yield listener.port, registry


@asynccontextmanager
async def listened(
    app: App, tls: ssl.SSLContext | None = None, *, limits: ListenerLimits = HASTY
) -> AsyncGenerator[tuple[Listener, CollectorRegistry]]:
    """An edge in this process, and what it counts."""
    registry = CollectorRegistry()
    listener = Listener(
        app,
        Address(host="127.0.0.1", port=0),
        WebMetrics(registry).of("public"),
        limits,
        setting="web.address",
        tls=tls,
    )
    async with TaskGroup() as group:
        group.create_task(listener.run())
        try:
            yield listener, registry
        finally:
            await listener.stop(None)


def pressing(path: str, body: bytes = PRESS, length: str = LENGTH) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {URLENCODED}\r\n{length}\r\n\r\n"
    return head.encode() + body


def reading(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def told(port: int, sent: bytes) -> bytes:
    """All that is answered until the edge ends the connection, which it has to."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


async def test_a_body_that_does_not_come_after_an_answered_request_is_cut_off(
    running: Running,
) -> None:
    """Both in one write: the second request is read when the first is answered, by no new bytes."""
    path = await link_for(running)
    async with listening(app_of(running.service)) as (port, _):
        answered = await told(port, reading(path) + pressing(path, b"List"))

    assert answered.count(b"HTTP/1.1 200") == 1
    assert await running.head() == 0


async def test_a_whole_request_after_an_answered_one_is_answered_too(running: Running) -> None:
    """The control."""
    path = await link_for(running)
    async with listening(app_of(running.service)) as (port, _):
        last = pressing(path, length=f"{LENGTH}\r\nConnection: close")
        answered = await told(port, reading(path) + last)

    assert answered.count(b"HTTP/1.1 200") == 2
    assert await running.head() == 1


async def test_bodies_of_all_connections_together_are_bounded_and_small_ones_get_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", 1_000)
    monkeypatch.setattr(bodies, "BODY_BYTES_FREE", 100)

    async def read(request: Request) -> Response:
        try:
            return Response(str(len(await request.body())))
        except ExhaustedError as error:
            return Response(error.metadata["limit"], 429)

    def sending(size: int, length: int) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n"
        return f"{head}\r\n".encode() + bytes(size)

    app = Starlette(routes=[Route("/", read, methods=["POST"])])
    async with listening(app, limits=ListenerLimits()) as (port, _):
        large = await told(port, sending(2_000, 2_000))
        small = await told(port, sending(100, 100))
        held = asyncio.create_task(told(port, sending(1_000, 2_000)))  # the rest never comes
        while await told(port, sending(300, 300)) == small.replace(b"100", b"300"):
            assert not held.done()
        beside = await told(port, sending(100, 100))
        held.cancel()

    assert large.endswith(b"BODIES_BYTES_MAX")
    assert large.startswith(b"HTTP/1.1 429")
    assert small.endswith(b"100")
    assert beside.endswith(b"100")


async def test_a_body_does_not_wait_until_its_head_is_acknowledged() -> None:
    """An acknowledgement is put off for 40 ms and more, and the quickest of many takes less."""
    short = Starlette(routes=[Route("/", lambda _: Response(b"x"))])
    loop, took = asyncio.get_running_loop(), []
    async with listening(short) as (port, _), asyncio.timeout(WAIT_SECONDS_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(EXCHANGES):
            _put_acknowledgements_off(writer)
            begun = loop.time()
            writer.write(reading("/"))
            await reader.readuntil(b"\r\n\r\nx")
            took.append(loop.time() - begun)
        writer.close()

    assert min(took[1:]) < 0.03


def _put_acknowledgements_off(writer: asyncio.StreamWriter) -> None:
    """As a system does by itself once a connection has gone to and fro for a while."""
    if hasattr(socket, "TCP_QUICKACK"):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closing"])
async def test_who_does_not_read_the_answer_is_cut_off(headers: Sequence[str]) -> None:
    large = Starlette(routes=[Route("/", lambda _: Response(b"x" * LARGE_BYTES))])
    async with listening(large) as (port, registry):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, ("127.0.0.1", port))
            await loop.sock_sendall(deaf, reading("/", *headers))

            with pytest.raises(ConnectionError):
                await _send_on(deaf)

        assert connections(registry) == 0


async def _send_on(connected: socket.socket) -> None:
    """Send, reading nothing, until it is cut off."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            await asyncio.get_running_loop().sock_sendall(connected, b"x")
            await asyncio.sleep(0)


@pytest.mark.parametrize("has_begun", [False, True])
async def test_who_is_cut_off_by_a_stop_is_told_so_unless_an_answer_has_begun(
    caplog: pytest.LogCaptureFixture, has_begun: bool
) -> None:
    asked = asyncio.Event()

    async def never_end(_scope: Scope, _receive: Receive, send: Send) -> None:
        if has_begun:
            length = (b"content-length", b"8")
            await send({"type": "http.response.start", "status": 200, "headers": [length]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        asked.set()
        await asyncio.Event().wait()

    async with listened(never_end) as (listener, _), asyncio.timeout(WAIT_SECONDS_MAX):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(reading("/"))
        await asked.wait()
        await listener.stop(0)
        answered = await reader.read()
        writer.close()

    assert answered.startswith(b"HTTP/1.1 200" if has_begun else b"HTTP/1.1 503")
    assert answered.count(b"HTTP/1.1") == 1
    assert answered.endswith(b"half" if has_begun else b"Ask again.")
    assert not any(record.exc_info for record in caplog.records)


def connections(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("heed_web_connections", {"edge": "public"})


async def test_connections_that_never_shake_hands_are_bounded_and_cut_off(
    running: Running, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = EdgeCertificate(*authority.issue()).context
    trust = ssl.create_default_context(cafile=authority.file)
    path = await link_for(running)
    async with listening(app_of(running.service), tls) as (port, registry):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(OPENED)]
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            ends = await asyncio.gather(*(_ended(reader) for reader, _ in held))
        for _, writer in held:
            writer.close()

        async with asyncio.timeout(WAIT_SECONDS_MAX):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
            writer.write(pressing(path))
            answered = await reader.readline()
            writer.close()

        refused = registry.get_sample_value(
            "heed_web_connections_refused_total", {"edge": "public"}
        )

    assert all(ends)
    assert refused == OPENED - HASTY.connections_max
    assert answered.startswith(b"HTTP/1.1 200")


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_a_request_that_says_its_length_twice_is_the_last_of_its_connection(
    running: Running,
) -> None:
    """What a proxy takes for its body must not be read here as the next request (RFC 9112, 6.1)."""
    path = await link_for(running)
    chunked = b"1a\r\n" + PRESS + b"\r\n0\r\n\r\n"
    twice = pressing(path, chunked, "Content-Length: 4\r\nTransfer-Encoding: chunked")
    async with listening(app_of(running.service)) as (port, _):
        answered = await told(port, twice + reading("/smuggled"))

    assert answered.count(b"HTTP/1.1") == 1


REFUSED = {
    "two lengths": "Content-Length: 26\r\nContent-Length: 5",
    "a length with a sign": "Content-Length: +26",
    "a coding of another name": "Transfer-Encoding: xchunked",
    "identity": "Transfer-Encoding: identity",
    "two codings": "Transfer-Encoding: gzip, chunked",
    "a space before the colon": "Transfer-Encoding : chunked",
    "no length that is one": "Content-Length: 0x1a",
    "a NUL in a header": "X-Odd: a\0b\r\nContent-Length: 26",
}


@pytest.mark.parametrize("length", REFUSED.values(), ids=REFUSED)
async def test_a_request_of_no_one_length_is_refused_and_ends_its_connection(
    running: Running, length: str
) -> None:
    path = await link_for(running)
    async with listening(app_of(running.service)) as (port, _):
        answered = await told(port, pressing(path, length=length) + reading("/smuggled"))

    assert answered.startswith(b"HTTP/1.1 400")
    assert answered.count(b"HTTP/1.1") == 1
    assert await running.head() == 0
