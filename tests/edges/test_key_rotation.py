"""Keys are replaced by commands while servers answer Checks and take writes; a kill loses nothing."""

import itertools
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

import pytest

from heed import Channel, OptOut, Origin, SyncClient
from heed.keys import Keyer, normalise
from heed.model import Method, Subject, SubjectType
from heed_server.secrets.keysets import key_id_of
from heed_server.secrets.root_file import RootFile
from heed_server.storage import open_store
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command
from tests.support.stores import Database

ORIGIN = Origin(source="page", method=Method.WEB_FORM)
KNOWN = [f"canary{number:04}@example.com" for number in range(60)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of servers whose root keys are in a file of their own."""
    place = {"HEED_KEYS_ROOT_FILE": str(tmp_path / "keys" / "root")}
    if request.param == "sqlite":
        yield place
        return
    running: Postgres = request.getfixturevalue("postgres")
    with running.database("rotating") as url:
        variables = {**place, "HEED_STORAGE_URL": url}
        asked(variables, tmp_path, "root", "create")
        assert run_command("migrate", cwd=tmp_path, variables=variables).returncode == 0
        yield variables


def asked(variables: Mapping[str, str], folder: Path, *words: str) -> list[dict[str, Any]]:
    """What `heed-server keys …` answers."""
    done = run_command("keys", *words, "--json", cwd=folder, variables=variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Load:
    """Checks of people who opted out, and opt-outs of others, until the block ends."""

    def __init__(self, *clients: SyncClient) -> None:
        self.told: list[str] = []
        self.checks = 0
        self.wrong: list[str] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._tell, args=(clients[0],))]
        self._threads += [threading.Thread(target=self._check, args=(one,)) for one in clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)

    def _tell(self, client: SyncClient) -> None:
        for number in itertools.count():
            if self._is_over.is_set():
                return
            email = f"later{number:05}@example.com"
            try:
                client.set_preference(email=email, choices=[OptOut()], origin=ORIGIN)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
                self.wrong.append(repr(error))
                return
            self.told.append(email)

    def _check(self, client: SyncClient) -> None:
        for number in itertools.count():
            if self._is_over.is_set():
                return
            try:
                answer = client.check(email=KNOWN[number % len(KNOWN)], channel=Channel.EMAIL)
            except Exception as error:  # noqa: BLE001 - the same
                self.wrong.append(repr(error))
                return
            self.checks += 1
            if answer.allowed:
                self.wrong.append(KNOWN[number % len(KNOWN)])


def exported(client: SyncClient) -> set[str]:
    return {one.subject.value for one in client.export_records() if one.subject is not None}


def opt_all_out(client: SyncClient) -> None:
    for email in KNOWN:
        client.set_preference(email=email, choices=[OptOut()], origin=ORIGIN)


@pytest.mark.slow
def test_keys_are_rotated_by_commands_while_servers_answer(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    nodes = 2 if "HEED_STORAGE_URL" in variables else 1
    with ExitStack() as opened:
        clients: list[SyncClient] = []
        for number in range(nodes):
            folder = tmp_path / f"node-{number}"
            folder.mkdir()
            server = opened.enter_context(Served(folder, variables=variables))
            clients.append(opened.enter_context(server.client()))
        home = tmp_path / "node-0"
        opt_all_out(clients[0])
        before = asked(variables, home, "root", "show")

        with Load(*clients) as load:
            for _ in range(2):
                assert asked(variables, home, "rotate-addresses") == [{"tenants": ["default"]}]
                (rotated,) = asked(variables, home, "root", "rotate")
                assert rotated["wrapped_again"] >= 2
                asked(variables, home, "root", "destroy-old", "--also-secrets")

        after = asked(variables, home, "root", "show")
        assert load.wrong == []
        assert load.checks > 0
        assert {row["state"] for row in after} == {"wraps"}
        assert not {row["key_id"] for row in before} & {row["key_id"] for row in after}
        for client in clients:
            assert exported(client) == {*KNOWN, *load.told}
        clients[0].create_tenant("another")
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while len({one.name for one in clients[-1].list_tenants()}) < 2:
            assert time.monotonic() < deadline


async def test_a_rotation_outlives_a_kill(tmp_path: Path) -> None:
    place = {"HEED_KEYS_ROOT_FILE": str(tmp_path / "root")}
    server = Served(tmp_path, variables=place).start()
    with server.client() as client:
        opt_all_out(client)
        asked(place, tmp_path, "rotate-addresses")
        asked(place, tmp_path, "rotate-addresses")
    server.process.kill()
    server.wait()

    with Served(tmp_path, variables=place) as again, again.client() as client:
        asked(place, tmp_path, "root", "rotate")
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        database = Database(f"sqlite:///{tmp_path / 'heed-data' / 'heed.db'}", "sqlite", tmp_path)
        while True:
            rows = await database.rows("encrypted_addresses")
            if len({key_id_of(row["ciphertext"]) for row in rows}) == 1:
                break
            assert time.monotonic() < deadline
        assert exported(client) == set(KNOWN)
        assert not client.check(email=KNOWN[0], channel=Channel.EMAIL).allowed


def test_root_keys_are_made_once(tmp_path: Path) -> None:
    made = asked({}, tmp_path, "root", "create")
    again = run_command("keys", "root", "create", cwd=tmp_path)
    for_scripts = asked({}, tmp_path, "root", "create", "--if-missing")

    path = tmp_path / "heed-data" / "heed.db.root"
    assert made == [{"root_file": "heed-data/heed.db.root", "created": True}]
    assert again.returncode == 3
    assert "is there already" in again.stderr
    assert for_scripts == [{"root_file": "heed-data/heed.db.root", "created": False}]
    assert len(RootFile(path).keys().keyset("secrets").key_ids) == 1


@pytest.mark.postgres
def test_postgres_needs_them_named_and_there(tmp_path: Path, postgres: Postgres) -> None:
    with postgres.database("rootless") as url:
        unnamed = run_command("migrate", "--database", url, cwd=tmp_path)
        nowhere = {"HEED_STORAGE_URL": url, "HEED_KEYS_ROOT_FILE": str(tmp_path / "nowhere")}

        without_name = run_command("serve", "--database", url, cwd=tmp_path)
        without_file = run_command("serve", cwd=tmp_path, variables=nowhere)

    assert unnamed.returncode == 0
    assert without_name.returncode == 2
    assert "keys.root_file is needed with PostgreSQL" in without_name.stderr
    assert without_file.returncode == 3
    assert "heed-server keys root create" in without_file.stderr


def test_a_server_without_its_root_keys_does_not_start(tmp_path: Path) -> None:
    with Served(tmp_path):
        pass
    (tmp_path / "heed-data" / "heed.db.root").unlink()

    refused = run_command("serve", "--listen", "127.0.0.1:0", cwd=tmp_path)

    assert refused.returncode == 3
    assert "the root keys are not at" in refused.stderr
    assert not (tmp_path / "heed-data" / "heed.db.root").exists()


async def test_an_upgrade_leaves_nothing_readable_in_any_file(tmp_path: Path) -> None:
    """A server goes on with what an earlier heed kept, and encrypts it while it answers."""
    with Served(tmp_path) as server, server.client() as client:
        opt_all_out(client)
    folder = tmp_path / "heed-data"
    store = await open_store(f"sqlite:///{folder / 'heed.db'}")
    (tenant,) = await store.tenants()
    await store.close()
    keyer = Keyer(tenant.lookup_key.key)
    readable = [
        (keyer.key(normalise(Subject(type=SubjectType.EMAIL, value=email))), email)
        for email in KNOWN
    ]
    (folder / "heed.db.root").unlink()
    with closing(sqlite3.connect(folder / "heed.db", isolation_level=None)) as connection:
        # The same rows as the release before left them.
        connection.execute("DELETE FROM secrets")
        connection.execute("DELETE FROM encrypted_addresses")
        connection.execute("UPDATE tenants SET lookup_key = ?", (tenant.lookup_key.key,))
        connection.executemany("INSERT INTO addresses VALUES (1, ?, 1, ?)", readable)
        connection.execute("PRAGMA user_version = 1")

    with Served(tmp_path) as server, server.client() as client:
        before = [json.loads(line) for line in server.lines if "readable_encrypted" in line]
        (encrypted,) = before or [server.wait_for("readable_encrypted")]
        assert not client.check(email=KNOWN[0], channel=Channel.EMAIL).allowed
        assert exported(client) == set(KNOWN)

    assert encrypted["count"] == len(KNOWN)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if b"canary" in path.read_bytes()] == []
    of_database = [path for path in files if path.name.startswith("heed.db")]
    assert [path.name for path in of_database if tenant.lookup_key.key in path.read_bytes()] == []
