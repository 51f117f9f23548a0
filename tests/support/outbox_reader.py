"""A consumer of the outbox as somebody would write one who has nats-py and the contract.

It keeps what it was told in plain dictionaries, and checks every promise of docs/outbox.md.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.served import Served
from tests.support.servers import new_channel
from tests.support.told_changes import ToldChanges
from tests.support.watching import Subscriber

WAIT_SECONDS_MAX = 60.0


class Mirror(ToldChanges):
    """What one consumer knows of a tenant; it outlives its connections."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = ""
        self.began = 0
        self.revision = -1
        self.running_hash = ""
        self.head_revision = 0
        self.begins = 0
        """How often everything began anew."""
        self.sequence = 0
        self.ids: set[str] = set()
        self.subjects: list[str] = []
        self.headers: set[str] = set()

    def take(self, subject: str, headers: Mapping[str, str], body: bytes, sequence: int) -> None:
        """Apply one message, checking what it promises."""
        revision, began = int(headers["ce-revision"]), int(headers["ce-began"])
        assert headers["ce-specversion"] == "1.0"
        assert headers["ce-id"] not in self.ids, "told twice"
        assert sequence == self.sequence + 1 or not self.sequence, "a sequence is missing"
        assert sequence == began + revision
        self.ids.add(headers["ce-id"])
        self.subjects.append(subject)
        self.headers |= set(headers)
        self.sequence = sequence
        if headers["ce-type"] == "dev.heed.v1.Begin":
            assert revision == 0
            self.records, self.topics, self.holds = {}, {}, {}
            self.epoch, self.began = headers["ce-epoch"], began
            self.head_revision = int(headers["ce-headrevision"])
            self.begins += 1
        else:
            assert headers["ce-type"] == "dev.heed.v1.Change"
            assert (headers["ce-epoch"], began) == (self.epoch, self.began)
            assert revision == self.revision + 1, "there is a gap"
            if body:
                message = pb.Change.FromString(body)
                assert message.revision == revision
                assert headers["ce-datacontenttype"] == "application/protobuf"
                assert headers.get("ce-subject", "") == message.subject_key.hex()
                self.apply(message)
        self.revision, self.running_hash = revision, headers["ce-runninghash"]


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[tuple[Client, JetStreamContext]]:
    """A connection of the test's own."""
    client = await nats.connect(url)
    try:
        yield client, client.jetstream()
    finally:
        await client.close()


async def read_to(mirror: Mirror, url: str, revision: int, stream: str = "HEED_default") -> None:
    """Read the stream after what is known, until a revision is reached; not beyond what there is."""
    async with connected(url) as (_, context):
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await _made(context, stream)
                await _read_to(mirror, context, revision, stream)
        except TimeoutError:
            stands = (await context.stream_info(stream)).state.last_seq
            raise AssertionError(
                f"revision {revision} was not read: known are {mirror.revision}, by sequence "
                f"{mirror.sequence} of {stands} in the stream"
            ) from None


async def _read_to(mirror: Mirror, context: JetStreamContext, revision: int, stream: str) -> None:
    subscription = await context.pull_subscribe(
        "",
        stream=stream,
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=mirror.sequence + 1,
            # NATS drops one that nobody asks for 5 s, as on a busy machine, and says nothing.
            inactive_threshold=WAIT_SECONDS_MAX,
        ),
    )
    while mirror.revision < revision:
        try:
            messages = await subscription.fetch(500, timeout=0.5)
        except TimeoutError:  # nats-py raises its own, or Python's
            continue
        for message in messages:
            sequence = message.metadata.sequence.stream
            mirror.take(message.subject, message.headers or {}, message.data, sequence)
            await message.ack()


async def last_sequence(url: str, stream: str = "HEED_default") -> int:
    """The sequence of the last message."""
    async with connected(url) as (_, context):
        return (await context.stream_info(stream)).state.last_seq


async def _made(context: JetStreamContext, stream: str) -> None:
    """Wait until a stream is there; nothing tells of it."""
    while True:
        try:
            await context.stream_info(stream)
        except NotFoundError:
            await asyncio.sleep(0.02)
        else:
            return


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not is_so():  # noqa: ASYNC110 - it is a plain value that somebody sets
            await asyncio.sleep(0.005)


async def assert_knows_all(mirror: Mirror, server: Served, tenant: str = "") -> None:
    """It knows what somebody is told who asks the server for all of it."""
    async with new_channel(server.address) as channel:
        fresh = Subscriber(channel, "fresh", tenant=tenant)
        async with fresh.stream() as told:
            await told.reach(mirror.revision)
    assert mirror.revision == fresh.revision
    assert mirror.running_hash == fresh.running_hash.hex()
    assert mirror.standing() == fresh.standing()
    assert mirror.topics == fresh.topics
    assert mirror.holds == {name: replace(hold, reason="") for name, hold in fresh.holds.items()}
