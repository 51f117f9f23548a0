"""What runs beside the calls, each named, all ended together.

Law: what ends by an error ends the block, and so the node: what nobody notices is worse than a
restart.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Self


class Background:
    """A task group whose tasks are cancelled when its block ends."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, loop: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a loop until the block ends, or its task is cancelled."""
        task = self._group.create_task(loop, name=f"heed-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        try:
            if isinstance(error, Exception):  # the block's own: it goes on by itself
                await self._group.__aexit__(None, None, None)
            else:
                await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failed:
            # One loop's error is the reason; a group of one only hides it.
            raise failed.exceptions[0] if len(failed.exceptions) == 1 else failed from None
