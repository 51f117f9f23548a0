"""A log names the rules that it needs, and who does not know them is told so before anything else."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from heed.errors import UnavailableError
from heed.model import RecordKind
from heed.records import without_quiet_hours
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.store import Snapshot
from tests.support.memory_log import MemoryLog, key_of
from tests.support.streams import Hearer, assert_same, station


def kinds(hearer: Hearer, name: str) -> set[RecordKind]:
    return {record.kind for record in hearer.standing().get(key_of(name), ())}


async def test_a_log_without_quiet_hours_needs_no_later_rules_than_ever(tmp_path: Path) -> None:
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")
    async with station(log, tmp_path) as node, node.streaming(hearer, rule_version=1):
        await hearer.reach(1)

    assert hearer.opened.rule_version == 1


@pytest.mark.parametrize("quiet", [False, True])
async def test_a_log_that_had_some_needs_them_also_after_a_rebuild_and_a_restart(
    tmp_path: Path, quiet: bool
) -> None:
    log = MemoryLog()
    log.opt_out("ada")
    async with station(log, tmp_path) as node:
        if quiet:
            log.quiet_hours("ada")
            node.commit(1)
        assert node.follower.index.rule_version == 1 + quiet
    async with station(log, tmp_path) as node:  # opened as it was closed
        assert node.follower.index.rule_version == 1 + quiet
        node.follower.give_up("a test")
        await node.follower.reached(log.current_head.revision, 30)
        assert node.follower.rebuilds == 1
        assert node.follower.index.rule_version == 1 + quiet


async def test_a_reader_of_earlier_rules_is_sent_away_and_told_when_it_is_back(
    tmp_path: Path,
) -> None:
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")
    async with station(log, tmp_path) as node:
        async with node.streaming(hearer, rule_version=1):
            await hearer.reach(1)
            log.quiet_hours("ada")
            node.commit(1)
            await hearer.until(lambda: hearer.draining is not None)
            assert hearer.revision == 1  # nothing beyond was told
        async with node.streaming(hearer, rule_version=1):
            node.opt_outs(1)
            await hearer.reach(3)

    assert hearer.opened.rule_version == 2
    assert hearer.reasons == ["NEW"]  # it went on from where it stood
    assert kinds(hearer, "ada") == {RecordKind.OPT_OUT}


@pytest.mark.parametrize("rule_version", [2, 3])
async def test_whoever_can_read_it_is_told_of_it_at_once(tmp_path: Path, rule_version: int) -> None:
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")
    async with (
        station(log, tmp_path) as node,
        node.streaming(hearer, rule_version=rule_version),
    ):
        await hearer.reach(1)
        log.quiet_hours("ada")
        node.commit(1)
        await hearer.reach(2)
        assert hearer.draining is None

    assert hearer.opened.rule_version == 1
    told = pb.WatchChangesResponse.FromString(hearer.messages[-1]).changes.changes
    assert [change.rule_version for change in told] == [2]
    assert_same(hearer, log)


async def test_a_snapshot_leaves_out_what_its_reader_cannot_read(tmp_path: Path) -> None:
    log, earlier, later = MemoryLog(), Hearer(), Hearer()
    for name in ("ada", "bob"):
        log.opt_out(name)
        log.quiet_hours(name)
    log.quiet_hours("cy")
    async with (
        station(log, tmp_path) as node,
        node.streaming(earlier, rule_version=1),
        node.streaming(later),
    ):
        await earlier.reach(5)
        await later.reach(5)

    assert (earlier.opened.rule_version, later.opened.rule_version) == (2, 2)
    assert_same(later, log)
    assert earlier.standing() == {
        key: frozenset(rest)
        for key, records in log.standing().items()
        if (rest := without_quiet_hours(records))
    }


async def test_an_erasure_is_told_without_what_its_reader_cannot_read(tmp_path: Path) -> None:
    log, earlier, later = MemoryLog(), Hearer(), Hearer()
    log.choice("ada", RecordKind.OPT_IN)
    log.opt_out("ada")
    log.quiet_hours("ada")
    async with (
        station(log, tmp_path) as node,
        node.streaming(earlier, rule_version=1),
        node.streaming(later),
    ):
        await earlier.reach(3)
        await later.reach(3)
        log.erase("ada")
        node.commit(1)
        await earlier.reach(4)
        await later.reach(4)

    assert kinds(earlier, "ada") == {RecordKind.OPT_OUT}
    assert kinds(later, "ada") == {RecordKind.OPT_OUT, RecordKind.QUIET_HOURS}
    assert_same(later, log)


async def test_a_snapshot_of_later_rules_than_were_named_is_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read from the database may be ahead of what this node knows."""
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")
    snapshot = log.snapshot

    @asynccontextmanager
    async def ahead(tenant_id: object) -> AsyncGenerator[Snapshot]:
        log.quiet_hours("ada")  # committed by another node, and not followed here yet
        async with snapshot(tenant_id) as found:  # type: ignore[arg-type] # a tenant's number
            yield found

    async with station(log, tmp_path) as node:
        monkeypatch.setattr(log, "snapshot", ahead)
        async with node.streaming(hearer, rule_version=1):
            assert hearer.ended is not None
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(asyncio.shield(hearer.ended), 30)

    assert not hearer.is_whole
    assert hearer.opened.rule_version == 1
