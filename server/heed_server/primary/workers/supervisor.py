"""The supervisor: starts the owner and the workers, keeps them running, and ends them in order.

Laws:
- The owner serves before any worker does, and outlives them all.
- A process that dies is started again, after a pause that doubles up to `BACKOFF_SECONDS_MAX`.
  While the owner is away the workers go on answering Checks by what they know, until that is too
  old; writes fail, and say so. An owner that cannot be started `OWNER_FAILURES_MAX` times one after
  the other takes the whole service down.
- Told to stop, the workers stop first: each announces it, takes no more calls and sees those under
  way to their end. Once none takes calls the owner lets the readers of streams go; once all have
  ended it stops itself.
- Its own death is noticed by every process at the end of its pipe, and is like being told to stop.
"""

import asyncio
import multiprocessing
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from heed.errors import HeedError, UnavailableError
from heed.task_group import TaskGroup
from heed_server.background import Background
from heed_server.backoff import doubled_seconds
from heed_server.config import Config
from heed_server.config.addresses import Address
from heed_server.config.exposure import require_safe_listening
from heed_server.config.places import index_directory
from heed_server.primary.folders import make_data_folder
from heed_server.primary.listening import warn_of_exposure
from heed_server.primary.stopping import Stop
from heed_server.primary.workers.folder import RUN_BYTES, RunFolder
from heed_server.primary.workers.link import Closing, Failed, Link, Message, Order, Ready
from heed_server.primary.workers.ports import kept_ports, require_workers_can_serve
from heed_server.primary.workers.processes import Spec, run

BACKOFF_SECONDS_MIN = 0.1
"""The pause before a process that died is started again, the first time."""
BACKOFF_SECONDS_MAX = 10.0
"""The longest one. Higher: a fault that passed is noticed later. Lower: one that stays costs more
processor time, which those that run need."""
STEADY_SECONDS = 30.0
"""A process that has run for so long begins again with the shortest pause."""
OWNER_FAILURES_MAX = 5
"""So often the owner may fail to start, one time after the other."""
END_SECONDS_MAX = 10.0
"""How long a process may take to end beyond its grace time, before it is killed."""

_log = structlog.stdlib.get_logger("heed_server.primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A server of several processes that serves."""

    config: Config
    addresses: tuple[Address, ...]
    """Where it listens, with the ports that it got."""
    metrics_port: int | None
    """The owner's."""
    keys_required: bool
    key_count: int
    tenant_names: tuple[str, ...]


@asynccontextmanager
async def open_workers(config: Config, stop: Stop) -> AsyncGenerator[Supervised]:
    """Serve within the block; leaving it ends every process in order.

    The block is cancelled when the owner cannot be started any more.

    Raises:
        InvalidArgumentError: the settings would listen openly, or workers cannot serve so.
        UnavailableError: an address or the database cannot be had.
        HeedError: what kept the owner or a worker from starting.
    """
    require_safe_listening(config)
    require_workers_can_serve(config)
    folder = RunFolder(index_directory=index_directory(config), run=secrets.token_bytes(RUN_BYTES))
    make_data_folder(config)
    folder.make()
    with kept_ports(config) as addresses:
        async with Background() as background:
            supervisor = _Supervisor(config, folder, addresses)
            try:
                owner = await supervisor.start(0)
                numbers = range(1, config.listen.workers + 1)
                await asyncio.gather(*map(supervisor.start, numbers))
                warn_of_exposure(config, keys_required=owner.keys_required)
                for number in (0, *numbers):
                    background.start(f"keep-{number}", supervisor.keep(number))
                yield Supervised(
                    config=config,
                    addresses=addresses,
                    metrics_port=owner.metrics_port,
                    keys_required=owner.keys_required,
                    key_count=owner.key_count,
                    tenant_names=owner.tenants,
                )
            finally:
                await supervisor.end(stop)


class _Supervisor:
    """The processes, by their numbers; 0 is the owner."""

    def __init__(self, config: Config, folder: RunFolder, addresses: tuple[Address, ...]) -> None:
        self._config = config
        self._folder = folder
        self._addresses = addresses
        self._children: dict[int, _Child] = {}
        self._is_ending = False

    async def start(self, number: int, *, restarts: int = 0) -> Ready:
        """Start a process and wait until it serves.

        Raises:
            HeedError: it does not; it has ended.
        """
        spec = Spec(
            config=self._config,
            folder=self._folder,
            number=number,
            restarts=restarts,
            addresses=self._addresses if number else (),
        )
        child = self._children[number] = _Child(spec)
        ready = await child.ready()
        _log.info(
            "process_serves",
            name=spec.name,
            pid=child.pid,
            metrics_port=ready.metrics_port,
            restarts=restarts,
        )
        return ready

    async def keep(self, number: int) -> None:
        """Start a process again whenever it has ended, until cancelled.

        Raises:
            HeedError: it is the owner, and cannot be started.
        """
        loop = asyncio.get_running_loop()
        failures = restarts = 0
        while True:
            began = loop.time()
            child = self._children[number]
            await child.ended.wait()
            if self._is_ending:
                return
            failures = 1 if loop.time() - began >= STEADY_SECONDS else failures + 1
            pause = doubled_seconds(BACKOFF_SECONDS_MIN, failures - 1, BACKOFF_SECONDS_MAX)
            _log.error(
                "process_ended", name=child.name, code=child.code, started_again_seconds=pause
            )
            await asyncio.sleep(pause)
            restarts += 1
            try:
                await self.start(number, restarts=restarts)
            except HeedError as error:
                if number == 0 and failures >= OWNER_FAILURES_MAX:
                    raise
                _log.error("process_not_started", name=child.name, why=error.message)

    async def end(self, stop: Stop) -> None:
        """Stop the workers, then the owner."""
        self._is_ending = True
        drain = self._config.drain
        patience_seconds = drain.announce_seconds + drain.grace_seconds + END_SECONDS_MAX
        owner = self._children.get(0)
        workers = [child for number, child in self._children.items() if number]
        async with TaskGroup() as group:
            hurrying = group.create_task(self._hurry(stop))
            for worker in workers:
                worker.say(Order.STOP)
            await _within(patience_seconds, [worker.closing for worker in workers])
            if owner is not None:
                owner.say(Order.END_STREAMS)
            await _within(patience_seconds, [worker.ended for worker in workers])
            for worker in workers:
                worker.kill()
            if owner is not None:
                owner.say(Order.STOP)
                await _within(patience_seconds, [owner.ended])
                owner.kill()
            hurrying.cancel()

    async def _hurry(self, stop: Stop) -> None:
        await stop.hurried.wait()
        for child in self._children.values():
            child.say(Order.HURRY)


class _Child:
    """One process that was spawned."""

    def __init__(self, spec: Spec) -> None:
        self.name = spec.name
        self.closing = asyncio.Event()
        """It takes no calls any more, or has ended."""
        self.ended = asyncio.Event()
        self.code: int | None = None
        """How it ended; less than 0: by which signal."""
        self._heard_first: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(spec, theirs), name=f"heed-{spec.name}")
        self._process.start()
        self.pid = self._process.pid
        theirs.close()
        self._link = Link(ours, heard=self._hear, ended=self._look)
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._look)

    async def ready(self) -> Ready:
        """Wait until it serves.

        Raises:
            HeedError: it ended instead.
        """
        return await self._heard_first

    def say(self, message: Message) -> None:
        """Tell it, if it is there."""
        self._link.say(message)

    def kill(self) -> None:
        """End it if it has not ended, however it is."""
        if not self.ended.is_set():
            _log.error("process_killed", name=self.name)
            self._process.kill()
            self._process.join()
            self._look()

    def _hear(self, message: Message) -> None:
        match message:
            case Ready():
                if not self._heard_first.done():
                    self._heard_first.set_result(message)
            case Failed():
                if not self._heard_first.done():
                    self._heard_first.set_exception(message.error)
            case Closing():
                self.closing.set()
            case Order():
                raise AssertionError(f"a process does not order {message!r}")

    def _look(self) -> None:
        """Take note of its end, once it has come."""
        self._process.join(0)
        if self._process.exitcode is None or self.ended.is_set():
            return
        self.code = self._process.exitcode
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._link.drain()
        self._link.close()
        self._process.close()
        if not self._heard_first.done():
            self._heard_first.set_exception(
                UnavailableError(f"{self.name} ended with code {self.code} before it served")
            )
        self.closing.set()
        self.ended.set()


async def _within(seconds: float, events: list[asyncio.Event]) -> None:
    """Wait until all have come, and no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
    except TimeoutError:
        return
