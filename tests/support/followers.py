"""Followers of a log in memory, and what they must and must not answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from heed.errors import ErrorReason, UnavailableError
from heed_server.follow import (
    Follower,
    FollowLimits,
    HistoryLostError,
)
from tests.support.memory_log import TENANT, MemoryLog, key_of

QUICK = FollowLimits(poll_seconds=0.005, backoff_seconds_max=0.01, head_timeout_seconds=0.05)


class Clock:
    """Seconds on the boot clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def follower_of(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> Follower:
    return Follower(log, TENANT, directory, boot_seconds=clock or Clock(), limits=limits)


@asynccontextmanager
async def started(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> AsyncGenerator[Follower, None]:
    """A follower that was started and is closed in the end, but does not run."""
    follower = follower_of(log, directory, limits=limits, clock=clock)
    await follower.start()
    try:
        yield follower
    finally:
        await follower.close()


@asynccontextmanager
async def running(
    log: MemoryLog, directory: Path, *, limits: FollowLimits = QUICK, clock: Clock | None = None
) -> AsyncGenerator[Follower, None]:
    async with started(log, directory, limits=limits, clock=clock) as follower:
        task = asyncio.create_task(follower.run())
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def assert_in_step(follower: Follower, log: MemoryLog) -> None:
    """The index holds what the log says, all of it and nothing else."""
    index = follower.index
    standing = log.standing()
    keys = [*standing, key_of("nobody"), key_of("lost")]
    assert index.records_many(keys) == [standing.get(key, ()) for key in keys]
    assert index.stats().subjects == len(standing)
    assert index.holds == log.holds()
    assert {topic.name: topic for topic in index.topics.declared} == log.topics()
    assert (index.revision, index.running_hash, index.epoch) == (
        log.current_head.revision,
        log.current_head.running_hash,
        log.epoch,
    )


async def leave_index(log: MemoryLog, directory: Path) -> Path:
    """Make an index, close it, and return the folder it is in."""
    async with started(log, directory):
        pass
    (path,) = (one for one in directory.iterdir() if one.is_dir())
    return path


async def assert_history_lost(log: MemoryLog, directory: Path) -> None:
    """No start is possible until an operator takes the marker away."""
    for _ in range(2):
        with pytest.raises(HistoryLostError, match="history-lost"):
            await follower_of(log, directory).start()
    next(directory.glob("*.history-lost")).unlink()

    async with started(log, directory) as follower:
        assert_in_step(follower, log)


def assert_refuses(follower: Follower) -> None:
    with pytest.raises(UnavailableError) as refused:
        _ = follower.index
    assert refused.value.reason is ErrorReason.STATE_STALE
    assert not follower.is_usable
