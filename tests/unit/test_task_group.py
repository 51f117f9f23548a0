"""A group that ends leaves the task it was used in as it was."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from heed.task_group import TaskGroup


class FailedError(Exception):
    """What a task of a group fails by."""


async def fail() -> None:
    raise FailedError


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def errors_of_group(block: Callable[[], Awaitable[None]] | None = None) -> list[type]:
    """Use a group of which one task fails, and return what it raises."""

    async def use() -> None:
        async with TaskGroup() as group:
            group.create_task(wait_for_ever())
            group.create_task(fail())
            if block is not None:
                await block()

    with pytest.raises(ExceptionGroup) as raised:
        await use()
    return [type(error) for error in raised.value.exceptions]


async def test_a_group_that_failed_while_it_was_waited_for_left_no_request_to_cancel() -> None:
    for _ in range(3):
        await errors_of_group()

        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_timeout_after_such_a_group_is_a_timeout() -> None:
    await errors_of_group()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await wait_for_ever()


async def test_a_block_that_runs_when_a_task_fails_is_cancelled_and_the_error_told() -> None:
    assert await errors_of_group() == [FailedError]
    assert await errors_of_group(wait_for_ever) == [FailedError]


async def test_cancelling_whoever_waits_cancels_the_tasks() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await wait_for_ever()
        finally:
            ended.set()

    async def use() -> None:
        async with TaskGroup() as group:
            group.create_task(work())

    using = asyncio.create_task(use())
    await begun.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using

    assert ended.is_set()


async def test_tasks_that_a_task_starts_are_waited_for_too() -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await asyncio.sleep(0)
        ended.set()

    async def earlier(group: TaskGroup) -> None:
        await asyncio.sleep(0)
        group.create_task(later())

    async with TaskGroup() as group:
        group.create_task(earlier(group))

    assert ended.is_set()
