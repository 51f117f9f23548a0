"""The library on the wire: deadlines, retries, connections, credentials; against real sockets."""

import asyncio
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import heed
from tests.support.fake_server import FakeServer, fake_server

ADA = "ada@example.com"
UNUSED_ADDRESS = "127.0.0.1:1"
"""A port on which nothing listens."""


@pytest.fixture
def server() -> Generator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
async def client(server: FakeServer) -> AsyncGenerator[heed.Client]:
    async with heed.Client(server.address, timeout=5) as client:
        yield client


@pytest.fixture
def sync_client(server: FakeServer) -> Generator[heed.SyncClient]:
    with heed.SyncClient(server.address, timeout=5) as client:
        yield client


def unavailable(times: int) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Fail so often, then answer that nothing stands against it."""
    left = [times]

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return b"\x0a\x02\x08\x01"  # decision { verdict: ALLOWED }

    return answer


async def test_the_asynchronous_client_asks_and_writes(client: heed.Client) -> None:
    before = await client.check(email=ADA, channel="email", topic="news")
    written = await client.opt_out(email=ADA, channel="email", topic="news", source="tests")
    after = await client.check(email=ADA, channel="email", topic="news", token=written.token)

    assert before.allowed
    assert not after.allowed
    assert after.rule is heed.Rule.OPT_OUT
    assert after.revision == written.revision


def test_the_synchronous_client_does_the_same(sync_client: heed.SyncClient) -> None:
    before = sync_client.check(email=ADA, channel="email", topic="news")
    written = sync_client.opt_out(email=ADA, channel="email", topic="news", source="tests")
    after = sync_client.check(email=ADA, channel="email", topic="news", token=written.token)

    assert before.allowed
    assert not after.allowed
    assert after.revision == written.revision


def test_threads_may_share_a_synchronous_client(sync_client: heed.SyncClient) -> None:
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(sync_client.check(user="u", channel="in_app").allowed for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 80


async def test_a_server_that_is_not_there_is_an_error_that_names_the_safe_answer() -> None:
    async with heed.Client(UNUSED_ADDRESS, timeout=5) as client:
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER) as caught:
            await client.check(email=ADA, channel="email")

    assert caught.value.reason is heed.ErrorReason.SERVER_UNREACHABLE
    assert UNUSED_ADDRESS in caught.value.message


def test_a_write_to_a_server_that_is_not_there_keeps_its_key() -> None:
    with (
        heed.SyncClient(UNUSED_ADDRESS, timeout=5) as client,
        pytest.raises(heed.OutcomeUnknownError) as caught,
    ):
        client.opt_out(email=ADA, source="tests", idempotency_key="k-1")

    assert caught.value.metadata["idempotency_key"] == "k-1"
    assert ADA not in str(caught.value)


async def test_a_check_waits_fifty_milliseconds_and_no_longer(server: FakeServer) -> None:
    release = threading.Event()

    def never(data: bytes, context: grpc.ServicerContext) -> bytes:
        release.wait(10)
        return b""

    server.answers["CheckSuppression"] = never
    async with heed.Client(server.address) as client:
        await client.wait_ready()
        started = asyncio.get_running_loop().time()
        with pytest.raises(heed.UnavailableError, match=r"within 0\.05 s.*do not send"):
            await client.check(email=ADA, channel="email")
        waited = asyncio.get_running_loop().time() - started
    release.set()

    assert 0.04 < waited < 2


SLOW_SECONDS = 0.2
"""Longer than a check's deadline, shorter than a first connection may take."""


@contextmanager
def slow_network(address: str) -> Generator[str]:
    """Pass one connection on to a server, its first bytes only after a while."""
    host, _, port = address.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pass_on() -> None:
            near, _ = listening.accept()
            # Either end may be gone by the time that something is passed on to it.
            with (
                suppress(OSError),
                near,
                socket.create_connection((host, int(port))) as far,
            ):
                select.select([], [], [], SLOW_SECONDS)
                while True:
                    for one in select.select([near, far], [], [])[0]:
                        data = one.recv(65_536)
                        if not data:
                            return
                        (far if one is near else near).sendall(data)

        # gRPC may keep a closed channel's connection for a while: nothing here waits for that.
        threading.Thread(target=pass_on, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_the_first_check_waits_for_its_connection_besides(server: FakeServer) -> None:
    with slow_network(server.address) as address:
        async with heed.Client(address) as client:
            assert (await client.check(user="u", channel="in_app")).allowed


def test_the_first_check_without_await_waits_for_its_connection_besides(
    server: FakeServer,
) -> None:
    with slow_network(server.address) as address, heed.SyncClient(address) as client:
        assert client.check(user="u", channel="in_app").allowed


def test_a_script_ends_that_never_closes_its_client(server: FakeServer) -> None:
    script = f"""
import heed
client = heed.SyncClient({server.address!r})
assert client.check(user="u", channel="in_app").allowed
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=10)

    assert done.returncode == 0


async def test_a_timeout_that_is_given_counts_the_connection_too(server: FakeServer) -> None:
    with slow_network(server.address) as address:
        async with heed.Client(address) as client:
            with pytest.raises(heed.UnavailableError, match=r"within 0\.05 s"):
                await client.check(user="u", channel="in_app", timeout=0.05)


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_server_that_never_answers_the_first_connection_is_waited_for_once(
    attempts: int,
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        heed.SyncClient(f"127.0.0.1:{silent.getsockname()[1]}") as client,
    ):
        started = time.monotonic()
        for _ in range(attempts):
            with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
                client.check(user="u", channel="in_app")

    assert time.monotonic() - started < 1.9


async def test_a_deadline_of_a_call_and_of_a_client_can_be_given(server: FakeServer) -> None:
    deadlines: list[float] = []

    def note(data: bytes, context: grpc.ServicerContext) -> bytes:
        deadlines.append(context.time_remaining() or 0)
        return b""

    server.answers["CheckSuppression"] = note
    async with heed.Client(server.address, timeout=50) as client:
        await client.check(email=ADA, channel="email")
        await client.check(email=ADA, channel="email", timeout=20)

    # What is sent is rounded up a little.
    assert 30 < deadlines[0] < 52
    assert 10 < deadlines[1] < 22


async def test_a_check_that_fails_twice_is_asked_a_third_time(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["CheckSuppression"] = unavailable(2)

    answer = await client.check(email=ADA, channel="email")

    assert answer.allowed
    assert len(server.calls) == 3


async def test_a_check_that_fails_three_times_has_no_answer(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["CheckSuppression"] = unavailable(3)

    with pytest.raises(heed.UnavailableError):
        await client.check(email=ADA, channel="email")

    assert len(server.calls) == 3


def test_every_attempt_of_a_write_has_the_same_key(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    """The first answer is lost on its way back; the second is the replay of it."""
    lost = [True]

    def lose(data: bytes, context: grpc.ServicerContext) -> bytes:
        answer = server.service.answer("SetPreference", data)
        if lost.pop() if lost else False:
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return answer

    server.answers["SetPreference"] = lose

    answer = sync_client.opt_out(email=ADA, source="tests")

    assert answer.replayed
    assert answer.revision == 1


def test_two_calls_have_two_keys(sync_client: heed.SyncClient) -> None:
    one = sync_client.opt_out(email=ADA, source="tests")
    other = sync_client.opt_out(email=ADA, source="tests")

    assert one.idempotency_key != other.idempotency_key
    assert not other.replayed


def test_a_tenant_is_created_once_however_the_call_ends(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    server.answers["CreateTenant"] = unavailable(1)

    with pytest.raises(heed.OutcomeUnknownError):
        sync_client.create_tenant("shop")

    assert len(server.calls) == 1


async def test_what_the_server_refuses_is_told_by_its_reason(client: heed.Client) -> None:
    with pytest.raises(heed.InvalidArgumentError) as invalid:
        await client.check(email="nonsense", channel="any", topic="No Topic")
    with pytest.raises(heed.NotFoundError) as unknown:
        await client.retire_topic("news", reason="over", origin=heed.Origin(source="tests"))

    assert {one.field for one in invalid.value.violations} >= {"query.channel", "query.topic"}
    assert "nonsense" not in str(invalid.value)
    assert unknown.value.reason is heed.ErrorReason.TOPIC_UNKNOWN
    assert unknown.value.metadata == {"topic": "news"}


@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"\x0a\xff"], ids=["garbage", "cut off"])
async def test_whatever_comes_back_only_an_answer_allows(
    server: FakeServer, client: heed.Client, reply: bytes
) -> None:
    server.answers["CheckSuppression"] = lambda _data, _context: reply

    with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
        await client.check(email=ADA, channel="email")


async def test_an_empty_answer_is_not_allowed(server: FakeServer, client: heed.Client) -> None:
    server.answers["CheckSuppression"] = lambda _data, _context: b""

    assert not (await client.check(email=ADA, channel="email")).allowed


def test_a_write_whose_answer_cannot_be_read_may_have_happened(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    server.answers["SetPreference"] = lambda _data, _context: b"\xff"

    with pytest.raises(heed.OutcomeUnknownError):
        sync_client.opt_out(email=ADA, source="tests")


def test_a_server_of_something_else_is_told_as_that() -> None:
    from concurrent import futures

    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with (
            heed.SyncClient(f"127.0.0.1:{port}", timeout=5) as client,
            pytest.raises(heed.UnavailableError, match="not a heed server"),
        ):
            client.check(user="u", channel="in_app")
        server.stop(None).wait()


def test_a_key_goes_along_with_every_call_and_none_without_one(server: FakeServer) -> None:
    with heed.SyncClient(server.address, api_key="heed_x", timeout=5) as client:
        client.check(user="u", channel="in_app")
        list(client.export_records())
    with heed.SyncClient(server.address, timeout=5) as client:
        client.check(user="u", channel="in_app")

    said = [metadata.get("authorization") for _, metadata in server.calls]
    assert said == ["Bearer heed_x", "Bearer heed_x", None]
    assert str(server.calls[0][1]["user-agent"]).startswith("heed-python/")


async def test_a_list_of_many_pages_is_one_list(server: FakeServer, client: heed.Client) -> None:
    origin = heed.Origin(source="tests")
    for at in range(1_001):
        await client.declare_topic(f"t{at:04}", topic_class="promotional", origin=origin)
    server.calls.clear()

    names = [topic.name async for topic in client.list_topics()]

    assert len(set(names)) == 1_001
    assert [name for name, _ in server.calls] == ["ListTopics", "ListTopics"]


async def test_an_export_that_breaks_off_is_not_an_export(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["ExportRecords"] = lambda _data, _context: b""  # one message, and not the last

    export = client.export_records()
    with pytest.raises(heed.UnavailableError, match="broke off"):
        async for _ in export:
            pass

    assert export.revision is None


def test_a_client_that_is_closed_says_so(server: FakeServer) -> None:
    client = heed.SyncClient(server.address)
    client.close()
    client.close()

    with pytest.raises(RuntimeError, match="closed"):
        client.check(user="u", channel="in_app")


async def test_an_asynchronous_client_that_is_closed_says_so(server: FakeServer) -> None:
    client = heed.Client(server.address)
    await client.close()

    with pytest.raises(RuntimeError, match="closed"):
        await client.check(user="u", channel="in_app")


def test_a_client_belongs_to_one_event_loop(server: FakeServer) -> None:
    client = heed.Client(server.address, timeout=5)

    async def ask() -> bool:
        return (await client.check(user="u", channel="in_app")).allowed

    with asyncio.Runner() as first:
        assert first.run(ask())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
            second.run(ask())
        first.run(client.close())


async def test_a_cancelled_call_is_cancelled_on_the_wire(
    server: FakeServer, client: heed.Client
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def wait(data: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(cancelled.set)
        begun.set()
        cancelled.wait(10)
        return b""

    server.answers["CheckSuppression"] = wait
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.check(user="u", channel="in_app"))
        await asyncio.to_thread(begun.wait, 10)
        call.cancel()

    assert call.cancelled()
    assert await asyncio.to_thread(cancelled.wait, 10)


async def test_waiting_for_a_server_ends_with_one_or_with_an_error(server: FakeServer) -> None:
    async with heed.Client(server.address) as client:
        await client.wait_ready(5)
    async with heed.Client(UNUSED_ADDRESS) as client:
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
            await client.wait_ready(0.05)
    with heed.SyncClient(UNUSED_ADDRESS) as sync, pytest.raises(heed.UnavailableError):
        sync.wait_ready(0.05)


def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    with (
        fake_server(address=f"unix:{tmp_path}/heed.sock") as server,
        heed.SyncClient(server.address, api_key="heed_x", timeout=5) as client,
    ):
        assert client.check(user="u", channel="in_app").allowed


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """A certificate for heed.example.com, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "heed.example.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("heed.example.com")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_tls_shows_who_the_server_is_and_who_the_caller_is(
    certificate: tuple[bytes, bytes], tmp_path: Path
) -> None:
    chain, key = certificate
    roots = tmp_path / "roots.pem"
    roots.write_bytes(chain)
    credentials = grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=chain, require_client_auth=True
    )
    ours = heed.Tls(
        root_certificates=roots,
        certificate_chain=chain,
        private_key=key,
        server_name="heed.example.com",
    )
    stranger = heed.Tls(root_certificates=roots, server_name="heed.example.com")

    with fake_server(credentials=credentials) as server:
        with heed.SyncClient(server.address, tls=ours, api_key="heed_x", timeout=5) as client:
            assert client.check(user="u", channel="in_app").allowed
        with (
            heed.SyncClient(server.address, tls=stranger, timeout=5) as client,
            pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER),
        ):
            client.check(user="u", channel="in_app")


async def test_a_server_whose_certificate_is_not_trusted_is_not_asked(
    certificate: tuple[bytes, bytes],
) -> None:
    chain, key = certificate
    tls = heed.Tls(server_name="heed.example.com")

    with fake_server(credentials=grpc.ssl_server_credentials([(key, chain)])) as server:
        async with heed.Client(server.address, tls=tls, timeout=5) as client:
            with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
                await client.check(user="u", channel="in_app")
        assert server.calls == []


def test_calls_are_spread_over_every_address_of_a_name() -> None:
    with fake_server() as one, fake_server() as other:
        address = f"ipv4:{one.address},{other.address}"
        with heed.SyncClient(address, timeout=5) as client:
            client.wait_ready()
            answers: list[Any] = []
            while not (one.calls and other.calls) and len(answers) < 1_000:
                answers.append(client.check(user="u", channel="in_app"))

    assert one.calls
    assert other.calls


def test_a_server_that_goes_away_is_gone_around() -> None:
    with fake_server() as one, fake_server() as other:
        address = f"ipv4:{one.address},{other.address}"
        with heed.SyncClient(address, timeout=5) as client:
            assert client.check(user="u", channel="in_app").allowed
            one.stop()
            assert all(client.check(user="u", channel="in_app").allowed for _ in range(20))
