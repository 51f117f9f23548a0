"""A cache whose connection to a real server fails in every way that a network can.

Others write beside the proxy. After each fault the cache holds what the log says, record by record.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import heed
from heed.connection import options
from tests.support.cache_process import records_of
from tests.support.caches import CachedSyncClient, GoingClock, wait_until
from tests.support.served import Served
from tests.support.stream_proxy import StreamProxy

pytestmark = pytest.mark.slow

HEARTBEATS = {"HEED_WATCH_HEARTBEAT_SECONDS": "0.2"}
HELD = timedelta(seconds=30)
DELAY = timedelta(milliseconds=300)
REPLAY_CHANGES_MAX = 1_000
ADA, BOB, CAROL = (f"{name}@example.com" for name in ("ada", "bob", "carol"))


class Scene:
    """A server, somebody who writes to it, and a cache behind a proxy; Ada has opted out."""

    def __init__(self, server: Served, writer: heed.SyncClient, folder: Path) -> None:
        self.server = server
        self.writer = writer
        self.folder = folder
        self.proxy = StreamProxy(server.address)
        self.client = CachedSyncClient(
            self.proxy.address, folder / "cache", clock=GoingClock(), timeout=0.2
        )

    def opt_out(self, *emails: str) -> int:
        """Record it beside the proxy; return the revision."""
        return max(self.writer.opt_out(email=one, source="tests").revision for one in emails)

    def said_of(self, email: str) -> tuple[bool, str]:
        answer = self.client.check(email=email, channel="email", topic="news")
        return answer.allowed, answer.source.value

    def live_with(self, revision: int) -> None:
        """Wait until the cache is LIVE; it must know a revision then."""
        wait_until(lambda: self.client.cache.state is heed.CacheState.LIVE)
        assert self.client.cache.has(revision), "it is live by what it knew before"

    def assert_in_step(self) -> None:
        """The cache holds what one holds that takes a snapshot now, straight from the server."""
        with CachedSyncClient(
            self.server.address, self.folder / "fresh", clock=GoingClock()
        ) as fresh:
            fresh.wait_live()
            assert records_of(self.client.cache._replica) == records_of(fresh.cache._replica)
            assert self.client.cache.stats().revision == fresh.cache.stats().revision


@contextmanager
def scene(folder: Path, **variables: str) -> Generator[Scene]:
    with (
        Served(folder, variables=HEARTBEATS | variables) as server,
        server.client() as writer,
    ):
        made = Scene(server, writer, folder)
        with made.proxy, made.client:
            revision = made.opt_out(ADA)
            made.client.wait_for(revision)
            made.client.wait_live()
            yield made


def test_without_a_fault_a_change_comes_and_the_cache_stays_live(tmp_path: Path) -> None:
    """The control of all below."""
    with scene(tmp_path) as it:
        it.client.wait_for(it.opt_out(BOB))

        assert it.client.cache.state is heed.CacheState.LIVE
        assert it.said_of(BOB) == (False, "cache")
        assert it.client.cache.stats().streams == 1
        it.assert_in_step()


def test_a_stream_that_is_cut_again_and_again_misses_nothing(tmp_path: Path) -> None:
    people = [f"p{at}@example.com" for at in range(60)]
    with scene(tmp_path) as it:
        revision = 0
        for at, one in enumerate(people):
            revision = it.opt_out(one)
            if at % 10 == 5:
                it.proxy.cut()
        it.client.wait_for(revision)
        it.client.wait_live()

        stats = it.client.cache.stats()
        assert stats.streams > 1, "it was cut"
        assert stats.resyncs == {"new": 1}, "and resumed"
        assert {it.said_of(one) for one in people} == {(False, "cache")}
        it.assert_in_step()


def test_a_stream_that_is_held_for_half_a_minute_is_never_live_on_what_is_old(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as it:
        it.proxy.hold()
        revision = it.opt_out(BOB)
        it.client.clock.advance(HELD)
        held = (it.client.cache.state, it.client.cache.has(revision))
        said = (it.said_of(ADA), it.said_of(BOB), it.said_of(CAROL))

        it.proxy.release()
        it.live_with(revision)

        assert held == (heed.CacheState.STALE, False)
        assert said == ((False, "cache"), (False, "policy"), (False, "policy"))
        assert it.said_of(BOB) == (False, "cache")
        assert it.said_of(CAROL) == (True, "cache")
        it.assert_in_step()


def test_a_connection_that_is_half_open_is_found_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hears the cache and is not heard; the ping finds it, sooner here than by default."""
    monkeypatch.setattr(options, "KEEPALIVE_MILLISECONDS", 1_000)
    monkeypatch.setattr(options, "KEEPALIVE_TIMEOUT_MILLISECONDS", 1_000)
    with scene(tmp_path) as it:
        it.proxy.deafen()
        revision = it.opt_out(BOB)
        it.client.clock.advance(HELD)
        deaf = (it.client.cache.state, it.client.cache.has(revision), it.said_of(BOB))

        it.live_with(revision)

        # A check goes by a connection of its own, which is made after the fault.
        assert deaf == (heed.CacheState.STALE, False, (False, "server"))
        assert it.client.cache.stats().resyncs == {"new": 1}
        it.assert_in_step()


def test_a_delay_of_the_stream_is_in_the_age(tmp_path: Path) -> None:
    with scene(tmp_path) as it:
        quick = _least_age(it)
        it.proxy.delay_seconds = DELAY.total_seconds()
        revision = it.opt_out(BOB)
        it.client.wait_for(revision)
        # What was echoed before the delay is older than this by now.
        it.client.clock.advance(timedelta(seconds=4))

        slow = _least_age(it)

        assert quick < DELAY <= slow < timedelta(seconds=4)
        it.proxy.delay_seconds = 0.0
        it.assert_in_step()


def _least_age(it: Scene) -> timedelta:
    """The youngest that the cache says it is until three further probes came back."""
    ages: list[timedelta] = []
    came_back, known = 0, it.client.cache._replica.state().known_ns

    def have_come_back() -> bool:
        nonlocal came_back, known
        age = it.client.cache.stats().age
        assert age is not None
        if came_back:
            ages.append(age)
        now_known = it.client.cache._replica.state().known_ns
        came_back, known = came_back + (now_known != known), now_known
        return came_back == 3

    wait_until(have_come_back)
    return min(ages)


def test_a_cursor_beyond_the_backlog_gets_a_snapshot_and_ages_meanwhile(tmp_path: Path) -> None:
    most = {"HEED_WATCH_REPLAY_CHANGES_MAX": str(REPLAY_CHANGES_MAX)}
    with scene(tmp_path, **most) as it:
        it.proxy.refuse()
        people = [f"p{at}@example.com" for at in range(REPLAY_CHANGES_MAX + 1)]
        revision = it.writer.add_suppressions(
            [heed.Suppression(subject=heed.email(one), cause="bounce") for one in people[:1000]],
            origin=heed.Origin(source="tests"),
        ).revision
        revision = max(revision, it.opt_out(people[1000], BOB))
        it.client.clock.advance(HELD)
        away = (it.client.cache.state, it.said_of(ADA), it.said_of(BOB))

        it.proxy.accept()
        it.live_with(revision)

        assert away == (heed.CacheState.STALE, (False, "cache"), (False, "policy"))
        assert it.client.cache.stats().resyncs == {"new": 1, "behind": 1}
        it.assert_in_step()


def test_another_store_under_a_resuming_cache_replaces_all_that_it_knew(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        scene(tmp_path) as it,
        Served(tmp_path / "other", variables=HEARTBEATS) as other,
        other.client() as elsewhere,
    ):
        it.opt_out(*(f"p{at}@example.com" for at in range(20)))
        revision = elsewhere.opt_out(email=CAROL, source="tests").revision
        assert it.said_of(CAROL) == (True, "cache")

        it.proxy.target = other.address
        it.proxy.cut()
        wait_until(lambda: "epoch_changed" in it.client.cache.stats().resyncs)
        wait_until(lambda: it.client.cache.stats().revision == revision)
        it.client.wait_live()

        assert it.said_of(CAROL) == (False, "cache")
        assert it.said_of(ADA) == (True, "cache")
        it.server = other
        it.assert_in_step()
