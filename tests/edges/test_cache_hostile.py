"""A cache whose upstream says what no upstream should, and whose process was forked."""

import os
import signal
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from google.protobuf.duration_pb2 import Duration

from heed.replica.follower import Backoff
from heed.replica.following import RECONNECT_NS_MAX
from heed.wire.limits import TOKEN_CHARACTERS_MAX
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.cache_process import TAKE_OVER_SECONDS_MAX, CacheProcess
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, fake_watch

DURATION_SECONDS_MAX = 315_576_000_000
STREAMS = 6


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@pytest.fixture
def client(server: FakeWatch, tmp_path: Path) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, tmp_path / "cache") as cached:
        cached.wait_live()
        yield cached


def test_a_server_that_sends_a_cache_away_for_ever_keeps_it_half_a_minute(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.stream().draining(DURATION_SECONDS_MAX)
    wait_until(lambda: client.cache._follower._current is not None and _is_sent_away(client))

    client.clock.advance(timedelta(microseconds=RECONNECT_NS_MAX // 1_000))

    assert server.stream().request.token


def test_a_server_that_sends_away_at_once_again_and_again_is_asked_ever_later(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a backoff this is a loop as tight as the network lets it be."""
    failures: list[int] = []

    def seconds(backoff: Backoff) -> float:
        failures.append(backoff._failures)
        backoff._failures += 1
        return 0.0

    monkeypatch.setattr(Backoff, "seconds", seconds)
    server.is_obedient = False
    stream = server.stream()
    for _ in range(STREAMS):
        stream.draining(0)
        stream.end()
        stream = server.stream()
        stream.opened()

    assert failures == list(range(STREAMS))


@pytest.mark.parametrize("seconds", [-1, DURATION_SECONDS_MAX])
def test_a_heartbeat_interval_that_can_be_none_is_not_believed(
    server: FakeWatch, client: CachedSyncClient, seconds: int
) -> None:
    """Neither is the stream dead at once, nor is it never found dead."""
    server.is_obedient = False
    server.stream().end()
    stream = server.stream()
    while not server.reports.empty():
        server.reports.get()
    stream.opened(heartbeat_interval=Duration(seconds=seconds))
    server.report()
    stayed = not stream.ended

    client.clock.advance(timedelta(minutes=3, seconds=1))

    assert stayed
    assert server.stream().request.token


def test_a_record_that_none_can_be_ends_the_snapshot_and_not_the_follower(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.01)
    server.is_obedient = False
    stream = server.stream()
    record = pb.WatchedRecord(
        kind=types.RECORD_KIND_OPT_OUT,
        reach=types.REACH_PROMOTIONAL,
        channel=types.CHANNEL_ANY,
        topic="é",
        revision=1,
    )
    stream.begin_snapshot(pb.RESYNC_REASON_BEHIND)
    subject = pb.SubjectRecords(subject_key=bytes(16), records=[record])
    chunk = pb.SnapshotRecords(subjects=[subject]).SerializeToString()
    stream.send(snapshot_chunk=pb.SnapshotChunk(records=chunk))

    again = server.stream()

    assert again.request.token == ""
    assert client.cache.stats().resyncs["damaged"] == 1


def test_a_mistake_of_ours_between_two_probes_does_not_end_the_probes(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(client.cache._follower, "_on_pace", fail)
        wait_until(lambda: "a mistake" in client.cache.stats().last_error)
    while not server.reports.empty():
        server.reports.get()

    client.clock.advance(timedelta(seconds=2))

    assert server.report().probe > 1


def test_a_token_of_another_alphabet_is_kept_as_it_was_said(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    """Tokens are opaque: one that could be written and not read would end every answer."""
    revision = server.memory.revision
    stream = server.stream()
    server.is_obedient = False

    stream.changes(after=revision, through=revision + 1, token="é")
    client.wait_for(revision + 1)

    assert client.check(email="a@example.com", channel="email", topic="news").token == "é"


@pytest.mark.parametrize("excess", [0, 1])
def test_a_token_is_kept_unless_it_is_longer_than_any(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch, excess: int
) -> None:
    monkeypatch.setattr("heed.replica.follower.BACKOFF_FIRST_SECONDS", 0.01)
    monkeypatch.setattr("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.01)
    revision = server.memory.revision
    stream = server.stream()
    server.is_obedient = False

    token = "x" * (TOKEN_CHARACTERS_MAX + excess)
    stream.changes(after=revision, through=revision + 1, token=token)
    if not excess:
        client.wait_for(revision + 1)
    stream.end()
    again = server.stream()

    assert again.request.token == ("" if excess else token)
    assert client.cache.stats().revision == revision + 1 - excess
    assert client.cache.stats().resyncs.get("unknown", 0) == excess


def test_a_process_that_was_forked_off_keeps_no_cache_from_its_next_owner(
    server: FakeWatch, tmp_path: Path
) -> None:
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        assert owner.ask("live") is True
        reader.ask("live")
        child: int = owner.ask("fork")
        try:
            state = owner.line()
            since = monotonic()
            owner.kill()
            reader.ask("own")
            wait_until(lambda: len(server.obeyed) == 2)
            took = monotonic() - since
        finally:
            os.kill(child, signal.SIGKILL)

    assert state == "syncing", "what its parent reads it must not read by the parent's transactions"
    assert took < TAKE_OVER_SECONDS_MAX


def _is_sent_away(client: CachedSyncClient) -> bool:
    current = client.cache._follower._current
    return current is not None and current[0].reconnect_ns is not None
