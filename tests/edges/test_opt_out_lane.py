"""A single opt-out has room while everything else that a server takes on is taken.

"While" is made sure of, not waited for: no group of writes is committed before every other lane has
turned somebody away since the group before. However slow a machine is, each opt-out waits beside
lanes that are full.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import aio

from heed.errors import ExhaustedError, HeedError
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from heed_server.rates import RateLimits
from heed_server.rpc import CheckStreamLimits
from heed_server.service.admission import Admission, CallLimits
from heed_server.service.caps import CapLimits, Caps
from heed_server.storage import StorageLimits
from heed_server.storage.sqlite import SqliteBackend
from heed_server.watch import WatchLimits
from tests.support import requests as ask
from tests.support.servers import METHODS, Running, error_of, new_channel, running_server

OPT_OUTS = 80
AT_A_TIME = 8
PAUSE_SECONDS = 0.05
"""What passes until a caller asks again, as one does who was told to wait."""

STREAMS = 4
"""Of checks, and of changes."""
GROUP = 8
"""Writes of one commit."""
QUEUE = 40
"""Writes that wait: an opt-in among at most 30, a batch among at most 20."""
PLACES = 24

Ask = Callable[[int], Message]


def opt_out(at: int) -> Message:
    return ask.set_preference(ask.opt_out(), email=f"out{at}@example.com", key=f"out-{at}")


def opt_in(at: int) -> Message:
    return ask.set_preference(ask.opt_in(), email=f"in{at}@example.com", key=f"in-{at}")


LANES: dict[str, tuple[int, Ask]] = {
    "CheckSuppression": (4, lambda _: ask.check()),
    "BatchCheckSuppression": (2, lambda _: ask.batch_check(20)),
    "StreamCheckSuppression": (STREAMS + 2, lambda _: ask.stream_check()),
    # More than wait and are committed together: some are turned away however the others share.
    "SetPreference": (QUEUE, opt_in),
    "BatchSetPreferences": (
        QUEUE // 2 + GROUP + 2,
        lambda at: ask.batch_set_preferences(2, f"b{at}"),
    ),
    "GetPreferences": (4, lambda _: ask.VALID["GetPreferences"]()),
    "ExportRecords": (4, lambda _: admin.ExportRecordsRequest()),
    "WatchChanges": (STREAMS + 2, lambda _: ask.VALID["WatchChanges"]()),
}
"""How many ask at a time, again and again, and what."""

OWN_BOUNDS = {
    "StreamCheckSuppression": "check_streams_max",
    "SetPreference": "writes_queued_max",
    "BatchSetPreferences": "writes_queued_max",
    "GetPreferences": "reads_per_second_max",
    "ExportRecords": "reads_per_second_max",
    "WatchChanges": "streams_max",
}
"""What each lane is full by; Checks that wait for nothing are never turned away."""


@dataclass
class Load:
    """Callers who ask for all there is, until they are told to stop."""

    bounds: Mapping[str, str]
    """When every lane is full: each has turned somebody away, by this limit."""
    failed: list[str] = field(default_factory=list)
    """What went otherwise than that somebody was turned away."""
    groups: int = 0
    """How often every lane was found full."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _is_full: asyncio.Event = field(default_factory=asyncio.Event)
    _is_over: bool = False
    _number: int = 0

    @asynccontextmanager
    async def run(self, address: str) -> AsyncGenerator[None]:
        async with new_channel(address) as channel, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(channel, name, request))
                for name, (callers, request) in LANES.items()
                for _ in range(callers)
            ]
            try:
                yield
            finally:
                self._is_over = True
                self._is_full.set()
                for task in tasks:
                    task.cancel()

    async def until_full(self) -> None:
        """Wait until every lane has turned somebody away from now on."""
        if not self._is_over:
            self._seen.clear()
            self._is_full.clear()
            await self._is_full.wait()
            self.groups += 1

    async def _ask(self, channel: aio.Channel, name: str, request: Ask) -> None:
        while not self._is_over:
            self._number += 1
            try:
                await _call(channel, name, request(self._number).SerializeToString())
            except aio.AioRpcError as error:
                self._note(name, error)
            await asyncio.sleep(PAUSE_SECONDS)

    def _note(self, name: str, error: aio.AioRpcError) -> None:
        try:
            refusal: HeedError | None = error_of(error)
        except AssertionError:  # the end of a stream overtook its request, and how it ended is lost
            return
        if not isinstance(refusal, ExhaustedError):
            self.failed.append(f"{name}: {refusal}")
            return
        self._seen.add((name, refusal.metadata["limit"]))
        if self._seen >= self.bounds.items():
            self._is_full.set()


async def _call(channel: aio.Channel, name: str, data: bytes) -> None:
    """Make a call, and hold it for as long as its answer lasts."""
    method = METHODS[name]
    path = f"/{method.containing_service.full_name}/{name}"
    if method.client_streaming:
        conversing: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        async for _ in conversing(_again(data)):
            pass
    elif method.server_streaming:
        streaming: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        async for _ in streaming(data):
            pass
    else:
        unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await unary(data)


async def _again(data: bytes) -> AsyncGenerator[bytes]:
    while True:
        yield data
        await asyncio.sleep(PAUSE_SECONDS)


@pytest.mark.parametrize(
    ("calls", "queue", "bounds"),
    [
        (CallLimits(), QUEUE, OWN_BOUNDS),
        (
            CallLimits(calls_of_principal_max=PLACES),
            StorageLimits().writes_queued_max,
            dict.fromkeys(LANES, "calls_of_principal_max"),
        ),
    ],
    ids=["each by a bound of its own", "all by the places of their caller"],
)
async def test_opt_outs_succeed_while_every_other_lane_is_full(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: CallLimits,
    queue: int,
    bounds: Mapping[str, str],
) -> None:
    """All of them, of the very caller who takes all else, and without a second attempt."""
    load = Load(bounds)
    write = SqliteBackend.write

    async def held(self: SqliteBackend, *arguments: Any, **named: Any) -> Any:
        await load.until_full()
        return await write(self, *arguments, **named)

    async with running_server(
        tmp_path,
        storage_limits=StorageLimits(writes_queued_max=queue, group_writes_max=GROUP),
        watch_limits=WatchLimits(streams_max=STREAMS),
        check_stream_limits=CheckStreamLimits(check_streams_max=STREAMS),
        admission=Admission(calls, RateLimits(reads_per_second_max=1, burst_seconds=1)),
        caps=Caps(CapLimits(bulk_people_per_hour_max=0, consents_per_hour_max=0)),
    ) as server:
        monkeypatch.setattr(SqliteBackend, "write", held)
        async with load.run(server.address):
            await _opt_out_all(server)
        monkeypatch.setattr(SqliteBackend, "write", write)
        checked = await server.call("CheckSuppression", ask.check("out0@example.com"))

    assert load.failed == []
    assert load.groups >= OPT_OUTS / GROUP
    assert checked.decision.verdict == pb.VERDICT_SUPPRESSED


async def _opt_out_all(server: Running) -> None:
    numbers = iter(range(OPT_OUTS))

    async def opt_out_on() -> None:
        for at in numbers:
            await server.call("SetPreference", opt_out(at), timeout=60)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(opt_out_on())
