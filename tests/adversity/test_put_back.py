"""A database that is put back to an older state, by anybody, between runs or under them."""

import asyncio
import json
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from heed import ConflictError, ErrorReason, Origin, Rule, SyncClient, UnavailableError
from heed_server.follow.position import kept_position
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

pytestmark = pytest.mark.slow


def until_kept(folder: Path, revision: int) -> None:
    """Wait until a server, which tells nobody, has written down that it knows of a revision."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    (path,) = (folder / "heed-data" / "index").glob("*.position")
    while (kept := kept_position(path)) is None or kept.revision < revision:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("goes_on", [False, True])
def test_after_a_kill_no_server_starts_without_the_opt_out_that_was_acknowledged(
    tmp_path: Path, *, goes_on: bool
) -> None:
    """Nor when as many other changes were written since, by a server with its indexes elsewhere."""
    data = tmp_path / "heed-data"
    before = tmp_path / "before"
    with Served(tmp_path) as server:
        with server.client() as client:
            client.opt_out(email="first@example.com", source="tests")
        server.stop()
    before.mkdir()
    for file in data.glob("heed.db*"):
        shutil.copy(file, before)
    with Served(tmp_path) as server:
        with server.client() as client:
            client.opt_out(email="lost@example.com", source="tests")
        until_kept(tmp_path, 2)
        server.signal(signal.SIGKILL)
        server.wait()
    for file in data.glob("heed.db*"):
        file.unlink()
    for file in before.iterdir():
        shutil.copy(file, data)
    if goes_on:
        elsewhere = {"HEED_INDEX_DIRECTORY": str(tmp_path / "elsewhere")}
        with Served(tmp_path, variables=elsewhere) as other, other.client() as client:
            client.opt_out(email="other@example.com", source="tests")

    for _ in range(2):
        server = Served(tmp_path)
        server.launch()
        assert server.wait() == 3
        assert "history-lost" in server.log

    begun = json.loads(
        run_command("new-epoch", "--reason", "put back", "--json", cwd=tmp_path).stdout
    )
    with Served(tmp_path) as server, server.client() as client:
        held = client.check(email="lost@example.com", channel="email", topic="news")
        client.lift_hold(begun["hold"], reason="recorded again", origin=Origin(source="tests"))
        free = client.check(email="lost@example.com", channel="email", topic="news")
    assert not held.allowed
    assert held.reasons[0].rule is Rule.HOLD
    assert free.allowed
    assert not list(data.glob("index/*.history-lost"))


@pytest.mark.postgres
def test_nodes_that_run_when_postgres_is_put_back_allow_nothing_until_a_new_epoch(
    tmp_path: Path,
) -> None:
    """Neither by checks nor by writes, before and after a start; then mandatory messages alone."""
    with ExitStack() as exits:
        postgres = exits.enter_context(Postgres())
        url = postgres.create_database("heed_put_back")
        variables = {"HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            folder.mkdir()
        first = exits.enter_context(Served(folders[0], variables=variables))
        second = exits.enter_context(Served(folders[1], variables=variables))
        clients = [exits.enter_context(one.client()) for one in (first, second)]
        clients[0].opt_out(email="first@example.com", source="tests")
        asyncio.run(execute(url, "CREATE TABLE old_changes AS SELECT * FROM changes"))
        asyncio.run(execute(url, "CREATE TABLE old_heads AS SELECT * FROM heads"))
        told = clients[0].opt_out(email="lost@example.com", source="tests")
        clients[1].check(email="lost@example.com", channel="email", token=told.token)

        for statement in (
            "DELETE FROM changes",
            "INSERT INTO changes SELECT * FROM old_changes",
            "DELETE FROM heads",
            "INSERT INTO heads SELECT * FROM old_heads",
            "DELETE FROM keys",
        ):
            asyncio.run(execute(url, statement))
        for client, server in zip(clients, (first, second), strict=True):
            server.wait_for("index_refused")
            assert refused(client) is ErrorReason.STATE_STALE
            with pytest.raises(UnavailableError):
                client.opt_out(email="next@example.com", source="tests")
        second.stop()
        second.launch()
        assert second.wait() == 3
        assert "new-epoch" in second.log

        begun = json.loads(
            run_command(
                *("new-epoch", "--reason", "put back", "--json"), cwd=tmp_path, variables=variables
            ).stdout
        )
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while refused(clients[0]) is not None:
            assert time.monotonic() < deadline
        held = clients[0].check(email="lost@example.com", channel="email", topic="news")
        assert held.reasons[0].rule is Rule.HOLD
        with pytest.raises(ConflictError) as epoch_changed:
            clients[0].check(email="lost@example.com", channel="email", token=told.token)
        assert epoch_changed.value.reason is ErrorReason.EPOCH_CHANGED
        again = exits.enter_context(Served(folders[1], variables=variables))
        with again.client() as client:
            client.lift_hold(begun["hold"], reason="recorded again", origin=Origin(source="tests"))
            assert client.check(email="next@example.com", channel="email", topic="news").allowed


async def execute(url: str, statement: str) -> None:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool
    )
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement)


def refused(client: SyncClient) -> ErrorReason | None:
    """Why a check of the person whose opt-out was lost has no answer; None: it has one."""
    try:
        client.check(email="lost@example.com", channel="email", topic="news")
    except UnavailableError as error:
        return error.reason
    return None
