"""Who follows is told a lookup key before anything that stands under it."""

import asyncio
from pathlib import Path

import pytest

from heed.errors import UnavailableError
from heed.keys import LookupKey
from heed.model import Revision, TenantId
from tests.support.memory_log import MemoryLog
from tests.support.streams import Hearer, assert_same, station


def ids(hearer: Hearer) -> list[int]:
    return [key.key_id for key in hearer.opened.lookup_keys]


async def test_a_stream_ends_before_another_lookup_key_and_its_reader_comes_back(
    tmp_path: Path,
) -> None:
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")
    async with station(log, tmp_path) as node:
        async with node.streaming(hearer):
            await hearer.reach(1)
            assert ids(hearer) == [1]
            log.replace_key()
            log.move("ada", "ada under the other")
            node.commit(2)
            await hearer.until(lambda: hearer.draining is not None)
            assert hearer.revision == 1  # nothing under the other key was told
        async with node.streaming(hearer):
            await hearer.reach(3)

    assert ids(hearer) == [1, 2]
    assert hearer.reasons == ["NEW"]  # it went on from where it stood
    assert_same(hearer, log)


async def test_a_snapshot_of_a_later_lookup_key_than_the_node_knows_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, hearer = MemoryLog(), Hearer()
    log.opt_out("ada")

    async def unreadable(_: TenantId) -> tuple[LookupKey, ...]:
        raise UnavailableError("the root keys are away")

    async with station(log, tmp_path) as node:
        monkeypatch.setattr(log, "lookup_keys", unreadable)
        log.replace_key()  # in the database, and not followed here for want of the key
        async with node.streaming(hearer):
            assert hearer.ended is not None
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(asyncio.shield(hearer.ended), 30)

        assert node.follower.revision == 1

    assert not hearer.is_whole
    assert ids(hearer) == [1]


async def test_a_snapshot_of_an_earlier_lookup_key_is_not_given_to_who_comes_later(
    tmp_path: Path,
) -> None:
    """While it is kept for others it would end each of their streams."""
    log = MemoryLog()
    log.opt_out("ada")
    async with station(log, tmp_path) as node:
        first, later = Hearer(), Hearer()
        async with node.streaming(first):
            await first.reach(1)
        log.replace_key()
        node.commit(1)
        assert await node.follower.reached(Revision(2), 30)
        async with node.streaming(later):
            await later.reach(2)

    assert ids(later) == [1, 2]
    assert_same(later, log)
