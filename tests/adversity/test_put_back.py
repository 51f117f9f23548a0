"""A database file that is put back to an older state between two runs of a server, by anybody."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from heed_server.follow.position import kept_position
from tests.support.served import WAIT_SECONDS_MAX, Served

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

    next(data.glob("index/*.history-lost")).unlink()
    with Served(tmp_path) as server, server.client() as client:
        assert client.check(email="lost@example.com", channel="email", topic="news").allowed
