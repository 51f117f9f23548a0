"""PostgreSQL away, restarted, killed and silent under streams and checks.

Wrongly allowed is the worst that may happen, so what is allowed is looked at all the while; and in
the end whoever followed knows what the log says, record by record.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

import heed
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as types
from heed_server.service import MaxStaleness
from heed_server.storage import migrate
from tests.support import requests as ask
from tests.support.caches import wait_until
from tests.support.cutting_proxy import CuttingProxy
from tests.support.logs import assert_equals, logged, logged_in
from tests.support.postgres import Postgres
from tests.support.served import Served, run_command
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock
from tests.support.watched_servers import HEARTBEATS, ORIGIN, channel_to
from tests.support.watching import OpenStream, Subscriber

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

TOPICS = {"news": "promotional", "orders": "transactional", "login": "mandatory"}
OUT = "out@example.com"
AWAY_SECONDS = 8.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of the module's own: its tests restart and kill it."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database("faults") as url:
        yield url


@asynccontextmanager
async def away_for_a_minute(
    url: str, folder: Path, bounds: MaxStaleness | None = None
) -> AsyncGenerator[tuple[Running, FakeClock, CuttingProxy]]:
    """A server with a topic of each class, whose database is behind a proxy."""
    clock = FakeClock(runs=True)
    await migrate(url)
    async with (
        CuttingProxy(url) as proxy,
        running_server(folder, url=proxy.url, clock=clock, max_staleness=bounds) as server,
    ):
        await server.call("DeclareTopic", ask.declare_topic("news", "a"))
        await server.call(
            "DeclareTopic", ask.declare_topic("orders", "b", types.TOPIC_CLASS_TRANSACTIONAL)
        )
        await server.call(
            "DeclareTopic", ask.declare_topic("login", "c", types.TOPIC_CLASS_MANDATORY)
        )
        await server.call("SetPreference", ask.set_preference(email=OUT))
        yield server, clock, proxy


async def allowed_singly(server: Running) -> set[str]:
    """The topics of which a message is allowed now, to somebody who chose nothing."""
    allowed: set[str] = set()
    for topic in TOPICS:
        asked = ask.check("bob@example.com")
        asked.query.topic = topic
        with suppress(heed.UnavailableError):
            answer = await server.call("CheckSuppression", asked)
            assert answer.decision.verdict == types.VERDICT_ALLOWED
            allowed.add(topic)
    return allowed


async def allowed_topics(server: Running) -> set[str]:
    """The same, while nothing comes or goes: over a stream, too, which must say the same.

    Stops are answered at any age.
    """
    request = preference.StreamCheckSuppressionRequest(
        queries=[ask.query("bob@example.com", topic) for topic in TOPICS]
    )
    (data,) = await server.send("StreamCheckSuppression", request.SerializeToString())
    streamed = preference.StreamCheckSuppressionResponse.FromString(data).answers
    singly = await allowed_singly(server)
    by_stream = {
        topic
        for topic, one in zip(TOPICS, streamed, strict=True)
        if one.decision.verdict == types.VERDICT_ALLOWED
    }
    refusals = {one.refusal.reason for one in streamed if one.HasField("refusal")}
    assert refusals <= {"STATE_STALE"}
    assert by_stream == singly
    stopped = await server.call("CheckSuppression", ask.check(OUT))
    assert stopped.decision.verdict == types.VERDICT_SUPPRESSED
    return singly


async def test_without_its_database_for_a_minute_mandatory_flows_and_promotional_stops_at_5_s(
    url: str, tmp_path: Path
) -> None:
    """The minute passes on the clocks that a server is given, not on the wall."""
    seen: dict[float, set[str]] = {}
    async with away_for_a_minute(url, tmp_path) as (server, clock, proxy):
        subscriber = Subscriber(server.channel)
        async with subscriber.stream() as told:
            await told.reach(4)
            proxy.down()
            passed = 0.0
            for at in (0.5, 4.0, 5.1, 30.0, 58.0, 60.1, 120.0):
                clock.pass_seconds(at - passed)
                passed = at
                seen[at] = await allowed_topics(server)
                heartbeat = await told.heartbeat_of(await subscriber.report())
                assert heartbeat.source_age_ms >= at * 1_000
            await proxy.up()
            async with asyncio.timeout(30):
                while await allowed_singly(server) != set(TOPICS):
                    pass
            # The clock of the test ran ahead of the database's: only stops are taken.
            stored = await server.call(
                "SetPreference", ask.set_preference(email="b@x.org", key="z")
            )
            await told.reach(stored.position.revision)
        log = await logged_in(server.store)
        index = next(iter(server.tenants.all())).follower.index
        held = {key: frozenset(index.records_many([key])[0]) for key in log.records}

    everything = set(TOPICS)
    assert seen == {
        0.5: everything,
        4.0: everything,
        5.1: {"orders", "login"},
        30.0: {"orders", "login"},
        58.0: {"orders", "login"},
        60.1: {"login"},
        120.0: {"login"},
    }
    assert subscriber.reasons == ["NEW"]
    assert_equals(subscriber, log)
    assert held == log.records
    assert index.running_hash == log.head.running_hash


async def test_with_wider_bounds_the_same_would_be_allowed(url: str, tmp_path: Path) -> None:
    """The control: it is the bounds that stop what is stopped above."""
    wide = MaxStaleness(promotional=900, transactional=900)
    async with away_for_a_minute(url, tmp_path, wide) as (server, clock, proxy):
        proxy.down()
        clock.pass_seconds(120)

        assert await allowed_topics(server) == set(TOPICS)


class Asker:
    """A thread that checks without a pause, and knows what was allowed when."""

    def __init__(self, address: str) -> None:
        self.asked: list[tuple[float, str, bool | None]] = []
        """(when it was asked, the topic, whether it was allowed; None: no answer)"""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(address,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _ask(self, address: str) -> None:
        with heed.SyncClient(address, timeout=5) as client, client.check_stream() as stream:
            while not self._ends.is_set():
                for topic in TOPICS:
                    for asks in (client, stream):
                        self.asked.append((time.monotonic(), topic, _allowed(asks, topic)))


def _allowed(asks: heed.SyncClient | heed.SyncCheckStream, topic: str) -> bool | None:
    try:
        return asks.check(email="bob@example.com", channel="email", topic=topic).allowed
    except heed.UnavailableError:
        return None


def test_while_postgresql_is_dead_nothing_is_allowed_past_its_bound_and_mandatory_always(
    postgres: Postgres, url: str, tmp_path: Path
) -> None:
    """A real server and real time, with bounds of 1 and 4 s so that nobody waits for a minute."""
    variables = {
        **HEARTBEATS,
        "HEED_STORAGE_URL": url,
        "HEED_STORAGE_MIGRATE": "true",
        "HEED_STALENESS_PROMOTIONAL_SECONDS": "1",
        "HEED_STALENESS_TRANSACTIONAL_SECONDS": "4",
    }
    with Served(tmp_path, variables=variables) as server, server.client() as client:
        for topic, topic_class in TOPICS.items():
            client.declare_topic(
                topic,
                topic_class=topic_class,
                mandatory_channels=["email"] if topic_class == "mandatory" else [],
                origin=ORIGIN,
            )
        with Asker(server.address) as asker:
            killed_at = time.monotonic()
            postgres.kill()
            dead_at = time.monotonic()
            wait_until(lambda: time.monotonic() - dead_at > AWAY_SECONDS)
            back_at = time.monotonic()
            postgres.start()
            wait_until(lambda: asker.asked[-1][0] > back_at and asker.asked[-1][2] is True)

    def told(topic: str, since: float, until: float) -> set[bool | None]:
        return {
            allowed for at, name, allowed in asker.asked if name == topic and since < at < until
        }

    assert told("news", dead_at + 1, back_at) == {None}
    assert told("orders", dead_at + 4, back_at) == {None}
    assert told("orders", killed_at, dead_at + 2) == {True}
    assert told("login", killed_at, back_at) == {True}


@pytest.mark.parametrize("fault", ["restart", "kill"])
async def test_streams_of_two_nodes_outlive_a_postgresql_that_goes_and_comes(
    postgres: Postgres, url: str, tmp_path: Path, fault: str
) -> None:
    """Four times, under writes on both nodes that are sent again by their keys."""
    subscribers: list[Subscriber] = []
    streams: list[OpenStream] = []
    last = 0
    async with two_nodes(url, tmp_path) as (first, second), AsyncExitStack() as opened:
        for number, node in enumerate((first, second, first, second)):
            channel = await opened.enter_async_context(channel_to(node))
            subscribers.append(Subscriber(channel, f"mailer-{number}"))
            streams.append(await opened.enter_async_context(subscribers[-1].stream()))
            await streams[-1].reach(0)  # no snapshot is had from a database that is away
        clients = [
            await opened.enter_async_context(heed.Client(node.address, timeout=10))
            for node in (first, second)
        ]
        for lap in range(4):
            writing = [
                asyncio.create_task(write_through(client, f"{lap % 2}-{at}"))
                for at, client in enumerate(clients)
            ]
            if fault == "restart":
                await asyncio.to_thread(postgres.restart)
            else:
                await asyncio.to_thread(postgres.kill)
                await asyncio.to_thread(postgres.start)
            last = max(await asyncio.gather(*writing))
            for stream in streams:
                await stream.reach(last)
    log = await logged(url)

    assert log.head.revision == last == 4 * 2 * WRITES
    for subscriber in subscribers:
        assert_equals(subscriber, log)
        assert subscriber.reasons == ["NEW"]
        assert subscriber.changes + subscriber.snapshot_revision == last


async def test_where_no_wake_up_comes_streams_are_moved_on_by_the_poll(
    url: str, tmp_path: Path
) -> None:
    """Every NOTIFY is lost to the second node; what is written on the first arrives all the same.

    That a node with a long poll knows nothing until then is shown in tests/adversity/test_wake_ups.
    """
    deaf = {"HEED_STORAGE_WAKE_UPS": "false"}
    async with (
        two_nodes(url, tmp_path, of_second=deaf) as (first, second),
        channel_to(second) as channel,
        heed.Client(first.address, timeout=10) as client,
    ):
        subscriber = Subscriber(channel)
        async with subscriber.stream() as told:
            last = 0
            for _ in range(5):
                last = await write_through(client, "a")
                await told.reach(last)
    log = await logged(url)

    assert_equals(subscriber, log)
    assert subscriber.changes + subscriber.snapshot_revision == last == 5 * WRITES


WRITES = 25


@asynccontextmanager
async def two_nodes(
    url: str, folder: Path, *, of_second: dict[str, str] | None = None
) -> AsyncGenerator[tuple[Served, Served]]:
    variables = {**HEARTBEATS, "HEED_STORAGE_URL": url}
    migrated = await asyncio.to_thread(run_command, "migrate", cwd=folder, variables=variables)
    assert migrated.returncode == 0
    nodes: list[Served] = []
    try:
        for name, more in (("a", {}), ("b", of_second or {})):
            (folder / name).mkdir()
            node = Served(folder / name, variables={**variables, **more})
            nodes.append(node)
            await asyncio.to_thread(node.start)
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            await asyncio.to_thread(node.end)


async def write_through(client: heed.Client, name: str) -> int:
    """Opt people out one after the other, each until it is acknowledged; the last revision."""
    revision = 0
    for number in range(WRITES):
        key = str(uuid.uuid4())
        async with asyncio.timeout(60):
            while True:
                try:
                    answer = await client.set_preference(
                        user=f"{name}-{number}",
                        choices=[heed.OptOut()],
                        origin=ORIGIN,
                        idempotency_key=key,
                    )
                except heed.HeedError:
                    continue
                break
        revision = answer.revision
    return revision
