"""What workers answered, for the owner, which answers no Check: a small file of each worker.

Laws:
- A worker alone writes its file, once a second where anything changed; it goes on from what it had
  written in this run, so a worker that died loses the last second and not the rest.
- A file of another run, or one that cannot be read, says nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog

from heed.model import Channel, TenantId
from heed_server.primary.workers.folder import RunFolder, put
from heed_server.service.tally import Tally, Volume, together

WRITE_SECONDS = 1.0
"""How often a worker writes. Higher: what is shown of it is older. Lower: more small writes."""

_log = structlog.stdlib.get_logger("heed_server.workers")


class _Volume(msgspec.Struct, array_like=True, frozen=True):
    channel: int
    topic: str
    messages: int
    overriding: int


class _Tally(msgspec.Struct, array_like=True, frozen=True):
    by_rule: list[int]
    undeclared: int
    mandatory: list[_Volume]


class _File(msgspec.Struct, frozen=True):
    run: bytes
    tenants: dict[TenantId, _Tally]


class WorkerTallies:
    """The tallies of one worker, kept in its file."""

    def __init__(
        self, folder: RunFolder, number: int, current: Callable[[], Mapping[TenantId, Tally]]
    ) -> None:
        """Read what a worker of this number had answered in this run; `current`: what this did."""
        self._path = _path(folder, number)
        self._run = folder.run
        self._current = current
        self._before = _read(self._path, folder.run)
        self._written = b""

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self.write()

    def write(self) -> None:
        """Write what is to be told, if it is not what was told last."""
        current = self._current()
        tenants = {
            tenant_id: _told(
                together(of[tenant_id] for of in (self._before, current) if tenant_id in of)
            )
            for tenant_id in self._before.keys() | current.keys()
        }
        content = msgspec.json.encode(_File(self._run, tenants))
        if content == self._written:
            return
        try:
            put(self._path, content)
        except OSError as error:  # the disk is full: Checks go on, and are told of later
            _log.warning("tally_not_written", why=str(error))
            return
        self._written = content


def read_tallies(folder: RunFolder) -> Mapping[TenantId, Tally]:
    """Return what the workers of this run answered about each tenant, as they last wrote."""
    files = [_read(path, folder.run) for path in sorted(folder.path.glob("tally-*"))]
    return {
        tenant_id: together(found[tenant_id] for found in files if tenant_id in found)
        for tenant_id in set().union(*files)
    }


def _path(folder: RunFolder, number: int) -> Path:
    return folder.path / f"tally-{number}"


def _read(path: Path, run: bytes) -> dict[TenantId, Tally]:
    try:
        read = msgspec.json.decode(path.read_bytes(), type=_File)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
    if read.run != run:
        return {}
    return {TenantId(number): _tally(told) for number, told in read.tenants.items()}


def _told(tally: Tally) -> _Tally:
    return _Tally(
        tally.by_rule,
        tally.undeclared,
        [
            _Volume(channel, topic, volume.messages, volume.overriding)
            for (channel, topic), volume in sorted(tally.mandatory.items())
        ],
    )


def _tally(told: _Tally) -> Tally:
    return Tally(
        by_rule=told.by_rule,
        undeclared=told.undeclared,
        mandatory={
            (Channel(one.channel), one.topic): Volume(one.messages, one.overriding)
            for one in told.mandatory
        },
    )
