"""A cache whose stream or upstream does what it should not."""

import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

import heed
from heed.model import RULE_VERSION, Topic
from heed.wire import format as told
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.caches import BootClock, CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, WatchStream, fake_watch
from tests.support.followed_cache import ADA, BOB, UNREACHABLE, live, source_of

ORIGIN = heed.Origin(source="tests")


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@pytest.fixture
def client(server: FakeWatch, tmp_path: Path) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, tmp_path / "cache") as cached:
        yield cached


def probe_after(server: FakeWatch, client: CachedSyncClient, by: timedelta) -> int:
    """Let time pass, and return the probe that is sent then, not one that was on its way."""
    client.clock.advance(by)
    while True:
        probe = server.report().probe  # a cache that sent one has a stream
        current = client.cache._follower._current
        if current is not None and current[0]._sent.get(probe) == client.clock.ns:
            return probe


def test_what_a_stalled_stream_gives_late_never_makes_the_cache_live(tmp_path: Path) -> None:
    watch = FakeWatch()
    watch.heartbeat_seconds = 60
    with (
        fake_watch(watch=watch) as server,
        CachedSyncClient(server.address, tmp_path / "cache") as client,
    ):
        stream = live(server, client)
        held = probe_after(server, client, timedelta(seconds=2))
        client.clock.advance(timedelta(seconds=30))

        stream.heartbeat(held)
        wait_until(lambda: client.cache.stats().age == timedelta(seconds=30))
        released = (client.cache.state, source_of(client, BOB))
        fresh = probe_after(server, client, timedelta(seconds=2))
        stream.heartbeat(fresh)
        client.wait_live()

        assert released == (heed.CacheState.STALE, (True, "server"))
        assert source_of(client, BOB) == (True, "cache")


def test_changes_that_were_held_back_come_before_the_probe_that_makes_live(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)
    client.opt_out(email=BOB, source="tests")
    probe = probe_after(server, client, timedelta(seconds=2))

    server.publish()
    stream.heartbeat(probe)
    wait_until(lambda: client.cache.stats().age == timedelta(0))

    assert source_of(client, BOB) == (False, "cache")


def test_the_age_counts_from_the_sending_of_the_probe_and_adds_the_sources_own(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)
    probe = probe_after(server, client, timedelta(seconds=2))
    client.clock.advance(timedelta(seconds=1))

    stream.heartbeat(probe, source_age_ms=500)

    wait_until(lambda: client.cache.stats().age == timedelta(seconds=1.5))

    assert client.cache.stats().age == timedelta(seconds=1.5)


def test_a_probe_that_was_never_sent_makes_nothing_young(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)
    client.clock.advance(timedelta(seconds=6))

    stream.heartbeat(10**9)
    stream.heartbeat(0, now_us=server.service.clock.instant() + 77)
    wait_until(lambda: client.cache._replica.state().heard_ns == client.clock.ns)

    assert client.cache.stats().age == timedelta(seconds=6)


@pytest.mark.parametrize("now_us", [-1, 0, 2**62])
def test_a_heartbeat_whose_time_can_be_none_makes_nothing_young(
    server: FakeWatch, client: CachedSyncClient, now_us: int
) -> None:
    stream = live(server, client)
    before = client.cache._replica.state()
    probe = probe_after(server, client, timedelta(seconds=3))

    stream.heartbeat(probe, now_us=now_us)
    stream.heartbeat()
    wait_until(lambda: client.cache._replica.state().heard_ns > before.heard_ns)
    refused = client.cache.stats().age
    stream.heartbeat(probe)  # the control: it was no worse than its time
    wait_until(lambda: client.cache.stats().age == timedelta(0))

    assert refused == timedelta(seconds=3)


@pytest.mark.parametrize("days", [-4_000, 4_000])
def test_a_clock_of_the_source_that_jumps_changes_no_age(
    server: FakeWatch, client: CachedSyncClient, days: int
) -> None:
    stream = live(server, client)
    client.clock.advance(timedelta(seconds=6))
    jumped = server.service.clock.instant() + days * 86_400_000_000

    stream.heartbeat(now_us=jumped)
    wait_until(lambda: client.cache._replica.state().source_now_us == jumped)

    assert client.cache.stats().age == timedelta(seconds=6)
    assert source_of(client, BOB) == (True, "server")
    assert source_of(client, ADA) == (False, "cache")


@pytest.mark.parametrize("years", [-30, 30])
def test_a_wall_clock_of_this_host_that_is_wrong_changes_nothing(
    server: FakeWatch, client: CachedSyncClient, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    """A pause is judged by the source's time all the same, and age by the boot clock."""
    end_time = server.service.clock.now() + timedelta(seconds=3)
    client.pause(email=BOB, end_time=end_time, source="tests")
    live(server, client)
    wrong = time.time() + years * 365 * 86_400

    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: wrong)
        patched.setattr(time, "time_ns", lambda: int(wrong) * 1_000_000_000)
        paused = source_of(client, BOB)
        client.clock.advance(timedelta(seconds=4))
        over, state = source_of(client, BOB), client.cache.state
        client.clock.advance(timedelta(seconds=2))
        old = client.cache.state

    assert (paused, over) == ((False, "cache"), (True, "cache"))
    assert (state, old) == (heed.CacheState.LIVE, heed.CacheState.STALE)


def spoilt(stream: WatchStream, how: str) -> None:
    """Send what cannot be applied."""
    revision = stream.server.memory.revision
    match how:
        case "gap":
            stream.changes(after=revision + 1, through=revision + 2)
        case "backwards":
            stream.changes(after=revision, through=revision - 1)
        case "beyond":
            change = pb.Change(revision=revision + 2, remove_hold_id="h")
            stream.changes(after=revision, through=revision + 1, changes=[change])
        case "without a hash":
            stream.changes(after=revision, through=revision + 1, running_hash=b"")
        case "unknown event":
            stream.send()
        case "unknown effect":
            change = pb.Change(revision=revision + 1)
            stream.changes(after=revision, through=revision + 1, changes=[change])
        case "unknown kind":
            change = pb.Change(
                revision=revision + 1,
                subject_key=bytes(16),
                set_record=pb.WatchedRecord(kind=15, cause=0, reach=3, channel=1),  # type: ignore[arg-type]
            )
            stream.changes(after=revision, through=revision + 1, changes=[change])
        case "not there":
            change = pb.Change(revision=revision + 1, remove_hold_id="nobody's")
            stream.changes(after=revision, through=revision + 1, changes=[change])
        case "heartbeat ahead":
            stream.heartbeat(through=revision + 1)
        case "opened twice":
            stream.opened()
        case "chunk without begin":
            stream.send(snapshot_chunk=pb.SnapshotChunk())
        case _:
            raise ValueError(how)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("gap", "gap"),
        ("backwards", "gap"),
        ("beyond", "gap"),
        ("without a hash", "gap"),
        ("unknown event", "unknown"),
        ("unknown effect", "unknown"),
        ("unknown kind", "unknown"),
        ("not there", "damaged"),
        ("heartbeat ahead", "gap"),
        ("opened twice", "gap"),
        ("chunk without begin", "gap"),
    ],
)
def test_what_does_not_fit_is_not_applied_and_a_snapshot_is_asked_for(
    server: FakeWatch,
    client: CachedSyncClient,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reason: str,
) -> None:
    monkeypatch.setattr("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.01)
    stream = live(server, client)
    stood = client.cache.stats().revision

    spoilt(stream, how)
    again = server.stream()

    assert client.cache.stats().resyncs[reason] == 1
    assert again.request.token == ""
    assert client.cache.stats().revision == stood
    assert source_of(client, ADA) == (False, "cache")
    server.is_obedient = True
    client.opt_out(email=BOB, source="tests")
    server.publish()
    again.opened()
    again.snapshot()
    client.wait_for(server.memory.revision)
    assert source_of(client, BOB) == (False, "cache")


@pytest.mark.parametrize("how", ["checksum", "count", "cut off"])
def test_a_snapshot_that_is_not_what_it_says_is_dropped(
    server: FakeWatch, client: CachedSyncClient, tmp_path: Path, how: str
) -> None:
    stream = live(server, client)
    stood = client.cache._replica.state().generation
    client.opt_out(email=BOB, source="tests")
    stream.begin_snapshot(pb.RESYNC_REASON_BEHIND)
    chunks = stream.chunks(1)

    match how:
        case "checksum":
            stream.end_snapshot(chunks, checksum=bytes(32))
        case "count":
            stream.end_snapshot(chunks[:-1])
        case _:
            stream.end()
    server.stream()

    assert client.cache._replica.state().generation == stood
    assert source_of(client, ADA) == (False, "cache")


def test_of_another_epoch_suppressed_is_served_and_nothing_allowed_until_its_snapshot_is_whole(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    """The store was restored to a time before Ada opted out, and Bob opted out since."""
    stream = live(server, client)
    assert source_of(client, BOB) == (True, "cache")
    server.epoch = b"restored"
    server.memory.ledger.records.clear()
    client.opt_out(email=BOB, source="tests")
    server.asked.clear()

    stream.end()
    restored = server.stream()
    restored.opened()
    restored.begin_snapshot(pb.RESYNC_REASON_EPOCH_CHANGED)
    chunks = restored.chunks(1)
    wait_until(lambda: client.cache.stats().age is None)
    meanwhile = [source_of(client, ADA), source_of(client, "eve@example.com")]
    restored.end_snapshot(chunks)
    client.wait_for(server.memory.revision)
    wait_until(lambda: source_of(client, ADA)[0])

    assert meanwhile == [(False, "cache"), (True, "server")]
    assert source_of(client, ADA) == (True, "server")
    assert source_of(client, BOB) == (False, "cache")
    restored.heartbeat(probe_after(server, client, timedelta(seconds=2)))
    client.wait_live()
    assert source_of(client, ADA) == (True, "cache")


def test_of_another_history_nothing_is_allowed_until_its_snapshot_is_whole(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)

    stream.begin_snapshot(pb.RESYNC_REASON_HISTORY_CHANGED)
    wait_until(lambda: client.cache.stats().age is None)

    assert source_of(client, BOB) == (True, "server")
    assert source_of(client, ADA) == (False, "cache")


def test_a_snapshot_because_of_being_behind_leaves_what_is_there_as_young_as_it_was(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)
    before = client.cache._replica.state()

    stream.snapshot(pb.RESYNC_REASON_BEHIND)
    wait_until(lambda: client.cache._replica.state().generation != before.generation)

    assert client.cache._replica.state().known_ns == before.known_ns
    assert source_of(client, BOB) == (True, "cache")


def test_heartbeats_before_and_within_a_snapshot_say_nothing_of_what_is_there(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)
    stream.begin_snapshot(pb.RESYNC_REASON_BEHIND)
    probe = probe_after(server, client, timedelta(seconds=6))

    stream.heartbeat(probe, through=10**6)
    chunks = stream.chunks(1)
    stream.end_snapshot(chunks)
    stream.heartbeat(0)
    wait_until(lambda: client.cache._replica.state().heard_ns == client.clock.ns)

    assert client.cache.state is heed.CacheState.STALE


def test_a_later_rule_version_serves_what_is_suppressed_and_allows_nothing(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    client.declare_topic(
        "security", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
    )
    stream = live(server, client)
    revision = server.memory.revision
    change = pb.Change(
        revision=revision + 1,
        set_topic=told.topic(Topic(name="orders")),
        rule_version=RULE_VERSION + 1,
        commit_time_us=1,
    )

    stream.changes(after=revision, through=revision + 1, changes=[change], token="t")
    client.wait_for(revision + 1)

    assert source_of(client, ADA) == (False, "cache")
    assert source_of(client, BOB) == (True, "server")
    server.failure = UNREACHABLE
    assert source_of(client, BOB) == (False, "policy")
    assert source_of(client, BOB, "security") == (False, "policy")


@pytest.mark.parametrize("version", ["rule_version", "normaliser_version"])
def test_a_stream_that_needs_a_later_version_allows_nothing(
    server: FakeWatch, client: CachedSyncClient, version: str
) -> None:
    stream = live(server, client)

    stream.end()
    again = server.stream()
    again.position = server.memory.revision
    again.opened(**{version: RULE_VERSION + 1})
    again.heartbeat(probe_after(server, client, timedelta(seconds=2)))
    wait_until(lambda: source_of(client, BOB) == (True, "server"))

    assert source_of(client, ADA) == (False, "cache")


def test_a_silent_stream_is_left_after_three_intervals_and_resumed(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    stream = live(server, client)

    client.clock.advance(timedelta(seconds=29))
    alive = server.streams.empty()
    client.clock.advance(timedelta(seconds=1))
    again = server.stream()

    assert alive
    assert again.request.token == server.token(server.memory.revision)
    wait_until(lambda: stream.ended)


def test_a_heartbeat_interval_of_nothing_is_a_second(tmp_path: Path) -> None:
    watch = FakeWatch()
    watch.heartbeat_seconds = 0
    clock = BootClock()
    with (
        fake_watch(watch=watch) as server,
        CachedSyncClient(server.address, tmp_path / "cache", clock=clock) as client,
    ):
        live(server, client)

        clock.advance(timedelta(seconds=3))

        assert server.stream().request.token
