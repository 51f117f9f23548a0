"""Tasks that run side by side and end together, whichever Python runs them.

Before Python 3.13 an `asyncio.TaskGroup` whose task fails while the group waits for the others
leaves a request to cancel on the task it is used in, for ever (gh-116720). Later groups of that
task then end by `CancelledError` instead of their errors, and before Python 3.11.4 so does each
`asyncio.timeout`: a loop ends without a word, where it was to try again.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class TaskGroup:
    """An `asyncio.TaskGroup` that leaves no request to cancel behind.

    It waits for its tasks within the group's block, where the group takes its request back.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()  # noqa: TID251 - the one place
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """Those that have not ended."""
        return frozenset(self._tasks)

    def create_task(
        self, work: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> asyncio.Task[T]:
        """Run something until it ends, the block is cancelled, or another of the group fails."""
        task = self._group.create_task(work, name=name)
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
        """Wait for every task.

        Raises:
            BaseExceptionGroup: some failed, and all others were cancelled; or the block did.
        """
        if error is None:
            try:
                while self._tasks:
                    await asyncio.wait(self._tasks)
            except asyncio.CancelledError as cancelled:
                kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
        await self._group.__aexit__(kind, error, trace)
