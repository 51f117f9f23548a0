"""Several processes behind one address: they answer alike, and at once."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lmdb
import pytest

import heed
from heed import (
    ConflictError,
    OptOut,
    Origin,
    Pause,
    RightRequiredError,
    SyncClient,
    UnauthenticatedError,
    UnavailableError,
)
from heed.errors import ErrorReason, NotFoundError
from heed.model import Revision
from heed.tokens import decode_token, encode_token
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Authority, Served, run_command
from tests.support.worked import Worked, migrated_database

ORIGIN = Origin(source="tests")
ROUNDS = 60

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


def test_a_write_at_one_worker_counts_at_every_one_from_its_acknowledgement_on(
    tmp_path: Path, storage: dict[str, str]
) -> None:
    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        for number in range(ROUNDS):
            user, writer = f"u-{number}", clients[number % len(clients)]
            assert writer.check(user=user, channel="in_app").allowed

            told = writer.set_preference(user=user, choices=[OptOut()], origin=ORIGIN)

            for client in clients:
                without = client.check(user=user, channel="in_app")
                with_token = client.check(user=user, channel="in_app", token=told.token)
                assert not without.allowed, f"{user} at revision {without.revision}"
                assert (with_token.allowed, with_token.revision >= told.revision) == (False, True)
        checks = server.checks()

    assert checks.pop("owner") == 0
    assert all(checks.values()), f"a worker was never asked: {checks}"


def test_every_worker_answers_as_one_process_does(tmp_path: Path, storage: dict[str, str]) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    def told(client: SyncClient) -> list[object]:
        answers: list[object] = []
        for user in ("out", "paused", "nobody"):
            for topic in ("", "news", "news.weekly", "offers"):
                one = client.check(user=user, channel="in_app", topic=topic)
                answers.append(
                    (one.verdict, one.revision, one.reasons, one.token, one.undeclared_topic)
                )
        queries = [heed.Query(user=user, channel="in_app") for user in ("out", "nobody")]
        return [*answers, [one.verdict for one in client.check_many(queries)]]

    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        first = clients[0]
        first.declare_topic("news", topic_class="promotional", requires_opt_in=True, origin=ORIGIN)
        first.set_preference(user="out", choices=[OptOut(topic="news")], origin=ORIGIN)
        first.set_preference(user="paused", choices=[Pause(end_time=later)], origin=ORIGIN)
        first.place_hold(topic="offers", reason="a wrong price", origin=ORIGIN)
        by_workers = [told(client) for client in clients]
        assert server.stop() == 0

    with Served(tmp_path, variables=storage) as one, one.client() as client:
        by_one = told(client)
    assert all(answers == by_one for answers in by_workers)


def test_a_token_binds_every_worker(tmp_path: Path, storage: dict[str, str]) -> None:
    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        tokens = [
            clients[0].set_preference(user=f"u-{at}", choices=[OptOut()], origin=ORIGIN).token
            for at in range(5)
        ]
        token = decode_token(tokens[2])

        def ask(client: SyncClient, *, revision: int = token.revision, **said: bytes) -> None:
            made = encode_token(
                epoch=said.get("epoch", token.epoch),
                tenant_id=token.tenant_id,
                revision=Revision(revision),
                running_hash=said.get("running_hash", token.running_hash),
            )
            client.check(user="u-0", channel="in_app", token=made, timeout=2)

        for client in clients:
            for good in tokens:
                assert not client.check(user="u-0", channel="in_app", token=good).allowed
            with pytest.raises(ConflictError) as history:
                ask(client, running_hash=bytes(8))
            with pytest.raises(ConflictError) as epoch:
                ask(client, epoch=bytes(8))

            assert history.value.reason is ErrorReason.STORE_MISMATCH
            assert epoch.value.reason is ErrorReason.EPOCH_CHANGED
        for client in clients[:4]:
            with pytest.raises(UnavailableError) as ahead:
                ask(client, revision=token.revision + 100)

            assert ahead.value.reason is ErrorReason.NODE_BEHIND


def test_calls_that_are_no_checks_come_from_the_owner_through_any_worker(
    tmp_path: Path, storage: dict[str, str]
) -> None:
    with Worked(tmp_path, variables=storage) as server, server.clients() as clients:
        for number, client in enumerate(clients):
            told = client.set_preference(user=f"u-{number}", choices=[OptOut()], origin=ORIGIN)
            assert not client.explain(user=f"u-{number}", channel="in_app").allowed
            assert told.revision == number + 1
        with server.client(cache=tmp_path / "cache", subscriber="mailer") as cached:
            cached.wait_live(WAIT_SECONDS_MAX)
            told = clients[0].set_preference(
                user="late", choices=[OptOut()], origin=ORIGIN, wait_propagated=5.0
            )
            answer = cached.check(user="late", channel="in_app", token=told.token)
        exported = list(clients[1].export_records())
        made = clients[2].create_tenant("shop")
        of_shop = [client.check(user="u", channel="in_app", tenant="shop") for client in clients]
        with pytest.raises(NotFoundError) as unknown:
            clients[3].check(user="u", channel="in_app", tenant="other")

    assert told.propagated
    assert (answer.source, answer.allowed) == ("cache", False)
    assert len(exported) == len(clients) + 1
    assert made.name == "shop"
    assert all(one.allowed and one.revision == 0 for one in of_shop)
    assert unknown.value.reason is ErrorReason.TENANT_UNKNOWN


def test_a_stream_of_checks_is_answered_by_the_worker_that_has_it(tmp_path: Path) -> None:
    with Worked(tmp_path) as server, server.clients(2) as (client, writer):
        with client.check_stream() as stream:
            before = stream.check(user="u", channel="in_app")
            told = writer.set_preference(user="u", choices=[OptOut()], origin=ORIGIN)
            after = stream.check(user="u", channel="in_app")
        # OK, or CANCELLED where the worker hears of the end of the connection first.
        name = r"heed_calls_total\{code=\"\w+\",method=\"StreamCheckSuppression\"\}"
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not sum(server.counted(name).values()):
            assert time.monotonic() < deadline
        counted = server.counted(name)

    assert (before.allowed, after.allowed, after.revision) == (True, False, told.revision)
    assert (counted["owner"], sum(counted.values())) == (0, 1)


def test_a_key_opens_and_closes_every_worker_at_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Worked(tmp_path, *authority.flags()) as server:

        def keys(*arguments: str) -> str:
            done = run_command("keys", *arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        with server.clients(tls=authority.tls) as nameless:
            assert all(one.check(user="u", channel="in_app").allowed for one in nameless)

            key = keys("create", "tests", "--right", "check")

            for client in nameless:
                with pytest.raises(UnauthenticatedError):
                    client.check(user="u", channel="in_app")
        with server.clients(tls=authority.tls, api_key=key) as named:
            for client in named:
                assert client.check(user="u", channel="in_app").allowed
                with pytest.raises(RightRequiredError):
                    client.set_preference(user="u", choices=[OptOut()], origin=ORIGIN)

            key_id = key.split("_")[1]
            keys("revoke", key_id)

            for client in named:
                with pytest.raises(UnauthenticatedError):
                    client.check(user="u", channel="in_app")


def test_a_damaged_record_that_a_worker_meets_is_made_anew_and_never_no_record(
    tmp_path: Path,
) -> None:
    with Worked(tmp_path) as server, server.client() as client:
        client.set_preference(user="u", choices=[OptOut()], origin=ORIGIN)
        assert not client.check(user="u", channel="in_app").allowed
        _damage_all(tmp_path / "heed-data" / "index" / "tenant-1")

        seen: list[str] = []
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while seen[-1:] != ["suppressed"]:
            assert time.monotonic() < deadline
            try:
                answer = client.check(user="u", channel="in_app")
                seen.append("allowed" if answer.allowed else "suppressed")
            except UnavailableError as error:
                seen.append(error.reason)

    assert set(seen) == {ErrorReason.STATE_STALE, "suppressed"}
    assert "a worker met damage" in server.log


def _damage_all(directory: Path) -> None:
    """Cut every record short, as a fault of the disk would."""
    environment = lmdb.open(str(directory), max_dbs=4, create=False)
    records = environment.open_db(b"records", create=False)
    with environment.begin(write=True, db=records) as transaction:
        for key, value in list(transaction.cursor()):
            transaction.put(key, value[:-3])
    environment.close()


def test_an_address_is_shared_by_the_workers_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Worked(tmp_path) as server:
        for flags in (("--workers", "2"), ()):
            second = run_command(
                "serve", *flags, "--listen", server.address, cwd=tmp_path / "other"
            )
            assert second.returncode == 3
            assert f"cannot listen on {server.address}" in second.stderr


def test_a_folder_is_owned_by_one_server(tmp_path: Path) -> None:
    with Worked(tmp_path) as server, server.client() as client:
        second = run_command("serve", "--workers", "2", "--listen", "127.0.0.1:0", cwd=tmp_path)

        assert second.returncode == 3
        assert client.check(user="u", channel="in_app").allowed


def test_workers_refuse_what_they_cannot_share(tmp_path: Path) -> None:
    refused = run_command("serve", "--workers", "2", "--listen", "unix:heed.sock", cwd=tmp_path)
    too_many = run_command("serve", "--workers", "65", cwd=tmp_path)
    printed = run_command("serve", "--workers", "3", "--print-config", cwd=tmp_path)

    assert (refused.returncode, too_many.returncode) == (2, 2)
    assert "several workers cannot share a unix socket" in refused.stderr
    assert "listen.workers" in too_many.stderr
    assert re.search(r"workers = 3  # --listen-workers", printed.stdout)


def test_the_files_that_workers_share_are_this_users_alone(tmp_path: Path) -> None:
    with Worked(tmp_path):
        folder = tmp_path / "heed-data" / "index" / "workers"
        modes = {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}

        assert folder.stat().st_mode & 0o077 == 0
        assert {"owner.sock", "state", "node.board", "tenant-1.board"} <= set(modes)
        assert set(modes.values()) == {0o600}
    assert not (folder / "state").exists()


def test_metrics_tell_of_each_process(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    variables = {"HEED_TELEMETRY_METRICS_ADDRESS": f"127.0.0.1:{port}"}
    with Worked(tmp_path, variables=variables) as server, server.client() as client:
        client.set_preference(user="u", choices=[OptOut()], origin=ORIGIN)
        client.check(user="u", channel="in_app")

        ports = [server.processes[name]["metrics_port"] for name in server.names]
        assert ports == [port, port + 1, port + 2]
        assert server.metric("owner", "heed_commits_total") == 1
        for worker in ("worker-1", "worker-2"):
            assert server.metric(worker, "heed_index_revision") == 1
            assert server.metric(worker, "heed_source_age_seconds") < 5
            assert server.metric(worker, "heed_worker_restarts_total") == 0
        assert sum(server.checks().values()) == 1


def test_sigterm_to_every_process_of_the_group_is_one_request(tmp_path: Path) -> None:
    """As some supervisors of services send it."""
    with Worked(tmp_path) as server:
        for name in server.names:
            server.kill(name, signal.SIGTERM)
            server.kill(name, signal.SIGINT)
        with server.client() as client:
            assert client.check(user="u", channel="in_app").allowed

        assert server.stop() == 0
        server.await_end_of_all()
    assert "process_ended" not in server.log
