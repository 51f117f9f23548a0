"""One caller who asks for too much is told when to come back, and costs the others nothing."""

import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

import heed
from heed.errors import ErrorReason, ExhaustedError, HeedError
from heed.wire.status import DETAILS_METADATA_KEY, to_status
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.rates import RateLimits
from heed_server.service.admission import Admission, CallLimits
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.fake_server import FakeServer, fake_server
from tests.support.servers import Running, new_channel, running_server

HOUR = 1 / 3_600
"""So much a second that a test sees no second one."""


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncGenerator[Running]:
    """A server where everybody has one call of each kind an hour."""
    limits = RateLimits(
        checks_per_second_max=HOUR,
        writes_per_second_max=HOUR,
        records_per_second_max=HOUR,
        reads_per_second_max=HOUR,
        streams_per_second_max=HOUR,
        burst_seconds=3_600,
    )
    async with running_server(
        tmp_path, authenticator=keys, admission=Admission(rates=limits)
    ) as running:
        yield running


def opt_in(name: str) -> preference.SetPreferenceRequest:
    return ask.set_preference(ask.opt_in(), email=f"{name}@example.com", key=name)


def opt_out(name: str) -> preference.SetPreferenceRequest:
    return ask.set_preference(ask.opt_out(), email=f"{name}@example.com", key=name)


CALLS = [
    ("CheckSuppression", ask.check, "checks"),
    ("CheckSuppression", lambda: ask.check(token="none"), "checks"),
    ("BatchCheckSuppression", ask.batch_check, "checks"),
    ("StreamCheckSuppression", ask.stream_check, "checks"),
    ("SetPreference", lambda: opt_in("ada"), "writes"),
    ("BatchSetPreferences", ask.VALID["BatchSetPreferences"], "records"),
    ("AddSuppressions", ask.VALID["AddSuppressions"], "records"),
    ("ImportRecords", ask.VALID["ImportRecords"], "records"),
    ("PlaceHold", ask.VALID["PlaceHold"], "writes"),
    ("CreateTenant", ask.VALID["CreateTenant"], "writes"),
    ("GetPreferences", ask.VALID["GetPreferences"], "reads"),
    ("Explain", ask.VALID["Explain"], "reads"),
    ("ListSuppressions", admin.ListSuppressionsRequest, "reads"),
    ("ExportRecords", admin.ExportRecordsRequest, "reads"),
    ("WatchChanges", ask.VALID["WatchChanges"], "streams"),
]

EVERYTHING = (
    "check",
    "write",
    "consent",
    "suppress",
    "admin",
    "audit",
    "operate",
    "export",
    "watch",
)


@pytest.mark.parametrize(("name", "request_of", "kind"), CALLS)
async def test_each_kind_of_call_has_its_rate_a_caller(
    server: Running, keys: Keys, name: str, request_of: Callable[[], object], kind: str
) -> None:
    eager, _ = await keys.make(*EVERYTHING)
    other, _ = await keys.make(*EVERYTHING)
    await _once(server, name, request_of(), eager)

    with pytest.raises(ExhaustedError) as refused:
        await server.call(name, request_of(), key=eager)  # type: ignore[arg-type]  # by its name

    assert refused.value.reason is ErrorReason.RATE_LIMITED
    limit = "streams" if name == "StreamCheckSuppression" else kind
    assert refused.value.metadata["limit"] == f"{limit}_per_second_max"
    assert int(refused.value.metadata["retry_ms"]) > 3_000_000
    await _once(server, name, request_of(), other)


async def _once(server: Running, name: str, request: object, key: str) -> None:
    """Make a call, whatever comes of it but the refusal for its rate."""
    try:
        await server.call(name, request, key=key)  # type: ignore[arg-type]  # by its name
    except HeedError as error:
        if error.reason is ErrorReason.RATE_LIMITED:
            raise AssertionError(name) from error


async def test_a_single_opt_out_has_no_rate(server: Running, keys: Keys) -> None:
    key, _ = await keys.make("write", "consent")
    await server.call("SetPreference", opt_in("ada"), key=key)
    with pytest.raises(ExhaustedError):
        await server.call("SetPreference", opt_in("bob"), key=key)

    for at in range(50):
        await server.call("SetPreference", opt_out(f"user{at}"), key=key)

    assert await server.head() == 51


async def test_reports_of_streams_have_no_rate(server: Running, keys: Keys) -> None:
    key, _ = await keys.make("watch")

    for _ in range(5):
        with pytest.raises(HeedError) as refused:
            await server.call("ReportApplied", ask.VALID["ReportApplied"](), key=key)
        assert refused.value.reason is ErrorReason.STREAM_UNKNOWN


async def test_a_batch_costs_as_many_checks_as_it_has_messages(tmp_path: Path, keys: Keys) -> None:
    limits = RateLimits(checks_per_second_max=1, burst_seconds=10)
    async with running_server(
        tmp_path, authenticator=keys, admission=Admission(rates=limits)
    ) as server:
        key, _ = await keys.make("check")
        await server.call("BatchCheckSuppression", ask.batch_check(1_000), key=key)

        with pytest.raises(ExhaustedError) as refused:
            await server.call("CheckSuppression", ask.check(), key=key)

    assert 980_000 < int(refused.value.metadata["retry_ms"]) <= 991_000


async def test_a_request_of_a_stream_of_checks_is_refused_in_its_place(
    tmp_path: Path, keys: Keys
) -> None:
    limits = RateLimits(checks_per_second_max=HOUR, burst_seconds=3_600)
    async with running_server(
        tmp_path, authenticator=keys, admission=Admission(rates=limits)
    ) as server:
        key, _ = await keys.make("check")
        await server.call("CheckSuppression", ask.check(), key=key)

        (answer,) = await server.send(
            "StreamCheckSuppression", ask.stream_check(2).SerializeToString(), key=key
        )

    told = preference.StreamCheckSuppressionResponse.FromString(answer)
    assert [one.refusal.reason for one in told.answers] == ["RATE_LIMITED"] * 2
    assert all(one.refusal.metadata["retry_ms"] for one in told.answers)


async def test_other_languages_find_the_retry_time_in_the_status(
    server: Running, keys: Keys
) -> None:
    key, _ = await keys.make("operate")
    request = admin.ListHoldsRequest().SerializeToString()
    await server.send("ListHolds", request, key=key)

    with pytest.raises(aio.AioRpcError) as refused:
        await server.send("ListHolds", request, key=key)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = dict(refused.value.trailing_metadata() or ())[DETAILS_METADATA_KEY]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    retried = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retried)
    assert 3_000 < retried.retry_delay.seconds <= 3_600


def limited(times: int, retry_ms: int) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Refuse a call for its rate so often, then answer that nothing stands against it."""
    left = [times]

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            error = ExhaustedError(
                "too much",
                reason=ErrorReason.RATE_LIMITED,
                metadata={"limit": "checks_per_second_max", "retry_ms": str(retry_ms)},
            )
            context.set_trailing_metadata(
                ((DETAILS_METADATA_KEY, to_status(error).SerializeToString()),)
            )
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        return b"\x0a\x02\x08\x01"  # decision { verdict: ALLOWED }

    return answer


@pytest.fixture
def fake() -> Generator[FakeServer]:
    with fake_server() as running:
        yield running


async def test_the_library_waits_as_it_is_told_within_its_own_deadline(fake: FakeServer) -> None:
    fake.answers["CheckSuppression"] = limited(2, retry_ms=50)
    async with heed.Client(fake.address, timeout=5) as client:
        began = time.monotonic()
        answer = await client.check(user="ada", channel="in_app")

    assert answer.allowed
    assert time.monotonic() - began >= 0.1


def test_the_synchronous_library_does_the_same(fake: FakeServer) -> None:
    fake.answers["CheckSuppression"] = limited(2, retry_ms=50)
    with heed.SyncClient(fake.address, timeout=5) as client:
        assert client.check(user="ada", channel="in_app").allowed


async def test_the_library_does_not_wait_where_its_deadline_is_sooner(fake: FakeServer) -> None:
    fake.answers["CheckSuppression"] = limited(1, retry_ms=60_000)
    async with heed.Client(fake.address, timeout=5) as client:
        began = time.monotonic()
        with pytest.raises(heed.ExhaustedError) as refused:
            await client.check(user="ada", channel="in_app")

    assert refused.value.reason is ErrorReason.RATE_LIMITED
    assert time.monotonic() - began < 4


async def test_a_caller_with_too_many_calls_under_way_is_refused_and_others_are_not(
    tmp_path: Path, keys: Keys
) -> None:
    admission = Admission(CallLimits(calls_of_principal_max=2))
    async with running_server(tmp_path, authenticator=keys, admission=admission) as server:
        eager, _ = await keys.make("watch", "operate", "write")
        other, _ = await keys.make("operate")
        async with new_channel(server.address) as channel:
            watch: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                "/heed.v1.WatchService/WatchChanges"
            )
            streams = [
                watch(
                    ask.VALID["WatchChanges"]().SerializeToString(),
                    metadata=(("authorization", f"Bearer {eager}"),),
                )
                for _ in range(2)
            ]
            for stream in streams:
                await anext(aiter(stream))

            with pytest.raises(ExhaustedError) as refused:
                await server.call("ListHolds", admin.ListHoldsRequest(), key=eager)
            await server.call("ListHolds", admin.ListHoldsRequest(), key=other)
            waiting = opt_out("ada")
            waiting.wait_propagated.FromSeconds(20)
            began = time.monotonic()
            written = await server.call("SetPreference", waiting, key=eager)
            for stream in streams:
                stream.cancel()

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert refused.value.metadata == {"limit": "calls_of_principal_max"}
    assert not written.propagated
    assert written.waiting_for
    assert time.monotonic() - began < 10
