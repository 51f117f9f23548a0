"""A single opt-out has room while everything else that a server takes on is taken."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from google.protobuf.message import Message
from grpc import aio

from heed.errors import ErrorReason
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.served import Served
from tests.support.servers import METHODS, error_of, new_channel

OPT_OUTS = 500
AT_A_TIME = 8
SETTINGS = {
    # Small, so that a load that a shared machine can drive takes all there is.
    "HEED_LIMITS_CALLS_MAX": "512",
    "HEED_LIMITS_CALLS_OF_PRINCIPAL_MAX": "40",
    "HEED_LIMITS_STREAMS_MAX": "1",
    "HEED_LIMITS_CHECK_STREAMS_MAX": "4",
    "HEED_WATCH_STREAMS_MAX": "4",
    "HEED_RATES_READS_PER_SECOND_MAX": "50",
    "HEED_RATES_BURST_SECONDS": "1",
    "HEED_STORAGE_WRITES_QUEUED_MAX": "40",
}

Ask = Callable[[int], Message]


def opt_out(at: int) -> preference.SetPreferenceRequest:
    return ask.set_preference(ask.opt_out(), email=f"out{at}@example.com", key=f"out-{at}")


def opt_in(at: int) -> preference.SetPreferenceRequest:
    return ask.set_preference(ask.opt_in(), email=f"in{at}@example.com", key=f"in-{at}")


def batch(at: int) -> preference.BatchSetPreferencesRequest:
    request = preference.BatchSetPreferencesRequest(idempotency_key=f"batch-{at}")
    for person in range(10):
        request.people.add(
            subjects=[ask.subject(f"b{at}.{person}@example.com")],
            choices=[ask.opt_out()],
            origin=ask.origin(),
        )
    return request


LANES: dict[str, tuple[int, Ask]] = {
    "CheckSuppression": (4, lambda _: ask.check()),
    "BatchCheckSuppression": (2, lambda _: ask.batch_check(200)),
    "StreamCheckSuppression": (6, lambda _: ask.stream_check()),
    "SetPreference": (32, opt_in),
    "BatchSetPreferences": (24, batch),
    "GetPreferences": (8, lambda _: ask.VALID["GetPreferences"]()),
    "ExportRecords": (4, lambda _: admin.ExportRecordsRequest()),
    "WatchChanges": (6, lambda _: ask.VALID["WatchChanges"]()),
}
"""How many ask at a time, again and again, and what."""

FULL = {
    "BatchSetPreferences",
    "ExportRecords",
    "GetPreferences",
    "SetPreference",
    "StreamCheckSuppression",
    "WatchChanges",
}
"""Those with a bound of their own; Checks that wait for nothing are never turned away."""


class Load:
    """Callers who ask for all there is, until they are told to stop."""

    def __init__(self, address: str) -> None:
        self.refused: Counter[tuple[str, ErrorReason]] = Counter()
        self.answered: Counter[str] = Counter()
        self._address = address
        self._number = 0
        self._is_over = False

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        async with new_channel(self._address) as channel, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._ask(channel, name, request))
                for name, (callers, request) in LANES.items()
                for _ in range(callers)
            ]
            try:
                yield
            finally:
                self._is_over = True
                for task in tasks:
                    task.cancel()

    @property
    def is_everything_full(self) -> bool:
        """Whether every lane that has a bound has turned somebody away."""
        return {name for name, _ in self.refused} >= FULL

    async def _ask(self, channel: aio.Channel, name: str, request: Ask) -> None:
        while not self._is_over:
            self._number += 1
            data = request(self._number).SerializeToString()
            try:
                await _call(channel, name, data)
                self.answered[name] += 1
            except aio.AioRpcError as error:
                with suppress(AssertionError):  # of the transport: the call was cut off
                    self.refused[name, error_of(error).reason] += 1
                await asyncio.sleep(0.05)  # as a caller does who is told to wait


async def _call(channel: aio.Channel, name: str, data: bytes) -> None:
    """Make a call, and hold it for as long as its answer lasts."""
    method = METHODS[name]
    path = f"/{method.containing_service.full_name}/{name}"
    if method.client_streaming:
        conversing: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        conversation = conversing(timeout=30)
        await conversation.write(data)
        async for _ in conversation:
            await conversation.write(data)
    elif method.server_streaming:
        streaming: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
        async for _ in streaming(data, timeout=30):
            pass
    else:
        unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        await unary(data, timeout=30)


async def _until(told: Callable[[], bool], act: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not told():
            await act()


@pytest.mark.timeout(120)
async def test_opt_outs_succeed_while_every_other_lane_is_full(tmp_path: Path) -> None:
    """All of them, of the very caller who takes all else, and without a second attempt."""
    with Served(tmp_path, variables=SETTINGS) as server:
        load = Load(server.address)
        failed: list[str] = []
        numbers = iter(range(OPT_OUTS))

        async with load.run(), new_channel(server.address) as channel:
            opt_outs: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/heed.v1.PreferenceService/SetPreference"
            )

            async def opt_out_all() -> None:
                for at in numbers:
                    try:
                        await opt_outs(opt_out(at).SerializeToString(), timeout=20)
                    except aio.AioRpcError as error:
                        failed.append(f"{at}: {error.code()} {error.details()}")

            await _until(lambda: load.is_everything_full, lambda: asyncio.sleep(0.05))
            load.refused.clear()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(opt_out_all())
            refused_meanwhile = {name for name, _ in load.refused}

            check = await _answer(channel, "CheckSuppression", ask.check("out0@example.com"))

        assert failed == []
        assert refused_meanwhile >= FULL - {"StreamCheckSuppression"}, load.refused
        answered = preference.CheckSuppressionResponse.FromString(check)
        assert answered.decision.verdict == pb.VERDICT_SUPPRESSED


async def _answer(channel: aio.Channel, name: str, request: Message) -> bytes:
    method = METHODS[name]
    unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{method.containing_service.full_name}/{name}"
    )
    return await unary(request.SerializeToString(), timeout=20)
