"""A stream of changes, read by the contract alone from a real server on SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed_server.watch import WatchLimits
from tests.support import requests as ask
from tests.support.servers import Running, running_server
from tests.support.watching import Subscriber

QUICK = WatchLimits(heartbeat_seconds=0.1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, watch_limits=QUICK) as running:
        yield running


async def opt_out(server: Running, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        asked = ask.set_preference(key=f"key {number}", email=f"user{number}@example.com")
        await server.call("SetPreference", asked)


async def test_a_subscriber_is_sent_what_stands_and_then_every_change(server: Running) -> None:
    await opt_out(server, 3)
    subscriber = Subscriber(server.channel)

    async with subscriber.stream() as stream:
        await stream.reach(3)
        before = subscriber.standing()
        await opt_out(server, 2, first=3)
        await stream.reach(5)

    assert subscriber.reasons == ["NEW"]
    assert (len(before), len(subscriber.standing()), subscriber.changes) == (3, 5, 2)


async def test_a_stream_goes_on_where_the_token_stands(server: Running) -> None:
    subscriber = Subscriber(server.channel)
    async with subscriber.stream() as stream:
        await opt_out(server, 2)
        await stream.reach(2)
    await opt_out(server, 3, first=2)

    async with subscriber.stream() as stream:
        await stream.reach(5)

    assert subscriber.reasons == ["NEW"]
    assert len(subscriber.standing()) == 5


async def test_a_heartbeat_gives_a_probe_back_once_everything_was_told(server: Running) -> None:
    subscriber = Subscriber(server.channel)

    async with subscriber.stream() as stream:
        await stream.reach(0)
        await opt_out(server, 3)
        heartbeat = await stream.heartbeat_of(await subscriber.report())

    assert (heartbeat.through, subscriber.revision) == (3, 3)
    assert 0 <= heartbeat.source_age_ms < 5_000
