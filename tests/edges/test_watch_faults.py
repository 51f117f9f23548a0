"""Streams of real server processes that are killed, stopped, starved and cut off from the database.

After each fault a subscriber that went on by its token knows exactly what one knows who comes new.
"""

import asyncio
import random
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc import aio

from heed import Client, HeedError, OptOut
from tests.support.cutting_proxy import CuttingProxy
from tests.support.postgres import Postgres
from tests.support.served import Served, run_command
from tests.support.watched_servers import (
    HEARTBEATS,
    ORIGIN,
    add_suppressions,
    channel_to,
    resident_bytes,
    write,
)
from tests.support.watching import OpenStream, Subscriber

pytestmark = pytest.mark.slow  # each starts processes


async def assert_knows_all(server: Served, subscriber: Subscriber, revision: int) -> None:
    """It knows what somebody knows who comes new."""
    async with channel_to(server) as channel:
        fresh = Subscriber(channel, "fresh")
        async with fresh.stream() as told:
            await told.reach(revision)
    assert fresh.reasons == ["NEW"]
    assert subscriber.standing() == fresh.standing()
    assert (subscriber.revision, subscriber.running_hash) == (fresh.revision, fresh.running_hash)


async def test_kill_9_between_commit_and_delivery_leaves_no_gap_and_no_duplicate(
    tmp_path: Path,
) -> None:
    """The subscriber reads nothing while changes are acknowledged, and the server dies then."""
    chance = random.Random(1)
    server = Served(tmp_path, variables=HEARTBEATS).start()
    subscriber: Subscriber | None = None
    revision = 0
    try:
        for _ in range(4):
            async with channel_to(server) as channel, Client(server.address, timeout=10) as client:
                if subscriber is None:
                    subscriber = Subscriber(channel)
                subscriber.use(channel)
                async with subscriber.stream() as told:
                    await told.reach(await write(client, chance, 5))
                    revision = await write(client, chance, 25)
                    server.signal(signal.SIGKILL)
                    with suppress(aio.AioRpcError):
                        await told.read_to_end()
            server.wait()
            server = Served(tmp_path, variables=HEARTBEATS).start()
        assert subscriber is not None
        async with channel_to(server) as channel:
            subscriber.use(channel)
            async with subscriber.stream() as told:
                await told.reach(revision)

        assert subscriber.reasons == ["NEW"]
        assert subscriber.changes + subscriber.snapshot_revision == revision
        await assert_knows_all(server, subscriber, revision)
    finally:
        server.end()


async def test_a_reader_who_takes_one_message_now_and_then_costs_little_and_misses_nothing(
    tmp_path: Path,
) -> None:
    narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
    with Served(tmp_path, variables=HEARTBEATS) as server:
        async with (
            channel_to(server, *narrow) as channel,
            channel_to(server) as other,
            Client(server.address, timeout=30) as client,
        ):
            slow, quick = Subscriber(channel, "slow"), Subscriber(other, "quick")
            async with slow.stream() as dawdling, quick.stream() as told:
                await dawdling.reach(0)
                revision = await add_suppressions(client, 0, 1_000)
                await told.reach(revision)
                before = resident_bytes(server)
                for chunk in range(1, 21):
                    revision = await add_suppressions(client, 1_000 * chunk, 1_000)
                    await told.reach(revision)
                    await dawdling.read()
                grown = resident_bytes(server) - before
                stood_at = slow.revision
                await dawdling.reach(revision)

        assert revision == 21_000
        assert stood_at < revision
        assert slow.changes == quick.changes == revision
        assert slow.standing() == quick.standing()
        await assert_knows_all(server, slow, revision)
    assert grown < 48 << 20


async def test_a_server_that_stops_sends_its_readers_elsewhere(tmp_path: Path) -> None:
    """Each is told to go within the grace time, and its stream ends well."""
    flags = ("--drain-grace-seconds", "4")
    with Served(tmp_path, *flags, variables=HEARTBEATS) as server:
        async with channel_to(server) as channel, Client(server.address, timeout=10) as client:
            subscribers = [Subscriber(channel, f"mailer-{number}") for number in range(10)]
            revision = await write(client, random.Random(2), 5)

            async def follow(subscriber: Subscriber) -> grpc.StatusCode:
                async with subscriber.stream() as told:
                    await told.reach(revision)
                    reached.release()
                    await told.read_to_end()
                    return await told.call.code()

            reached = asyncio.Semaphore(0)
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(follow(one)) for one in subscribers]
                for _ in subscribers:
                    await reached.acquire()
                server.signal(signal.SIGTERM)
        code = server.wait()

    assert code == 0
    assert [one.result() for one in following] == [grpc.StatusCode.OK] * 10
    assert all(one.draining is not None for one in subscribers)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database("watch") as url:
        yield url


@pytest.mark.postgres
async def test_a_stream_outlives_the_loss_of_postgresql(url: str, tmp_path: Path) -> None:
    """While the database is away the stream goes on and says how old its knowledge is."""
    async with CuttingProxy(url) as proxy:
        variables = {**HEARTBEATS, "HEED_STORAGE_URL": proxy.url}
        migrated = await asyncio.to_thread(
            run_command, "migrate", cwd=tmp_path, variables=variables
        )
        assert migrated.returncode == 0
        server = Served(tmp_path, variables=variables)
        await asyncio.to_thread(server.start)
        try:
            async with channel_to(server) as channel, Client(server.address, timeout=10) as client:
                subscriber = Subscriber(channel)
                async with subscriber.stream() as told:
                    await told.reach(await write(client, random.Random(3), 20))
                    proxy.down()
                    await aged(told, subscriber, lambda age_ms: age_ms >= 1_000)
                    await proxy.up()
                    revision = await written_again(client)
                    await told.reach(revision)
                    await aged(told, subscriber, lambda age_ms: age_ms < 1_000)

            assert subscriber.reasons == ["NEW"]
            await assert_knows_all(server, subscriber, revision)
        finally:
            await asyncio.to_thread(server.end)


async def aged(told: OpenStream, subscriber: Subscriber, is_so: Callable[[int], bool]) -> None:
    """Probe until the age that comes back is so."""
    async with asyncio.timeout(60):
        while True:
            heartbeat = await told.heartbeat_of(await subscriber.report())
            if is_so(heartbeat.source_age_ms):
                return


async def written_again(client: Client) -> int:
    """Write until it is acknowledged; return the revision."""
    key = str(uuid.uuid4())
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await client.set_preference(
                    user="u-1", choices=[OptOut()], origin=ORIGIN, idempotency_key=key
                )
            except HeedError:
                continue
            return answer.revision


@pytest.mark.postgres
async def test_a_reader_goes_on_at_another_node_by_its_token(url: str, tmp_path: Path) -> None:
    variables = {**HEARTBEATS, "HEED_STORAGE_URL": url}
    assert run_command("migrate", cwd=tmp_path, variables=variables).returncode == 0
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with (
        Served(folders[0], variables=variables) as first,
        Served(folders[1], variables=variables) as second,
    ):
        async with (
            channel_to(first) as at_first,
            channel_to(second) as at_second,
            Client(first.address, timeout=10) as client,
        ):
            subscriber = Subscriber(at_first)
            revision = 0
            for channel in (at_first, at_second, at_first, at_second):
                subscriber.use(channel)
                async with subscriber.stream() as told:
                    revision = await write(client, random.Random(revision), 15)
                    await told.reach(revision)

        assert subscriber.reasons == ["NEW"]
        await assert_knows_all(second, subscriber, revision)
