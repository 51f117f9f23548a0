"""Senders and servers of the release before quiet hours, beside those that know them.

They are run from their own sources, as git has them.
"""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import heed
from tests.support import earlier_sender
from tests.support.caches import wait_until
from tests.support.postgres import Postgres
from tests.support.releases import unpack
from tests.support.served import Served, environment, run_command
from tests.support.stores import Database

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

BEFORE = "726bde6d3da26a747390ee3c52be8a1510e8d9c1"
"""The last commit of rule version 1."""
ADA, BOB = "ada@example.com", "bob@example.com"


class Sender:
    """A sender of the release before, which answers by its cache where it may."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self.line() == "live"

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def asked(self, email: str) -> tuple[bool, str]:
        """Whether it would send, and who said so."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{email}\n")
        self._process.stdin.flush()
        allowed, source = self.line().split()
        return allowed == "True", source


@contextmanager
def sender(address: str, folder: Path, path: str) -> Generator[Sender]:
    process = subprocess.Popen(
        [sys.executable, str(earlier_sender.__file__), address, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment({"PYTHONPATH": path}),
    )
    with process:
        try:
            yield Sender(process)
        finally:
            process.kill()


def set_quiet(client: heed.SyncClient, email: str) -> heed.SetAnswer:
    """Every hour, so that no test depends on the hour that it runs at."""
    return client.set_preference(
        email=email,
        choices=[heed.QuietHours(time_zone="Europe/Vienna", periods=["00:00-00:00"])],
        origin=heed.Origin(source="tests"),
        wait_propagated=10,
    )


def rules_of_nodes(database: Database) -> set[int]:
    """By which rules the nodes decide, as their own rows say."""
    rows = asyncio.run(database.rows("subscribers"))
    return {row["rule_version"] for row in rows if row["subscriber"].startswith("node/")}


def test_who_does_not_know_quiet_hours_allows_nothing_by_itself_once_somebody_has_them(
    tmp_path: Path,
) -> None:
    with ExitStack() as exits:
        path = unpack(BEFORE, tmp_path / "before")
        postgres = exits.enter_context(Postgres())
        new = {"HEED_STORAGE_URL": postgres.create_database("heed_quiet")}
        old = {**new, "PYTHONPATH": path}
        assert run_command("migrate", cwd=tmp_path, variables=old, anew=True).returncode == 0
        folders = [tmp_path / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()
        earlier = exits.enter_context(Served(folders[0], variables=old, anew=True))
        assert run_command("migrate", cwd=tmp_path, variables=new).returncode == 0
        server = exits.enter_context(Served(folders[1], variables=new))
        client = exits.enter_context(server.client())
        client.opt_out(email="cy@example.com", source="tests")
        asking = exits.enter_context(sender(server.address, tmp_path / "cache", path))
        assert asking.asked(BOB) == (True, "cache")  # the control: it answers by itself

        database = Database(new["HEED_STORAGE_URL"], "postgres", tmp_path)
        wait_until(lambda: rules_of_nodes(database) == {1, 2})
        with pytest.raises(heed.ConflictError) as refused:
            set_quiet(client, ADA)
        assert refused.value.reason is heed.ErrorReason.NODE_OUTDATED

        assert earlier.stop() == 0
        answer = set_quiet(client, ADA)

        assert answer.propagated, answer.waiting_for
        assert asking.asked(ADA) == (False, "server")
        assert asking.asked(BOB) == (True, "server")  # it asks, and is told by who knows
        assert asking.asked("cy@example.com") == (False, "cache")  # what is suppressed is safe
        # And no server of that release starts on the database any more.
        failed = run_command("migrate", cwd=tmp_path, variables=old, anew=True)
        assert failed.returncode != 0
        assert "run the later heed" in failed.stderr + failed.stdout
