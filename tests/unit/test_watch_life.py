"""Heartbeats, probes, and how a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import (
    ErrorReason,
    ExhaustedError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from heed.model import Revision
from heed_server.watch import Watches, WatchLimits, stream
from tests.support.memory_log import TENANT, MemoryLog
from tests.support.streams import (
    NOW,
    QUICK,
    Hearer,
    Station,
    probed_while_held_up,
    station,
)

SILENT = replace(QUICK, heartbeat_seconds=60)
"""Only a probe makes a heartbeat."""


@pytest.fixture
def log() -> MemoryLog:
    written = MemoryLog()
    written.opt_outs(10)
    return written


@pytest.fixture
async def node(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Station]:
    async with station(log, tmp_path) as running:
        yield running


async def test_a_silent_stream_says_that_it_is_alive_and_what_time_it_is(node: Station) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.until(lambda: len(hearer.heartbeats) == 3)

    assert {(one.through, one.now_us, one.probe) for one in hearer.heartbeats} == {(10, NOW, 0)}


async def test_streams_differ_in_their_intervals(node: Station) -> None:
    hearers = [Hearer() for _ in range(8)]
    for hearer in hearers:
        async with node.streaming(hearer):
            await hearer.reach(10)

    intervals = {hearer.opened.heartbeat_interval.nanos for hearer in hearers}
    assert len(intervals) == 8
    assert all(45_000_000 <= nanos <= 55_000_000 for nanos in intervals)


async def test_a_probe_is_given_back_at_once_with_the_age_it_met(
    log: MemoryLog, tmp_path: Path
) -> None:
    hearer = Hearer()
    async with station(log, tmp_path, limits=SILENT) as node, node.streaming(hearer):
        await hearer.reach(10)
        heartbeat = await hearer.heartbeat_of(hearer.report(source_age_seconds=1.2345))

    assert (heartbeat.probe, heartbeat.source_age_ms) == (1, 1_235)


async def test_many_probes_make_few_heartbeats(log: MemoryLog, tmp_path: Path) -> None:
    hearer = Hearer()
    async with station(log, tmp_path, limits=SILENT) as node, node.streaming(hearer):
        await hearer.reach(10)
        for _ in range(200):
            hearer.report()
        await hearer.heartbeat_of(200)

    assert len(hearer.heartbeats) <= 2


async def test_an_older_probe_does_nothing(log: MemoryLog, tmp_path: Path) -> None:
    hearer = Hearer()
    async with station(log, tmp_path, limits=SILENT) as node, node.streaming(hearer) as told:
        await hearer.reach(10)
        told.report(7, Revision(10), 0)
        told.report(3, Revision(10), 9)
        hearer.probe = 7
        heartbeat = await hearer.heartbeat_of(7)

    assert heartbeat.source_age_ms == 0


async def test_a_probe_waits_for_everything_that_was_known_when_it_came(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not given back by what was already under way to a reader that is held up."""
    heartbeat = await probed_while_held_up(log, tmp_path, monkeypatch)

    assert heartbeat.through == 610


async def test_a_probe_that_came_before_the_snapshot_was_whole_waits_for_it(
    log: MemoryLog, tmp_path: Path
) -> None:
    hearer = Hearer()
    async with station(log, tmp_path) as node, node.streaming(hearer):
        hearer.hold()
        await asyncio.sleep(0)
        probe = hearer.report()
        hearer.go_on()
        await hearer.heartbeat_of(probe)
        first = next(one for one in hearer.heartbeats if one.probe == probe)

    assert first.through == 10


async def test_more_probes_than_wait_count_as_one(log: MemoryLog, tmp_path: Path) -> None:
    """The first is kept: a reader far behind hears of it once it has caught up."""
    hearer = Hearer()
    async with station(log, tmp_path, limits=SILENT) as node, node.streaming(hearer) as told:
        await hearer.reach(10)
        hearer.hold()
        node.opt_outs(200)
        for _ in range(100):
            hearer.report()
        waiting = len(told._probes)
        hearer.go_on()
        heartbeat = await hearer.heartbeat_of(100)

    assert waiting == stream.PROBES_MAX
    assert heartbeat.through == 210


async def test_nobody_is_believed_to_have_applied_what_was_not_told(node: Station) -> None:
    hearer = Hearer()
    async with node.streaming(hearer) as told:
        await hearer.reach(10)
        hearer.report(applied=4)
        first = told.applied_revision
        hearer.report(applied=4_000)
        second = told.applied_revision
        hearer.report(applied=2)

    assert (first, second, told.applied_revision) == (4, 10, 10)


@pytest.mark.parametrize(
    ("tenant_id", "principal", "stream_id"),
    [(8, "open", None), (TENANT.tenant_id, "another", None), (TENANT.tenant_id, "open", "f" * 32)],
)
async def test_a_report_of_another_is_of_no_stream_here(
    node: Station, tenant_id: int, principal: str, stream_id: str | None
) -> None:
    hearer = Hearer()
    async with node.streaming(hearer) as told:
        with pytest.raises(NotFoundError) as refused:
            node.watches.report(
                tenant_id,  # type: ignore[arg-type]  # a made-up tenant
                principal,
                stream_id or told.stream_id,
                probe=1,
                applied=Revision(1),
                source_age_seconds=0,
            )

    assert refused.value.reason is ErrorReason.STREAM_UNKNOWN


async def test_a_stream_that_ended_is_known_no_more(node: Station) -> None:
    hearer = Hearer()
    async with node.streaming(hearer) as told:
        await hearer.reach(10)

    with pytest.raises(NotFoundError):
        node.watches.report(
            TENANT.tenant_id,
            "open",
            told.stream_id,
            probe=1,
            applied=Revision(1),
            source_age_seconds=0,
        )


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (replace(QUICK, streams_max=2), "streams_max"),
        (replace(QUICK, streams_of_principal_max=2), "streams_of_principal_max"),
    ],
)
async def test_one_stream_more_than_may_be_is_refused(
    log: MemoryLog, tmp_path: Path, limits: WatchLimits, limit: str
) -> None:
    async with station(log, tmp_path, limits=limits) as node:
        first = await node.open(Hearer())
        await node.open(Hearer())
        with pytest.raises(ExhaustedError) as refused:
            await node.open(Hearer())
        node.watches.close(first)
        await node.open(Hearer())

    assert refused.value.reason is ErrorReason.LIMIT_REACHED
    assert refused.value.metadata == {"limit": limit, "value": "2"}


async def test_another_principal_has_streams_of_its_own(log: MemoryLog, tmp_path: Path) -> None:
    async with station(log, tmp_path, limits=replace(QUICK, streams_of_principal_max=1)) as node:
        await node.open(Hearer())
        with pytest.raises(ExhaustedError):
            await node.open(Hearer())

        await node.open(Hearer(), principal="another")


async def test_a_reader_that_takes_nothing_for_long_is_cut_off(
    log: MemoryLog, tmp_path: Path
) -> None:
    hearer = Hearer()
    limits = replace(QUICK, write_seconds_max=0.1)
    async with station(log, tmp_path, limits=limits) as node, node.streaming(hearer):
        await hearer.reach(10)
        hearer.hold()
        assert hearer.ended is not None
        with pytest.raises(ExhaustedError) as refused:
            await hearer.ended

    assert refused.value.metadata == {"limit": "write_seconds_max"}


async def test_a_stream_ends_by_itself_at_a_random_time(log: MemoryLog, tmp_path: Path) -> None:
    hearer = Hearer()
    limits = replace(QUICK, stream_seconds_max=0.2)
    async with station(log, tmp_path, limits=limits) as node, node.streaming(hearer):
        assert hearer.ended is not None
        await hearer.ended

    assert hearer.is_whole
    assert hearer.draining is not None
    assert hearer.draining.reconnect_after.ToTimedelta().total_seconds() == 0


async def test_a_node_that_stops_ends_its_streams_each_at_its_own_time(node: Station) -> None:
    hearers = [Hearer() for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        for hearer in hearers:
            told = await node.open(hearer)
            group.create_task(told.run(hearer.send))
            await hearer.reach(10)
        node.watches.drain(0.2)
        with pytest.raises(UnavailableError) as refused:
            await node.open(Hearer())

    assert refused.value.reason is ErrorReason.DRAINING
    waits = {
        hearer.draining.reconnect_after.ToMicroseconds() if hearer.draining else None
        for hearer in hearers
    }
    assert None not in waits
    assert len(waits) == 10


async def test_a_node_that_stops_does_not_wait_for_a_snapshot(
    log: MemoryLog, tmp_path: Path
) -> None:
    waiting, first = Hearer(), Hearer()
    async with station(log, tmp_path, limits=replace(QUICK, snapshots_max=1)) as node:
        first.hold()
        async with node.streaming(first), node.streaming(waiting):
            await waiting.until(lambda: bool(waiting.heartbeats))
            node.watches.drain(0)
            assert waiting.ended is not None
            with pytest.raises(UnavailableError) as refused:
                await waiting.ended

    assert refused.value.reason is ErrorReason.DRAINING


async def test_a_reader_that_may_not_watch_any_more_is_ended(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CREDENTIAL_SECONDS", 0.02)
    revoked: list[bool] = []

    def may_watch() -> None:
        if revoked:
            raise UnauthenticatedError("revoked")

    hearer = Hearer()
    async with (
        station(log, tmp_path, limits=SILENT) as node,
        node.streaming(hearer, may_watch=may_watch),
    ):
        await hearer.reach(10)
        revoked.append(True)
        assert hearer.ended is not None
        with pytest.raises(UnauthenticatedError):
            await hearer.ended


def test_a_revoked_key_is_noticed_well_within_a_minute() -> None:
    assert stream.CREDENTIAL_SECONDS <= 30


async def test_nothing_is_left_of_streams_that_ended(node: Station) -> None:
    for _ in range(50):
        hearer = Hearer()
        async with node.streaming(hearer):
            await hearer.reach(10)

    watches: Watches = node.watches
    (watched,) = watches.hubs
    assert (watched.members, watches._streams) == (set(), {})
    assert not watches._room._of_principal
    assert not watches.snapshots.turns._granted
