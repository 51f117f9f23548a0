"""What a cache answers by itself, in which state, and what when no server answers."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

import heed
from tests.support.caches import CachedSyncClient
from tests.support.fake_watch import FakeWatch, fake_watch

ADA = "ada@example.com"
BOB = "bob@example.com"
ORIGIN = heed.Origin(source="tests")
UNREACHABLE = heed.UnavailableError("away", reason=heed.ErrorReason.STORE_UNAVAILABLE)
CHECK = "CheckSuppression"


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@pytest.fixture
def client(server: FakeWatch, tmp_path: Path) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, tmp_path / "cache") as cached:
        yield cached


def live(server: FakeWatch, client: CachedSyncClient) -> None:
    server.publish()
    client.wait_live()
    server.asked.clear()


def test_a_live_cache_answers_without_a_server(server: FakeWatch, client: CachedSyncClient) -> None:
    client.opt_out(email=ADA, source="tests", channel="email", topic="news")
    live(server, client)

    stopped = client.check(email=ADA, channel="email", topic="news.weekly")
    allowed = client.check(email=BOB, channel="email", topic="news.weekly")

    assert (stopped.allowed, stopped.source, stopped.rule) == (
        False,
        heed.AnswerSource.CACHE,
        heed.Rule.OPT_OUT,
    )
    assert (allowed.allowed, allowed.source, allowed.state) == (
        True,
        heed.AnswerSource.CACHE,
        heed.CacheState.LIVE,
    )
    assert allowed.age == timedelta(0)
    assert server.asked == []


@pytest.mark.parametrize(
    ("topic", "channel", "longest"),
    [
        ("news", "email", timedelta(seconds=5)),
        ("orders", "email", timedelta(seconds=60)),
        ("security", "email", timedelta(minutes=15)),
    ],
)
def test_allowed_is_served_up_to_the_max_staleness_of_its_class_and_not_beyond(
    server: FakeWatch,
    client: CachedSyncClient,
    topic: str,
    channel: str,
    longest: timedelta,
) -> None:
    """The stream stalls: nothing comes, and only the boot clock goes on."""
    client.declare_topic("orders", topic_class="transactional", origin=ORIGIN)
    client.declare_topic(
        "security", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
    )
    live(server, client)
    server.is_obedient = False
    server.failure = UNREACHABLE
    since = client.check(email=BOB, channel=channel, topic=topic).age or timedelta(0)

    client.clock.advance(longest - since)
    young = client.check(email=BOB, channel=channel, topic=topic)
    client.clock.advance(timedelta(microseconds=1))
    old = client.check(email=BOB, channel=channel, topic=topic)

    assert (young.allowed, young.source, young.age) == (True, heed.AnswerSource.CACHE, longest)
    assert old.source is heed.AnswerSource.POLICY
    assert old.allowed is (topic == "security")


def test_past_max_staleness_a_server_is_asked(server: FakeWatch, client: CachedSyncClient) -> None:
    live(server, client)
    server.is_obedient = False
    client.clock.advance(timedelta(seconds=6))

    answer = client.check(email=BOB, channel="email", topic="news")

    assert (answer.allowed, answer.source, answer.age) == (True, heed.AnswerSource.SERVER, None)
    assert answer.state is heed.CacheState.STALE
    assert server.asked == [CHECK]


def test_suppressed_is_served_at_any_age_with_its_age(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    client.opt_out(email=ADA, source="tests")
    live(server, client)
    server.is_obedient = False

    client.clock.advance(timedelta(days=3))
    answer = client.check(email=ADA, channel="email", topic="news")

    assert (answer.allowed, answer.source) == (False, heed.AnswerSource.CACHE)
    assert answer.state is heed.CacheState.EXPIRED
    assert answer.age == timedelta(days=3)
    assert server.asked == []


def test_without_any_server_nothing_promotional_is_allowed_past_its_age(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    live(server, client)
    server.is_obedient = False
    server.failure = UNREACHABLE
    client.clock.advance(timedelta(seconds=6))

    answer = client.check(email=BOB, channel="email", topic="news")

    assert (answer.allowed, answer.source) == (False, heed.AnswerSource.POLICY)
    assert answer.rule is None
    assert client.cache.stats().answered_by_policy == 1


def test_a_mandatory_topic_gets_the_last_known_answer_counted_and_logged_once(
    server: FakeWatch, client: CachedSyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.declare_topic(
        "security", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
    )
    client.opt_out(email=ADA, source="tests", reach="all")
    live(server, client)
    server.is_obedient = False
    server.failure = UNREACHABLE
    client.clock.advance(timedelta(hours=2))

    to_bob = [client.check(email=BOB, channel="email", topic="security") for _ in range(3)]
    to_ada = client.check(email=ADA, channel="email", topic="security")
    by_sms = client.check(phone="+43 660 1234567", channel="sms", topic="security")

    assert [one.allowed for one in to_bob] == [True] * 3
    assert {one.source for one in to_bob} == {heed.AnswerSource.POLICY}
    assert not to_ada.allowed
    assert not by_sms.allowed
    assert client.cache.stats().mandatory_by_policy == 3
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1


def test_what_a_server_refuses_is_raised_and_never_the_policy(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    live(server, client)
    server.is_obedient = False
    client.clock.advance(timedelta(seconds=6))
    server.failure = heed.RightRequiredError("no", metadata={"right": "check"})

    with pytest.raises(heed.RightRequiredError):
        client.check(email=BOB, channel="email", topic="news")


def test_before_its_first_snapshot_a_cache_asks_a_server_and_then_the_policy(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    server.is_obedient = False

    by_server = client.check(email=BOB, channel="email")
    server.failure = UNREACHABLE
    by_policy = client.check(email=BOB, channel="email")

    assert (by_server.source, by_server.state) == (
        heed.AnswerSource.SERVER,
        heed.CacheState.SYNCING,
    )
    assert (by_policy.allowed, by_policy.source) == (False, heed.AnswerSource.POLICY)


@pytest.mark.parametrize(
    ("address", "channel", "topic"),
    [(BOB, "carrier-pigeon", ""), (BOB, "email", "A"), ("no address", "email", "")],
)
def test_what_is_malformed_is_refused_as_without_a_cache(
    server: FakeWatch, client: CachedSyncClient, address: str, channel: str, topic: str
) -> None:
    live(server, client)

    with pytest.raises(heed.InvalidArgumentError):
        client.check(email=address, channel=channel, topic=topic)
