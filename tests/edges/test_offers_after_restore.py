"""What a cache and an agent hold of the window that a restore lost stands again, if it protects."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import heed
from heed.replica import offering
from tests.support.agents import ServedAgent
from tests.support.caches import CachedSyncClient, GoingClock, wait_until
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.served import Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ORIGIN = heed.Origin(source="tests")
KEPT, LOST, CONSENTED, PAUSED, BOUNCED, HELD = (
    f"{name}@example.com" for name in ("kept", "lost", "consented", "paused", "bounced", "held")
)
EVIDENCE = heed.Evidence(
    notice="newsletter", notice_version="3", act="ticked the box", language="de-AT"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres.from_environment() as postgres:
        yield postgres


class Store:
    """Where a server keeps its log, before a restore and after it, on one address."""

    def __init__(self, folder: Path, before: dict[str, str], after: dict[str, str]) -> None:
        self.folder = folder
        self._before = before
        self._after = after
        self._address = f"127.0.0.1:{free_port()}"

    def before(self) -> Served:
        return Served(self.folder, listen=self._address, variables=self._before)

    def after(self) -> Served:
        return Served(self.folder, listen=self._address, variables=self._after)

    def back_up(self) -> None:
        self._run("backup", "--to", "a.backup", variables=self._before)

    def restore(self) -> str:
        """Restore, and return the id of the hold."""
        aside = () if self._after else ("--set-aside",)
        return str(
            self._run("restore", "--from", "a.backup", *aside, variables=self._after)["hold"]
        )

    def offers(self) -> list[dict[str, object]]:
        told = self._run("offers", variables=self._after)["offers"]
        assert isinstance(told, list)
        return told

    def _run(self, *arguments: str, variables: dict[str, str]) -> dict[str, object]:
        done = run_command(*arguments, "--json", cwd=self.folder, variables=variables)
        assert done.returncode == 0, done.stderr
        told: dict[str, object] = json.loads(done.stdout)
        return told


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        yield Store(tmp_path, {}, {})
        return
    server: Postgres = request.getfixturevalue("postgres")
    migrating = {"HEED_STORAGE_MIGRATE": "true"}
    with server.database("lost") as lost, server.database("restored") as restored:
        yield Store(
            tmp_path,
            {"HEED_STORAGE_URL": lost, **migrating},
            {"HEED_STORAGE_URL": restored, **migrating},
        )


def ago(**of_a_while: float) -> datetime:
    return datetime.now(UTC) - timedelta(**of_a_while)


def say_in_the_lost_window(client: heed.SyncClient) -> int:
    """Everything there is to lose; returns the last revision of it."""
    decided = heed.Origin(source="page", decided_time=ago(hours=2))
    client.set_preference(email=LOST, choices=[heed.OptOut(topic="news")], origin=decided)
    client.set_preference(
        email=PAUSED,
        choices=[heed.Pause(end_time=datetime.now(UTC) + timedelta(days=3))],
        origin=decided,
    )
    client.add_suppressions(
        [heed.Suppression(subject=heed.email(BOUNCED), cause="bounce")], origin=ORIGIN
    )
    client.place_hold(reason="a broken template", campaign="spring", origin=ORIGIN)
    consented = heed.Origin(source="page", method=heed.Method.WEB_FORM, decided_time=ago())
    choice = heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)
    return client.set_preference(email=CONSENTED, choices=[choice], origin=consented).revision


def say_before(client: heed.SyncClient) -> None:
    client.opt_out(email=KEPT, source="page")
    client.opt_out(email=CONSENTED, source="page", topic="news")


def verdicts(client: heed.SyncClient) -> dict[str, bool]:
    people = (KEPT, LOST, CONSENTED, PAUSED, BOUNCED, HELD)
    return {
        email: client.check(email=email, channel="email", topic="news").allowed for email in people
    }


RESTORED = {
    KEPT: False,
    LOST: False,
    CONSENTED: False,  # its opt-in was lost, and nobody but the person can say it again
    PAUSED: False,
    BOUNCED: False,
    HELD: True,
}


@pytest.mark.parametrize("follower", ["cache", "agent"])
def test_what_protects_of_the_lost_window_stands_again(store: Store, follower: str) -> None:
    folder = store.folder
    with ExitStack() as stack:
        with store.before() as server:
            with server.client() as client:
                say_before(client)
                store.back_up()
                last = say_in_the_lost_window(client)
            if follower == "agent":
                agent = ServedAgent(folder, server.address, name="holder")
                stack.enter_context(agent)
                agent.wait_for_revision(last)
            else:
                cached = server.client(cache=folder / "cache", subscriber="holder")
                stack.enter_context(cached)
                wait_until(lambda: cached.cache.has(last))
            server.signal(signal.SIGKILL)
            server.wait()
        hold_id = store.restore()
        server = stack.enter_context(store.after())
        client = stack.enter_context(server.client())
        server.wait_for("offer_taken")
        wait_until(lambda: sum(one["suppressions"] for one in store.offers()) == 1)  # type: ignore[misc] # numbers
        offers = store.offers()
        held = verdicts(client)
        client.lift_hold(hold_id, reason="seen", origin=ORIGIN)
        after = verdicts(client)
        campaign = client.check(email=HELD, channel="email", topic="news", campaign="spring")
        (lost,) = client.get_history(email=LOST)
        (stands,) = client.get_preferences(email=LOST).records

    assert not any(held.values())
    assert after == RESTORED
    assert not campaign.allowed
    assert lost.origin is not None
    assert (lost.origin.source, lost.origin.method) == ("holder", heed.Method.OFFERED)
    assert stands.decided_time is not None
    assert timedelta(hours=1) < datetime.now(UTC) - stands.decided_time < timedelta(hours=3)
    assert offers == [
        {
            "tenant": "default",
            "subscriber": "holder",
            "principal": offers[0]["principal"],
            "opt_outs": 1,
            "pauses": 1,
            "suppressions": 1,
            "holds": 1,
            "people": 3,
        }
    ]


def test_without_offers_the_lost_window_stays_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the tests here: a follower that offers nothing."""
    monkeypatch.setattr(offering.Offering, "wake", lambda _: None)
    with ExitStack() as stack:
        with store.before() as server:
            with server.client() as client:
                say_before(client)
                store.back_up()
                last = say_in_the_lost_window(client)
            cached = stack.enter_context(server.client(cache=store.folder / "cache"))
            wait_until(lambda: cached.cache.has(last))
        hold_id = store.restore()
        server = stack.enter_context(store.after())
        client = stack.enter_context(server.client())
        wait_until(lambda: cached.cache.stats().offers_left == 1)
        client.lift_hold(hold_id, reason="seen", origin=ORIGIN)
        after = verdicts(client)

    assert after == {**RESTORED, LOST: True, PAUSED: True, BOUNCED: True}


def test_a_follower_that_died_offers_what_is_in_its_folder_when_it_starts(store: Store) -> None:
    """It was killed while nothing was taken; the next process of its host has the folder."""
    folder = store.folder
    with store.before() as server:
        with server.client() as client:
            say_before(client)
            store.back_up()
            last = say_in_the_lost_window(client)
        agent = ServedAgent(folder, server.address, name="holder")
        with agent:
            agent.wait_for_revision(last)
            agent.signal(signal.SIGKILL)
            agent.wait()
    store.restore()

    with (
        store.after() as server,
        ServedAgent(folder, server.address, name="holder") as agent,
        server.client() as client,
    ):
        server.wait_for("offer_taken")
        wait_until(lambda: len([*agent.replica.glob("gen-*")]) == 1)

        (stands,) = client.get_preferences(email=LOST).records

    assert stands.kind is heed.RecordKind.OPT_OUT


def has_offered_all(cached: CachedSyncClient) -> bool:
    """Three records, then the hold."""
    stats = cached.cache.stats()
    return (stats.offered, stats.offers_left) == (4, 0)


def test_many_followers_with_the_same_are_one_change(tmp_path: Path) -> None:
    store = Store(tmp_path, {}, {})
    with ExitStack() as stack:
        with store.before() as server:
            with server.client() as client:
                say_before(client)
                store.back_up()
                last = say_in_the_lost_window(client)
            caches = [
                stack.enter_context(
                    CachedSyncClient(server.address, tmp_path / f"cache-{at}", clock=GoingClock())
                )
                for at in range(8)
            ]
            for cached in caches:
                cached.wait_for(last)
        store.restore()
        server = stack.enter_context(store.after())
        client = stack.enter_context(server.client())
        for cached in caches:
            wait_until(lambda cached=cached: cached.cache.stats().offered == 3)  # type: ignore[misc] # bound
        changes = [*client.get_history(email=LOST)]
        holds = [one.reason for one in client.list_holds()]

    assert len(changes) == 1
    assert holds.count("a broken template") == 1


def test_what_comes_after_the_hold_was_lifted_is_refused_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, {}, {})
    with ExitStack() as stack:
        with store.before() as server:
            with server.client() as client:
                say_before(client)
                store.back_up()
                last = say_in_the_lost_window(client)
            with server.client(cache=tmp_path / "cache") as cached:
                wait_until(lambda: cached.cache.has(last))
        hold_id = store.restore()
        server = stack.enter_context(store.after())
        client = stack.enter_context(server.client())
        client.lift_hold(hold_id, reason="too soon", origin=ORIGIN)
        cached = stack.enter_context(server.client(cache=tmp_path / "cache"))
        opened = cached.cache
        wait_until(lambda: "is not offered back" in caplog.text)
        wait_until(lambda: opened.stats().offers_left == 0)
        kept = [*(tmp_path / "cache").glob("gen-*")]
        after = client.check(email=LOST, channel="email", topic="news")

    assert "the hold of the restore was lifted before" in caplog.text
    assert len(kept) == 1
    assert after.allowed
