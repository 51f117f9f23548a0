"""A process of followers, as services that send messages run them: caches, or bare streams.

It reads a `WatchersSpec` as JSON from standard input and answers with one line of JSON for each
thing that it was asked for; `follow` goes on until its standard input is closed.
"""

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import redis
import redis.asyncio
from grpc import aio

import heed
from heed_proto.v1 import watch_service_pb2 as watch
from tests.bench import etcd, messages
from tests.bench.figures import quantile

LIVE_SECONDS_MAX = 300.0
ASKED = 50_000
ASKED_AT_ONCE = 500
TURNS = 8
TURN_SECONDS = 0.4
WRITES = 300
HOLDS = 200
POLL_SECONDS = 0.0002
"""How often it is looked whether the last cache has a write, which the figure includes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchersSpec:
    """What to do."""

    mode: str
    """`snapshot`, `checks`, `propagation`, `holds`, `follow`, or `etcd` (propagation, of one)."""
    port: int
    folder: str
    core: int
    count: int = 1
    """Followers."""
    people: int = 10_000
    """So many have a record; a check is about one of them, or of four times as many others."""
    redis_port: int = 0
    """Where a redis listens; 0: there is none."""


def main() -> None:
    """Do what standard input asks."""
    spec = WatchersSpec(**json.loads(sys.stdin.readline()))
    os.sched_setaffinity(0, {spec.core})
    modes: dict[str, Callable[[WatchersSpec], object]] = {
        "snapshot": snapshot,
        "checks": checks,
        "propagation": propagation,
        "holds": holds,
        "etcd": lambda one: etcd.propagation(one.port, one.count, WRITES, POLL_SECONDS),
        "follow": follow,
    }
    print(json.dumps(modes[spec.mode](spec)), flush=True)


def snapshot(spec: WatchersSpec) -> dict[str, float]:
    """Fill a cache from nothing."""
    with tempfile.TemporaryDirectory(dir=spec.folder) as folder:
        begun = time.perf_counter()
        with _cached(spec, folder) as client:
            client.wait_live(LIVE_SECONDS_MAX)
            seconds = time.perf_counter() - begun
        files = Path(folder).rglob("data.mdb")
        return {"seconds": seconds, "bytes": sum(file.stat().st_size for file in files)}


def checks(spec: WatchersSpec) -> dict[str, float]:
    """Ask a cache, and a redis if there is one, about the same people one after another.

    They take turns of a fraction of a second, so that what else the machine does falls on all.
    """
    emails = [messages.email(number % (5 * spec.people)) for number in range(0, ASKED * 7, 7)]
    with tempfile.TemporaryDirectory(dir=spec.folder) as folder, ExitStack() as opened:
        cached = opened.enter_context(_cached(spec, folder))
        cached.wait_live(LIVE_SECONDS_MAX)
        first = cached.check(email=emails[0], channel="email", topic=messages.TOPIC)
        if first.source is not heed.AnswerSource.CACHE:
            raise SystemExit(f"a cached check was answered by {first.source}")
        turns = [Turn("cached", itertools.cycle(emails)), Turn("redis", itertools.cycle(emails))]
        with redis.Redis(host="127.0.0.1", port=spec.redis_port) as stored:
            for _ in range(TURNS):
                turns[0].take(lambda some: _ask(cached, some))
                if spec.redis_port:
                    turns[1].take(lambda some: _get(stored, some))
        asked = asyncio.run(_checks_asyncio(spec, folder, emails))
    return {name: value for turn in (*turns, *asked) for name, value in turn.told().items()}


async def _checks_asyncio(spec: WatchersSpec, folder: str, emails: list[str]) -> "list[Turn]":
    turns = [
        Turn("cached_asyncio", itertools.cycle(emails)),
        Turn("redis_asyncio", itertools.cycle(emails)),
    ]
    async with (
        heed.Client(f"127.0.0.1:{spec.port}", cache=folder) as cached,
        redis.asyncio.Redis(host="127.0.0.1", port=spec.redis_port) as stored,
    ):
        await cached.wait_live(LIVE_SECONDS_MAX)
        for _ in range(TURNS):
            with turns[0].taken():
                while turns[0].goes_on():
                    for email in turns[0].some():
                        await cached.check(email=email, channel="email", topic=messages.TOPIC)
            if spec.redis_port:
                with turns[1].taken():
                    while turns[1].goes_on():
                        for email in turns[1].some():
                            await stored.get(email)
    return turns


class Turn:
    """What one of several who take turns did."""

    def __init__(self, name: str, emails: Iterator[str]) -> None:
        self._name = name
        self._emails = emails
        self._end = 0.0
        self._done = 0
        self._seconds = 0.0
        self._cpu_seconds = 0.0

    def told(self) -> dict[str, float]:
        """Return what it did a second, and a second of this process's processor time."""
        return {
            f"{self._name}_per_second": self._done / self._seconds if self._done else 0.0,
            f"{self._name}_per_cpu_second": self._done / self._cpu_seconds if self._done else 0.0,
        }

    def take(self, do: Callable[[list[str]], None]) -> None:
        """Do it until the turn is over."""
        with self.taken():
            while self.goes_on():
                do(self.some())

    @contextmanager
    def taken(self) -> Generator[None]:
        """Count the time of a turn, all threads' together."""
        cpu, begun = time.process_time(), time.perf_counter()
        self._end = begun + TURN_SECONDS
        yield
        self._seconds += time.perf_counter() - begun
        self._cpu_seconds += time.process_time() - cpu

    def goes_on(self) -> bool:
        """Whether the turn is not over."""
        return time.perf_counter() < self._end

    def some(self) -> list[str]:
        """Whom to ask about next."""
        self._done += ASKED_AT_ONCE
        return list(itertools.islice(self._emails, ASKED_AT_ONCE))


def _ask(client: heed.SyncClient, emails: list[str]) -> None:
    for email in emails:
        client.check(email=email, channel="email", topic=messages.TOPIC)


def _get(client: redis.Redis, emails: list[str]) -> None:
    for email in emails:
        client.get(email)


def propagation(spec: WatchersSpec) -> dict[str, float]:
    """Write once at a time, and wait until the last of so many caches has it."""
    with ExitStack() as opened:
        clients = _live(spec, opened)
        writer = opened.enter_context(heed.SyncClient(f"127.0.0.1:{spec.port}"))
        taken = []
        for number in range(WRITES):
            begun = time.perf_counter()
            email = messages.email(10_000_000 + spec.count * WRITES + number)
            answer = writer.opt_out(email=email, source="bench", timeout=10.0)
            while not all(client.cache.has(answer.revision) for client in clients):
                time.sleep(POLL_SECONDS)
            taken.append((time.perf_counter() - begun) * 1000)
        return {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)}


def holds(spec: WatchersSpec) -> dict[str, float]:
    """Place one hold at a time, and ask each of so many caches until the last one stops."""
    with ExitStack() as opened:
        clients = _live(spec, opened)
        operator = opened.enter_context(heed.SyncClient(f"127.0.0.1:{spec.port}"))
        taken = []
        for number in range(HOLDS):
            topic = f"{messages.TOPIC}.h{number}"
            if not all(_allows(client, topic) for client in clients):
                raise SystemExit("a cache stops what no hold is placed on")
            begun = time.perf_counter()
            operator.place_hold(
                reason="bench", origin=heed.Origin(source="bench"), topic=topic, timeout=10.0
            )
            while any(_allows(client, topic) for client in clients):
                time.sleep(POLL_SECONDS)
            taken.append((time.perf_counter() - begun) * 1000)
        return {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)}


def _allows(client: heed.SyncClient, topic: str) -> bool:
    email = messages.email(20_000_000)
    answer = client.check(email=email, channel="email", topic=topic, timeout=10.0)
    if answer.source is not heed.AnswerSource.CACHE:
        raise SystemExit(f"a cached check was answered by {answer.source}")
    return answer.allowed


def _live(spec: WatchersSpec, opened: ExitStack) -> list[heed.SyncClient]:
    clients = []
    for _ in range(spec.count):
        folder = opened.enter_context(tempfile.TemporaryDirectory(dir=spec.folder))
        clients.append(opened.enter_context(_cached(spec, folder)))
    for client in clients:
        client.wait_live(LIVE_SECONDS_MAX)
    return clients


def follow(spec: WatchersSpec) -> dict[str, int]:
    """Read so many bare streams until standard input is closed; say when all have what stands."""
    return {"changes": asyncio.run(_follow(spec))}


async def _follow(spec: WatchersSpec) -> int:
    seen = 0

    async def read(channel: aio.Channel, number: int, opened: asyncio.Barrier) -> None:
        nonlocal seen
        asked = watch.WatchChangesRequest(subscriber=f"watcher-{number}").SerializeToString()
        method: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            "/heed.v1.WatchService/WatchChanges"
        )
        is_whole = False
        try:
            async for message in method(asked):
                seen += 1
                if not is_whole and _ends_snapshot(message):
                    is_whole = True
                    await opened.wait()
        except (grpc.RpcError, asyncio.CancelledError):
            return

    async with aio.insecure_channel(f"127.0.0.1:{spec.port}") as channel:
        opened = asyncio.Barrier(spec.count + 1)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(channel, one, opened)) for one in range(spec.count)]
            await opened.wait()
            print(json.dumps({"opened": spec.count}), flush=True)
            await asyncio.to_thread(sys.stdin.read)
            for task in tasks:
                task.cancel()
    return seen


def _ends_snapshot(message: bytes) -> bool:
    return watch.WatchChangesResponse.FromString(message).HasField("snapshot_end")


def _cached(spec: WatchersSpec, folder: str) -> heed.SyncClient:
    return heed.SyncClient(f"127.0.0.1:{spec.port}", cache=folder)


if __name__ == "__main__":
    main()
