"""How the server ends: drained on SIGTERM, faster on a second, and by kill -9 without any loss."""

import resource
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from heed import HeedError, OptOut, Origin, SyncClient, UnavailableError
from heed_server.config import Config, StalenessConfig, StorageConfig
from tests.support.served import WAIT_SECONDS_MAX, Served

ORIGIN = Origin(source="tests")
SOMEBODY = "ada@example.com"
WRITERS = 8
ACKED_MIN = 40
"""So many writes are acknowledged before the server is told to end."""

NAMES = ("", "heed.v1.Check", "heed.v1.Write", "heed.v1.PreferenceService", "heed.v1.AdminService")

pytestmark = pytest.mark.slow  # each starts processes


class Writers:
    """Threads that opt people out, each as fast as it is answered, until the server is gone."""

    def __init__(self, address: str) -> None:
        self.acknowledged: list[str] = []
        """Users whose opt-out was acknowledged."""
        self.errors: list[Exception] = []
        self.enough = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(address,), daemon=True)
            for _ in range(WRITERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        assert self.enough.wait(WAIT_SECONDS_MAX)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)
            assert not thread.is_alive()

    def _write(self, address: str) -> None:
        with SyncClient(address, timeout=5) as client:
            while not self._stopping.is_set():
                user = f"u-{uuid.uuid4()}"
                try:
                    client.set_preference(user=user, choices=[OptOut()], origin=ORIGIN)
                except Exception as error:  # noqa: BLE001 - each kind is looked at by the test
                    self.errors.append(error)
                    return
                self.acknowledged.append(user)
                if len(self.acknowledged) >= ACKED_MIN:
                    self.enough.set()


def _statuses(channel: grpc.Channel, service: str) -> "Iterator[str]":
    """What health says of a service, as it changes, until the connection ends."""
    watch: grpc.UnaryStreamMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ] = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        for answer in watch(
            health_pb2.HealthCheckRequest(service=service), timeout=WAIT_SECONDS_MAX
        ):
            yield health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        yield "ENDED"
    except grpc.RpcError:
        yield "CUT OFF"


def _require_stopped(server: Served, users: list[str]) -> None:
    with server.client() as client:
        for user in users:
            assert not client.check(user=user, channel="in_app").allowed, user


def test_sigterm_under_load_tells_health_first_and_loses_nothing(tmp_path: Path) -> None:
    with Served(tmp_path, "--drain-announce-seconds", "1") as server:
        writers = Writers(server.address)
        writers.start()
        with grpc.insecure_channel(server.address) as channel:
            watched = {name: _statuses(channel, name) for name in NAMES}
            before = [next(statuses) for statuses in watched.values()]
            server.signal(signal.SIGTERM)
            after = [next(statuses) for statuses in watched.values()]
            with server.client() as client:
                # Health has said so, and every call is still answered.
                assert client.check(email=SOMEBODY, channel="email").allowed
            # Read on, so that the connections end.
            ends = [list(statuses)[-1:] for statuses in watched.values()]
        assert server.wait() == 0
        writers.stop()

    assert before == ["SERVING"] * len(NAMES)
    assert after == ["NOT_SERVING"] * len(NAMES)
    assert ends == [["ENDED"]] * len(NAMES)
    assert [error for error in writers.errors if not isinstance(error, UnavailableError)] == []
    with Served(tmp_path) as server:
        # A sealed index is opened, not made anew.
        assert not any("index_rebuilt" in line for line in server.lines)
        _require_stopped(server, writers.acknowledged)


def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        writers = Writers(server.address)
        writers.start()
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        writers.stop()

    assert [error for error in writers.errors if not isinstance(error, HeedError)] == []
    with Served(tmp_path) as server:
        assert any("index_rebuilt" in line for line in server.lines)
        _require_stopped(server, writers.acknowledged)


def test_a_restart_answers_the_same(tmp_path: Path) -> None:
    users = [f"u-{number}" for number in range(20)]
    with Served(tmp_path) as server, server.client() as client:
        for user in users[::2]:
            client.set_preference(user=user, choices=[OptOut(topic="news")], origin=ORIGIN)
        first = [client.check(user=user, channel="in_app", topic="news.x") for user in users]
        token = first[-1].token
        assert server.stop() == 0

    with Served(tmp_path) as server, server.client() as client:
        again = [
            client.check(user=user, channel="in_app", topic="news.x", token=token) for user in users
        ]

    assert [answer.allowed for answer in again] == [answer.allowed for answer in first]
    assert [answer.revision for answer in again] == [answer.revision for answer in first]
    assert [answer.allowed for answer in first] == [False, True] * 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_faster(tmp_path: Path, number: signal.Signals) -> None:
    with Served(tmp_path, "--drain-announce-seconds", "100") as server:
        began = time.monotonic()
        # A signal sooner than half a second after the first counts as the same request.
        while "stopping_faster" not in server.log:
            assert time.monotonic() - began < WAIT_SECONDS_MAX
            server.signal(number)
            time.sleep(0.05)

        assert server.wait() == 0
        assert time.monotonic() - began < WAIT_SECONDS_MAX


def test_a_watch_of_health_holds_up_no_stop(tmp_path: Path) -> None:
    flags = ("--drain-announce-seconds", "0", "--drain-grace-seconds", "100")
    with Served(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        statuses = _statuses(channel, "")
        assert next(statuses) == "SERVING"

        assert server.stop() == 0

        assert list(statuses) == ["NOT_SERVING", "ENDED"]


def test_a_call_that_outlasts_the_grace_time_is_cut_off(tmp_path: Path) -> None:
    """A description of the contract that is never asked for anything never ends by itself."""
    flags = ("--drain-announce-seconds", "0", "--drain-grace-seconds", "0.2")
    with Served(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        asking = threading.Event()

        def never() -> Iterator[bytes]:
            asking.wait(WAIT_SECONDS_MAX)
            yield b""

        describe: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        call = describe(never(), timeout=WAIT_SECONDS_MAX)
        grpc.channel_ready_future(channel).result(WAIT_SECONDS_MAX)

        assert server.stop() == 0

        asking.set()
        with pytest.raises(grpc.RpcError):
            list(call)


def test_after_an_error_of_the_disk_the_server_stops_itself_and_loses_nothing(
    tmp_path: Path,
) -> None:
    """No file may grow any more, which SQLite meets as an I/O error in the middle of a commit."""
    acknowledged = [f"u-{number}" for number in range(10)]
    with Served(tmp_path) as server:
        with server.client() as client:
            for user in acknowledged:
                client.set_preference(user=user, choices=[OptOut()], origin=ORIGIN)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, 1))
            with pytest.raises(UnavailableError):
                client.set_preference(user="u-lost", choices=[OptOut()], origin=ORIGIN)

        assert server.wait() == 5
        assert '"event": "node_failed"' in server.log

    with Served(tmp_path) as server:
        _require_stopped(server, acknowledged)


def test_the_time_to_drain_is_shorter_than_the_time_to_be_killed() -> None:
    """Docker kills after 10 s unless told otherwise."""
    config = Config()

    assert config.drain.announce_seconds + config.drain.grace_seconds <= 8


def test_keys_are_kept_as_long_as_mandatory_messages_are_allowed_without_the_database() -> None:
    assert Config().auth.keys_kept_seconds == StalenessConfig().mandatory_seconds
    assert StorageConfig().keys_kept_days >= 30


def test_a_write_after_a_restart_waits_for_nobody_of_the_run_before(tmp_path: Path) -> None:
    for _ in range(2):
        with Served(tmp_path) as server, server.client() as client:
            client.opt_out(email=SOMEBODY, source="tests")
            waited = client.opt_out(email=SOMEBODY, source="tests", wait_propagated=5)
            assert waited.propagated, waited.waiting_for
            assert server.stop() == 0
