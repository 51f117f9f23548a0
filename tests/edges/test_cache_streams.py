"""How a cache opens its streams again, and what that leaves behind."""

import json
import threading
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

import heed
from heed.connection.target import target_of
from heed.connection.watching import WatchCalls
from heed.replica.follower import BACKOFF_RESET_NS
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, fake_watch

ADA = "ada@example.com"
RECONNECTS = 200


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@pytest.fixture
def client(server: FakeWatch, tmp_path: Path) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, tmp_path / "cache") as cached:
        cached.wait_live()
        yield cached


def test_a_stream_that_ends_is_resumed_by_the_token_of_what_was_applied(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.stream().end()
    client.opt_out(email=ADA, source="tests")
    again = server.stream()
    revision = server.publish()
    client.wait_for(revision)
    again.end()

    last = server.stream()

    assert last.request.token == server.token(revision)
    assert client.cache.stats().resyncs == {"new": 1}
    assert last.request.subscriber == "tests"
    assert last.request.instance == again.request.instance != ""


def test_an_error_of_the_server_is_noted_and_the_stream_resumed(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.stream().end(heed.RightRequiredError("no", metadata={"right": "watch"}))

    again = server.stream()

    assert again.request.token
    assert "no" in client.cache.stats().last_error


def test_a_draining_server_is_left_when_it_says_so(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    """Until then its stream is read on."""
    stream = server.stream()
    stream.draining(7)
    client.opt_out(email=ADA, source="tests")
    client.wait_for(server.publish())
    stayed = not stream.ended

    client.clock.advance(timedelta(seconds=7))
    again = server.stream()

    assert stayed
    assert again.request.token == server.token(server.memory.revision)
    assert client.cache.stats().last_error == ""


def test_a_probe_to_a_stream_that_is_unknown_opens_another(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stream()
    unknown = heed.NotFoundError("gone", reason=heed.ErrorReason.STREAM_UNKNOWN)

    def report(_: object, __: object) -> None:
        raise unknown

    with monkeypatch.context() as patched:
        patched.setattr(WatchCalls, "report", report)
        client.clock.advance(timedelta(seconds=2))
        again = server.stream()

    assert again.request.token


def test_a_probe_is_sent_at_least_every_third_of_max_staleness(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.stream().end()
    last = server.report_of(server.stream())

    client.clock.advance(timedelta(seconds=5) / 3)
    probe = server.report()

    assert (probe.probe, probe.applied_revision) == (last.probe + 1, server.memory.revision)
    assert probe.stream_id == last.stream_id


def test_a_stream_that_was_alive_for_a_minute_begins_the_backoff_anew(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.heartbeat_seconds = 3_600
    server.stream().end()
    stream = server.stream()
    server.report_of(stream)
    backoff = client.cache._follower._backoff
    backoff.fail_for_long()
    stream.heartbeat(now_us=4710)
    wait_until(lambda: client.cache._replica.state().source_now_us == 4710)

    server.is_obedient = False
    client.clock.ns += BACKOFF_RESET_NS
    stream.heartbeat(now_us=4711)
    wait_until(lambda: client.cache._replica.state().source_now_us == 4711)
    stream.end()

    server.stream()
    assert backoff._failures == 1


def test_many_reconnects_leave_no_threads_and_no_connections_behind(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.0)
    channel = client.cache._follower._upstream._channel  # type: ignore[attr-defined] # gRPC's own
    threads = threading.active_count()

    for _ in range(RECONNECTS):
        server.stream().end()
    server.stream()

    assert client.cache.stats().streams >= RECONNECTS
    assert client.cache._follower._upstream._channel is channel  # type: ignore[attr-defined]
    assert threading.active_count() <= threads + 1
    assert client.cache.stats().resyncs == {"new": 1}


def test_a_cache_that_is_closed_while_its_server_is_away_ends_at_once(tmp_path: Path) -> None:
    client = heed.SyncClient("127.0.0.1:1", cache=tmp_path / "c", timeout=0.1)
    assert client.check(email=ADA, channel="email").source == "policy"

    client.close()

    assert not [one for one in threading.enumerate() if one.name.startswith("heed-")]


def test_a_closed_connection_refuses_calls_as_unreachable() -> None:
    calls = WatchCalls(target_of("127.0.0.1:1", tls=None, insecure=False, api_key=None))
    calls.close()
    calls.close()

    with pytest.raises(heed.UnavailableError):
        calls.watch(pb.WatchChangesRequest())
    with pytest.raises(heed.UnavailableError):
        calls.report(pb.ReportAppliedRequest())


def test_the_streams_channel_is_its_own_and_retries_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, object] = {}
    real = grpc.insecure_channel

    def opened(name: str, options: list[tuple[str, object]]) -> grpc.Channel:
        seen.update(options)
        return real(name, options)

    monkeypatch.setattr(grpc, "insecure_channel", opened)
    calls = WatchCalls(target_of("127.0.0.1:1", tls=None, insecure=False, api_key=None))
    with pytest.raises(heed.UnavailableError):
        calls.report(pb.ReportAppliedRequest())
    calls.close()

    assert json.loads(str(seen["grpc.service_config"])) == {
        "loadBalancingConfig": [{"pick_first": {}}]
    }
    assert seen["grpc.use_local_subchannel_pool"] == 1
    assert seen["grpc.keepalive_time_ms"] == 20_000
