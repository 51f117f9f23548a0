"""What `heed.testing` gives to tests of other people's code, with a real server."""

import subprocess
import sys
from pathlib import Path

import pytest

import heed
from heed.testing import server

pytestmark = pytest.mark.slow

THEIR_TESTS = """
from heed import Client, SyncClient
from heed.testing import FakeSyncClient

pytest_plugins = ["heed.testing.plugin"]

def test_one(heed_client: SyncClient) -> None:
    heed_client.opt_out(email="ada@example.com", source="tests")
    assert not heed_client.check(email="ada@example.com", channel="email").allowed

def test_another_has_a_tenant_of_its_own(heed_client: SyncClient) -> None:
    assert heed_client.check(email="ada@example.com", channel="email").allowed

def test_asynchronously(heed_server, heed_tenant) -> None:
    import asyncio
    async def ask() -> bool:
        async with heed_server.async_client(tenant=heed_tenant, timeout=5) as client:
            return (await client.check(user="u", channel="in_app")).allowed
    assert asyncio.run(ask())

def test_in_memory(fake_heed) -> None:
    assert FakeSyncClient(fake_heed).check(user="u", channel="in_app").allowed
"""


def test_a_server_of_ones_own_serves_and_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEED_NO_SUCH_SETTING", "refused if it were read")

    with server(folder=tmp_path) as running, running.client(timeout=5) as client:
        assert client.check(user="u", channel="in_app").allowed
        address = running.address

    with heed.SyncClient(address) as client, pytest.raises(heed.UnavailableError):
        client.wait_ready(0.1)


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-flag"), server("--no-such-flag"):
        pass


def test_without_heed_server_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("heed.testing.running.find_spec", lambda _name: None)

    with pytest.raises(RuntimeError, match="pip install heed-server"), server():
        pass


def test_the_fixtures_give_every_test_a_tenant_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THEIR_TESTS)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
