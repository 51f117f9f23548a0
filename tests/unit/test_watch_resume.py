"""Where a stream begins: by the token of what its reader applied."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import ErrorReason, InvalidArgumentError, UnavailableError
from heed.model import Change, Revision, TenantId
from heed_server.watch import stream
from heed_server.watch.hub import token_of
from tests.support.followers import assert_refuses
from tests.support.memory_log import TENANT, MemoryLog
from tests.support.streams import (
    QUICK,
    Hearer,
    Station,
    assert_same,
    standing_at,
    station,
)
from tests.support.watching import WAIT_SECONDS_MAX


class MadeAnew:
    """Hears of an index that was given up, or made anew."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def took(self, changes: Sequence[Change]) -> None:
        """Do nothing."""

    def made_anew(self) -> None:
        """Note it."""
        self._heard.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is true after one of them."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not is_so() or not self._heard.is_set():
                self._heard.clear()
                await self._heard.wait()


@pytest.fixture
def log() -> MemoryLog:
    written = MemoryLog()
    written.opt_outs(300)
    return written


@pytest.fixture
async def node(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Station]:
    async with station(log, tmp_path) as running:
        yield running


async def heard(
    node: Station, hearer: Hearer, revision: int = 300, *, snapshots: int = 0
) -> Hearer:
    """What a reader heard until it had everything, of so many snapshots in all."""
    opened_before = hearer.opened.stream_id
    async with node.streaming(hearer):
        await hearer.until(
            lambda: hearer.opened.stream_id != opened_before and len(hearer.reasons) >= snapshots
        )
        await hearer.reach(revision)
    return hearer


@pytest.mark.parametrize("revision", [0, 1, 150, 299, 300])
async def test_a_stream_goes_on_after_any_revision(node: Station, revision: int) -> None:
    hearer = await heard(node, standing_at(node, revision))

    assert (hearer.reasons, hearer.changes) == ([], 300 - revision)


async def test_without_a_token_a_snapshot_comes_first(node: Station, log: MemoryLog) -> None:
    hearer = await heard(node, Hearer())

    assert (hearer.reasons, hearer.changes) == (["NEW"], 0)
    assert_same(hearer, log)


async def test_a_token_of_another_epoch_is_answered_with_a_snapshot(
    node: Station, log: MemoryLog
) -> None:
    hearer = standing_at(node, 300)
    hearer.token = token_of(TENANT.tenant_id, replace(log.current_head, epoch=b"epoch--2"))

    await heard(node, hearer, snapshots=1)

    assert hearer.reasons == ["EPOCH_CHANGED"]
    assert_same(hearer, log)


async def test_a_token_of_another_history_is_answered_with_a_snapshot(
    node: Station, log: MemoryLog
) -> None:
    other = MemoryLog(salt=b"another")
    other.opt_outs(200)
    hearer = standing_at(node, 200)
    hearer.token = token_of(TENANT.tenant_id, other.current_head)

    await heard(node, hearer, snapshots=1)

    assert hearer.reasons == ["HISTORY_CHANGED"]
    assert_same(hearer, log)


async def test_what_was_applied_of_another_history_is_not_believed_of_this_one(
    log: MemoryLog, tmp_path: Path
) -> None:
    """A reader that waits for its snapshot says where it stands, which is in another log."""
    other = MemoryLog(salt=b"another")
    other.opt_outs(200)
    limits = replace(QUICK, snapshots_max=1)
    first = Hearer()
    async with station(log, tmp_path, limits=limits) as node:
        second = standing_at(node, 200)
        second.token = token_of(TENANT.tenant_id, other.current_head)
        first.hold()
        async with node.streaming(first), node.streaming(second) as told:
            await second.until(lambda: len(second.heartbeats) == 1)
            second.report(applied=200)
            believed = told.applied_revision
            first.go_on()
            await second.reach(300)
            second.report(applied=300)
            at_last = told.applied_revision

    assert (believed, at_last) == (0, 300)


async def test_a_token_of_another_tenant_is_answered_with_a_snapshot(
    node: Station, log: MemoryLog
) -> None:
    hearer = standing_at(node, 300)
    hearer.token = token_of(TenantId(8), log.current_head)

    await heard(node, hearer, snapshots=1)

    assert hearer.reasons == ["HISTORY_CHANGED"]


async def test_a_token_whose_hash_the_index_has_forgotten_is_compared_with_the_log(
    node: Station, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(node.follower.index), "hash_at", lambda *_: None)
    right, wrong = standing_at(node, 100), standing_at(node, 100)
    wrong.token = token_of(
        TENANT.tenant_id, replace(log.head_at(100), running_hash=hashlib.sha256(b"").digest())
    )

    await heard(node, right)
    await heard(node, wrong, snapshots=1)

    assert (right.reasons, wrong.reasons) == ([], ["HISTORY_CHANGED"])


@pytest.mark.parametrize(("behind", "reasons"), [(100, []), (101, ["BEHIND"])])
async def test_a_reader_too_far_behind_is_sent_a_snapshot(
    log: MemoryLog, tmp_path: Path, behind: int, reasons: list[str]
) -> None:
    async with station(log, tmp_path, limits=replace(QUICK, replay_changes_max=100)) as node:
        hearer = await heard(node, standing_at(node, 300 - behind), snapshots=len(reasons))

    assert hearer.reasons == reasons


async def test_a_token_from_ahead_is_waited_for(node: Station, log: MemoryLog) -> None:
    """Another node committed it; this one has not heard of it."""
    log.opt_outs(5)

    hearer = await heard(node, standing_at(node, 305), 305)

    assert (hearer.reasons, hearer.changes) == ([], 0)


async def test_a_token_from_ahead_that_does_not_come_is_refused(node: Station) -> None:
    """A snapshot would take back what its reader knows."""
    hearer = Hearer()
    ahead = replace(node.log.current_head, revision=Revision(400))
    hearer.token = token_of(TENANT.tenant_id, ahead)

    with pytest.raises(UnavailableError) as refused:
        await node.open(hearer)

    assert refused.value.reason is ErrorReason.NODE_BEHIND
    assert refused.value.metadata == {"applied": "300"}


@pytest.mark.parametrize("token", ["nonsense", "A" * 39, "x" * 128])
async def test_what_is_no_token_is_refused(node: Station, token: str) -> None:
    hearer = Hearer()
    hearer.token = token

    with pytest.raises(InvalidArgumentError) as refused:
        await node.open(hearer)

    assert refused.value.reason is ErrorReason.BAD_TOKEN


async def test_a_node_without_an_index_opens_no_stream(node: Station) -> None:
    node.follower._refuse(UnavailableError("a test"))
    assert_refuses(node.follower)

    with pytest.raises(UnavailableError) as refused:
        await node.open(standing_at(node, 300))

    assert refused.value.reason is ErrorReason.STATE_STALE


async def test_while_a_reader_waits_heartbeats_say_where_it_stands(
    log: MemoryLog, tmp_path: Path
) -> None:
    """One that reads 0 would take its own place for a gap."""
    limits = replace(QUICK, snapshots_max=1, replay_changes_max=10)
    first, second = Hearer(), Hearer()
    async with station(log, tmp_path, limits=limits) as node:
        second = standing_at(node, 7)
        first.hold()
        async with node.streaming(first), node.streaming(second):
            await second.until(lambda: len(second.heartbeats) == 3)
            waited = [one.through for one in second.heartbeats]
            first.go_on()
            await second.reach(300)

    assert waited == [7, 7, 7]
    assert second.reasons == ["BEHIND"]
    assert_same(second, log)


async def test_streams_outlive_an_index_that_is_made_anew(node: Station, log: MemoryLog) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(300)
        rebuilds = node.follower.rebuilds
        node.follower._refuse(UnavailableError("a test"))
        log.opt_outs(20)
        await hearer.reach(320)

    assert node.follower.rebuilds == rebuilds + 1
    assert hearer.reasons == ["NEW"]
    assert_same(hearer, log)


async def test_a_stream_of_a_log_that_is_another_ends(node: Station, log: MemoryLog) -> None:
    """Its reader comes back with its token, and is told then why it has to resync."""
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(300)
        other = MemoryLog(epoch=b"epoch--2")
        other.opt_outs(300)
        log.epoch, log.changes = other.epoch, other.changes
        await hearer.until(lambda: hearer.draining is not None)
    await heard(node, hearer, snapshots=2)

    assert hearer.reasons == ["NEW", "EPOCH_CHANGED"]
    assert_same(hearer, log)


async def test_a_probe_that_comes_when_the_log_is_another_makes_nothing_young(
    node: Station, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "PROBE_SECONDS_MIN", 0.0)
    hearer, anew = Hearer(), MadeAnew()
    node.follower.listen(anew)
    async with node.streaming(hearer):
        await hearer.reach(300)
        hearer.hold()
        await hearer.is_held_up.wait()
        other = MemoryLog(epoch=b"epoch--2")
        other.opt_outs(300)
        log.epoch, log.changes = other.epoch, other.changes
        node.follower.wake()
        await anew.until(lambda: node.follower.is_usable)
        probe = hearer.report(source_age_seconds=0)
        hearer.go_on()
        await hearer.until(lambda: hearer.draining is not None)

    echoes = [one for one in hearer.heartbeats if one.probe == probe]
    assert all(one.source_age_ms >= stream.AGE_MS_MAX for one in echoes)
    assert echoes


async def test_after_history_was_lost_heartbeats_say_how_old_it_is(
    node: Station, log: MemoryLog
) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(300)
        log.put_back(200)
        await hearer.until(lambda: not node.follower.is_usable)
        age = node.follower.source_age_seconds()
        heartbeat = await hearer.heartbeat_of(hearer.report(source_age_seconds=age))

    assert heartbeat.source_age_ms >= 10**12
    assert heartbeat.through == 300
