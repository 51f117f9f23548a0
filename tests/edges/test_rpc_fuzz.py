"""Anything sent to any RPC gets a clear error or an answer, and an error changes nothing."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc import aio

from heed.errors import ErrorReason, HeedError
from heed.wire import limits
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from tests.support import hostile
from tests.support import requests as ask
from tests.support.servers import METHODS, Running, error_of, running_server

CLEAR = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""The codes of an error that says what was wrong with a request."""

STANDARD = (
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def unchanged(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A server of which nothing is asked that it does not refuse."""
    async with running_server(tmp_path_factory.mktemp("unchanged")) as running:
        yield running


async def refusal_of(server: Running, name: str, data: bytes) -> aio.AioRpcError | None:
    """How a call failed, if it did; a failure must have changed nothing."""
    before = await server.heads()
    failure: aio.AioRpcError | None = None
    try:
        await server.send(name, data)
    except aio.AioRpcError as error:
        failure = error
    if failure is not None:
        assert failure.code() in CLEAR, (name, failure, data[:200])
        assert await server.heads() == before, (name, data[:200])
    return failure


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
async def test_bytes_that_are_no_message_get_a_clear_error(server: Running, name: str) -> None:
    chance = random.Random(name)

    for data in hostile.raw_bytes(chance, METHODS[name]):
        error = await refusal_of(server, name, data)
        if error is not None:
            assert isinstance(error_of(error), HeedError)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(METHODS))
async def test_messages_that_lie_get_a_clear_error(server: Running, name: str) -> None:
    chance = random.Random(name)

    for message in hostile.messages(chance, METHODS[name], 60):
        error = await refusal_of(server, name, message.SerializeToString())
        if error is not None:
            assert isinstance(error_of(error), HeedError)


@pytest.mark.parametrize("name", sorted(METHODS))
async def test_ten_megabytes_are_refused(unchanged: Running, name: str) -> None:
    error = await refusal_of(unchanged, name, b"\0" * 10_000_000)

    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", sorted({*METHODS} - {"StreamCheckSuppression"}))
async def test_strings_as_long_as_a_message_may_be_are_refused_briefly(
    unchanged: Running, name: str
) -> None:
    """Each string field in turn holds a megabyte; whatever is echoed of it is cut."""
    asked = ask.VALID[name]()
    for field in asked.DESCRIPTOR.fields:
        if field.type != field.TYPE_STRING or field.is_repeated:
            continue
        spoilt = ask.VALID[name]()
        setattr(spoilt, field.name, "é" * 500_000)

        error = await refusal_of(unchanged, name, spoilt.SerializeToString())

        assert error is not None, field.name
        assert len(error.details() or "") <= limits.STATUS_MESSAGE_CHARACTERS_MAX


BATCHES = {
    "queries": ("BatchCheckSuppression", ask.batch_check(10_001)),
    "queries of a stream": ("StreamCheckSuppression", ask.stream_check(10_001)),
    "people": ("BatchSetPreferences", ask.batch_set_preferences(10_001)),
    "rows": ("ImportRecords", ask.import_records(10_001)),
    "suppressions": (
        "AddSuppressions",
        admin.AddSuppressionsRequest(
            suppressions=[admin.SubjectSuppression()] * 10_001, origin=ask.origin()
        ),
    ),
}


@pytest.mark.parametrize("field", BATCHES)
async def test_ten_thousand_and_one_items_are_too_many(unchanged: Running, field: str) -> None:
    name, asked = BATCHES[field]

    error = await refusal_of(unchanged, name, asked.SerializeToString())

    assert error is not None
    refused = error_of(error)
    assert refused.reason is ErrorReason.BATCH_TOO_LARGE
    assert (refused.metadata["field"], refused.metadata["items"]) == (
        field.split(maxsplit=1)[0],
        "10001",
    )


@pytest.mark.parametrize(
    ("field", "name"), [("subjects", "SetPreference"), ("choices", "SetPreference")]
)
async def test_ten_thousand_of_what_a_person_has_few_of_are_refused(
    unchanged: Running, field: str, name: str
) -> None:
    asked = ask.set_preference()
    getattr(asked, field).extend([getattr(asked, field)[0]] * 10_000)

    error = await refusal_of(unchanged, name, asked.SerializeToString())

    assert error is not None
    assert error_of(error).metadata["field"] == field


async def test_an_error_with_all_its_violations_reaches_every_peer(unchanged: Running) -> None:
    """A plain channel, with the metadata bounds that every peer has by default."""
    asked = ask.batch_check(10_000)
    for query in asked.queries:
        query.channel = pb.CHANNEL_UNSPECIFIED
    async with aio.insecure_channel(unchanged.address) as plain:
        with pytest.raises(HeedError) as refused:
            await unchanged.call("BatchCheckSuppression", asked, channel=plain)

    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert refused.value.metadata["violations"] == "10000"


@pytest.mark.parametrize("path", STANDARD)
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x03\xed\xa0\x80", b"\x0a\x05ab"])
async def test_the_standard_services_refuse_bytes_that_are_no_message(
    unchanged: Running, path: str, data: bytes
) -> None:
    method: aio.StreamStreamMultiCallable[bytes, bytes] = unchanged.channel.stream_stream(path)

    with pytest.raises(aio.AioRpcError) as refused:
        await anext(aiter(method(iter([data]), timeout=10)))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_does_not_exist_is_unimplemented(unchanged: Running) -> None:
    unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = unchanged.channel.unary_unary(
        "/heed.v1.PreferenceService/Forget"
    )

    with pytest.raises(aio.AioRpcError) as refused:
        await unary(b"")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_server_answers_as_before_after_all_of_that(server: Running) -> None:
    chance = random.Random(7)
    for name in sorted(METHODS):
        for message in hostile.messages(chance, METHODS[name], 10):
            await refusal_of(server, name, message.SerializeToString())

    listed = await server.call("ListTenants", admin.ListTenantsRequest())
    asked = ask.set_preference(key="at the end", email="last@example.com")
    asked.tenant = listed.tenants[0].name
    await server.call("SetPreference", asked)
    check = ask.check("last@example.com")
    check.tenant = asked.tenant

    answer = await server.call("CheckSuppression", check)

    assert answer.decision.verdict == pb.VERDICT_SUPPRESSED
