"""The outbox under kill -9, of the server and of NATS, and with two nodes on one PostgreSQL.

After each fault the stream holds every change once, in order, and a consumer that reads it knows
what the log says; it checks so with every message that it takes (`tests.support.outbox_reader`).
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from heed import Client, OptOut, Origin
from tests.support.nats_server import NatsServer
from tests.support.outbox_reader import Mirror, assert_knows_all, last_sequence, read_to, until
from tests.support.postgres import Postgres
from tests.support.served import Served, run_command

ORIGIN = Origin(source="tests")
LEASE_SECONDS = 1.5

pytestmark = pytest.mark.slow


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database("outbox") as url:
        yield url


def settings(nats: NatsServer, **more: str) -> dict[str, str]:
    return {
        "HEED_OUTBOX_NATS_URL": nats.url,
        "HEED_OUTBOX_RETRY_SECONDS_MAX": "0.1",
        "HEED_OUTBOX_ACK_SECONDS_MAX": "1",
        "HEED_OUTBOX_BATCH_CHANGES_MAX": "7",
        "HEED_OUTBOX_LEASE_SECONDS": str(LEASE_SECONDS),
        **more,
    }


async def write_together(client: Client, count: int) -> int:
    """Write so many changes at once; return the last revision."""
    answers = await asyncio.gather(
        *(
            client.set_preference(
                user=f"u-{number % 30}", choices=[OptOut(topic=f"t{number % 3}")], origin=ORIGIN
            )
            for number in range(count)
        )
    )
    return max(answer.revision for answer in answers)


async def test_kill_9_of_the_server_in_the_middle_of_publishing(
    nats: NatsServer, tmp_path: Path
) -> None:
    mirror, revision, unpublished = Mirror(), 0, 0
    for _ in range(4):
        with Served(tmp_path, variables=settings(nats)) as server:
            async with Client(server.address, timeout=10) as client:
                await write_together(client, 60)
                nats.freeze()  # what is under way arrives when its sender is dead
                revision = await write_together(client, 60)
                server.signal(signal.SIGKILL)
            server.wait()
            nats.thaw()
        unpublished += 1 + revision - await last_sequence(nats.url)
    with Served(tmp_path, variables=settings(nats)) as server:
        await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)

    assert revision == 480
    assert unpublished > 0, "no kill met changes that were not published"
    assert mirror.begins == 1
    assert await last_sequence(nats.url) == 481


async def test_kill_9_of_nats_in_the_middle_of_publishing(nats: NatsServer, tmp_path: Path) -> None:
    mirror, revision = Mirror(), 0
    with Served(tmp_path, variables=settings(nats)) as server:
        async with Client(server.address, timeout=10) as client:
            await read_to(mirror, nats.url, 0)
            for _ in range(4):
                stood_at = await last_sequence(nats.url)
                async with asyncio.TaskGroup() as group:
                    writing = group.create_task(write_together(client, 120))
                    while await last_sequence(nats.url) <= stood_at:
                        pass
                    nats.kill()
                revision = writing.result()
                await asyncio.to_thread(nats.start)
                await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)

    assert revision == 480
    assert mirror.begins == 1
    assert await last_sequence(nats.url) == 481


@pytest.mark.postgres
async def test_a_node_that_was_stopped_in_the_middle_adds_nothing_when_it_goes_on(
    nats: NatsServer, url: str, tmp_path: Path
) -> None:
    """Another took its lease meanwhile, and published; what the first still sends does not fit."""
    variables = settings(nats, HEED_STORAGE_URL=url)
    assert run_command("migrate", cwd=tmp_path, variables=variables).returncode == 0
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    mirror = Mirror()
    with Served(folders[0], variables=variables) as first:
        first.wait_for("outbox_publishing")
        with Served(folders[1], variables=variables) as second:
            async with Client(second.address, timeout=20) as client:
                await read_to(mirror, nats.url, await write_together(client, 50))
                assert not _is_publishing(second)
                # Stopped while it publishes what the other node writes.
                writing = asyncio.create_task(write_together(client, 300))
                await until(lambda: _lines(first, "outbox_publishing") > 0)
                first.signal(signal.SIGSTOP)
                await writing
                await asyncio.to_thread(second.wait_for, "outbox_publishing")
                await read_to(mirror, nats.url, 350)
                first.signal(signal.SIGCONT)
                await read_to(mirror, nats.url, await write_together(client, 50))
                await asyncio.to_thread(first.wait_for, *_STANDS_BY)
            await assert_knows_all(mirror, second)
            second.signal(signal.SIGKILL)
            second.wait()
        async with Client(first.address, timeout=20) as client:
            await read_to(mirror, nats.url, await write_together(client, 50))
        await assert_knows_all(mirror, first)

    assert mirror.revision == 450
    assert mirror.begins == 1
    assert await last_sequence(nats.url) == 451


_STANDS_BY = ("outbox_standing_by", "outbox_overtaken", "outbox_away")


def _is_publishing(server: Served) -> bool:
    return _lines(server, "outbox_publishing") > 0


def _lines(server: Served, event: str) -> int:
    return sum(f'"event": "{event}"' in line for line in tuple(server.lines))
