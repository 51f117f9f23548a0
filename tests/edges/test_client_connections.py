"""The library's connections: the first one, TLS, several servers, closing; on real sockets."""

import asyncio
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
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
from tests.support.fake_server import UNUSED_ADDRESS, FakeServer, fake_server


@pytest.fixture
def server() -> Generator[FakeServer]:
    with fake_server() as server:
        yield server


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


ATTEMPTS = 10
"""A busy machine may take 50 ms for the check alone; not each time. Where the connection counts, no
attempt ends in time."""


async def test_the_first_check_waits_for_its_connection_besides(server: FakeServer) -> None:
    async def is_answered() -> bool:
        with slow_network(server.address) as address:
            async with heed.Client(address) as client:
                with suppress(heed.UnavailableError):
                    return (await client.check(user="u", channel="in_app")).allowed
        return False

    for _ in range(ATTEMPTS):
        if await is_answered():
            return
    pytest.fail("no check ended in time")


def test_the_first_check_without_await_waits_for_its_connection_besides(
    server: FakeServer,
) -> None:
    def is_answered() -> bool:
        with slow_network(server.address) as address, heed.SyncClient(address) as client:
            with suppress(heed.UnavailableError):
                return client.check(user="u", channel="in_app").allowed
            return False

    assert any(is_answered() for _ in range(ATTEMPTS))


def test_a_script_ends_that_never_closes_its_client(server: FakeServer) -> None:
    script = f"""
import heed
client = heed.SyncClient({server.address!r}, timeout=20)
assert client.check(user="u", channel="in_app").allowed
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)

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
