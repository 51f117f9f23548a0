"""What runs beside the calls, each named, all ended together.

Laws:
- What ends by an error ends the block, and so the node: what nobody notices is worse than a
  restart.
- A loop that is to go on for ever and ends all the same, by whatever, is such an error.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Final, Self

from heed.task_group import TaskGroup

CANCELLED_AGAIN_SECONDS: Final = 10.0
"""How often what still runs at the end is asked again to end, since who meets an error of a group
at the same moment forgets that it was cancelled. Higher: such an end takes longer. Lower than what
a task does at its end: that is cut off."""


class LoopEndedError(RuntimeError):
    """Something that is to go on for ever has ended: a fault of ours."""


class Background:
    """A task group whose tasks are cancelled when its block ends."""

    def __init__(self) -> None:
        self._group = TaskGroup()
        self._is_ending = False

    def keep(self, name: str, loop: Coroutine[None, None, None]) -> None:
        """Run a loop until the block ends; if it ends before, that is an error."""
        self.start(name, self._kept(name, loop))

    def start(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something until it ends, its task is cancelled, or the block ends."""
        task = self._group.create_task(work, name=f"heed-{name}")
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._is_ending = True  # the group cancels the others now

    async def _kept(self, name: str, loop: Coroutine[None, None, None]) -> None:
        try:
            await loop
        except asyncio.CancelledError as error:
            if self._is_ending:
                raise
            raise LoopEndedError(f"{name} was cancelled, by nobody who may") from error
        raise LoopEndedError(f"{name} has ended by itself")

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ending = True
        while tasks := self._group.tasks:
            for task in tasks:
                task.cancel()
            try:
                await asyncio.wait(tasks, timeout=CANCELLED_AGAIN_SECONDS)
            except asyncio.CancelledError as cancelled:
                kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
        try:
            if isinstance(error, Exception):  # the block's own: it goes on by itself
                await self._group.__aexit__(None, None, None)
            else:
                await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failed:
            # One loop's error is the reason; a group of one only hides it.
            raise failed.exceptions[0] if len(failed.exceptions) == 1 else failed from None
