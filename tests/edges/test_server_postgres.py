"""Servers that share a PostgreSQL: its schema, their keys, and what one learns of the other."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from heed import OptOut, Origin, SyncClient, UnauthenticatedError
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

ORIGIN = Origin(source="tests")
REVOKED_WITHIN_SECONDS = 5

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, which it kills."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database("edges") as url:
        yield url


def test_servers_of_one_database_start_after_migrate_and_follow_each_other(
    tmp_path: Path, url: str
) -> None:
    variables = {"HEED_STORAGE_URL": url}
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()

    too_soon = run_command("serve", "--listen", "127.0.0.1:0", cwd=tmp_path, variables=variables)
    migrated = run_command("migrate", "--json", cwd=tmp_path, variables=variables)
    with (
        Served(folders[0], variables=variables) as first,
        Served(folders[1], variables=variables) as second,
        first.client() as at_first,
        second.client() as at_second,
    ):
        told = at_first.set_preference(user="u-1", choices=[OptOut()], origin=ORIGIN)
        answer = at_second.check(user="u-1", channel="in_app", token=told.token)
        at_first.create_tenant("shop")
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while "shop" not in [tenant.name for tenant in at_second.list_tenants()]:
            assert time.monotonic() < deadline

    assert too_soon.returncode == 3
    assert "heed-server migrate" in too_soon.stderr
    assert json.loads(migrated.stdout) == {"changed": True}
    assert not answer.allowed


def test_a_key_revoked_in_the_database_is_refused_by_every_server_within_seconds(
    tmp_path: Path, url: str
) -> None:
    variables = {"HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}
    made = run_command(
        *("keys", "create", "mailer", "--right", "check", "--json"),
        cwd=tmp_path,
        variables=variables,
    )
    key = json.loads(made.stdout)
    with (
        Served(tmp_path, variables=variables) as server,
        server.client(api_key=key["key"]) as client,
    ):
        assert client.check(user="u-1", channel="in_app").allowed

        revoked = run_command("keys", "revoke", key["key_id"], cwd=tmp_path, variables=variables)
        began = time.monotonic()
        while _is_let_in(client):
            assert time.monotonic() - began < WAIT_SECONDS_MAX

    assert revoked.returncode == 0
    assert time.monotonic() - began < REVOKED_WITHIN_SECONDS


def _is_let_in(client: SyncClient) -> bool:
    try:
        client.check(user="u-1", channel="in_app")
    except UnauthenticatedError:
        return False
    return True


def test_losing_the_database_fails_writes_at_once_and_checks_only_later(
    tmp_path: Path, own_postgres: Postgres
) -> None:
    """Health tells each capability apart; `staleness` is shortened so that nobody waits long."""
    variables = {
        "HEED_STORAGE_URL": own_postgres.create_database("heed_lost"),
        "HEED_STORAGE_MIGRATE": "true",
        "HEED_STALENESS_PROMOTIONAL_SECONDS": "3",
    }
    with Served(tmp_path, variables=variables) as server:
        assert _health(server) == {"": "SERVING", "Check": "SERVING", "Write": "SERVING"}
        own_postgres.kill()
        seen = _watch_until_lost(server)
        own_postgres.start()
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while _health(server) != {"": "SERVING", "Check": "SERVING", "Write": "SERVING"}:
            assert time.monotonic() < deadline

    assert seen[-1] == {"": "SERVING", "Check": "NOT_SERVING", "Write": "NOT_SERVING"}
    assert {"": "SERVING", "Check": "SERVING", "Write": "NOT_SERVING"} in seen


def _watch_until_lost(server: Served) -> list[dict[str, str]]:
    seen: list[dict[str, str]] = []
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not seen or seen[-1]["Check"] == "SERVING":
        assert time.monotonic() < deadline
        found = _health(server)
        if not seen or seen[-1] != found:
            seen.append(found)
    return seen


def _health(server: Served) -> dict[str, str]:
    from heed_server.cli.health import status_of

    names = {"": "", "Check": "heed.v1.Check", "Write": "heed.v1.Write"}
    return {
        short: status_of(server.address, name, WAIT_SECONDS_MAX, None, "")[0]
        for short, name in names.items()
    }
