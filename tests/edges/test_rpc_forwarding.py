"""Calls that one server hands on to another: what passes, and what is told when that is gone."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio

from heed.errors import ErrorReason, HeedError, OutcomeUnknownError, UnavailableError
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.rpc.forwarding import STREAMS_MAX, Forwarding, Handler, path_of
from heed_server.rpc.server import RpcLimits, new_server, services
from tests.support import requests as ask
from tests.support.servers import ENDLESS, METHODS, error_of, new_channel, running_server


@asynccontextmanager
async def handing_on(to: str, *, streams_max: int = STREAMS_MAX) -> AsyncGenerator[aio.Channel]:
    """A server that hands every call on to an address; yields a channel to it."""
    async with new_channel(to) as channel:
        forwarding = Forwarding(channel, whom="the other side", streams_max=streams_max)
        server = new_server(RpcLimits())
        for described in services():
            handlers = {
                one.name: forwarding.handler(
                    one, farewell=(lambda: b"") if one.name in ENDLESS else None
                )
                for one in described.methods
            }
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(described.full_name, handlers),)
            )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with new_channel(f"127.0.0.1:{port}") as through:
                yield through
        finally:
            await server.stop(None)


async def test_answers_refusals_and_streams_come_back_as_they_were_given(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, handing_on(server.address) as through:
        written = await server.call("SetPreference", ask.set_preference(), channel=through)
        there = await server.call("CheckSuppression", ask.check())
        here = await server.call("CheckSuppression", ask.check(), channel=through)
        exported = await server.call("ExportRecords", admin.ExportRecordsRequest(), channel=through)
        opened = await server.send(
            "WatchChanges", ask.watch_changes().SerializeToString(), channel=through
        )
        with pytest.raises(HeedError) as refused_there:
            await server.call("LiftHold", ask.lift_hold("hold-9"))
        with pytest.raises(HeedError) as refused_here:
            await server.call("LiftHold", ask.lift_hold("hold-9"), channel=through)

    assert written.position.revision == here.position.revision == 1
    assert here.decision == there.decision
    assert len(exported) > 0
    assert opened[0]
    assert refused_here.value.reason == refused_there.value.reason
    assert refused_here.value.metadata == refused_there.value.metadata
    assert refused_here.value.message == refused_there.value.message


async def test_who_is_gone_may_have_written_and_answers_nothing_else(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        address, call = server.address, server.call
    async with handing_on(address) as through:
        with pytest.raises(OutcomeUnknownError):
            await call("SetPreference", ask.set_preference(), channel=through)
        with pytest.raises(UnavailableError):
            await call("CheckSuppression", ask.check(), channel=through)
        with pytest.raises(UnavailableError):
            await call("ExportRecords", admin.ExportRecordsRequest(), channel=through)


class Recorder:
    """A server that notes what comes with each call, and answers none until it is told to."""

    def __init__(self) -> None:
        self.metadata: dict[str, str | bytes] = {}
        self.seconds_left: float | None = None
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def answer(
        self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> bytes:
        self.metadata = dict(context.invocation_metadata() or ())
        self.seconds_left = context.time_remaining()
        self.arrived.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""


@asynccontextmanager
async def recording() -> AsyncGenerator[tuple[str, Recorder]]:
    recorder = Recorder()
    server = new_server(RpcLimits())
    handler: Handler = grpc.unary_unary_rpc_method_handler(recorder.answer)
    service = METHODS["SetPreference"].containing_service.full_name
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"SetPreference": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}", recorder
    finally:
        await server.stop(None)


async def test_a_call_takes_its_credential_its_deadline_and_its_cancellation_along() -> None:
    async with recording() as (address, recorder), handing_on(address) as through:
        start: aio.UnaryUnaryMultiCallable[bytes, bytes]
        start = through.unary_unary(path_of(METHODS["SetPreference"]))
        metadata = (("authorization", "Bearer heed_x"), ("traceparent", "00-a-b-01"))
        async with asyncio.timeout(20):
            call = start(b"", timeout=15, metadata=metadata)
            await recorder.arrived.wait()
            call.cancel()
            await recorder.cancelled.wait()

    assert recorder.metadata["authorization"] == "Bearer heed_x"
    assert recorder.metadata["traceparent"] == "00-a-b-01"
    assert recorder.seconds_left is not None
    assert 10 < recorder.seconds_left < 16  # gRPC rounds a deadline up on its way


async def test_a_call_without_a_credential_gets_none_on_its_way() -> None:
    async with recording() as (address, recorder), handing_on(address) as through:
        start: aio.UnaryUnaryMultiCallable[bytes, bytes]
        start = through.unary_unary(path_of(METHODS["SetPreference"]))
        async with asyncio.timeout(20):
            call = start(b"", timeout=15)
            await recorder.arrived.wait()
            call.cancel()

    assert "authorization" not in recorder.metadata


async def test_streams_without_an_end_leave_room_for_calls(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path) as server,
        handing_on(server.address, streams_max=1) as through,
    ):
        start: aio.UnaryStreamMultiCallable[bytes, bytes]
        start = through.unary_stream(path_of(METHODS["WatchChanges"]))
        request = ask.watch_changes().SerializeToString()
        first = start(request)
        assert await anext(aiter(first))
        with pytest.raises(aio.AioRpcError) as refused:
            await anext(aiter(start(request)))
        answered = await server.call("CheckSuppression", ask.check(), channel=through)
        first.cancel()

    assert error_of(refused.value).reason is ErrorReason.LIMIT_REACHED
    assert answered.decision.verdict
