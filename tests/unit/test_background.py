"""What runs beside the calls: whatever of it ends unasked ends the block."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from heed_server import background as module
from heed_server.background import Background, LoopEndedError


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def end() -> None:
    await asyncio.sleep(0)


async def be_cancelled() -> None:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    await wait_for_ever()


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("of the loop")


@pytest.mark.parametrize(
    ("loop", "error"), [(end, LoopEndedError), (be_cancelled, LoopEndedError), (fail, ValueError)]
)
async def test_a_loop_that_ends_ends_the_block(
    loop: Callable[[], Coroutine[None, None, None]], error: type[Exception]
) -> None:
    async def run() -> None:
        async with Background() as background:
            background.keep("other", wait_for_ever())
            background.keep("loop", loop())
            await wait_for_ever()

    with pytest.raises(error):
        await run()


async def test_work_may_end_and_be_cancelled() -> None:
    async with Background() as background:
        background.keep("loop", wait_for_ever())
        work = background.start("work", end())
        await work
        cancelled = background.start("more", wait_for_ever())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait({cancelled})

    assert not work.cancelled()
    assert cancelled.cancelled()


async def test_the_end_of_the_block_ends_its_loops_without_an_error() -> None:
    ended: list[str] = []

    async def loop(name: str) -> None:
        try:
            await wait_for_ever()
        finally:
            ended.append(name)

    async with Background() as background:
        background.keep("one", loop("one"))
        background.keep("two", loop("two"))
        await asyncio.sleep(0)

    assert sorted(ended) == ["one", "two"]


async def test_the_error_of_the_block_itself_goes_on() -> None:
    async def run() -> None:
        async with Background() as background:
            background.keep("loop", wait_for_ever())
            await asyncio.sleep(0)
            raise KeyError("of the block")

    with pytest.raises(KeyError):
        await run()


async def test_who_forgets_that_it_was_cancelled_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CANCELLED_AGAIN_SECONDS", 0.01)
    forgotten = 0

    async def forgetful() -> None:
        nonlocal forgotten
        while forgotten < 2:
            try:
                await wait_for_ever()
            except asyncio.CancelledError:
                forgotten += 1
        await wait_for_ever()

    async with asyncio.timeout(10), Background() as background:
        background.keep("loop", forgetful())
        await asyncio.sleep(0)

    assert forgotten == 2
