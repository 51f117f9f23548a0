"""Nodes that share a PostgreSQL wake each other, and find by polling what no wake-up told them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from structlog.testing import capture_logs

import heed
from heed.errors import ErrorReason, UnavailableError
from heed.model import Revision, TenantId
from heed_server.config import (
    Config,
    IndexConfig,
    KeysConfig,
    ListenConfig,
    StorageConfig,
    TelemetryConfig,
)
from heed_server.follow import Follower
from heed_server.primary.node import open_node
from heed_server.primary.stopping import Stop
from heed_server.storage import StorageLimits, open_wake_ups, wakeups
from heed_server.storage.wakeups import WakeUps
from tests.support.cutting_proxy import CuttingProxy
from tests.support.postgres import Postgres
from tests.support.roots import shared_root_file
from tests.support.stores import Database, chooses, new_database, new_shop

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ORIGIN = heed.Origin(source="tests")
WAIT_SECONDS_MAX = 60
NEVER_SECONDS = 600.0
QUICK = StorageLimits(wake_check_seconds=0.2, wake_retry_seconds_max=0.1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of the module's own: its tests restart it."""
    with Postgres() as running:
        yield running


@pytest.fixture
async def database(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Database]:
    async with new_database("postgres", tmp_path, postgres) as made:
        yield made


class Member:
    """One of several nodes, and a client of it."""

    def __init__(self, follower: Follower, client: heed.Client) -> None:
        self.follower = follower
        self.client = client

    async def opt_out(self, user: str) -> heed.SetAnswer:
        return await self.client.set_preference(
            user=user, choices=[heed.OptOut()], origin=ORIGIN, timeout=WAIT_SECONDS_MAX
        )

    async def knows(self, revision: int) -> None:
        """Return once the index has a revision; unlike a token, this makes nobody ask."""
        if self.follower.revision < revision:
            arrival = asyncio.get_running_loop().create_future()
            self.follower._waiters[arrival] = Revision(revision)
            try:
                async with asyncio.timeout(WAIT_SECONDS_MAX):
                    await arrival
            finally:
                del self.follower._waiters[arrival]


@asynccontextmanager
async def member(
    folder: Path, url: str, *, poll_seconds: float, **storage: Any
) -> AsyncGenerator[Member]:
    """A whole node. Its poll may be longer than the settings allow, so that only a wake-up can."""
    config = Config(
        listen=ListenConfig(address=("127.0.0.1:0",)),
        storage=StorageConfig(
            url=SecretStr(url), data_dir=folder, wake_check_seconds=0.2, **storage
        ),
        index=IndexConfig.model_construct(poll_seconds=poll_seconds),
        keys=KeysConfig(root_file=shared_root_file()),
        telemetry=TelemetryConfig(metrics_address=""),
    )
    async with (
        open_node(config, Stop()) as node,
        heed.Client(str(node.addresses[0]), timeout=WAIT_SECONDS_MAX) as client,
    ):
        (context,) = node.tenants.all()
        yield Member(context.follower, client)


@asynccontextmanager
async def two(
    folder: Path, url: str, *, poll_seconds: float = NEVER_SECONDS, **storage: Any
) -> AsyncGenerator[tuple[Member, Member]]:
    async with AsyncExitStack() as opened:
        first, second = [
            await opened.enter_async_context(
                member(folder / name, url, poll_seconds=poll_seconds, **storage)
            )
            for name in ("a", "b")
        ]
        yield first, second


async def test_a_write_on_one_node_is_known_on_the_other_without_a_poll(
    tmp_path: Path, database: Database
) -> None:
    async with two(tmp_path, database.url) as (first, second):
        for number in range(20):
            told = await first.opt_out(f"u-{number}")
            await second.knows(told.revision)
            back = await second.opt_out(f"v-{number}")
            await first.knows(back.revision)

        answer = await second.client.check(user="u-19", channel="in_app")

    assert not answer.allowed
    assert answer.revision == 40


async def test_without_wake_ups_nothing_is_known_before_the_poll_which_finds_it(
    tmp_path: Path, database: Database
) -> None:
    """The control: with the same long poll, only the wake-up carried the news above."""
    async with two(tmp_path, database.url, wake_ups=False) as (first, second):
        told = await first.opt_out("u-1")
        asked = asyncio.create_task(second.knows(told.revision))
        done, _ = await asyncio.wait({asked}, timeout=0.5)
        second.follower.wake()
        await asked

    assert not done

    async with two(tmp_path, database.url, wake_ups=False, poll_seconds=0.05) as (first, second):
        await second.knows((await first.opt_out("u-2")).revision)


async def test_a_token_of_one_node_is_waited_for_on_another_which_asks_at_once(
    tmp_path: Path, database: Database
) -> None:
    async with two(tmp_path, database.url, wake_ups=False) as (first, second):
        told = await first.opt_out("u-1")
        assert second.follower.revision < told.revision

        answer = await second.client.check(
            user="u-1", channel="in_app", token=told.token, timeout=9
        )

    assert not answer.allowed
    assert answer.revision == told.revision


async def test_a_node_that_cannot_reach_the_log_answers_no_token_ahead_of_it(
    tmp_path: Path, database: Database
) -> None:
    async with (
        CuttingProxy(database.url) as proxy,
        member(tmp_path / "a", database.url, poll_seconds=NEVER_SECONDS) as first,
        member(tmp_path / "b", proxy.url, poll_seconds=NEVER_SECONDS) as second,
    ):
        known = await first.opt_out("u-1")
        await second.knows(known.revision)
        proxy.down()
        told = await first.opt_out("u-2")

        with pytest.raises(UnavailableError) as refused:
            await second.client.check(user="u-2", channel="in_app", token=told.token, timeout=2)
        old = await second.client.check(user="u-1", channel="in_app", token=known.token, timeout=9)
        await proxy.up()
        answer = await second.client.check(
            user="u-2", channel="in_app", token=told.token, timeout=9
        )

    assert refused.value.reason is ErrorReason.NODE_BEHIND
    assert not old.allowed
    assert not answer.allowed


async def test_after_a_restart_of_postgresql_wake_ups_come_back(
    tmp_path: Path, postgres: Postgres, database: Database
) -> None:
    async with two(tmp_path, database.url, wake_retry_seconds_max=0.1) as (first, second):
        await second.knows((await first.opt_out("u-1")).revision)

        await asyncio.to_thread(postgres.restart)

        # The first is found on opening, should it be missed; the others only by being woken.
        for number in range(2, 6):
            await second.knows((await first.opt_out(f"u-{number}")).revision)

        assert second.follower.revision == 5


class Ear:
    """What one node's wake-ups heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []
        self.openings: asyncio.Queue[None] = asyncio.Queue()
        self._news = asyncio.Event()

    def hear(self, tenant_id: TenantId, revision: Revision) -> None:
        self.heard.append((tenant_id, revision))
        self._news.set()

    async def until_heard(self, tenant_id: int, revision: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while (tenant_id, revision) not in self.heard:
                self._news.clear()
                await self._news.wait()

    async def opened(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self.openings.get()


@asynccontextmanager
async def listening(
    url: str, ear: Ear, limits: StorageLimits = QUICK, *, is_there: bool = True
) -> AsyncGenerator[WakeUps]:
    made = open_wake_ups(
        url, limits=limits, on_heard=ear.hear, on_open=lambda: ear.openings.put_nowait(None)
    )
    assert made is not None
    running = asyncio.create_task(made.run())
    try:
        if is_there:
            await ear.opened()
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def notify(url: str, *payloads: str) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        for payload in payloads:
            await connection.execute("SELECT pg_notify('heed', $1)", payload)
    finally:
        await connection.close()


async def test_what_is_told_while_one_is_sent_is_told_once_with_the_newest_revision(
    database: Database,
) -> None:
    ear, other = Ear(), Ear()
    slow = StorageLimits(wake_seconds_min=0.2)
    async with listening(database.url, ear, slow) as wake_ups, listening(database.url, other):
        wake_ups.tell(TenantId(7), Revision(1))
        await other.until_heard(7, 1)
        for revision in range(2, 100):
            wake_ups.tell(TenantId(7), Revision(revision))
            wake_ups.tell(TenantId(8), Revision(revision))
        await other.until_heard(7, 99)
        await other.until_heard(8, 99)
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            # What was sent may be heard before it is counted.
            while wake_ups.told < 2:  # noqa: ASYNC110 - it tells nobody, and needs not
                await asyncio.sleep(0)

        assert wake_ups.told == 2

    assert other.heard == [(7, 1), (7, 99), (8, 99)]


async def test_nonsense_on_the_channel_wakes_nobody_and_harms_nothing(database: Database) -> None:
    ear = Ear()
    async with listening(database.url, ear):
        await notify(database.url, "", ":", "x:1", "1:x", "-1:5", "1", "1:" + "9" * 5_000, "²:³")
        await notify(database.url, "5:6")
        await ear.until_heard(5, 6)

    assert ear.heard == [(5, 6)]


async def test_a_connection_that_breaks_is_noticed_at_once_counted_said_and_opened_again(
    database: Database,
) -> None:
    ear = Ear()
    patient = StorageLimits(wake_check_seconds=60, wake_retry_seconds_max=0.1)
    async with CuttingProxy(database.url) as proxy:
        with capture_logs() as logged:
            async with listening(proxy.url, ear, patient) as wake_ups:
                proxy.down()
                await proxy.up()
                await ear.opened()
                assert wake_ups.lost >= 1
                wake_ups.tell(TenantId(7), Revision(1))
                await ear.until_heard(7, 1)

    assert [line["event"] for line in logged] == ["wake_ups_lost", "wake_ups_again"]


async def test_a_database_that_refuses_is_asked_again_until_it_does_not(
    postgres: Postgres, database: Database
) -> None:
    """As one that is starting up or shutting down does: it answers, and the answer is no."""
    name = "heed_not_yet_there"
    url = make_url(database.url).set(database=name).render_as_string(hide_password=False)
    ear = Ear()

    with capture_logs() as logged:
        async with listening(url, ear, is_there=False) as wake_ups:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while wake_ups.lost < 2:  # noqa: ASYNC110 - it tells nobody, and needs not
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.create_database, name)
            await ear.opened()
    postgres.drop_database(name)

    assert [line["event"] for line in logged] == ["wake_ups_lost", "wake_ups_again"]


async def test_a_connection_that_falls_silent_is_noticed_and_opened_again(
    database: Database,
) -> None:
    """Nothing closes it, and nothing passes any more: as behind a firewall that forgot it."""
    ear = Ear()
    async with CuttingProxy(database.url) as proxy, listening(proxy.url, ear) as wake_ups:
        proxy.hush()
        await ear.opened()

        assert wake_ups.lost == 1


async def test_a_pooler_that_keeps_no_listen_is_noticed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection answers all the same, so only that nothing is heard tells."""
    ear = Ear()
    drivers: list[Any] = []
    monkeypatch.setattr(wakeups, "keep_alive", drivers.append)
    async with listening(database.url, ear) as wake_ups:
        await drivers[0].execute("UNLISTEN *")
        await ear.opened()

        assert wake_ups.lost == 1


async def test_commits_do_not_wait_for_wake_ups(tmp_path: Path, database: Database) -> None:
    """With a connection that hangs, telling returns and the write is acknowledged."""
    async with CuttingProxy(database.url) as proxy, listening(proxy.url, Ear()) as wake_ups:
        shop = await new_shop(await database.open())
        shop.store.on_commit(lambda one: wake_ups.tell(one.tenant_id, one.head.revision))
        proxy.hush()

        asked = [await shop.ask(chooses(f"p{number}")) for number in range(5)]

    assert [one.appended.revision for one in asked] == [1, 2, 3, 4, 5]


def test_there_are_none_on_sqlite(tmp_path: Path) -> None:
    ear = Ear()

    made = open_wake_ups(
        f"sqlite:///{tmp_path / 'heed.db'}", on_heard=ear.hear, on_open=lambda: None
    )

    assert made is None
