"""What happens to an agent, and behind it: kills, restarts, an agent that follows an agent."""

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

import heed
from heed.errors import UnauthenticatedError, UnavailableError
from tests.support.agents import ServedAgent, held, standing
from tests.support.cache_process import TAKE_OVER_SECONDS_MAX
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.served import Authority, Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ADA = "ada@example.com"
BOB = "bob@example.com"


@contextmanager
def writing(client: heed.SyncClient) -> Generator[list[int]]:
    """Write without a pause; yields the revisions so far."""
    revisions: list[int] = []
    ends = threading.Event()

    def write() -> None:
        at = 0
        while not ends.is_set():
            at += 1
            made = client.opt_out(email=f"w{at}@example.com", source="tests", topic="news")
            revisions.append(made.revision)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield revisions
    finally:
        ends.set()
        thread.join()


def test_an_agent_killed_while_it_applies_goes_on_from_its_folder_and_equals_the_log(
    tmp_path: Path,
) -> None:
    with Served(tmp_path) as server, server.client() as there, server.client() as busy:
        there.opt_out(email=ADA, source="tests")
        with writing(busy) as revisions:
            with ServedAgent(tmp_path, server.address) as killed:
                killed.wait_in_step()
                stood_at = killed.revision
                wait_until(lambda: killed.revision > stood_at + 20)
                killed.signal(signal.SIGKILL)
                killed.wait()
            behind = held(killed.replica)
            written_until = len(revisions)
            wait_until(lambda: len(revisions) > written_until + 20)
        last = there.opt_out(email=BOB, source="tests").revision

        with ServedAgent(tmp_path, server.address) as again, again.client() as here:
            again.wait_for_revision(last)
            assert not here.check(email=BOB, channel="email").allowed
            resyncs = [name for name in again.metrics() if "heed_agent_resyncs_total" in name]
            assert again.stop() == 0

        assert resyncs == []  # it went on, and was not sent what it had
        assert held(again.replica) == standing(there, again.replica)
        # The control: what the killed one held was not yet all of it.
        assert behind != held(again.replica)


def test_of_two_agents_that_share_a_folder_one_takes_over_from_the_other(tmp_path: Path) -> None:
    """Measured from the kill, with a write that the one that is left can only have followed."""
    with (
        Served(tmp_path) as server,
        server.client() as there,
        ServedAgent(tmp_path, server.address) as owner,
    ):
        owner.wait_in_step()
        first = there.opt_out(email=ADA, source="tests").revision
        with ServedAgent(tmp_path, server.address) as reader, reader.client() as here:
            reader.wait_for_revision(first)
            owned = [one.metrics()["heed_agent_owner"] for one in (owner, reader)]

            since = monotonic()
            owner.signal(signal.SIGKILL)
            last = there.opt_out(email=BOB, source="tests").revision
            reader.wait_for_revision(last)
            took = monotonic() - since

            assert owned == [1, 0]
            assert took < TAKE_OVER_SECONDS_MAX
            assert not here.check(email=BOB, channel="email").allowed


def test_an_agent_behind_an_agent_answers_writes_and_is_counted(tmp_path: Path) -> None:
    with (
        Served(tmp_path) as server,
        ServedAgent(tmp_path, server.address, name="rack") as rack,
        ServedAgent(tmp_path, rack.address, name="host") as host,
        server.client() as there,
        host.client() as here,
    ):
        host.wait_in_step()
        made = here.opt_out(email=ADA, source="tests")
        answer = here.check(email=ADA, channel="email", token=made.token)
        host.wait_for_revision(made.revision)
        asked = host.asked()
        again = here.check(email=ADA, channel="email", token=made.token)
        waited = there.opt_out(email=BOB, source="tests", wait_propagated=10)
        followers = {one.name for one in there.get_propagation().subscribers}

        assert (answer.allowed, again.allowed, host.asked()) == (False, False, asked)
        assert waited.propagated
        assert {"rack", "host"} <= followers

        rack.signal(signal.SIGKILL)
        rack.wait()
        assert not here.check(email=BOB, channel="email").allowed
        with pytest.raises(UnavailableError):
            here.opt_out(email=ADA, source="tests")


def test_a_cache_follows_through_an_agent_and_is_told_when_that_stops(tmp_path: Path) -> None:
    with (
        Served(tmp_path) as server,
        ServedAgent(tmp_path, server.address) as agent,
        CachedSyncClient(agent.address, tmp_path / "cache") as cached,
    ):
        agent.wait_in_step()
        made = cached.opt_out(email=ADA, source="tests")
        cached.wait_for(made.revision)
        cached.wait_live()
        found = cached.check(email=ADA, channel="email")

        assert (found.allowed, found.source) == (False, "cache")
        assert agent.stop() == 0
        assert not any("failed" in line for line in agent.lines)
        wait_until(lambda: cached.cache.stats().streams > 1)


def key_of(server: Served, name: str, *rights: str) -> str:
    made = run_command(
        *("keys", "create", name, "--json"),
        *(part for right in rights for part in ("--right", right)),
        cwd=server.folder,
    )
    return str(json.loads(made.stdout)["key"])


def test_over_tcp_an_agent_shows_a_certificate_and_takes_no_call_without_a_key(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    with Served(tmp_path, *authority.flags("server")) as server:
        follows, checks = key_of(server, "agent", "watch"), key_of(server, "app", "check", "write")
        with ServedAgent(
            tmp_path,
            server.address,
            *authority.flags("agent"),
            "--auth-required=true",
            "--agent-credential-seconds=1",
            listen="127.0.0.1:0",
            variables={
                "HEED_AGENT_API_KEY": follows,
                "HEED_AGENT_UPSTREAM_CA_FILE": str(authority.file),
            },
        ) as agent:
            agent.wait_in_step()
            tls = authority.tls
            with agent.client(tls=tls) as nobody:
                for call in (
                    lambda: nobody.check(email=ADA, channel="email"),
                    lambda: nobody.opt_out(email=ADA, source="tests"),
                ):
                    with pytest.raises(UnauthenticatedError):
                        call()
            with agent.client(tls=tls, api_key=checks) as app:
                made = app.opt_out(email=ADA, source="tests")
                assert not app.check(email=ADA, channel="email", token=made.token).allowed
                assert app.check(email=BOB, channel="email").allowed
                assert agent.metrics()["heed_agent_credentials"] == 1

                told = run_command("keys", "list", "--json", cwd=tmp_path).stdout.splitlines()
                listed = [json.loads(line) for line in told]
                (key_id,) = [one["key_id"] for one in listed if one["name"] == "app"]
                run_command("keys", "revoke", key_id, cwd=tmp_path)

                def is_let_in() -> bool:
                    try:
                        app.check(email=BOB, channel="email")
                    except UnauthenticatedError:
                        return False
                    return True

                wait_until(lambda: not is_let_in())
                assert agent.metrics()["heed_agent_credentials"] == 0


def test_a_silent_upstream_makes_nothing_old_young_and_is_not_waited_for(tmp_path: Path) -> None:
    """The upstream's process is stopped: its connections stand, and nothing comes of them."""
    short = {"HEED_STALENESS_PROMOTIONAL_SECONDS": "1", "HEED_AGENT_ASK_SECONDS_MAX": "0.2"}
    with Served(tmp_path) as server, server.client() as there:
        last = there.opt_out(email=ADA, source="tests").revision
        with ServedAgent(tmp_path, server.address, variables=short) as agent:
            agent.wait_in_step().wait_for_revision(last)
            with agent.client() as here:

                def allows(who: str) -> bool | None:
                    try:
                        return here.check(email=who, channel="email", topic="news").allowed
                    except UnavailableError as error:
                        assert error.reason is heed.ErrorReason.STATE_STALE  # noqa: PT017
                        return None

                server.signal(signal.SIGSTOP)
                try:
                    wait_until(lambda: allows(BOB) is None)
                    begun = monotonic()
                    assert allows(BOB) is None
                    waited_seconds = monotonic() - begun
                    assert allows(ADA) is False
                finally:
                    server.signal(signal.SIGCONT)

                wait_until(lambda: allows(BOB) is True)
                made = here.opt_out(email=BOB, source="tests")
                assert here.check(email=BOB, channel="email", token=made.token).allowed is False

    assert waited_seconds < 5  # of the 10 s that the call had, whatever the machine does
