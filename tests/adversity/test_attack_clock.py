"""A wall clock that jumps never lets a message through: no pause, hold or suppression ends by it."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import heed
from heed.model import Instant
from heed_server.config import Config
from heed_server.config.edge import ListenConfig, TelemetryConfig
from heed_server.config.kept import IndexConfig, StorageConfig
from heed_server.primary.node import open_node
from heed_server.primary.stopping import Stop
from heed_server.storage import SystemClock

DAY = timedelta(days=1)
ORIGIN = heed.Origin(source="tests")
EVIDENCE = heed.Evidence(notice="consent", notice_version="1", act="ticked", language="en")


class JumpingClock(SystemClock):
    """The machine's clocks, the wall clock moved by whoever likes to."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> Instant:
        return Instant(super().now() + self.ahead // timedelta(microseconds=1))


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
async def client(tmp_path: Path, clock: JumpingClock) -> AsyncGenerator[heed.Client]:
    config = Config(
        listen=ListenConfig(address=("127.0.0.1:0",)),
        storage=StorageConfig(data_dir=tmp_path),
        index=IndexConfig(),
        telemetry=TelemetryConfig(metrics_address=""),
    )
    async with (
        open_node(config, Stop(), clock=clock) as node,
        heed.Client(str(node.addresses[0]), timeout=5) as client,
    ):
        yield client


async def verdicts(client: heed.Client, email: str) -> set[bool]:
    """What every way of asking answers."""
    checked = await client.check(email=email, channel="email", topic="news", timeout=5)
    (of_batch,) = await client.check_many(
        [heed.Query(email=email, channel="email", topic="news")], timeout=5
    )
    explained = await client.explain(email=email, channel="email", topic="news")
    return {checked.allowed, of_batch.allowed, explained.allowed}


async def test_a_jump_ahead_ends_no_pause(client: heed.Client, clock: JumpingClock) -> None:
    end_time = datetime.now(UTC) + DAY
    await client.pause(
        email="ada@example.com", channel="email", topic="news", source="tests", end_time=end_time
    )

    clock.ahead = 2 * DAY

    assert await verdicts(client, "ada@example.com") == {False}
    assert await verdicts(client, "eve@example.com") == {True}


async def test_a_jump_ahead_ends_no_suppression(client: heed.Client, clock: JumpingClock) -> None:
    failure = heed.Suppression(
        subject=heed.email("ada@example.com"),
        cause="temporary_failure",
        end_time=datetime.now(UTC) + DAY,
    )
    await client.add_suppressions([failure], origin=ORIGIN)

    clock.ahead = 2 * DAY

    assert await verdicts(client, "ada@example.com") == {False}


async def test_a_jump_ahead_ends_no_hold(client: heed.Client, clock: JumpingClock) -> None:
    await client.place_hold(reason="an incident", end_time=datetime.now(UTC) + DAY, origin=ORIGIN)

    clock.ahead = 2 * DAY

    assert await verdicts(client, "ada@example.com") == {False}


async def test_a_jump_back_revives_no_consent(client: heed.Client, clock: JumpingClock) -> None:
    begin = datetime.now(UTC) - DAY
    await client.opt_out(
        email="ada@example.com", channel="email", topic="news", source="tests", decided_time=begin
    )
    await client.opt_in(
        email="ada@example.com",
        channel="email",
        topic="news",
        source="tests",
        evidence=EVIDENCE,
        method="web_form",
        decided_time=begin + DAY / 4,
        end_time=begin + DAY / 2,
    )

    clock.ahead = -3 * DAY / 4

    assert await verdicts(client, "ada@example.com") == {False}
