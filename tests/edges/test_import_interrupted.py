"""Imports that are killed, or whose server is, and are then run again: as if nothing had been."""

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Self

import pytest

from heed import SyncClient
from heed.cli.main import main
from tests.support.served import WAIT_SECONDS_MAX, Served, environment
from tests.support.vendor_files import address, write_sendgrid_csv

ROWS = 20_000
"""Ten chunks: at half of them some are written, four are under way, and some are not sent."""
HALF = ROWS // 2

pytestmark = pytest.mark.slow


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "bounces.csv"
    write_sendgrid_csv(path, ROWS)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Generator[list[tuple[object, ...]]]:
    """What stands after one run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    source = folder / "bounces.csv"
    write_sendgrid_csv(source, ROWS)
    with Served(folder) as server:
        with Importer(server, source) as importer:
            assert importer.end() == (0, "")
        yield standing(server)


class Importer:
    """`heed import` in a process of its own."""

    def __init__(self, server: Served, source: Path) -> None:
        self._told = source.with_name("stderr").open("w+b")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from {main.__module__} import main; main()",
                "import",
                str(source),
                "--as",
                "sendgrid-bounces",
                "--address",
                server.address,
            ],
            stdout=subprocess.DEVNULL,
            stderr=self._told,
            env=environment(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(WAIT_SECONDS_MAX)
        self._told.close()

    def kill(self) -> None:
        self._process.kill()
        assert self._process.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it told."""
        code = self._process.wait(2 * WAIT_SECONDS_MAX)
        self._told.seek(0)
        return code, self._told.read().decode()


def wait_for_revision(client: SyncClient, revision: int) -> None:
    """Return once the log has come so far; each look is a call to the server."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while client.check(email="nobody@example.com", channel="email").revision < revision:
        assert time.monotonic() < end, f"no revision {revision} within {WAIT_SECONDS_MAX} s"


def standing(server: Served) -> list[tuple[object, ...]]:
    """Everything that stands, without where in the log it was written."""
    with server.client() as client:
        return sorted(
            (
                str(one.subject),
                one.record.kind.name,
                one.record.cause.name,
                one.record.scope.channel.name,
                one.record.scope.topic,
                one.record.reach.name,
                str(one.record.decided_time),
                one.record.reason,
            )
            for one in client.export_records(timeout=WAIT_SECONDS_MAX)
        )


def test_an_importer_that_is_killed_is_resumed_by_the_same_command(
    source: Path, folder: Path, whole: list[tuple[object, ...]]
) -> None:
    with Served(folder) as server, server.client() as client:
        with Importer(server, source) as importer:
            wait_for_revision(client, HALF)
            importer.kill()

        with Importer(server, source) as again:
            assert again.end() == (0, "")

        assert standing(server) == whole
        assert client.check(email=address(1), channel="email").revision == ROWS


def test_a_server_that_is_killed_is_caught_up_by_the_same_command(
    source: Path, folder: Path, whole: list[tuple[object, ...]]
) -> None:
    with Served(folder) as server, Importer(server, source) as importer:
        with server.client() as client:
            wait_for_revision(client, HALF)
        server.process.kill()

        code, told = importer.end()

        assert code == 3
        assert "the same command again, with the same input, does the rest" in told
        listen = server.address
    with Served(folder, listen=listen) as server, server.client() as client:
        with Importer(server, source) as again:
            assert again.end() == (0, "")

        assert standing(server) == whole
        assert client.check(email=address(1), channel="email").revision == ROWS


def test_a_server_that_comes_back_in_time_is_not_even_noticed(
    source: Path, folder: Path, whole: list[tuple[object, ...]]
) -> None:
    """Its chunks are sent again with their keys, so that none is committed twice."""
    with Served(folder) as server, Importer(server, source) as importer:
        with server.client() as client:
            wait_for_revision(client, HALF)
        server.process.kill()
        server.wait()
        with Served(folder, listen=server.address) as back, back.client() as client:
            assert importer.end() == (0, "")

            assert standing(back) == whole
            assert client.check(email=address(1), channel="email").revision == ROWS
