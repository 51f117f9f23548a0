"""The launcher of PostgreSQL, which half of the suite stands on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.postgres import VARIABLE, Postgres

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of the module's own: the tests kill it."""
    with Postgres() as running:
        yield running


async def ask(url: str, statement: str) -> str:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            return str((await connection.execute(text(statement))).scalar_one())
    finally:
        await engine.dispose()


async def test_the_server_is_durable_unless_told_otherwise(postgres: Postgres) -> None:
    assert await ask(postgres.url, "SHOW fsync") == "on"
    assert await ask(postgres.url, "SHOW synchronous_commit") == "on"


async def test_a_database_is_reached_by_tcp_and_by_socket(postgres: Postgres) -> None:
    url = postgres.create_database("reached")

    assert await ask(url, "SELECT current_database()") == "reached"
    assert await ask(postgres.socket_url("reached"), "SELECT current_database()") == "reached"


async def test_a_database_made_from_a_template_has_its_tables(postgres: Postgres) -> None:
    template = postgres.create_database("pattern")
    await ask(template, "WITH made AS (SELECT 1) SELECT * FROM made")
    await ask(template, "SELECT lo_create(4242)")

    copied = postgres.create_database("cast", template="pattern")

    assert await ask(copied, "SELECT oid FROM pg_largeobject_metadata") == "4242"


async def test_a_dropped_database_is_gone(postgres: Postgres) -> None:
    url = postgres.create_database("dropped")

    postgres.drop_database("dropped")

    with pytest.raises(DBAPIError, match="does not exist"):
        await ask(url, "SELECT 1")


def test_a_name_that_would_need_quoting_is_refused(postgres: Postgres) -> None:
    with pytest.raises(ValueError, match="not a plain database name"):
        postgres.create_database('x" OWNER "y')


async def test_a_kill_keeps_address_and_what_was_committed(postgres: Postgres) -> None:
    url = postgres.create_database("kept")
    await ask(url, "SELECT lo_create(7)")

    postgres.kill()
    postgres.start()

    assert await ask(url, "SELECT oid FROM pg_largeobject_metadata") == "7"


async def test_a_stop_leaves_nothing() -> None:
    with Postgres() as postgres:
        folder = make_url(postgres.socket_url("lost")).query["host"]
        postgres.create_database("lost")

        postgres.stop()
        assert not Path(str(folder)).exists()
        postgres.start()

        with pytest.raises(DBAPIError, match="does not exist"):
            await ask(postgres.socket_url("lost"), "SELECT 1")


async def test_a_restart_keeps_address_and_rows(postgres: Postgres) -> None:
    url = postgres.create_database("restarted")
    await ask(url, "SELECT lo_create(8)")

    postgres.restart()

    assert await ask(url, "SELECT oid FROM pg_largeobject_metadata") == "8"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes to cores")
async def test_a_pinned_server_serves_new_connections_from_its_core(postgres: Postgres) -> None:
    core = min(os.sched_getaffinity(0))

    postgres.pin({core})
    pid = int(await ask(postgres.url, "SELECT pg_backend_pid()"))

    assert os.sched_getaffinity(postgres.pid) == {core}
    assert pid != postgres.pid


def test_the_server_ends_with_a_starter_that_is_killed() -> None:
    code = (
        "from tests.support.postgres import Postgres; import os, time; p = Postgres(); p.start();"
        "print(p.pid, p.socket_url('x').split('host=')[1].split('&')[0], flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid, quoted = run.stdout.readline().split()
        folder = Path(quoted.replace("%2F", "/"))
        assert folder.is_dir()

        run.kill()

    deadline = time.monotonic() + 20
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}/stat").exists() or _is_dead(int(pid))


def _is_dead(pid: int) -> bool:
    """Nobody may be left to reap an orphan, as in a container without an init."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_the_variable_points_elsewhere_and_nothing_is_started_or_killed(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, postgres.url.replace("+asyncpg", ""))

    with Postgres.from_environment() as other:
        url = other.create_database("elsewhere")
        with pytest.raises(RuntimeError, match="cannot kill"):
            other.kill()

    assert await ask(url, "SELECT current_database()") == "elsewhere"
    other.drop_database("elsewhere")
