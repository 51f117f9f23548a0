"""Streams of a log in memory, without gRPC: what is sent is taken at once, or held up by the test."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from heed.model import RULE_VERSION, Channel, Instant, Revision
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.follow import Follower
from heed_server.propagation import Registry
from heed_server.store import SubscriberStore
from heed_server.watch import EVERYTHING, Reader, Stream, Watches, WatchFilter, WatchLimits, stream
from heed_server.watch.hub import token_of
from heed_server.watch.verifiable import Proofs
from tests.support.followers import Clock, running
from tests.support.memory_log import MemoryLog
from tests.support.watching import WAIT_SECONDS_MAX, Knowledge

NOW = Instant(1_800_000_000_000_000)
QUICK = WatchLimits(heartbeat_seconds=0.05)


class Hearer(Knowledge):
    """Takes what a stream sends; `hold` makes it a reader that takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.stream: Stream | None = None
        self.ended: asyncio.Future[None] | None = None
        self._goes_on = asyncio.Event()
        self._goes_on.set()
        self.is_held_up = asyncio.Event()
        """Set while a message waits to be taken."""
        self._moved = asyncio.Condition()

    def hold(self) -> None:
        """Take nothing from now on; the message under way is the last."""
        self._goes_on.clear()

    def go_on(self) -> None:
        """Take everything again."""
        self._goes_on.set()

    async def send(self, message: bytes) -> None:
        """Take a message, as gRPC would."""
        if not self._goes_on.is_set():
            self.is_held_up.set()
            await self._goes_on.wait()
            self.is_held_up.clear()
        self.messages.append(message)
        self.take(pb.WatchChangesResponse.FromString(message))
        async with self._moved:
            self._moved.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is true of what was heard."""
        async with asyncio.timeout(WAIT_SECONDS_MAX), self._moved:
            await self._moved.wait_for(is_so)

    async def reach(self, revision: int) -> None:
        """Wait until everything up to a revision was heard."""
        await self.until(lambda: self.is_whole and self.revision >= revision)

    async def heartbeat_of(self, probe: int) -> pb.Heartbeat:
        """Wait until a heartbeat gives a probe back."""
        await self.until(lambda: bool(self.heartbeats) and self.heartbeats[-1].probe >= probe)
        return self.heartbeats[-1]

    def report(self, *, source_age_seconds: float = 0.0, applied: int | None = None) -> int:
        """Send the next probe."""
        assert self.stream is not None
        self.probe += 1
        at = Revision(self.revision if applied is None else applied)
        self.stream.report(self.probe, at, source_age_seconds)
        return self.probe


class Station:
    """One node's streams over one log, which the test writes."""

    def __init__(self, log: MemoryLog, follower: Follower, watches: Watches, clock: Clock) -> None:
        self.log = log
        self.follower = follower
        self.watches = watches
        self.clock = clock

    def commit(self, count: int) -> None:
        """Tell the follower of the last changes, as the writer does."""
        self.follower.offer(self.log.committed(count))

    def opt_outs(self, count: int) -> None:
        """Write so many changes, and tell."""
        self.log.opt_outs(count)
        self.commit(count)

    async def open(
        self,
        hearer: Hearer,
        *,
        channels: frozenset[Channel] = frozenset(),
        topics: tuple[str, ...] = (),
        principal: str = "open",
        may_watch: Callable[[], None] = lambda: None,
        rule_version: int = RULE_VERSION,
    ) -> Stream:
        """Return a stream that begins where the hearer stands; it does not run yet."""
        wanted = WatchFilter(channels=channels, topics=topics, rule_version=rule_version)
        return await self.watches.open(
            self.follower,
            Reader(
                principal=principal,
                subscriber="mailer",
                instance="",
                filter=EVERYTHING if wanted.leaves_nothing_out else wanted,
                max_staleness_seconds=5,
                is_verifiable=False,
                require_may_watch=may_watch,
            ),
            hearer.token,
            now=lambda: NOW,
            wait_seconds=0.05,
        )

    @asynccontextmanager
    async def streaming(self, hearer: Hearer, **asked: object) -> AsyncGenerator[Stream]:
        """Run a stream within the block."""
        stream = await self.open(hearer, **asked)  # type: ignore[arg-type]  # those of `open`
        hearer.stream = stream
        task = asyncio.create_task(stream.run(hearer.send))
        hearer.ended = task
        try:
            yield stream
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.watches.close(stream)


@asynccontextmanager
async def station(
    log: MemoryLog, folder: Path, *, limits: WatchLimits = QUICK
) -> AsyncGenerator[Station]:
    """A follower of a log that runs, and the streams of its node."""
    clock = Clock()
    async with (
        running(log, folder, clock=clock) as follower,
        Watches(
            log,
            folder,
            unread_registry(),
            cast("Proofs", None),  # no stream here verifies
            limits=limits,
            chance=random.Random(1),
        ) as watches,
    ):
        yield Station(log, follower, watches, clock)


def unread_registry() -> Registry:
    """What readers said to have applied, which nobody asks for and no database keeps."""
    return Registry(
        cast("SubscriberStore", None),
        node="node",
        run="run",
        standing=tuple,
        now=lambda: NOW,
        boot_seconds=lambda: 0.0,
        max_staleness_seconds=60.0,
    )


def assert_same(hearer: Knowledge, log: MemoryLog) -> None:
    """Somebody knows what the log says, all of it and nothing else."""
    assert hearer.standing() == {key: frozenset(some) for key, some in log.standing().items()}
    assert hearer.topics == log.topics()
    assert tuple(sorted(hearer.holds.values(), key=lambda one: one.revision)) == log.holds()
    assert (hearer.revision, hearer.running_hash) == (
        log.current_head.revision,
        log.current_head.running_hash,
    )


def token_at(node: Station, revision: int) -> str:
    """The token that a reader has who applied the log up to a revision."""
    return token_of(node.follower.tenant.tenant_id, node.log.head_at(revision))


def standing_at(node: Station, revision: int) -> Hearer:
    """A reader who applied the log up to a revision, in an earlier stream."""
    hearer = Hearer()
    hearer.token, hearer.revision, hearer.is_whole = token_at(node, revision), revision, True
    return hearer


async def probed_while_held_up(
    log: MemoryLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> pb.Heartbeat:
    """The heartbeat that gives a probe back which came while three batches were not taken."""
    monkeypatch.setattr(stream, "PROBE_SECONDS_MIN", 0.0)
    held, quick = Hearer(), Hearer()
    limits = replace(QUICK, heartbeat_seconds=60)
    async with (
        station(log, folder, limits=limits) as node,
        node.streaming(held),
        node.streaming(quick),
    ):
        await held.reach(log.current_head.revision)
        held.hold()
        for _ in range(3):
            node.opt_outs(200)
            await quick.reach(node.follower.revision)
        probe = held.report()
        held.go_on()
        return await held.heartbeat_of(probe)
