"""A cache of a real server: the same answers, in step, over its restart."""

import signal
from pathlib import Path

import pytest

import heed
from heed.keys import Keyer
from heed.records import decode_records
from tests.support.cache_process import records_of
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.served import Served

pytestmark = pytest.mark.slow

ORIGIN = heed.Origin(source="tests")
EVIDENCE = heed.Evidence(notice="n", notice_version="1", act="pressed Save", language="en")
PEOPLE = [f"{at}@example.com" for at in range(40)]


def written(client: heed.SyncClient) -> int:
    """Everything that a log can hold; return its revision."""
    client.declare_topic("orders", topic_class="transactional", origin=ORIGIN)
    client.declare_topic("offers", topic_class="promotional", requires_opt_in=True, origin=ORIGIN)
    for at, address in enumerate(PEOPLE):
        match at % 4:
            case 0:
                client.opt_out(email=address, source="tests", topic="news")
            case 1:
                client.opt_out(email=address, source="tests", reach="all")
            case 2:
                subject = heed.email(address)
                client.add_suppressions(
                    [heed.Suppression(subject=subject, cause="bounce")], origin=ORIGIN
                )
                if at % 8 == 2:
                    client.release_suppression(
                        subject=subject, cause="bounce", channel="email", reason="r", origin=ORIGIN
                    )
            case _:
                pass
    client.place_hold(reason="stop", origin=ORIGIN, topic="held")
    hold = client.place_hold(reason="stop", origin=ORIGIN, topic="orders")
    return client.lift_hold(hold.hold.hold_id, reason="go", origin=ORIGIN).revision


def assert_alike(cached: heed.SyncClient, plain: heed.SyncClient) -> None:
    for address in PEOPLE:
        for topic in ("news.weekly", "orders", "offers", "held.a"):
            here = cached.check(email=address, channel="email", topic=topic)
            there = plain.check(email=address, channel="email", topic=topic)
            assert here.source == "cache"
            assert (here.verdict, here.reasons, here.topic_class, here.revision) == (
                there.verdict,
                there.reasons,
                there.topic_class,
                there.revision,
            )
            assert here.token == there.token


def test_a_cache_answers_as_its_server_from_a_snapshot_and_from_changes(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as plain:
        first = written(plain)
        with CachedSyncClient(server.address, tmp_path / "from-snapshot") as cached:
            cached.wait_for(first)
            cached.wait_live()
            assert_alike(cached, plain)

            plain.opt_out(email=PEOPLE[3], source="tests")
            last = plain.place_hold(reason="stop", origin=ORIGIN, topic="news")
            cached.wait_for(last.revision)
            assert_alike(cached, plain)
            with CachedSyncClient(server.address, tmp_path / "another") as another:
                another.wait_for(last.revision)
                another.wait_live()
                assert records_of(another.cache._replica) == records_of(cached.cache._replica)
            assert cached.cache.stats().resyncs == {"new": 1}


def test_every_record_that_stands_is_in_the_cache_and_no_other(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as plain:
        revision = written(plain)
        with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=10) as cached:
            wait_until(lambda: cached.cache.has(revision))
            replica = cached.cache._replica
            view, _ = replica.index(replica.state().generation).find_all((), None)
            held = {
                key: [record.revision for record in decode_records(bytes.fromhex(encoded))]
                for key, encoded in records_of(replica).items()
            }

        keyer = Keyer(view.source.lookup_keys[0][1])
        standing: dict[str, list[int]] = {}
        for one in plain.export_records():
            assert one.subject is not None
            standing.setdefault(keyer.key(one.subject).hex(), []).append(one.record.revision)
        assert held == standing
        assert view.place.revision == revision


def test_a_server_that_is_killed_and_comes_back_is_followed_on(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        port = server.address.rpartition(":")[2]
        with server.client() as plain:
            plain.opt_out(email=PEOPLE[0], source="tests")
        with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=10) as cached:
            cached.wait_live()
            server.signal(signal.SIGKILL)
            server.wait()
            stopped = cached.check(email=PEOPLE[0], channel="email")

            with (
                Served(tmp_path, listen=f"127.0.0.1:{port}") as again,
                again.client() as plain,
            ):
                last = plain.opt_out(email=PEOPLE[1], source="tests").revision
                wait_until(lambda: cached.cache.has(last))
                cached.wait_live()

                assert (stopped.allowed, stopped.source) == (False, "cache")
                assert cached.check(email=PEOPLE[1], channel="email").source == "cache"
                assert cached.cache.stats().resyncs == {"new": 1}


async def test_the_asynchronous_client_follows_too(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        async with heed.Client(server.address, cache=tmp_path / "c", timeout=10) as client:
            await client.wait_live()
            written = await client.opt_out(email=PEOPLE[0], source="tests")

            answer = await client.check(email=PEOPLE[0], channel="email", token=written.token)

            assert not answer.allowed
