"""Server processes whose streams are read: their settings, connections, writes and memory."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from grpc import aio

from heed import Client, OptOut, Origin, Suppression, user
from tests.support.served import Served
from tests.support.servers import new_channel

ORIGIN = Origin(source="tests")
HEARTBEATS = {"HEED_WATCH_HEARTBEAT_SECONDS": "0.1"}
PEOPLE = 40
"""Few enough that records are replaced."""


@asynccontextmanager
async def channel_to(server: Served, *options: tuple[str, int]) -> AsyncGenerator[aio.Channel]:
    """A connection of its own."""
    if not options:
        async with new_channel(server.address) as channel:
            yield channel
        return
    async with aio.insecure_channel(
        server.address, [("grpc.use_local_subchannel_pool", 1), *options]
    ) as channel:
        yield channel


async def write(client: Client, chance: random.Random, count: int) -> int:
    """Write so many changes, some of them at the same places; return the last revision."""
    revision = 0
    for _ in range(count):
        person = f"u-{chance.randrange(PEOPLE)}"
        topic = chance.choice(["", "news", "news.weekly"])
        answer = await client.set_preference(
            user=person, choices=[OptOut(topic=topic)], origin=ORIGIN
        )
        revision = answer.revision
    return revision


async def add_suppressions(client: Client, first: int, count: int) -> int:
    """Suppress so many people in one call; return the last revision."""
    answer = await client.add_suppressions(
        [
            Suppression(subject=user(f"s-{number}"), cause="bounce")
            for number in range(first, first + count)
        ],
        origin=ORIGIN,
    )
    return answer.revision


def resident_bytes(server: Served) -> int:
    """The memory of the process."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not say")
