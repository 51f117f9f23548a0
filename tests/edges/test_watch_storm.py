"""A thousand subscribers, who come at once and, after their server was killed, come back at once."""

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from heed import Client
from tests.support.logs import assert_equals, logged
from tests.support.served import Served
from tests.support.watched_servers import add_suppressions, channel_to, resident_bytes, write
from tests.support.watching import OpenStream, Subscriber

SUBSCRIBERS = 1_000
CONNECTIONS = 20
RECONNECT_SECONDS_MAX = 60
"""On two cores that other work shares; a few seconds where they are free."""
BYTES_OF_STREAM_MAX = 200 << 10

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Crowd:
    """So many subscribers, on a few connections, all of whose streams are open at one time."""

    def __init__(self) -> None:
        self.members: list[Subscriber] = []
        self.streams: list[OpenStream] = []

    async def come(self, server: Served, opened: AsyncExitStack) -> None:
        """Open every stream at once."""
        channels = [
            await opened.enter_async_context(channel_to(server)) for _ in range(CONNECTIONS)
        ]
        if not self.members:
            self.members = [
                Subscriber(channels[number % CONNECTIONS], f"mailer-{number}")
                for number in range(SUBSCRIBERS)
            ]
        for number, member in enumerate(self.members):
            member.use(channels[number % CONNECTIONS])
        streams = [member.stream() for member in self.members]
        self.streams = await asyncio.gather(*(one.__aenter__() for one in streams))
        for one in streams:
            opened.push_async_exit(one)

    async def reach(self, revision: int) -> None:
        """Read until each knows a revision."""
        await asyncio.gather(*(stream.reach(revision) for stream in self.streams))


async def test_a_thousand_subscribers_come_back_at_once_and_know_what_the_log_says(
    tmp_path: Path,
) -> None:
    """In bounded time and memory, by their tokens: no snapshot, no gap, nothing twice."""
    crowd = Crowd()
    server = Served(tmp_path).start()
    try:
        async with AsyncExitStack() as opened, Client(server.address, timeout=30) as client:
            first = await add_suppressions(client, 0, 1_000)
            await crowd.come(server, opened)
            await crowd.reach(first)
            missed = await write(client, random.Random(4), 20)
            server.signal(signal.SIGKILL)
            server.wait()
        server = Served(tmp_path).start()
        async with AsyncExitStack() as opened, Client(server.address, timeout=30) as client:
            before = resident_bytes(server)
            async with asyncio.timeout(RECONNECT_SECONDS_MAX):
                await crowd.come(server, opened)
                await crowd.reach(missed)
            last = await write(client, random.Random(5), 20)
            await crowd.reach(last)
            grown = resident_bytes(server) - before
        assert server.stop() == 0
    finally:
        server.end()

    log = await logged(f"sqlite:///{tmp_path / 'heed-data' / 'heed.db'}")
    assert last == log.head.revision == 1_040
    for member in crowd.members:
        assert_equals(member, log)
        assert member.reasons == ["NEW"]
        assert member.changes + member.snapshot_revision == last
    assert grown < SUBSCRIBERS * BYTES_OF_STREAM_MAX
