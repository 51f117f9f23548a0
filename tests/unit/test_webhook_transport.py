"""A webhook goes where it was judged to go, over TLS that is verified, and is over in time."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from heed.model import Instant
from heed_server.webhooks.events import EVENT_TYPES
from heed_server.webhooks.resolving import AddressInfo, Found, Guard
from heed_server.webhooks.signing import parse_secret
from heed_server.webhooks.targets import Target
from heed_server.webhooks.transport import ANSWER_BYTES_MAX, Failure, Transport
from heed_server.webhooks.trying import send_test, unreachable
from heed_server.webhooks.wanted import Wanted
from tests.support.receiver import SECRET, Receiver
from tests.support.served import Authority

LOOPBACK = (ip_network("127.0.0.0/8"),)
BODY = b'{"type":"webhook.test"}'


def now() -> Instant:
    return Instant(time.time_ns() // 1_000)


def target(url: str, *, ca_file: Path | None = None, secrets: Sequence[str] = (SECRET,)) -> Target:
    return Target(
        name="crm",
        tenant="default",
        url=url,
        secrets=tuple(map(parse_secret, secrets)),
        wanted=Wanted(events=frozenset(EVENT_TYPES)),
        ca_file=ca_file,
    )


async def post(to: Target, **said: Any) -> Failure | None:
    said = {"guard": Guard(LOOPBACK), "request_seconds_max": 5, **said}
    async with Transport(to, connections_max=8, **said) as transport:
        return await transport.post("id-1", BODY, now())


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


@asynccontextmanager
async def listening() -> AsyncGenerator[tuple[int, list[str]]]:
    """Something that listens on every loopback address, and notes who connects."""
    met: list[str] = []

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append("connected")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], met


async def test_what_is_sent_is_verified_by_the_library_of_the_standard(receiver: Receiver) -> None:
    assert await post(target(receiver.url)) is None

    (came,) = receiver.taken
    assert came.event == {"type": "webhook.test"}
    assert came.headers["Content-Type"] == "application/json"
    assert "Cookie" not in came.headers


async def test_a_receiver_with_either_secret_verifies_while_one_replaces_another() -> None:
    other = SECRET.replace("AAEC", "BBEC")
    for known in (SECRET, other):
        async with Receiver(secret=known) as receiver:
            assert await post(target(receiver.url, secrets=(other, SECRET))) is None
            assert len(receiver.taken) == 1


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_no_redirect_is_followed(receiver: Receiver, code: int) -> None:
    async with listening() as (port, met):
        receiver.answer = lambda _: web.Response(
            status=code, headers={"Location": f"http://127.0.0.1:{port}/latest/meta-data"}
        )

        failure = await post(target(receiver.url))

    assert failure == Failure(why=f"HTTP {code}, and redirects are not followed")
    assert met == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/"]
)
async def test_nothing_connects_to_an_address_that_may_not_be_reached(url: str) -> None:
    async with listening() as (port, met):
        failure = await post(target(url.format(port=port)), guard=Guard(()))

    assert failure is not None
    assert met == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/"])
async def test_control_what_is_allowed_is_connected_to(url: str) -> None:
    """The control: without the guard the test above would meet somebody."""
    async with listening() as (port, met):
        await post(target(url.format(port=port)))

    assert met == ["connected"]


async def test_a_name_that_says_something_else_a_moment_later_changes_nothing() -> None:
    """Rebinding: the first answer is public, the next is not, and nobody asks for the next."""
    asked: list[str] = []

    def rebinding(host: str, _: int) -> Sequence[Found]:
        asked.append(host)
        is_first = len(asked) == 1
        return [Found(socket.AF_INET, "192.0.66.1" if is_first else "127.0.0.1")]

    connected: list[object] = []

    class Noting(Guard):
        def new_socket(self, about: AddressInfo) -> socket.socket:
            made = super().new_socket(about)
            connected.append(about[4][0])
            made.close()
            raise ConnectionRefusedError("no network in tests")

    async with listening() as (port, met):
        to = target(f"http://hooks.example.com:{port}/")
        async with Transport(
            to, request_seconds_max=5, connections_max=1, look_up=rebinding, guard=Noting(())
        ) as transport:
            first = await transport.post("id-1", BODY, now())
            second = await transport.post("id-1", BODY, now())

    assert connected == ["192.0.66.1"]
    assert first is not None
    assert first.why.startswith("no connection")
    assert second is not None
    assert "127.0.0.1 is not of the public internet" in second.why
    assert len(asked) == 2
    assert met == []


async def test_a_name_with_one_address_that_may_not_be_reached_is_not_reached_at_all() -> None:
    def both(_host: str, _port: int) -> Sequence[Found]:
        return [Found(socket.AF_INET, "192.0.66.1"), Found(socket.AF_INET, "10.0.0.1")]

    failure = await post(target("https://hooks.example.com/"), guard=Guard(()), look_up=both)

    assert failure is not None
    assert failure.why.startswith("10.0.0.1 is not of the public internet")


async def test_the_socket_is_refused_even_where_the_name_was_not_judged() -> None:
    """The last line: whatever said where to connect, the address itself is looked at."""
    guard = Guard(())

    with pytest.raises(OSError, match="not of the public internet"):
        guard.new_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 443, 0, 0)))


async def test_a_name_that_hangs_holds_up_nothing_and_no_more_threads_than_one() -> None:
    released = threading.Event()
    asked: list[str] = []

    def hanging(host: str, _: int) -> Sequence[Found]:
        asked.append(host)
        released.wait(30)
        raise OSError("no answer")

    to = target("https://hooks.example.com/")
    async with Transport(
        to, guard=Guard(()), request_seconds_max=0.05, connections_max=8, look_up=hanging
    ) as transport:
        failures = [await transport.post("id-1", BODY, now()) for _ in range(3)]
    released.set()

    assert asked == ["hooks.example.com"]
    assert next(one.why for one in failures if one is not None) == "no answer in time"
    assert failures[2] == Failure(
        why="its name is not found: an earlier look-up of hooks.example.com hangs"
    )


async def test_a_receiver_that_does_not_answer_is_given_up_in_time(receiver: Receiver) -> None:
    held = asyncio.Event()

    async def hang(_: object) -> int:
        await held.wait()
        return 204

    receiver.answer = hang

    assert await post(target(receiver.url), request_seconds_max=0.1) == Failure(
        why="no answer in time"
    )
    held.set()


async def test_of_an_answer_that_never_ends_so_much_is_read(receiver: Receiver) -> None:
    written = 0

    async def flood(came: Any) -> int:
        raise AssertionError(came)

    async def stream(request: web.Request) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse(status=200)
        await answer.prepare(request)
        try:
            while written < 1_000 * ANSWER_BYTES_MAX:
                await answer.write(b"x" * 65_536)
                written += 65_536
        except ConnectionError:
            pass
        return answer

    receiver.answer = flood
    app = web.Application()
    app.router.add_post("/", stream)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        assert await post(target(f"http://127.0.0.1:{port}/")) is None
    finally:
        await runner.cleanup()

    assert written < 100 * ANSWER_BYTES_MAX


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120.0), ("  7 ", 7.0), ("soon", 0.0), ("", 0.0), ("-5", 0.0)]
)
async def test_how_long_a_receiver_asks_to_be_left_alone(
    receiver: Receiver, said: str, seconds: float
) -> None:
    headers = {"Retry-After": said} if said else {}
    receiver.answer = lambda _: web.Response(status=429, headers=headers)

    assert await post(target(receiver.url)) == Failure(why="HTTP 429", retry_after_seconds=seconds)


async def test_a_date_may_say_so_too(receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(
        status=503, headers={"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}
    )

    failure = await post(target(receiver.url))

    assert failure is not None
    assert failure.retry_after_seconds > 1_000_000


async def test_gone_is_for_good(receiver: Receiver) -> None:
    receiver.answer = lambda _: 410

    assert await post(target(receiver.url)) == Failure(why="HTTP 410", is_final=True)


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        failure = await post(target(f"http://127.0.0.1:{port}/"))

    assert failure is not None
    assert failure.why.startswith("no connection")


async def test_tls_is_verified_against_the_authority_and_the_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with Receiver(tls=tls) as receiver:
        ca_file = authority.file
        assert await post(target(receiver.url, ca_file=ca_file)) is None
        not_trusted = await post(target(receiver.url))
        plain = target(receiver.url, ca_file=ca_file)
        renamed = await post(
            replace(plain, url=receiver.url.replace("127.0.0.1", "hooks.example.com")),
            look_up=lambda _host, _port: [Found(socket.AF_INET, "127.0.0.1")],
        )

    assert not_trusted is not None
    assert not_trusted.why.startswith("its TLS is not trusted")
    assert renamed is not None
    assert renamed.why.startswith("its TLS is not trusted")
    assert len(receiver.taken) == 1


async def test_the_environments_proxy_is_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening() as (port, met):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")

        assert await post(target(receiver.url)) is None

    assert met == []


async def test_a_target_is_tried_by_an_event_that_says_nothing(receiver: Receiver) -> None:
    to = target(receiver.url)
    async with Transport(
        to, guard=Guard(LOOPBACK), request_seconds_max=5, connections_max=1
    ) as transport:
        taken = await send_test(to, transport, event_id="test-1", now=now())
        receiver.answer = lambda _: 500
        refused = await send_test(to, transport, event_id="test-2", now=now())

    assert taken is None
    assert refused is not None
    assert refused.why == "HTTP 500"
    assert [came.type for came in receiver.came] == ["webhook.test"] * 2
    assert receiver.came[0].event["data"] == {"tenant": "default", "target": "crm"}


async def test_a_host_is_looked_up_and_judged_without_a_connection() -> None:
    def found(host: str, _: int) -> Sequence[Found]:
        return [Found(socket.AF_INET, {"in": "10.0.0.1", "out": "8.8.8.8"}[host])]

    inside, outside = target("https://in/"), target("https://out/")

    assert "10.0.0.1 is not of the public" in await unreachable(inside, Guard(()), found)
    assert await unreachable(inside, Guard([ip_network("10.0.0.0/8")]), found) == ""
    assert await unreachable(outside, Guard(()), found) == ""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
    ids=range(9),
)
async def test_an_answer_that_is_none_is_a_failure_and_nothing_worse(answer: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        failure = await post(target(f"http://127.0.0.1:{port}/"))

    assert failure is not None
    assert "\r" not in failure.why
    assert len(failure.why) < 200
