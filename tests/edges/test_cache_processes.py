"""Processes of a host that share a cache: one follows, the others read, and any takes over."""

from collections.abc import Generator
from pathlib import Path
from time import monotonic

import pytest

import heed
from heed.errors import InvalidArgumentError
from heed.records import encode_records
from tests.support.cache_process import TAKE_OVER_SECONDS_MAX, CacheProcess, records_of
from tests.support.caches import BootClock, CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, fake_watch

ADA = "ada@example.com"
BOB = "bob@example.com"


@pytest.fixture
def server() -> Generator[FakeWatch]:
    with fake_watch() as serving:
        yield serving


def opt_out(server: FakeWatch, *addresses: str) -> int:
    with heed.SyncClient(server.address, timeout=5) as writer:
        for address in addresses:
            writer.opt_out(email=address, source="tests")
    return server.publish()


def of_the_log(server: FakeWatch) -> dict[str, str]:
    return {key.hex(): encode_records(records).hex() for key, records in server.standing().items()}


def test_one_process_follows_and_the_other_reads_what_it_keeps(
    server: FakeWatch, tmp_path: Path
) -> None:
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        assert owner.ask("live") is True
        assert reader.ask("live") is False

        revision = opt_out(server, ADA)
        reader.ask("wait", revision=revision)

        assert reader.ask("check", email=ADA) == [False, "cache"]
        assert reader.ask("check", email=BOB) == [True, "cache"]
        assert reader.ask("records") == of_the_log(server)
        assert len(server.obeyed) == 1


@pytest.mark.parametrize("at", ["apply", "told"])
def test_an_owner_killed_in_the_middle_of_an_apply_is_replaced_and_nothing_is_lost(
    server: FakeWatch, tmp_path: Path, at: str
) -> None:
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        opt_out(server, ADA)
        owner.ask("live")
        reader.ask("live")
        owner.ask("freeze", at=at)
        revision = opt_out(server, BOB)
        assert owner.line() == "frozen"
        before = reader.ask("check", email=BOB)
        held = reader.ask("stats")["revision"]

        since = monotonic()
        owner.kill()
        reader.ask("own")
        reader.ask("wait", revision=revision)
        wait_until(lambda: len(server.obeyed) == 2)
        took = monotonic() - since

        assert before == [at == "apply", "cache"], "what is committed is known before it is told"
        assert held < revision
        assert took < TAKE_OVER_SECONDS_MAX
        assert reader.ask("check", email=BOB) == [False, "cache"]
        assert reader.ask("records") == of_the_log(server)
        assert server.obeyed[-1].request.token, "it resumed, and took no snapshot"


def wait_until_one_index_is_left(folder: Path) -> None:
    """The one of the life before is offered back, and then taken away."""
    wait_until(lambda: len(list(folder.glob("gen-*"))) == 1)


def test_an_owner_killed_in_the_middle_of_a_snapshot_leaves_what_was_there(
    server: FakeWatch, tmp_path: Path
) -> None:
    """The half of the snapshot is nobody's, and the next owner takes it away."""
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        opt_out(server, ADA)
        owner.ask("live")
        reader.ask("live")
        owner.ask("freeze", at="snapshot")
        server.epoch = b"restored"
        server.obeyed.pop().end()
        assert owner.line() == "frozen"
        halves = len(list((tmp_path / "c").glob("gen-*")))
        before = reader.ask("check", email=ADA)

        owner.kill()
        reader.ask("own")
        revision = opt_out(server, BOB)
        reader.ask("wait", revision=revision)
        reader.ask("live")

        assert (halves, before) == (2, [False, "cache"])
        wait_until_one_index_is_left(tmp_path / "c")
        assert reader.ask("records") == of_the_log(server)


def test_an_owner_that_closes_is_replaced(server: FakeWatch, tmp_path: Path) -> None:
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        owner.ask("live")
        reader.ask("live")
        since = monotonic()

        owner.ask("close")
        reader.ask("own")
        wait_until(lambda: len(server.obeyed) == 2)

        assert monotonic() - since < TAKE_OVER_SECONDS_MAX
        reader.ask("wait", revision=opt_out(server, ADA))
        assert reader.ask("check", email=ADA) == [False, "cache"]


def test_a_reader_goes_over_to_a_snapshot_that_replaces_what_it_reads(
    server: FakeWatch, tmp_path: Path
) -> None:
    with (
        CacheProcess(server.address, tmp_path / "c") as owner,
        CacheProcess(server.address, tmp_path / "c") as reader,
    ):
        opt_out(server, ADA)
        owner.ask("live")
        reader.ask("live")
        stream = server.obeyed.pop()
        server.epoch = b"restored"
        server.memory.ledger.records.clear()
        revision = opt_out(server, BOB)

        stream.end()
        reader.ask("wait", revision=revision)
        owner.ask("live")
        reader.ask("live")

        assert reader.ask("check", email=ADA) == [True, "cache"]
        assert reader.ask("check", email=BOB) == [False, "cache"]
        wait_until_one_index_is_left(tmp_path / "c")


def test_a_cache_goes_on_after_a_restart_where_it_stood(server: FakeWatch, tmp_path: Path) -> None:
    with CacheProcess(server.address, tmp_path / "c") as first:
        opt_out(server, ADA)
        first.ask("live")
    opt_out(server, BOB)

    with CacheProcess(server.address, tmp_path / "c") as second:
        second.ask("wait", revision=server.memory.revision)

        assert server.obeyed[-1].request.token
        assert second.ask("records") == of_the_log(server)


def test_after_a_restart_nothing_is_older_than_it_is(server: FakeWatch, tmp_path: Path) -> None:
    """The age goes on while no process runs; what is still young enough is served at once."""
    clock = BootClock()
    with CachedSyncClient(server.address, tmp_path / "c", clock=clock) as client:
        opt_out(server, ADA)
        client.wait_live()
    server.is_obedient = False
    clock.ns += 4_000_000_000

    with CachedSyncClient(server.address, tmp_path / "c", clock=clock) as client:
        wait_until(lambda: client.cache.stats().is_owner)
        young = client.check(email=BOB, channel="email")
        clock.ns += 2_000_000_000
        old = client.check(email=BOB, channel="email")
        stopped = client.check(email=ADA, channel="email")

    assert (young.source, young.allowed) == ("cache", True)
    assert (old.source, stopped.source, stopped.allowed) == ("server", "cache", False)


@pytest.mark.parametrize("is_closed", [True, False])
def test_after_another_boot_only_what_was_closed_counts(
    server: FakeWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    if is_closed:
        with CachedSyncClient(server.address, tmp_path / "c") as client:
            opt_out(server, ADA)
            client.wait_live()
    else:
        with CacheProcess(server.address, tmp_path / "c") as process:
            opt_out(server, ADA)
            process.ask("live")
    monkeypatch.setattr("heed.replica.replica.boot_identity", lambda: b"another boot....")

    with CachedSyncClient(server.address, tmp_path / "c") as client:
        client.wait_live()

        assert bool(server.obeyed[-1].request.token) is is_closed
        assert records_of(client.cache._replica) == of_the_log(server)


def test_a_cache_of_another_filter_is_another_cache(server: FakeWatch, tmp_path: Path) -> None:
    with CachedSyncClient(server.address, tmp_path / "c") as client:
        opt_out(server, ADA)
        client.wait_live()

    with CachedSyncClient(server.address, tmp_path / "c", channels=["sms"]) as client:
        wait_until(lambda: client.cache.stats().is_owner)
        stopped = client.check(email=ADA, channel="email")
        client.wait_live()

        assert stopped.source == "server"
        assert server.obeyed[-1].request.token == ""


def test_a_process_whose_filter_is_another_does_not_read_what_is_there(
    server: FakeWatch, tmp_path: Path
) -> None:
    with CacheProcess(server.address, tmp_path / "c") as owner:
        opt_out(server, ADA)
        owner.ask("live")

        with CachedSyncClient(server.address, tmp_path / "c", channels=["sms"]) as client:
            answer = client.check(phone="+43 660 1234567", channel="sms")

            assert (answer.source, answer.state) == ("server", "syncing")


def test_clients_of_a_process_share_the_cache_of_a_folder(
    server: FakeWatch, tmp_path: Path
) -> None:
    with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=5) as one:
        one.wait_live()
        with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=5) as other:
            assert other.cache is one.cache
        assert one.check(email=BOB, channel="email").source == "cache"

    assert len(server.obeyed) == 1


def test_clients_of_a_process_that_ask_for_something_else_are_refused_the_folder(
    server: FakeWatch, tmp_path: Path
) -> None:
    with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=5) as one:
        one.wait_live()
        with (
            heed.SyncClient(server.address, cache=tmp_path / "c", topics=["news"]) as other,
            pytest.raises(InvalidArgumentError),
        ):
            other.check(email=BOB, channel="email")


def test_a_closed_client_answers_nothing_from_its_cache(server: FakeWatch, tmp_path: Path) -> None:
    client = heed.SyncClient(server.address, cache=tmp_path / "c", timeout=5)
    client.wait_live()

    client.close()
    client.close()

    with pytest.raises(RuntimeError):
        client.check(email=BOB, channel="email")
    with pytest.raises(RuntimeError):
        _ = client.cache


def test_everything_in_the_folder_is_the_users_alone(server: FakeWatch, tmp_path: Path) -> None:
    with heed.SyncClient(server.address, cache=tmp_path / "c", timeout=5) as client:
        client.wait_live()

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "c").rglob("*")}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600, 0o700}
    assert all((mode == 0o700) is name.startswith("gen-") for name, mode in modes.items())


async def test_the_asynchronous_client_has_the_same_cache(
    server: FakeWatch, tmp_path: Path
) -> None:
    async with heed.Client(server.address, cache=tmp_path / "c", timeout=5) as client:
        await client.opt_out(email=ADA, source="tests")
        server.publish()
        await client.wait_live()

        stopped = await client.check(email=ADA, channel="email")
        many = await client.check_many([heed.Query(channel="email", email=BOB)])

    assert (stopped.allowed, stopped.source) == (False, "cache")
    assert (many[0].allowed, many[0].source) == (True, "cache")
