"""Backups and restores whose process is killed in the middle leave nothing that could be taken for
one."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from heed.errors import InvalidArgumentError
from heed.model import Cause, TenantId
from heed_server.backup.file import BackupReader
from heed_server.backup.taking import take_backup
from heed_server.storage import StorageLimits, SystemClock
from tests.support.forked import COMMAND
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, environment, run_command
from tests.support.stores import Database, Shop, chooses, imports, new_shop, protection

PEOPLE = 20_000
LIMITS = StorageLimits()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of many people, and a backup of it from before the last opt-out."""
    made = tmp_path_factory.mktemp("cut")
    asyncio.run(_fill(Database(f"sqlite:///{made / 'heed.db'}", "sqlite", made)))
    return made


async def _fill(database: Database) -> None:
    shop = await new_shop(await database.open())
    for start in range(0, PEOPLE, 5_000):
        names = [f"p{number}" for number in range(start, start + 5_000)]
        await shop.ask(imports(*(protection(name, Cause.NONE) for name in names)))
    path = database.folder / "a.backup"
    await take_backup(database.url, path, now=SystemClock().now(), limits=LIMITS)
    await shop.ask(chooses("late"))
    await database.close()


def killed(*arguments: str, folder: Path, url: str, when: Callable[[], bool]) -> int:
    """Start a command, kill it once something is so, and return how it ended."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment({"HEED_STORAGE_URL": url}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not when():
        assert process.poll() is None, "it ended too soon to be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait(WAIT_SECONDS_MAX)


async def head_of(folder: Path) -> tuple[int, int]:
    """The revision at which a database stands, and how many holds there are."""
    database = Database(f"sqlite:///{folder / 'heed.db'}", "sqlite", folder)
    shop = Shop(await database.open(), TenantId(1))
    revision = (await shop.store.head(shop.tenant_id)).revision
    holds = (await shop.store.standing(shop.tenant_id, [])).holds
    await database.close()
    return revision, len(holds)


def test_a_backup_that_was_cut_is_none(folder: Path) -> None:
    partial = folder / "b.backup.partial"
    url = f"sqlite:///{folder / 'heed.db'}"

    code = killed(
        *("backup", "--to", "b.backup"),
        folder=folder,
        url=url,
        when=lambda: partial.exists() and partial.stat().st_size > 0,
    )

    assert code == -signal.SIGKILL
    assert not (folder / "b.backup").exists()
    with pytest.raises(InvalidArgumentError):
        BackupReader(partial)
    again = run_command(
        *("backup", "--to", "b.backup"), cwd=folder, variables={"HEED_STORAGE_URL": url}
    )
    assert again.returncode == 0, again.stderr
    assert not partial.exists()


def test_a_restore_that_was_cut_leaves_the_database_that_was_there(folder: Path) -> None:
    """The control: run to its end it puts the other in its place."""
    draft = folder / "heed.db.restoring"
    url = f"sqlite:///{folder / 'heed.db'}"
    arguments = ("restore", "--from", "a.backup", "--set-aside")

    code = killed(*arguments, folder=folder, url=url, when=draft.exists)

    assert code == -signal.SIGKILL
    assert asyncio.run(head_of(folder)) == (PEOPLE + 1, 0)
    whole = run_command(*arguments, cwd=folder, variables={"HEED_STORAGE_URL": url})
    assert whole.returncode == 0, whole.stderr
    assert asyncio.run(head_of(folder)) == (PEOPLE + 1, 1)  # the hold in the place of the opt-out
    assert not draft.exists()


@pytest.mark.postgres
def test_a_restore_into_postgres_that_was_cut_leaves_it_empty(folder: Path) -> None:
    with Postgres() as postgres:
        url = postgres.create_database("heed_cut")
        code = killed(
            *("restore", "--from", "a.backup"),
            folder=folder,
            url=url,
            when=lambda: asyncio.run(is_being_written(postgres.url)),
        )

        assert code == -signal.SIGKILL
        whole = run_command(
            *("restore", "--from", "a.backup"), cwd=folder, variables={"HEED_STORAGE_URL": url}
        )
        assert whole.returncode == 0, whole.stderr  # which it is only into an empty one


async def is_being_written(url: str) -> bool:
    """Whether the restore's transaction has begun to write rows."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.scalar(
            text("SELECT count(*) FROM pg_stat_progress_copy WHERE tuples_processed > 0")
        )
    return bool(found)
