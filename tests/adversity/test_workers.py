"""Processes of one server that die, hang and are cut off under load: no opt-out is lost, nothing is
allowed that was stopped, and all is as before once they are back.
"""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from heed import HeedError, OptOut, Origin, OutcomeUnknownError, SyncClient, UnavailableError
from heed.errors import ErrorReason
from tests.support.caches import wait_until
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX
from tests.support.worked import Worked, migrated_database

ORIGIN = Origin(source="tests")
WRITERS = 6
ACKED_MIN = 40
"""So many opt-outs are acknowledged before, and again after, anything is done to the server."""
NOBODY_LISTENS = "connections to all backends failing"
"""What gRPC says of a call that it could not send."""

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a server on each database."""
    if request.param == "sqlite":
        yield {}
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with migrated_database(postgres, tmp_path) as variables:
        yield variables


class Load:
    """Threads that opt people out, and others that ask about those who are."""

    def __init__(self, clients: list[SyncClient]) -> None:
        self.acknowledged: list[str] = []
        """Users whose opt-out was acknowledged."""
        self.errors: list[HeedError] = []
        self.wrong: list[str] = []
        """Users whose message was allowed after their opt-out was acknowledged."""
        self.answered = 0
        """Checks that had an answer."""
        self._stopping = threading.Event()
        half = len(clients) // 2
        writers = [threading.Thread(target=self._write, args=(one,)) for one in clients[:half]]
        readers = [threading.Thread(target=self._read, args=(one,)) for one in clients[half:]]
        self._threads = writers + readers

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        self.await_more()

    def await_more(self) -> None:
        """Wait until so many more are acknowledged, and asked about."""
        acknowledged, answered = len(self.acknowledged), self.answered
        wait_until(
            lambda: (
                len(self.acknowledged) >= acknowledged + ACKED_MIN
                and self.answered >= answered + ACKED_MIN
            )
        )

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)
            assert not thread.is_alive()

    def _write(self, client: SyncClient) -> None:
        while not self._stopping.is_set():
            user = f"u-{uuid.uuid4()}"
            try:
                client.set_preference(user=user, choices=[OptOut()], origin=ORIGIN, timeout=5)
            except HeedError as error:
                self.errors.append(error)
                continue
            self.acknowledged.append(user)

    def _read(self, client: SyncClient) -> None:
        while not self._stopping.is_set():
            for user in self.acknowledged[-3:]:
                try:
                    is_allowed = client.check(user=user, channel="in_app", timeout=5).allowed
                except HeedError as error:
                    self.errors.append(error)
                    continue
                self.answered += 1
                if is_allowed:
                    self.wrong.append(user)


def _opt_out_in(client: SyncClient, key: str) -> None:
    client.set_preference(user="in", choices=[OptOut()], origin=ORIGIN, idempotency_key=key)


def _require_all_stopped(client: SyncClient, users: list[str]) -> None:
    for user in users:
        assert not client.check(user=user, channel="in_app").allowed, user


@pytest.mark.parametrize("name", ["worker-1", "owner"])
def test_a_process_that_is_killed_under_load_comes_back_and_nothing_is_lost(
    tmp_path: Path, storage: dict[str, str], name: str
) -> None:
    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        load = Load(clients)
        load.start()
        others = {one: server.pid(one) for one in server.names if one != name}

        server.kill(name)
        assert server.await_process() == name
        load.await_more()
        load.stop()

        assert load.wrong == []
        assert {type(error) for error in load.errors} <= {UnavailableError, OutcomeUnknownError}
        for client in clients:
            _require_all_stopped(client, load.acknowledged[:: len(clients)])
        _require_all_stopped(clients[0], load.acknowledged)
        assert {one: server.pid(one) for one in others} == others
        if name != "owner":
            assert server.metric(name, "heed_worker_restarts_total") == 1
        assert server.stop() == 0


def test_workers_answer_on_while_the_owner_is_made_anew(tmp_path: Path) -> None:
    """The control: writes do fail meanwhile."""
    with Worked(tmp_path) as server, server.clients() as clients:
        told = clients[0].set_preference(user="out", choices=[OptOut()], origin=ORIGIN)
        server.kill("owner")

        for client in clients:
            assert not client.check(user="out", channel="in_app", token=told.token).allowed
            assert client.check(user="in", channel="in_app").allowed
        with pytest.raises(UnavailableError):
            clients[0].set_preference(user="in", choices=[OptOut()], origin=ORIGIN, timeout=0.05)

        assert server.await_process() == "owner"
        # Over the connection to the owner that is gone, this may learn that first.
        key = "after-the-owner"
        with suppress(OutcomeUnknownError):
            _opt_out_in(clients[0], key)
        _opt_out_in(clients[0], key)
        assert not any(client.check(user="in", channel="in_app").allowed for client in clients)


def test_an_owner_that_hangs_makes_workers_refuse_to_allow_once_they_are_too_old(
    tmp_path: Path,
) -> None:
    variables = {"HEED_STALENESS_PROMOTIONAL_SECONDS": "1"}
    with Worked(tmp_path, variables=variables) as server, server.clients() as clients:
        clients[0].declare_topic("orders", topic_class="transactional", origin=ORIGIN)
        clients[0].set_preference(user="out", choices=[OptOut()], origin=ORIGIN)
        server.kill("owner", signal.SIGSTOP)
        stopped_at = time.monotonic()
        allowed_at: list[float] = []
        reasons: set[ErrorReason] = set()
        for client in clients:
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            while True:
                asked_at = time.monotonic()
                try:
                    assert client.check(user="in", channel="in_app").allowed
                except UnavailableError as error:
                    reasons.add(error.reason)
                    break
                allowed_at.append(asked_at)
                assert asked_at < deadline

            assert not client.check(user="out", channel="in_app").allowed
            assert client.check(user="in", channel="in_app", topic="orders").allowed
        server.kill("owner", signal.SIGCONT)

        for client in clients:
            wait_until(lambda client=client: _is_allowed(client, "in"))  # type: ignore[misc]  # bound now
    assert reasons == {ErrorReason.STATE_STALE}
    assert allowed_at
    assert max(allowed_at) - stopped_at <= 1


def _is_allowed(client: SyncClient, user: str) -> bool:
    try:
        return client.check(user=user, channel="in_app").allowed
    except UnavailableError:
        return False


def test_the_end_of_the_supervisor_is_the_end_of_all(tmp_path: Path) -> None:
    with Worked(tmp_path) as server, server.clients() as clients:
        load = Load(clients)
        load.start()

        server.signal(signal.SIGKILL)
        server.await_end_of_all()
        load.stop()

        with pytest.raises(UnavailableError):
            clients[0].check(user="u", channel="in_app")
        assert load.wrong == []
    with Worked(tmp_path) as server, server.client() as client:
        _require_all_stopped(client, load.acknowledged)


def test_sigterm_under_load_ends_every_call_and_stream_in_order(
    tmp_path: Path, storage: dict[str, str]
) -> None:
    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        load = Load(clients)
        with server.client(cache=tmp_path / "cache", subscriber="mailer") as cached:
            cached.wait_live(WAIT_SECONDS_MAX)
            load.start()

            assert server.stop() == 0
            load.stop()
        server.await_end_of_all()

        ended = [line for line in server.lines if '"process_ended"' in line]
        killed = [line for line in server.lines if '"process_killed"' in line]
        assert (ended, killed, load.wrong) == ([], [], [])
        # Whatever was taken was answered: calls failed only once nobody listened any more.
        unanswered = {one.message for one in load.errors if NOBODY_LISTENS not in one.message}
        assert unanswered == set()
    with Worked(tmp_path, variables=storage) as server, server.client() as client:
        assert "index_rebuilt" not in server.log
        _require_all_stopped(client, load.acknowledged)


def test_an_owner_that_cannot_be_started_ends_the_server(tmp_path: Path) -> None:
    with Worked(tmp_path) as server:
        (tmp_path / "heed-data" / "heed.db").write_bytes(b"no database" * 1_000)
        for leftover in (tmp_path / "heed-data").glob("heed.db-*"):
            leftover.unlink()

        server.kill("owner")

        assert server.wait() == 5
        server.await_end_of_all()
    assert "node_failed" in server.log


def test_a_connection_to_a_worker_that_was_killed_finds_another(tmp_path: Path) -> None:
    with Worked(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        grpc.channel_ready_future(channel).result(WAIT_SECONDS_MAX)
        with server.client() as client:
            for name in ("worker-1", "worker-2"):
                assert client.check(user="u", channel="in_app", timeout=5).allowed
                server.kill(name)
                wait_until(lambda: _is_allowed(client, "u"))
                assert server.await_process() == name
