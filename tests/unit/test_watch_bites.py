"""What the tests of streams would say of a server that breaks a promise."""

from pathlib import Path

import pytest

from heed.model import Change, Revision
from heed.wire.watched import change_part, changes_message
from heed_server.watch import batch, stream
from tests.support.memory_log import MemoryLog
from tests.support.streams import assert_same, probed_while_held_up, standing_at, station


@pytest.fixture
def log() -> MemoryLog:
    written = MemoryLog()
    written.opt_outs(10)
    return written


async def test_a_change_that_is_left_out_is_noticed(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(change: Change) -> bytes:
        return b"" if change.revision == 7 else change_part(change)

    monkeypatch.setattr(batch, "change_part", forgetful)
    async with station(log, tmp_path) as node:
        hearer = standing_at(node, 0)
        async with node.streaming(hearer):
            await hearer.reach(10)

    with pytest.raises(AssertionError):
        assert_same(hearer, log)


async def test_a_batch_after_another_place_is_noticed(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def skipping(
        after: Revision, through: Revision, parts: bytes, *, token: str, running_hash: bytes
    ) -> bytes:
        return changes_message(
            Revision(after + 1), through, parts, token=token, running_hash=running_hash
        )

    monkeypatch.setattr(batch, "changes_message", skipping)
    async with station(log, tmp_path) as node:
        hearer = standing_at(node, 0)
        async with node.streaming(hearer):
            assert hearer.ended is not None
            with pytest.raises(AssertionError, match="gap"):
                await hearer.ended


async def test_a_probe_that_is_given_back_too_early_is_noticed(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader would take what it has not been told of for known."""
    real = stream.Probe
    monkeypatch.setattr(
        stream, "Probe", lambda number, _, age_ms: real(number, Revision(0), age_ms)
    )
    heartbeat = await probed_while_held_up(log, tmp_path, monkeypatch)

    assert heartbeat.through < 610
