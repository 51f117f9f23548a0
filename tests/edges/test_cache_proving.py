"""A cache that verifies believes the log's key, and finds whoever tells it otherwise."""

from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path

import pytest

import heed
from heed.audit.notes import VerifierKey, read_verifier_key
from heed.connection.target import Target
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.agents import ServedAgent
from tests.support.cache_process import records_of
from tests.support.caches import CachedSyncClient, GoingClock, wait_until
from tests.support.lies import (
    PLAIN_LIES,
    SNAPSHOT_LIES,
    WHOLE_LIES,
    alter_effect,
    of_changes,
)
from tests.support.lying import Lie, LyingCalls, rehash
from tests.support.served import Served, run_command
from tests.support.told import ORIGIN, PEOPLE, Told, head, key_of_log, opt_in, write_everything

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heed.replica.proving.ASK_SECONDS", 0.01)
    monkeypatch.setattr("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    variables = {"HEED_AUDIT_CHECKPOINT_SECONDS": "0.1"}
    with Served(tmp_path_factory.mktemp("server"), variables=variables) as serving:
        with serving.client() as client:
            write_everything(client)
        yield serving


@pytest.fixture
def plain(server: Served) -> Generator[heed.SyncClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def key(plain: heed.SyncClient) -> str:
    return key_of_log(plain)


def test_what_a_cache_took_is_proved_from_its_snapshot_on_and_over_restarts(
    server: Served, plain: heed.SyncClient, key: str, tmp_path: Path
) -> None:
    with Told(server, tmp_path / "cache", key) as told:
        told.wait_proved(head(plain))
        write_everything(plain)
        told.wait_proved(head(plain))
        told.client.wait_live()
        snapshots = told.stats.resyncs
    write_everything(plain)
    with Told(server, tmp_path / "cache", key) as again:
        again.wait_proved(head(plain))
        write_everything(plain)
        again.wait_proved(head(plain))

        assert snapshots == {"new": 1}
        assert again.stats.resyncs == {}
        assert again.stats.disproved == 0
        assert again.stats.told_by_hash == 0
        answer = again.client.check(email=PEOPLE[0], channel="email", topic="news")
        assert answer.source == "cache"
    assert not list((tmp_path / "cache").glob("disproved-*"))


def test_a_filtered_cache_proves_what_it_was_told_and_counts_what_it_was_not(
    server: Served, plain: heed.SyncClient, key: str, tmp_path: Path
) -> None:
    with CachedSyncClient(
        server.address,
        tmp_path / "cache",
        clock=GoingClock(),
        topics=["orders", "orders.late", "held"],
        channels=["email"],
        verify=[key],
    ) as cached:
        cached.wait_live()
        for at in range(5):
            plain.opt_out(email=PEOPLE[at], source="tests", topic="news")
        last = plain.opt_out(email=PEOPLE[0], source="tests", topic="orders", reach="all")
        wait_until(lambda: cached.cache.stats().proved_revision >= last.revision)

        stats = cached.cache.stats()
        assert (stats.disproved, stats.told_by_hash) == (0, 5)


def test_an_erasure_takes_the_material_and_leaves_the_leaves(
    server: Served, plain: heed.SyncClient, key: str, tmp_path: Path
) -> None:
    """Whoever was away meanwhile is told the erased changes by their hashes alone."""
    person = "erased@example.com"
    with Told(server, tmp_path / "away", key) as away:
        away.wait_proved(head(plain))
    plain.opt_out(email=person, source="tests")
    opt_in(plain, person)
    subject = heed.email(person)
    plain.add_suppressions([heed.Suppression(subject=subject, cause="complaint")], origin=ORIGIN)
    plain.release_suppression(
        subject=subject, cause="complaint", channel="email", reason="r", origin=ORIGIN
    )
    erased = plain.erase_subject([subject], reason="asked", origin=ORIGIN)

    with (
        Told(server, tmp_path / "away", key) as back,
        Told(server, tmp_path / "new", key) as new,
    ):
        for one in (back, new):
            one.wait_proved(erased.revision)
        assert back.stats.resyncs == {}
        assert (back.stats.disproved, back.stats.told_by_hash) == (0, 4)
        assert records_of(back.client.cache._replica) == records_of(new.client.cache._replica)
        assert not back.client.check(email=person, channel="email", topic="news").allowed


@pytest.mark.parametrize("lie", PLAIN_LIES, ids=lambda lie: lie.__name__)
def test_a_change_that_was_altered_or_left_out_is_found_at_once(
    server: Served, plain: heed.SyncClient, key: str, tmp_path: Path, lie: Lie
) -> None:
    with Told(server, tmp_path / "cache", key) as told:
        told.wait_proved(head(plain))
        told.client.wait_live()
        told.calls.lie = of_changes(lie)
        plain.opt_out(email="lied@example.com", source="tests")

        told.wait_disproved()
        told.calls.lie = None
        told.wait_proved(head(plain))

        assert told.stats.resyncs["disproved"] >= 1
        told.client.wait_live()


@pytest.mark.parametrize("lie", WHOLE_LIES, ids=lambda lie: lie.__name__)
def test_a_history_that_was_made_up_whole_is_found_by_the_next_checkpoint(
    server: Served,
    plain: heed.SyncClient,
    key: str,
    tmp_path: Path,
    lie: Callable[[pb.Changes], None],
) -> None:
    with Told(server, tmp_path / "cache", key) as told:
        told.wait_proved(head(plain))
        told.client.wait_live()

        def lies(message: pb.WatchChangesResponse) -> None:
            if len(message.changes.leaves):
                lie(message.changes)
                rehash(message.changes, told.calls.running)
                told.calls.ahead = message.changes.through
            elif message.HasField("heartbeat"):
                message.heartbeat.through = max(message.heartbeat.through, told.calls.ahead)

        told.calls.lie = lies
        two_opt_outs(plain)
        told.wait_disproved()
        told.calls.lie = None
        told.wait_proved(head(plain))

    (found,) = (tmp_path / "cache").glob("disproved-*.txt")
    assert "heed.dev/log/" in found.read_text()


def two_opt_outs(plain: heed.SyncClient) -> None:
    """Two changes of one transaction, so of one message."""
    plain.opt_out(email="one@lied.example.com", phone="+4915112345678", source="tests")


@pytest.mark.parametrize("lie", SNAPSHOT_LIES, ids=lambda lie: lie.__name__)
def test_a_snapshot_that_nobody_vouches_for_is_not_taken(
    server: Served,
    plain: heed.SyncClient,
    key: str,
    tmp_path: Path,
    lie: Callable[[], Lie],
) -> None:
    with Told(server, tmp_path / "cache", key, lie=lie()) as told:
        told.wait_disproved()
        assert told.stats.state == "syncing"
        answer = told.client.check(email="nobody@example.com", channel="email", topic="news")
        assert answer.source == "server"

        told.calls.lie = None
        told.wait_proved(head(plain))


def test_a_checkpoint_by_another_key_proves_nothing(
    server: Served, key: str, tmp_path: Path
) -> None:
    mine = read_verifier_key(key)
    other = VerifierKey(mine.name, bytes(31) + b"\1")

    with Told(server, tmp_path / "cache", str(other)) as told:
        told.wait_disproved()
        assert told.stats.state == "syncing"


def test_a_log_of_which_no_key_was_given_allows_nothing(
    server: Served, key: str, tmp_path: Path
) -> None:
    mine = read_verifier_key(key)
    other = VerifierKey(mine.name.replace("/1", "/2"), mine.public_key)

    with Told(server, tmp_path / "cache", str(other)) as told:
        wait_until(lambda: told.stats.resyncs.get("unproved", 0) > 0)
        assert told.stats.state == "syncing"
        assert "no key was given" in told.stats.last_error


def test_what_no_checkpoint_proves_in_time_is_not_young_any_more(
    server: Served,
    plain: heed.SyncClient,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Told(server, tmp_path / "cache", key) as told:
        told.wait_proved(head(plain))
        told.client.wait_live()
        monkeypatch.setattr(LyingCalls, "checkpoint", _unanswered)
        last = plain.opt_out(email="unproved@example.com", source="tests")
        told.client.wait_for(last.revision)
        told.client.wait_live()

        told.client.clock.advance(timedelta(seconds=61))
        wait_until(lambda: told.stats.state == "stale")
        answer = told.client.check(email="nobody@example.com", channel="email", topic="news")
        assert answer.source == "server"
        told.client.clock.advance(timedelta(hours=1))
        wait_until(lambda: told.stats.state == "expired")

        monkeypatch.undo()
        told.client.clock.ns = 0
        told.wait_proved(last.revision)
        told.client.wait_live()


def _unanswered(*_: object) -> None:
    raise heed.UnavailableError("no answer")


def test_through_an_agent_it_is_the_same(
    server: Served, plain: heed.SyncClient, key: str, tmp_path: Path
) -> None:
    with (
        ServedAgent(tmp_path, server.address) as agent,
        Told(agent, tmp_path / "cache", key) as told,
    ):
        told.wait_proved(head(plain))
        told.client.wait_live()
        write_everything(plain)
        told.wait_proved(head(plain))

        told.calls.lie = of_changes(alter_effect)
        plain.opt_out(email="lied@example.com", source="tests")
        told.wait_disproved()

        assert told.stats.proved_revision < head(plain)


def test_another_lookup_key_is_taken_with_a_snapshot_that_vouches_for_it(tmp_path: Path) -> None:
    variables = {"HEED_AUDIT_CHECKPOINT_SECONDS": "0.1"}
    with Served(tmp_path, variables=variables) as server, server.client() as plain:
        write_everything(plain)
        with Told(server, tmp_path / "cache", key_of_log(plain)) as told:
            told.wait_proved(head(plain))
            replace = ("keys", "lookup", "replace", "--reason", "a leak")
            assert run_command(*replace, cwd=tmp_path).returncode == 0
            written = plain.opt_out(email="after@example.com", source="tests")
            told.wait_proved(written.revision)
            told.client.wait_live()

            answer = told.client.check(email="after@example.com", channel="email")
            assert (answer.allowed, answer.source) == (False, "cache")
            assert told.stats.disproved == 0
            assert told.stats.resyncs["unproved"] == 1


def test_another_life_of_the_store_is_another_log_and_needs_its_key(tmp_path: Path) -> None:
    variables = {"HEED_AUDIT_CHECKPOINT_SECONDS": "0.1"}
    folder = tmp_path / "server"
    folder.mkdir()
    with Served(folder, variables=variables) as server, server.client() as client:
        write_everything(client)
        first = key_of_log(client)
        with Told(server, tmp_path / "cache", first) as told:
            told.wait_proved(head(client))
    begun = run_command("new-epoch", "--reason", "tests", cwd=folder, variables=variables)
    assert begun.returncode == 0, begun.stderr
    with (
        Served(folder, listen=server.address, variables=variables) as again,
        again.client() as client,
    ):
        client.opt_out(email=PEOPLE[0], source="tests")
        second = key_of_log(client, other_than=first)
        with Told(again, tmp_path / "cache", first) as told:
            wait_until(lambda: told.stats.resyncs.get("unproved", 0) > 0)
            assert told.stats.state in {"expired", "syncing"}
            assert told.client.check(email="a@b.example", channel="email").source == "server"
        with Told(again, tmp_path / "cache", first, second) as told:
            told.wait_proved(head(client))
            told.client.wait_live()
            assert told.stats.disproved == 0


def test_who_does_not_ask_is_told_no_leaves(
    server: Served, plain: heed.SyncClient, tmp_path: Path
) -> None:
    calls: list[LyingCalls] = []

    def upstream(target: Target) -> LyingCalls:
        calls.append(LyingCalls(target))
        return calls[0]

    with CachedSyncClient(server.address, tmp_path / "cache", upstream=upstream) as cached:
        cached.wait_live()
        cached.wait_for(plain.opt_out(email="told@example.com", source="tests").revision)

        told = [one for one in calls[0].told if one.HasField("changes")]
        ends = [one.snapshot_end for one in calls[0].told if one.HasField("snapshot_end")]
        assert told
        assert not any(len(one.changes.leaves) for one in told)
        assert [(one.checkpoint, len(one.subtree_hashes)) for one in ends] == [("", 0)]
        assert cached.cache.stats().proved_revision == 0
