"""A lookup key that leaked is replaced while servers, a cache and an agent answer: nobody who opted
out is ever allowed, a kill in the middle costs nothing, and whoever was erased stays suppressed."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import pytest

from heed import Channel, ImportedOptOut, ImportRow, Origin, SyncClient
from heed.errors import HeedError
from heed.model import ChangeKind, Method, Subject, SubjectType
from tests.support.agents import ServedAgent
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

ORIGIN = Origin(source="page", method=Method.IMPORT)
PEOPLE = [f"canary{number:04}@example.com" for number in range(3_000)]
ERASED = "Gone@Bücher.example"
RESPELT = "gone@xn--bcher-kva.EXAMPLE"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of servers of one database."""
    if request.param == "sqlite":
        yield {}
        return
    running: Postgres = request.getfixturevalue("postgres")
    with running.database("rekeying") as url:
        variables = {"HEED_STORAGE_URL": url}
        assert run_command("migrate", cwd=tmp_path, variables=variables).returncode == 0
        yield variables


def asked(variables: Mapping[str, str], folder: Path, *words: str) -> list[dict[str, Any]]:
    """What `heed-server keys lookup …` answers."""
    done = run_command("keys", "lookup", *words, "--json", cwd=folder, variables=variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Load:
    """Checks of people who all opted out, of everybody who answers, until the block ends."""

    def __init__(self, *clients: SyncClient) -> None:
        self.checks = [0] * len(clients)
        self.allowed: list[str] = []
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._check, args=(at, client))
            for at, client in enumerate(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)

    def _check(self, at: int, client: SyncClient) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 7
            email = ERASED if number % 50 == 0 else PEOPLE[number % len(PEOPLE)]
            try:
                answer = client.check(email=email, channel=Channel.EMAIL)
            except HeedError:
                self._is_over.wait(0.01)  # a server that was killed allows nothing
                continue
            self._is_over.wait(0.001)  # or on a busy machine nobody would ever be moved
            self.checks[at] += 1
            if answer.allowed:
                self.allowed.append(f"{at}: {email} at {answer.revision}")


def opt_all_out(client: SyncClient) -> None:
    rows = [_row(email, at) for at, email in enumerate(PEOPLE, start=1)]
    for start in range(0, len(rows), 1_000):
        answer = client.import_records(
            rows[start : start + 1_000], batch_id=f"list-{start}", origin=ORIGIN, timeout=30
        )
        assert answer.rejected == ()
    client.opt_out(email=ERASED, source="tests")
    client.erase_subject([_email(ERASED)], reason="asked", origin=ORIGIN)


def _row(email: str, at: int) -> ImportRow:
    return ImportRow(row=at, protection=ImportedOptOut(subject=_email(email)))


def _email(value: str) -> Subject:
    return Subject(type=SubjectType.EMAIL, value=value)


def kill_in_the_middle(server: Served) -> int:
    """Kill a server of SQLite once some are moved; how many were."""
    uri = f"file:{server.folder / 'heed-data' / 'heed.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        count = "SELECT count(*) FROM encrypted_addresses WHERE lookup_key_id = 2"
        wait_until(lambda: connection.execute(count).fetchone()[0] > 0)
        server.process.kill()
        server.wait()
        return int(connection.execute(count).fetchone()[0])


def states(variables: Mapping[str, str], folder: Path) -> list[tuple[int, int, int]]:
    rows = asked(variables, folder, "show")
    return [(row["key_id"], row["readable"], row["erased"]) for row in rows]


@pytest.mark.slow
def test_a_lookup_key_is_replaced_and_nobody_who_opted_out_is_allowed(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    is_sqlite = not variables
    with ExitStack() as opened:
        servers: list[Served] = []
        for number in range(1 if is_sqlite else 2):
            folder = tmp_path / f"node-{number}"
            folder.mkdir()
            servers.append(opened.enter_context(Served(folder, variables=variables)))
        server, home = servers[0], tmp_path / "node-0"
        direct = [opened.enter_context(one.client()) for one in servers]
        opt_all_out(direct[0])
        agent = opened.enter_context(ServedAgent(tmp_path, server.address)).wait_in_step()
        through = opened.enter_context(agent.client())
        cached = opened.enter_context(CachedSyncClient(server.address, tmp_path / "cache"))
        cached.wait_live()
        before = direct[0].get_preferences(email=PEOPLE[0])

        with Load(*direct, through, cached) as load:
            (told,) = asked(variables, home, "replace", "--reason", "laptop stolen")
            if is_sqlite:
                moved = kill_in_the_middle(server)
                assert 0 < moved < len(PEOPLE)
                server = opened.enter_context(Served(home, listen=server.address))
            nodes = [server, *servers[1:]]
            wait_until(lambda: any("subjects_moved" in one.log for one in nodes))
            wait_until(lambda: states(variables, home)[0][1] == 0)
            last = direct[-1].get_preferences(email=PEOPLE[0]).revision
            agent.wait_for_revision(last)
            cached.wait_for(last)
            checked = list(load.checks)
            wait_until(
                lambda: all(now > then for now, then in zip(load.checks, checked, strict=True))
            )

        assert told == {"tenant": "default", "key_id": 2}
        assert load.allowed == []
        assert states(variables, home) == [(1, 0, 1), (2, len(PEOPLE), 0)]
        for client in (*direct, through, cached):
            # Under either key; whoever is unknown is allowed, so that the answers mean something.
            for email in (PEOPLE[0], PEOPLE[-1], ERASED, RESPELT):
                assert not client.check(email=email, channel=Channel.EMAIL).allowed, email
            assert client.check(email="nobody@example.com", channel=Channel.EMAIL).allowed
        after = direct[0].get_preferences(email=PEOPLE[0])
        assert after.records == before.records
        kinds = [one.kind for one in direct[0].get_history(email=PEOPLE[0])]
        assert kinds == [ChangeKind.CHOICE, ChangeKind.REKEY]
        assert [one.kind for one in direct[0].get_history(email=ERASED)] == [
            ChangeKind.CHOICE,
            ChangeKind.ERASURE,
        ]
        # A list that names whoever was erased is of the one who stands under the old key.
        direct[0].import_records([_row(RESPELT, 1)], batch_id="again", origin=ORIGIN)
        assert states(variables, home) == [(1, 0, 1), (2, len(PEOPLE), 0)]
        assert not direct[0].check(email=ERASED, channel=Channel.EMAIL).allowed
