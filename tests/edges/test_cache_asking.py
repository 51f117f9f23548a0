"""What a cache is asked: tokens, filters, tenants, batches, several keys, samples."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import heed
from heed.keys import LOOKUP_KEY_BYTES, Keyer
from heed.model import Cause, Instant, Reach, Record, RecordKind, Revision, SubjectType
from heed.tokens import encode_token
from heed.wire import watched
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, fake_watch

ADA = "ada@example.com"
BOB = "bob@example.com"
PHONE = "+43 660 1234567"
ORIGIN = heed.Origin(source="tests")
UNREACHABLE = heed.UnavailableError("away", reason=heed.ErrorReason.STORE_UNAVAILABLE)


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@contextmanager
def live(server: FakeWatch, folder: Path, **said: Any) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, folder / "cache", **said) as client:
        client.wait_live()
        server.asked.clear()
        yield client


def test_a_token_that_the_cache_has_is_answered_here(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        written = client.opt_out(email=ADA, source="tests")
        server.publish()
        client.wait_for(written.revision)
        server.asked.clear()

        answer = client.check(email=ADA, channel="email", token=written.token)

        assert (answer.allowed, answer.source, server.asked) == (False, "cache", [])


def test_a_token_that_the_cache_does_not_have_is_for_the_server(
    server: FakeWatch, tmp_path: Path
) -> None:
    with live(server, tmp_path) as client:
        written = client.opt_out(email=ADA, source="tests")

        answer = client.check(email=ADA, channel="email", token=written.token)

        assert (answer.allowed, answer.source) == (False, "server")


def test_a_token_whose_change_comes_within_a_moment_is_waited_for(
    server: FakeWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heed.sync_client.cached.CATCH_UP_SECONDS", 20.0)
    with live(server, tmp_path) as client:
        written = client.opt_out(email=ADA, source="tests")
        waits: list[float] = []

        def pause(seconds: float) -> None:
            waits.append(seconds)
            server.publish()
            wait_until(lambda: client.cache.has(written.revision))

        monkeypatch.setattr("heed.sync_client.cached.pause", pause)
        server.asked.clear()
        answer = client.check(email=ADA, channel="email", token=written.token)

        assert len(waits) == 1
        assert (answer.allowed, answer.source, server.asked) == (False, "cache", [])


def test_a_token_that_nobody_has_is_an_error_and_not_the_policys(
    server: FakeWatch, tmp_path: Path
) -> None:
    with live(server, tmp_path) as client:
        written = client.opt_out(email=ADA, source="tests")
        server.failure = UNREACHABLE

        with pytest.raises(heed.UnavailableError):
            client.check(email=ADA, channel="email", token=written.token)


@pytest.mark.parametrize(
    "changed", [{"epoch": b"another."}, {"tenant_id": 77}, {"running_hash": bytes(32)}]
)
def test_a_token_of_another_log_is_for_the_server_to_refuse(
    server: FakeWatch, tmp_path: Path, changed: dict[str, Any]
) -> None:
    with live(server, tmp_path) as client:
        ours: dict[str, Any] = {
            "epoch": server.epoch,
            "tenant_id": server.memory.tenant_id,
            "revision": server.memory.revision,
            "running_hash": server.running_hash(server.memory.revision),
        }
        token = encode_token(**(ours | changed))
        server.failure = heed.ConflictError("other", reason=heed.ErrorReason.STORE_MISMATCH)

        with pytest.raises(heed.ConflictError):
            client.check(email=ADA, channel="email", token=token)


def test_what_is_no_token_is_refused(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client, pytest.raises(heed.InvalidArgumentError):
        client.check(email=ADA, channel="email", token="no token")


def test_an_answers_token_is_of_the_answers_revision(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        client.opt_out(email=ADA, source="tests")
        client.wait_for(server.publish())

        for address in (ADA, BOB, BOB):
            answer = client.check(email=address, channel="email")
            assert answer.revision == server.memory.revision
            assert answer.token == server.token(answer.revision)


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        ({"channel": "email", "topic": "news"}, "cache"),
        ({"channel": "email", "topic": "news.weekly"}, "cache"),
        ({"channel": "email", "topic": "newspaper"}, "server"),
        ({"channel": "email", "topic": ""}, "server"),
        ({"channel": "sms", "topic": "news"}, "server"),
    ],
)
def test_what_the_filter_does_not_wholly_cover_is_never_answered_here(
    server: FakeWatch, tmp_path: Path, asked: dict[str, str], source: str
) -> None:
    with live(server, tmp_path, channels=["email"], topics=["news"]) as client:
        client.opt_out(user="u", source="tests")
        client.wait_for(server.publish())

        for user in ("u", "v"):
            answer = client.check(user=user, channel=asked["channel"], topic=asked["topic"])
            assert (answer.source, answer.allowed) == (source, user == "v")


def test_what_a_filter_leaves_out_is_not_kept(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path, channels=["email"], topics=["news"]) as client:
        client.opt_out(user="u", source="tests", channel="email", topic="news.weekly")
        client.opt_out(user="v", source="tests")
        client.opt_out(user="w", source="tests", channel="sms")
        client.opt_out(user="x", source="tests", topic="orders")
        client.wait_for(server.publish())

        held = client.cache._replica.index(client.cache._replica.state().generation)
        assert len(list(held.records_by_key())) == 2
        assert list(server.obeyed[-1].request.topics) == ["news"]


def test_another_tenant_is_never_answered_here(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path, tenant="default") as client:
        client.create_tenant("other")
        client.opt_out(email=ADA, source="tests", tenant="other")

        ours = client.check(email=ADA, channel="email", tenant="default")
        theirs = client.check(email=ADA, channel="email", tenant="other")
        server.failure = UNREACHABLE

        assert (ours.allowed, ours.source) == (True, "cache")
        assert (theirs.allowed, theirs.source) == (False, "server")
        with pytest.raises(heed.UnavailableError):
            client.check(email=ADA, channel="email", tenant="other")


@pytest.mark.parametrize(
    "said",
    [
        {"channels": ["any"]},
        {"channels": ["fax"]},
        {"topics": ["Not A Topic"]},
        {"topics": [f"t{at}" for at in range(101)]},
        {"max_staleness": {"promotional": timedelta(milliseconds=999)}},
        {"max_staleness": {"promotional": timedelta(hours=1, seconds=1)}},
        {"max_staleness": {"urgent": timedelta(seconds=5)}},
        {"subscriber": "ü"},
        {"subscriber": "s" * 129},
    ],
)
def test_what_is_no_cache_is_refused_where_the_client_is_made(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    with pytest.raises(heed.InvalidArgumentError):
        heed.SyncClient("127.0.0.1:1", cache=tmp_path, **said)


def test_a_max_staleness_that_is_no_time_is_refused_with_how_to_say_it(tmp_path: Path) -> None:
    bare: Any = {"promotional": 5}

    with pytest.raises(heed.InvalidArgumentError, match=r"say timedelta\(seconds=1\)"):
        heed.SyncClient("127.0.0.1:1", cache=tmp_path, max_staleness=bare)


def test_max_staleness_is_the_callers_to_set(server: FakeWatch, tmp_path: Path) -> None:
    longest = {"promotional": timedelta(seconds=30)}
    with live(server, tmp_path, max_staleness=longest) as client:
        server.is_obedient = False

        client.clock.advance(timedelta(seconds=29))

        assert client.check(email=BOB, channel="email").source == "cache"
        assert server.obeyed[-1].request.max_staleness.seconds == 30


def test_a_batch_is_answered_here_or_at_the_server_but_never_by_both(
    server: FakeWatch, tmp_path: Path
) -> None:
    with live(server, tmp_path) as client:
        client.declare_topic("orders", topic_class="transactional", origin=ORIGIN)
        client.opt_out(email=ADA, source="tests")
        client.wait_for(server.publish())
        queries = [
            heed.Query(channel="email", email=ADA),
            heed.Query(channel="email", email=BOB, topic="orders"),
            heed.Query(channel="email", email=BOB),
        ]

        young = client.check_many(queries)
        server.is_obedient = False
        client.clock.advance(timedelta(seconds=6))
        old = client.check_many(queries)
        server.failure = UNREACHABLE
        away = client.check_many(queries)

        assert [one.allowed for one in young] == [one.allowed for one in old] == [False, True, True]
        assert {one.source for one in young} == {"cache"}
        assert {one.source for one in old} == {"server"}
        assert [(one.allowed, one.source) for one in away] == [
            (False, "cache"),
            (True, "cache"),
            (False, "policy"),
        ]
        assert len({one.revision for one in young}) == 1


def test_no_question_is_refused_as_without_a_cache(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client, pytest.raises(heed.InvalidArgumentError):
        client.check_many([])


def test_every_subject_that_is_named_counts(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        client.opt_out(phone=PHONE, source="tests")
        client.wait_for(server.publish())

        answer = client.check(
            email=[ADA, BOB], phone=PHONE, subjects=[heed.user("u")], channel="email"
        )

        assert (answer.allowed, answer.source) == (False, "cache")
        assert answer.subjects_with_records == (2,)
        assert answer.reasons[0].record is not None
        assert answer.reasons[0].record.subject_index == 2


def test_more_subjects_than_a_server_takes_are_refused(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client, pytest.raises(heed.InvalidArgumentError):
        client.check(email=[f"{at}@example.com" for at in range(9)], channel="email")


def test_a_subject_is_looked_up_under_every_key_in_use(server: FakeWatch, tmp_path: Path) -> None:
    """A key was replaced: who was re-keyed stands under the new one, who was erased under theirs."""
    new_key = bytes([7]) * LOOKUP_KEY_BYTES
    with live(server, tmp_path) as client:
        client.opt_out(email=ADA, source="tests")
        revision = server.publish()
        client.wait_for(revision)
        server.is_obedient = False
        server.obeyed[-1].end()
        server.stream()
        stream = server.stream()
        stream.position = revision
        stream.opened(
            lookup_keys=[
                pb.LookupKey(key_id=1, key=bytes(LOOKUP_KEY_BYTES)),
                pb.LookupKey(key_id=2, key=new_key),
            ]
        )
        change = pb.Change(
            revision=revision + 1,
            subject_key=Keyer(new_key).key_of(SubjectType.EMAIL, BOB),
            set_record=watched.record_to(_opt_out(revision + 1)),
        )
        stream.changes(after=revision, through=revision + 1, changes=[change])
        client.wait_for(revision + 1)

        answers = [client.check(email=one, channel="email") for one in (ADA, BOB, "c@example.com")]

        assert [one.allowed for one in answers] == [False, False, True]
        assert {one.source for one in answers} == {"cache"}
        assert answers[1].subjects_with_records == (0,)


def test_a_hold_and_its_end_are_followed(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        before = client.check(email=BOB, channel="email", topic="news")
        hold = client.place_hold(reason="stop", origin=ORIGIN, topic="news")
        client.wait_for(server.publish())
        held = client.check(email=BOB, channel="email", topic="news")
        beside = client.check(email=BOB, channel="email", topic="orders")
        client.lift_hold(hold.hold.hold_id, reason="go", origin=ORIGIN)
        client.wait_for(server.publish())
        after = client.check(email=BOB, channel="email", topic="news")

        assert [one.allowed for one in (before, held, beside, after)] == [True, False, True, True]
        assert held.rule is heed.Rule.HOLD
        assert {one.source for one in (before, held, beside, after)} == {"cache"}


def test_a_topic_that_is_declared_counts_from_then_on(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        before = client.check(email=BOB, channel="email", topic="news")
        client.declare_topic("news", topic_class="promotional", requires_opt_in=True, origin=ORIGIN)
        client.wait_for(server.publish())
        after = client.check(email=BOB, channel="email", topic="news")

        assert (before.allowed, before.undeclared_topic) == (True, True)
        assert (after.allowed, after.rule) == (False, heed.Rule.NO_CONSENT)


def test_a_suppression_that_is_released_stops_no_more(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        client.add_suppressions(
            [heed.Suppression(subject=heed.email(ADA), cause="bounce")], origin=ORIGIN
        )
        client.wait_for(server.publish())
        stopped = client.check(email=ADA, channel="email")
        client.release_suppression(
            subject=heed.email(ADA), cause="bounce", channel="email", reason="works", origin=ORIGIN
        )
        client.wait_for(server.publish())
        released = client.check(email=ADA, channel="email")

        assert (stopped.allowed, released.allowed, released.source) == (False, True, "cache")


def test_a_pause_ends_by_the_sources_clock(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        now = server.service.clock.now()
        client.pause(email=ADA, source="tests", end_time=now + timedelta(seconds=60))
        client.wait_for(server.publish())

        paused = client.check(email=ADA, channel="email")
        server.service.clock.advance(timedelta(seconds=61))
        server.obeyed[-1].heartbeat()
        wait_until(lambda: client.check(email=ADA, channel="email").allowed)

        assert (paused.allowed, paused.rule) == (False, heed.Rule.PAUSE)


def test_a_pause_ends_as_the_boot_clock_goes_on(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path) as client:
        client.declare_topic("orders", topic_class="transactional", origin=ORIGIN)
        end = server.service.clock.now() + timedelta(seconds=30)
        client.pause(email=ADA, source="tests", end_time=end, reach="transactional")
        client.wait_for(server.publish())
        server.is_obedient = False

        paused = client.check(email=ADA, channel="email", topic="orders")
        client.clock.advance(timedelta(seconds=31))
        ended = client.check(email=ADA, channel="email", topic="orders")

        assert (paused.allowed, ended.allowed, ended.source) == (False, True, "cache")


def test_samples_agree_with_the_server(server: FakeWatch, tmp_path: Path) -> None:
    with live(server, tmp_path, sampled_share=1.0) as client:
        client.opt_out(email=ADA, source="tests")
        client.wait_for(server.publish())

        for address in (ADA, BOB) * 5:
            client.check(email=address, channel="email", topic="news")
            wait_until(lambda: not client.cache._sampler._waiting)

        stats = client.cache.stats()
        assert stats.sampled > 0
        assert (stats.disagreements, stats.inconclusive) == (0, 0)
        assert "CheckSuppression" in server.asked


def test_a_sample_that_the_server_answers_otherwise_is_counted(
    server: FakeWatch, tmp_path: Path
) -> None:
    """What the server is said to hold was taken out behind the cache's back."""
    with live(server, tmp_path, sampled_share=1.0) as client:
        client.opt_out(email=ADA, source="tests")
        client.wait_for(server.publish())
        server.memory.ledger.records.clear()

        for _ in range(3):
            client.check(email=ADA, channel="email")
        wait_until(lambda: client.cache.stats().disagreements > 0)

        assert client.cache.stats().inconclusive == 0


def _opt_out(revision: int) -> Record:
    return Record(
        kind=RecordKind.OPT_OUT,
        cause=Cause.NONE,
        reach=Reach.PROMOTIONAL,
        channel=heed.Channel.ANY,
        topic="",
        decided_time=Instant(1),
        end_time=None,
        revision=Revision(revision),
    )
