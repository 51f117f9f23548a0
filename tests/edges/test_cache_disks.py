"""A cache whose folder or disk does what it should not."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from heed.index.shared import SharedIndex
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, fake_watch
from tests.support.followed_cache import ADA, BOB, UNREACHABLE, live, source_of


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


@pytest.fixture
def client(server: FakeWatch, tmp_path: Path) -> Generator[CachedSyncClient]:
    with CachedSyncClient(server.address, tmp_path / "cache") as cached:
        yield cached


def test_a_folder_that_cannot_be_made_leaves_every_check_to_the_server(
    server: FakeWatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with CachedSyncClient(server.address, tmp_path / "file" / "cache") as client:
        by_server = source_of(client, BOB)
        wait_until(lambda: bool(client.cache.stats().last_error))
        server.failure = UNREACHABLE
        by_policy = source_of(client, BOB)

    assert by_server == (True, "server")
    assert by_policy == (False, "policy")


def test_a_disk_that_is_full_for_the_snapshot_leaves_every_check_to_the_server(
    server: FakeWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SharedIndex.create
    monkeypatch.setattr(SharedIndex, "create", lambda path: real(path, map_bytes=16_384))

    with CachedSyncClient(server.address, tmp_path / "cache") as client:
        for at in range(500):
            client.opt_out(email=f"{at}@example.com", source="tests")
        client.check(email=BOB, channel="email")
        wait_until(lambda: client.cache.stats().resyncs.get("damaged", 0) > 0)

        assert source_of(client, BOB) == (True, "server")
        server.failure = UNREACHABLE
        assert source_of(client, BOB) == (False, "policy")


def test_a_disk_that_is_full_for_a_change_lets_the_cache_age_and_never_skips_it(
    server: FakeWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map's end stands for the disk's: LMDB fails alike, and the transaction is rolled back."""
    real = SharedIndex.create
    monkeypatch.setattr(SharedIndex, "create", lambda path: real(path, map_bytes=65_536))
    with CachedSyncClient(server.address, tmp_path / "cache") as client:
        client.check(email=BOB, channel="email")
        client.wait_live()
        stood = server.memory.revision
        for at in range(2_000):
            client.opt_out(email=f"{at}@example.com", source="tests")
        client.opt_out(email=BOB, source="tests")

        server.publish()
        wait_until(lambda: client.cache.stats().resyncs.get("damaged", 0) > 0)
        client.clock.advance(timedelta(seconds=6))

        assert client.cache.stats().revision == stood
        assert source_of(client, BOB) == (False, "server")


def test_a_damaged_record_is_never_no_record_and_the_index_is_made_anew(
    server: FakeWatch, client: CachedSyncClient
) -> None:
    live(server, client)
    damaged = client.cache._replica._held
    assert damaged is not None
    ((key, encoded),) = list(damaged[1].records_by_key())
    with damaged[1]._env.begin(write=True) as transaction:
        transaction.put(b"r" + key, encoded[:-1] + b"\xff")
    server.failure = UNREACHABLE

    answer = source_of(client, ADA)
    again = server.stream()

    assert answer == (False, "policy")
    assert again.request.token == ""
    again.opened()
    again.snapshot()
    again.heartbeat()
    wait_until(lambda: source_of(client, ADA) == (False, "cache"))
