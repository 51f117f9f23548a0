"""What runs in each process that the supervisor spawns, from its first line to its exit.

Laws:
- A process stops when its supervisor says so, or is gone. Signals it leaves to the supervisor:
  those that go to a whole group would end the owner under the workers.
- What ends it is told to the supervisor, if that is there, and by the exit code.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import structlog

from heed.errors import HeedError
from heed_server.config import Config
from heed_server.config.addresses import Address
from heed_server.primary.loop import freeze_what_stays, loop_factory
from heed_server.primary.stopping import Stop
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.link import Closing, Link, Message, Order, Ready, failed
from heed_server.telemetry.logs import configure_logs

SUPERVISOR = "the supervisor"
SUPERVISOR_GONE = "the end of the supervisor"

_log = structlog.stdlib.get_logger("heed_server.primary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a process is to be."""

    config: Config
    folder: RunFolder
    number: int
    """0: the owner; else which worker."""
    restarts: int
    addresses: tuple[Address, ...] = ()
    """Where a worker listens."""

    @property
    def name(self) -> str:
        """For logs."""
        return f"worker-{self.number}" if self.number else "owner"


def run(spec: Spec, connection: "Connection[Message, Message]") -> None:
    """Be the owner or a worker; the process ends with this."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    telemetry = spec.config.telemetry
    configure_logs(log_format=telemetry.log_format, level=telemetry.log_level)
    structlog.contextvars.bind_contextvars(process=spec.name)
    with asyncio.Runner(loop_factory=loop_factory(spec.config.listen)) as runner:
        is_well = runner.run(_serve(spec, connection))
    sys.exit(0 if is_well else 1)


async def _serve(spec: Spec, connection: "Connection[Message, Message]") -> bool:
    stop = Stop()
    loop = asyncio.get_running_loop()
    heard: list[Callable[[], None]] = []

    def hear(message: Message) -> None:
        match message:
            case Order.STOP:
                stop.ask(SUPERVISOR, at=loop.time())
            case Order.HURRY:
                stop.hurried.set()
            case Order.END_STREAMS:
                for end_streams in heard:
                    end_streams()
            case _:
                raise AssertionError(f"the supervisor does not say {message!r}")

    link = Link(connection, heard=hear, ended=lambda: stop.ask(SUPERVISOR_GONE, at=loop.time()))
    try:
        async with _opened(spec, stop, link, heard.append) as ready:
            freeze_what_stays()
            link.say(ready)
            await stop.asked.wait()
    except HeedError as error:
        _log.critical("process_failed", reason=error.reason, why=error.message)
        link.say(failed(error))
        return False
    except Exception:  # noqa: BLE001 - the root of a run
        _log.exception("process_failed")
        return False
    finally:
        link.close()
    return True


@asynccontextmanager
async def _opened(
    spec: Spec, stop: Stop, link: Link, on_end_streams: Callable[[Callable[[], None]], None]
) -> AsyncGenerator[Ready]:
    if spec.number:
        from heed_server.primary.workers.worker import open_worker

        async with open_worker(
            spec.config,
            spec.folder,
            stop,
            addresses=spec.addresses,
            number=spec.number,
            restarts=spec.restarts,
            closing=lambda: link.say(Closing()),
        ) as worker:
            yield Ready(metrics_port=worker.metrics_port)
        return
    from heed_server.primary.workers.owner import open_owner

    async with open_owner(spec.config, spec.folder, stop) as node:
        on_end_streams(lambda: node.end_streams(spec.config.drain.grace_seconds / 2))
        yield Ready(
            metrics_port=node.metrics_port,
            keys_required=node.keys_required,
            key_count=node.key_count,
            tenants=node.tenant_names,
        )
