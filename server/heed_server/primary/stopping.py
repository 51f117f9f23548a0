"""How a node is told to stop, and how it stops without losing anything.

The order, and why:
1. Health says NOT_SERVING of everything, and for a moment nothing else changes: whoever watches
   health goes elsewhere while every call is still answered.
2. The server stops taking calls first, and tells connections so; calls under way end. Streams of
   checks end once what they read is answered. Streams of changes end each at its own time within
   half the grace time, so that their readers do not all come to another node at once.
3. What still runs after the grace time is cancelled. A commit under way is finished all the same;
   its caller learns the outcome by its key.
4. The loops end, the index is sealed, the database is closed: in the reverse of their opening.

A second signal shortens 1 and 3 to nothing, and nothing else.
Source: reference "Drain and health"; grpc-go#6830 for the order of 2.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

import structlog
from grpc import aio

from heed.task_group import TaskGroup
from heed_server.config import DrainConfig
from heed_server.rpc import Health

HURRY_AFTER_SECONDS = 0.5
"""A signal sooner than this after the first is the same request: some supervisors send a signal to
the process and to its group."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.stdlib.get_logger("heed_server.primary")


class Stoppable(Protocol):
    """The HTTP edges, as far as they are told to stop."""

    async def stop(self, grace_seconds: float | None) -> None:
        """Begin to stop, letting what is under way end within so many seconds; None: at once."""
        ...


class Stop:
    """Whether somebody asked the node to stop, and whether they asked twice."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._asked_at = 0.0

    def ask(self, by: str, *, at: float) -> None:
        """Ask to stop; asking again later hurries. `at` is of a clock that only runs forward."""
        if not self.asked.is_set():
            self.asked.set()
            self._asked_at = at
            _log.info("stopping", by=by)
        elif at - self._asked_at >= HURRY_AFTER_SECONDS and not self.hurried.is_set():
            self.hurried.set()
            _log.warning("stopping_faster", by=by)

    @contextmanager
    def on_signals(self) -> Generator[None]:
        """Let SIGTERM and SIGINT ask, within the block."""
        loop = asyncio.get_running_loop()

        def heard(name: str) -> None:
            self.ask(name, at=loop.time())

        for number in _SIGNALS:
            loop.add_signal_handler(number, heard, signal.Signals(number).name)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


async def drain(
    server: aio.Server,
    health: Health,
    end_streams: Callable[[float], None],
    stop: Stop,
    config: DrainConfig,
    edges: Stoppable | None = None,
) -> None:
    """Stop taking calls and see those under way to their end.

    `end_streams` ends those that have none, each at its own time within so many seconds.
    """
    await health.drain()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(config.announce_seconds):
            await stop.hurried.wait()
    health.end_watches()  # they never end by themselves, and would take all the time there is
    grace_seconds = None if stop.hurried.is_set() else config.grace_seconds
    async with TaskGroup() as group:
        hurrying = group.create_task(_cancel_calls(server, stop, edges))
        if edges is not None:
            group.create_task(edges.stop(grace_seconds))
        # After the server began to stop: a reader that is told to go must not come back to it.
        group.create_task(_end_streams(end_streams, (grace_seconds or 0) / 2))
        await server.stop(grace_seconds)
        hurrying.cancel()


async def _end_streams(end_streams: Callable[[float], None], seconds: float) -> None:
    end_streams(seconds)


async def _cancel_calls(server: aio.Server, stop: Stop, edges: Stoppable | None) -> None:
    await stop.hurried.wait()
    if edges is not None:
        await edges.stop(None)
    await server.stop(None)
