"""How calls end that nobody foresaw, that are cancelled, and that ask for too much at a time."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from structlog.testing import capture_logs

from heed.errors import ErrorReason, ExhaustedError, UnavailableError
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.audit import Prover
from heed_server.follow import Follower
from heed_server.rpc import RpcLimits
from heed_server.service.link_keys import LinkKeys
from heed_server.storage import SqlStore
from heed_server.storage.webhooks import WebhookTables
from heed_server.watch import Watches
from tests.support import requests as ask
from tests.support.servers import METHODS, Running, running_server

SECRET = "ada.lovelace@example.com"
WRITES_WITHOUT_A_KEY = {
    "CreateTenant",
    "DeclareSubscriber",
    "WithdrawSubscriber",
    "GrantApproval",
    "RejectApproval",
    "ReplayDeadLetters",
    "DiscardDeadLetters",
}

ASKED = [
    (store, name)
    for store in (SqlStore, WebhookTables)
    for name, _ in inspect.getmembers(store, inspect.isfunction)
    if not name.startswith("_") and name not in {"close", "on_commit"}
]
"""All that a store is asked."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, observe_checks=True) as running:
        yield running


def broken(*_: object, **__: object) -> Any:
    """A mistake of ours, whose text holds an address."""
    raise KeyError(SECRET)


@pytest.mark.parametrize("name", sorted({*METHODS} - {"StreamCheckSuppression"}))
async def test_a_mistake_of_ours_is_unavailable_and_tells_no_address(
    server: Running, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for store, method in ASKED:
        monkeypatch.setattr(store, method, broken)
    for method in ("checkpoint", "receipt", "claimed_receipt", "consistency", "tile"):
        monkeypatch.setattr(Prover, method, broken)
    monkeypatch.setattr(Follower, "source_age_seconds", broken)
    monkeypatch.setattr(Watches, "open", broken)
    monkeypatch.setattr(LinkKeys, "keyset", broken)

    with capture_logs() as lines, pytest.raises(UnavailableError) as refused:
        await server.call(name, ask.VALID[name]())

    is_write = any(field.name == "replayed" for field in METHODS[name].output_type.fields)
    assert refused.value.reason is (
        ErrorReason.OUTCOME_UNKNOWN
        if is_write or name in WRITES_WITHOUT_A_KEY
        else ErrorReason.STORE_UNAVAILABLE
    )
    (line,) = [line for line in lines if line["event"] == "call_failed"]
    assert (line["method"], line["error"]) == (name, "KeyError")
    assert "broken" in line["at"][-1]
    assert SECRET not in str(line) + str(refused.value)
    assert await server.next_end() == (name, "UNAVAILABLE", refused.value.reason.value, "open")


async def test_checks_are_counted_where_it_is_asked_for(tmp_path: Path) -> None:
    for observes, first in ((True, "CheckSuppression"), (False, "ListHolds")):
        async with running_server(tmp_path, observe_checks=observes) as server:
            await server.call("CheckSuppression", ask.check())
            await server.call("ListHolds", admin.ListHoldsRequest())

            assert (await server.next_end())[0] == first


async def test_a_check_that_is_not_counted_ends_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "source_age_seconds", broken)
    async with running_server(tmp_path) as server:
        with pytest.raises(UnavailableError) as refused:
            await server.call("CheckSuppression", ask.check())

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE


async def test_a_write_whose_caller_went_away_happens_once(server: Running) -> None:
    data = ask.set_preference().SerializeToString()
    calls = [asyncio.create_task(server.send("SetPreference", data)) for _ in range(8)]
    await asyncio.sleep(0)
    for call in calls[1:]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    answer = await server.call("SetPreference", ask.set_preference())

    assert answer.replayed
    assert await server.head() == 1


async def test_a_call_past_its_deadline_is_cancelled_and_noted(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(SqlStore, "append", slow)
    with pytest.raises(aio.AioRpcError) as refused:
        await server.send("SetPreference", ask.set_preference().SerializeToString(), timeout=2)
    async with asyncio.timeout(10):
        await begun.wait()
        await ended.wait()

    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await server.next_end() == ("SetPreference", "CANCELLED", "", "open")


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that takes one export at a time and waits a moment for its reader."""
    limits = RpcLimits(streams_max=1, write_seconds_max=0.5)
    async with running_server(tmp_path, rpc_limits=limits) as running:
        for chunk in range(2):
            asked = ask.import_records(5_000, key=f"chunk {chunk}")
            for row in asked.rows:
                row.subject.email = f"user{chunk}.{row.row}@example.com"
            await running.call("ImportRecords", asked)
        yield running


async def test_an_export_whose_reader_is_stuck_is_cut_off(small: Running) -> None:
    """What a reader does not take fills the windows of the connection, here small ones, and the
    sockets; then nothing more goes out."""
    while not small.observed.empty():
        small.observed.get_nowait()
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    async with aio.insecure_channel(small.address, options) as narrow:
        stream = export(small, narrow)
        await anext(aiter(stream))

        end = await small.next_end()
        others = await small.call("ExportRecords", admin.ExportRecordsRequest())

    assert end == ("ExportRecords", "RESOURCE_EXHAUSTED", "OVERLOADED", "open")
    assert others[-1].total == 10_000


async def test_one_export_more_than_may_be_under_way_is_refused(small: Running) -> None:
    stream = export(small)
    messages = aiter(stream)
    await anext(messages)

    with pytest.raises(ExhaustedError) as refused:
        await small.call("ExportRecords", admin.ExportRecordsRequest())
    stream.cancel()

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert refused.value.metadata == {"limit": "streams_max"}


async def test_an_export_that_was_abandoned_makes_room(small: Running) -> None:
    stream = export(small)
    await anext(aiter(stream))
    stream.cancel()

    async with asyncio.timeout(20):
        while True:
            try:
                answers = await small.call("ExportRecords", admin.ExportRecordsRequest())
                break
            except ExhaustedError:
                continue

    assert answers[-1].total == 10_000


async def test_an_export_is_of_one_revision_whatever_is_written_meanwhile(small: Running) -> None:
    stream = export(small)
    messages = aiter(stream)
    answers = [admin.ExportRecordsResponse.FromString(await anext(messages))]
    await small.call("SetPreference", ask.set_preference(email="later@example.com"))
    answers += [admin.ExportRecordsResponse.FromString(data) async for data in messages]

    assert answers[-1].total == sum(len(one.records) for one in answers) == 10_000
    assert answers[-1].position.revision == 10_000
    assert await small.head() == 10_001


def export(
    server: Running, channel: aio.Channel | None = None
) -> "aio.UnaryStreamCall[bytes, bytes]":
    """An export that is read message by message."""
    method: aio.UnaryStreamMultiCallable[bytes, bytes] = (channel or server.channel).unary_stream(
        "/heed.v1.AdminService/ExportRecords"
    )
    return method(b"", timeout=60)


async def test_too_many_calls_at_a_time_are_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path, rpc_limits=RpcLimits(calls_max=4)) as server:
        data = ask.set_preference().SerializeToString()
        results = await asyncio.gather(
            *(server.send("SetPreference", data) for _ in range(200)), return_exceptions=True
        )

    codes = {one.code() for one in results if isinstance(one, aio.AioRpcError)}
    assert codes <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert any(not isinstance(one, BaseException) for one in results)
