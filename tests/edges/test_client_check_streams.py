"""`client.check_stream()`: each has its own answer, whatever happens to the stream."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_status import rpc_status

import heed
from heed.connection import asking
from heed.testing import FakeClient, FakeSyncClient
from heed.wire.status import to_status
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.rpc import CheckStreamLimits
from heed_server.storage import SqlStore
from tests.support.api_keys import Keys
from tests.support.fake_server import UNUSED_ADDRESS, FakeServer, fake_server
from tests.support.servers import Running, running_server

ADA = "ada@example.com"
CHECK_STREAM = "StreamCheckSuppression"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


@asynccontextmanager
async def stream_of(address: str, **said: str) -> AsyncGenerator[heed.CheckStream]:
    async with (
        heed.Client(address, api_key=said.get("api_key"), timeout=10) as client,
        client.check_stream() as stream,
    ):
        yield stream


async def some_opt_outs(client: heed.Client) -> None:
    for number in range(0, 400, 3):
        await client.opt_out(
            email=f"p{number}@example.com", channel="email", topic="news", source="tests"
        )


async def test_every_one_of_many_has_its_own_answer(real: Running) -> None:
    """The same as by single calls and by a batch; few requests are sent for many checks."""
    emails = [f"p{number}@example.com" for number in range(400)]
    async with heed.Client(real.address, timeout=10) as client:
        await some_opt_outs(client)
        async with client.check_stream() as stream:
            by_stream = await asyncio.gather(
                *(stream.check(email=one, channel="email", topic="news.weekly") for one in emails)
            )
        queries = [heed.Query(email=one, channel="email", topic="news.weekly") for one in emails]
        by_batch = await client.check_many(queries)
        by_calls = [
            await client.check(email=one, channel="email", topic="news.weekly") for one in emails
        ]

    def said(answer: heed.CheckAnswer) -> tuple[object, ...]:
        return answer.verdict, answer.reasons, answer.topic_class, answer.revision, answer.token

    assert [said(one) for one in by_stream] == [said(one) for one in by_calls]
    assert [said(one) for one in by_batch] == [said(one) for one in by_calls]
    assert [one.allowed for one in by_stream] == [number % 3 != 0 for number in range(400)]


def test_threads_share_a_synchronous_stream(server: FakeServer) -> None:
    with heed.SyncClient(server.address, timeout=10) as client:
        for number in range(0, 200, 2):
            client.opt_out(user=f"u-{number}", source="tests")
        with client.check_stream() as stream, ThreadPoolExecutor(16) as pool:
            allowed = list(
                pool.map(
                    lambda number: stream.check(user=f"u-{number}", channel="in_app").allowed,
                    range(200),
                )
            )

    assert allowed == [number % 2 == 1 for number in range(200)]
    assert [name for name, _ in server.calls].count(CHECK_STREAM) == 1


async def test_what_is_malformed_fails_alone_and_is_named_as_in_a_single_check(
    real: Running,
) -> None:
    async with heed.Client(real.address, timeout=10) as client, client.check_stream() as stream:
        told = await asyncio.gather(
            stream.check(email=ADA, channel="email"),
            stream.check(email="no address", channel="email"),
            stream.check(email=ADA, channel="email", tenant="nowhere"),
            stream.check(email=ADA, channel="email", token="nonsense"),
            stream.check(email=ADA, channel="email"),
            return_exceptions=True,
        )
        with pytest.raises(heed.InvalidArgumentError) as single:
            await client.check(email="no address", channel="email")

    first, malformed, nowhere, bad_token, last = told
    assert isinstance(first, heed.CheckAnswer)
    assert isinstance(last, heed.CheckAnswer)
    assert isinstance(malformed, heed.InvalidArgumentError)
    assert malformed.violations == single.value.violations
    assert malformed.message == single.value.message
    assert isinstance(nowhere, heed.NotFoundError)
    assert isinstance(bad_token, heed.InvalidArgumentError)
    assert bad_token.reason is heed.ErrorReason.BAD_TOKEN


async def test_a_check_with_the_token_of_a_write_knows_the_write(real: Running) -> None:
    async with heed.Client(real.address, timeout=10) as client, client.check_stream() as stream:
        for number in range(10):
            email = f"w{number}@example.com"
            written = await client.opt_out(email=email, source="tests")
            answer = await stream.check(email=email, channel="email", token=written.token)

            assert not answer.allowed
            assert answer.revision >= written.revision


async def test_the_fakes_have_it_too() -> None:
    fake = FakeClient()
    await fake.opt_out(email=ADA, source="tests")
    async with fake.check_stream() as stream:
        answer = await stream.check(email=ADA, channel="email")
        with pytest.raises(heed.InvalidArgumentError):
            await stream.check(email="no address", channel="email")
    plain = FakeSyncClient(fake.service)
    with plain.check_stream() as again:
        other = again.check(email="bob@example.com", channel="email")
        fake.service.is_reachable = False
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
            again.check(email=ADA, channel="email")

    assert not answer.allowed
    assert other.allowed


async def test_a_stream_that_the_server_ends_is_opened_again_and_no_check_is_lost(
    tmp_path: Path,
) -> None:
    """Streams of a second at most, until three have ended, by 32 who ask without end."""
    bounds = CheckStreamLimits(check_stream_seconds_max=1)
    ended = asyncio.Event()
    async with (
        running_server(tmp_path, check_stream_limits=bounds) as server,
        heed.Client(server.address, timeout=10) as client,
    ):
        await some_opt_outs(client)
        async with client.check_stream() as stream:

            async def ask_on(first: int) -> int:
                number = first
                while not ended.is_set():
                    email = f"p{number % 400}@example.com"
                    answer = await stream.check(email=email, channel="email", topic="news")
                    assert answer.allowed is (number % 400 % 3 != 0), email
                    number += 7
                return (number - first) // 7

            asking = asyncio.gather(*(ask_on(first) for first in range(32)))
            for _ in range(3):
                while (await server.next_end())[0] != CHECK_STREAM:
                    pass
            ended.set()
            counts = await asking

    assert min(counts) > 10


def failing(times: int, code: grpc.StatusCode) -> Callable[..., bytes]:
    """Break so many streams before they answer, then allow."""
    left = [times]

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            context.abort(code, "not now")
        request = preference.StreamCheckSuppressionRequest.FromString(data)
        told = preference.StreamCheckSuppressionResponse(sequence=request.sequence)
        for _ in request.queries:
            told.answers.add().decision.verdict = 1  # type: ignore[assignment]  # ALLOWED
        return told.SerializeToString()

    return answer


async def test_a_stream_that_breaks_is_opened_again_but_a_check_is_asked_three_times_at_most(
    server: FakeServer,
) -> None:
    async with stream_of(server.address) as stream:
        server.answers[CHECK_STREAM] = failing(2, grpc.StatusCode.UNAVAILABLE)
        answer = await stream.check(email=ADA, channel="email")
        server.answers[CHECK_STREAM] = failing(3, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
            await stream.check(email=ADA, channel="email")
        again = await stream.check(email=ADA, channel="email")

    assert answer.allowed
    assert again.allowed


def test_the_synchronous_one_does_the_same(server: FakeServer) -> None:
    with heed.SyncClient(server.address, timeout=10) as client, client.check_stream() as stream:
        server.answers[CHECK_STREAM] = failing(2, grpc.StatusCode.UNAVAILABLE)
        answer = stream.check(email=ADA, channel="email")
        server.answers[CHECK_STREAM] = failing(3, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
            stream.check(email=ADA, channel="email")

    assert answer.allowed


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff",  # no message
        b"",  # answers nothing
        b"\x0a\x04\x0a\x02\x08\x01",  # allowed, but of no request
        b"\x0a\x04\x0a\x02\x08\x01" * 2 + b"\x18\x01",  # two answers to one question
    ],
)
async def test_what_cannot_be_told_whose_it_is_allows_nothing(
    server: FakeServer, answer: bytes
) -> None:
    server.answers[CHECK_STREAM] = lambda _data, _context: answer
    async with stream_of(server.address) as stream:
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
            await stream.check(email=ADA, channel="email")


async def test_an_answer_of_no_known_kind_does_not_allow(server: FakeServer) -> None:
    server.answers[CHECK_STREAM] = lambda _data, _context: b"\x0a\x00\x18\x01"
    async with stream_of(server.address) as stream:
        answer = await stream.check(email=ADA, channel="email")

    assert not answer.allowed


async def test_without_a_server_every_check_fails_and_names_the_safe_answer() -> None:
    async with stream_of(UNUSED_ADDRESS) as stream:
        told = await asyncio.gather(
            *(stream.check(email=ADA, channel="email") for _ in range(200)), return_exceptions=True
        )

    assert {type(one) for one in told} == {heed.UnavailableError}
    assert all(heed.SAFE_ANSWER in str(one) for one in told)
    assert len({id(one) for one in told}) == 200


async def test_a_key_that_is_revoked_refuses_every_check_by_its_own_error(tmp_path: Path) -> None:
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys) as server:
        key, key_id = await keys.make("check")
        async with stream_of(server.address, api_key=key) as stream:
            assert (await stream.check(email=ADA, channel="email")).allowed
            await keys.revoke(key_id)
            told = await asyncio.gather(
                *(stream.check(email=ADA, channel="email") for _ in range(20)),
                return_exceptions=True,
            )

    assert {type(one) for one in told} == {heed.UnauthenticatedError}


async def test_a_node_that_cannot_reach_its_database_goes_on_answering(
    real: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a check came to the database")

    for method in ("head", "standing", "append", "tenants", "read_log"):
        monkeypatch.setattr(SqlStore, method, broken, raising=False)
    async with stream_of(real.address) as stream:
        assert (await stream.check(email=ADA, channel="email")).allowed


async def test_a_check_that_is_cancelled_or_late_is_dropped_alone(server: FakeServer) -> None:
    release, arrived = threading.Event(), threading.Event()
    answer = failing(0, grpc.StatusCode.OK)

    def held(data: bytes, context: grpc.ServicerContext) -> bytes:
        arrived.set()
        release.wait(10)
        return answer(data, context)

    server.answers[CHECK_STREAM] = held
    async with stream_of(server.address) as stream:
        waiting = [asyncio.create_task(stream.check(email=ADA, channel="email")) for _ in range(3)]
        await asyncio.to_thread(arrived.wait, 10)
        with pytest.raises(heed.UnavailableError, match=r"within 0\.05 s.*do not send"):
            await stream.check(email=ADA, channel="email", timeout=0.05)
        waiting[1].cancel()
        release.set()
        first, cancelled, last = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(first, heed.CheckAnswer)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert isinstance(last, heed.CheckAnswer)


def test_a_late_check_of_a_thread_is_dropped_alone(server: FakeServer) -> None:
    release = threading.Event()
    answer = failing(0, grpc.StatusCode.OK)

    def held(data: bytes, context: grpc.ServicerContext) -> bytes:
        release.wait(10)
        return answer(data, context)

    server.answers[CHECK_STREAM] = held
    with heed.SyncClient(server.address, timeout=10) as client, client.check_stream() as stream:
        with pytest.raises(heed.UnavailableError, match=r"within 0\.05 s.*do not send"):
            stream.check(email=ADA, channel="email", timeout=0.05)
        release.set()
        later = stream.check(email=ADA, channel="email")

    assert later.allowed


async def test_too_many_that_wait_are_refused_at_once(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "CHECKS_WAITING_MAX", 5)
    async with stream_of(server.address) as stream:
        told = await asyncio.gather(
            *(stream.check(email=ADA, channel="email") for _ in range(8)), return_exceptions=True
        )

    refused = [one for one in told if isinstance(one, heed.ExhaustedError)]
    assert len(refused) == 3
    assert refused[0].reason is heed.ErrorReason.OVERLOADED
    assert sum(isinstance(one, heed.CheckAnswer) for one in told) == 5


async def test_closing_answers_nobody_any_more(server: FakeServer) -> None:
    release, arrived = threading.Event(), threading.Event()

    def held(_data: bytes, context: grpc.ServicerContext) -> bytes:
        arrived.set()
        release.wait(10)
        context.abort_with_status(rpc_status.to_status(to_status(heed.UnavailableError("late"))))
        raise AssertionError

    server.answers[CHECK_STREAM] = held
    async with heed.Client(server.address, timeout=10) as client:
        async with client.check_stream() as stream:
            waiting = asyncio.create_task(stream.check(email=ADA, channel="email"))
            await asyncio.to_thread(arrived.wait, 10)
        with pytest.raises(heed.UnavailableError, match=r"closed.*do not send"):
            await waiting
        with pytest.raises(RuntimeError, match="not open"):
            await stream.check(email=ADA, channel="email")
    with heed.SyncClient(server.address, timeout=10) as plain:
        closed = plain.check_stream()
        with pytest.raises(RuntimeError, match="not open"):
            closed.check(email=ADA, channel="email")
        with closed, ThreadPoolExecutor(1) as pool:
            arrived.clear()
            late = pool.submit(closed.check, email=ADA, channel="email")
            arrived.wait(10)
            closed.__exit__(None, None, None)
            with pytest.raises(heed.UnavailableError, match=r"closed.*do not send"):
                late.result(10)
    release.set()
