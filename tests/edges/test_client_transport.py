"""The library on the wire: deadlines, retries, keys, answers; against real sockets."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator

import grpc
import pytest

import heed
from tests.support.fake_server import UNUSED_ADDRESS, FakeServer, fake_server

ADA = "ada@example.com"


@pytest.fixture
def server() -> Generator[FakeServer]:
    with fake_server() as server:
        yield server


@pytest.fixture
async def client(server: FakeServer) -> AsyncGenerator[heed.Client]:
    async with heed.Client(server.address, timeout=5) as client:
        yield client


@pytest.fixture
def sync_client(server: FakeServer) -> Generator[heed.SyncClient]:
    with heed.SyncClient(server.address, timeout=5) as client:
        yield client


def unavailable(times: int) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """Fail so often, then answer that nothing stands against it."""
    left = [times]

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return b"\x0a\x02\x08\x01"  # decision { verdict: ALLOWED }

    return answer


async def test_the_asynchronous_client_asks_and_writes(client: heed.Client) -> None:
    before = await client.check(email=ADA, channel="email", topic="news")
    written = await client.opt_out(email=ADA, channel="email", topic="news", source="tests")
    after = await client.check(email=ADA, channel="email", topic="news", token=written.token)

    assert before.allowed
    assert not after.allowed
    assert after.rule is heed.Rule.OPT_OUT
    assert after.revision == written.revision


def test_the_synchronous_client_does_the_same(sync_client: heed.SyncClient) -> None:
    before = sync_client.check(email=ADA, channel="email", topic="news")
    written = sync_client.opt_out(email=ADA, channel="email", topic="news", source="tests")
    after = sync_client.check(email=ADA, channel="email", topic="news", token=written.token)

    assert before.allowed
    assert not after.allowed
    assert after.revision == written.revision


def test_threads_may_share_a_synchronous_client(sync_client: heed.SyncClient) -> None:
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(sync_client.check(user="u", channel="in_app").allowed for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 80


async def test_a_server_that_is_not_there_is_an_error_that_names_the_safe_answer() -> None:
    async with heed.Client(UNUSED_ADDRESS, timeout=5) as client:
        with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER) as caught:
            await client.check(email=ADA, channel="email")

    assert caught.value.reason is heed.ErrorReason.SERVER_UNREACHABLE
    assert UNUSED_ADDRESS in caught.value.message


def test_a_write_to_a_server_that_is_not_there_keeps_its_key() -> None:
    with (
        heed.SyncClient(UNUSED_ADDRESS, timeout=5) as client,
        pytest.raises(heed.OutcomeUnknownError) as caught,
    ):
        client.opt_out(email=ADA, source="tests", idempotency_key="k-1")

    assert caught.value.metadata["idempotency_key"] == "k-1"
    assert ADA not in str(caught.value)


async def test_a_check_waits_fifty_milliseconds_and_no_longer(server: FakeServer) -> None:
    release = threading.Event()

    def never(data: bytes, context: grpc.ServicerContext) -> bytes:
        release.wait(10)
        return b""

    server.answers["CheckSuppression"] = never
    async with heed.Client(server.address) as client:
        await client.wait_ready()
        started = asyncio.get_running_loop().time()
        with pytest.raises(heed.UnavailableError, match=r"within 0\.05 s.*do not send"):
            await client.check(email=ADA, channel="email")
        waited = asyncio.get_running_loop().time() - started
    release.set()

    assert 0.04 < waited < 2


async def test_a_deadline_of_a_call_and_of_a_client_can_be_given(server: FakeServer) -> None:
    deadlines: list[float] = []

    def note(data: bytes, context: grpc.ServicerContext) -> bytes:
        deadlines.append(context.time_remaining() or 0)
        return b""

    server.answers["CheckSuppression"] = note
    async with heed.Client(server.address, timeout=50) as client:
        await client.check(email=ADA, channel="email")
        await client.check(email=ADA, channel="email", timeout=20)

    # What is sent is rounded up a little.
    assert 30 < deadlines[0] < 52
    assert 10 < deadlines[1] < 22


async def test_a_check_that_fails_twice_is_asked_a_third_time(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["CheckSuppression"] = unavailable(2)

    answer = await client.check(email=ADA, channel="email")

    assert answer.allowed
    assert len(server.calls) == 3


async def test_a_check_that_fails_three_times_has_no_answer(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["CheckSuppression"] = unavailable(3)

    with pytest.raises(heed.UnavailableError):
        await client.check(email=ADA, channel="email")

    assert len(server.calls) == 3


def test_every_attempt_of_a_write_has_the_same_key(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    """The first answer is lost on its way back; the second is the replay of it."""
    lost = [True]

    def lose(data: bytes, context: grpc.ServicerContext) -> bytes:
        answer = server.service.answer("SetPreference", data)
        if lost.pop() if lost else False:
            context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        return answer

    server.answers["SetPreference"] = lose

    answer = sync_client.opt_out(email=ADA, source="tests")

    assert answer.replayed
    assert answer.revision == 1


def test_two_calls_have_two_keys(sync_client: heed.SyncClient) -> None:
    one = sync_client.opt_out(email=ADA, source="tests")
    other = sync_client.opt_out(email=ADA, source="tests")

    assert one.idempotency_key != other.idempotency_key
    assert not other.replayed


def test_a_tenant_is_created_once_however_the_call_ends(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    server.answers["CreateTenant"] = unavailable(1)

    with pytest.raises(heed.OutcomeUnknownError):
        sync_client.create_tenant("shop")

    assert len(server.calls) == 1


async def test_what_the_server_refuses_is_told_by_its_reason(client: heed.Client) -> None:
    with pytest.raises(heed.InvalidArgumentError) as invalid:
        await client.check(email="nonsense", channel="any", topic="No Topic")
    with pytest.raises(heed.NotFoundError) as unknown:
        await client.retire_topic("news", reason="over", origin=heed.Origin(source="tests"))

    assert {one.field for one in invalid.value.violations} >= {"query.channel", "query.topic"}
    assert "nonsense" not in str(invalid.value)
    assert unknown.value.reason is heed.ErrorReason.TOPIC_UNKNOWN
    assert unknown.value.metadata == {"topic": "news"}


@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"\x0a\xff"], ids=["garbage", "cut off"])
async def test_whatever_comes_back_only_an_answer_allows(
    server: FakeServer, client: heed.Client, reply: bytes
) -> None:
    server.answers["CheckSuppression"] = lambda _data, _context: reply

    with pytest.raises(heed.UnavailableError, match=heed.SAFE_ANSWER):
        await client.check(email=ADA, channel="email")


async def test_an_empty_answer_is_not_allowed(server: FakeServer, client: heed.Client) -> None:
    server.answers["CheckSuppression"] = lambda _data, _context: b""

    assert not (await client.check(email=ADA, channel="email")).allowed


def test_a_write_whose_answer_cannot_be_read_may_have_happened(
    server: FakeServer, sync_client: heed.SyncClient
) -> None:
    server.answers["SetPreference"] = lambda _data, _context: b"\xff"

    with pytest.raises(heed.OutcomeUnknownError):
        sync_client.opt_out(email=ADA, source="tests")


def test_a_server_of_something_else_is_told_as_that() -> None:
    from concurrent import futures

    with futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with (
            heed.SyncClient(f"127.0.0.1:{port}", timeout=5) as client,
            pytest.raises(heed.UnavailableError, match="not a heed server"),
        ):
            client.check(user="u", channel="in_app")
        server.stop(None).wait()


def test_a_key_goes_along_with_every_call_and_none_without_one(server: FakeServer) -> None:
    with heed.SyncClient(server.address, api_key="heed_x", timeout=5) as client:
        client.check(user="u", channel="in_app")
        list(client.export_records())
    with heed.SyncClient(server.address, timeout=5) as client:
        client.check(user="u", channel="in_app")

    said = [metadata.get("authorization") for _, metadata in server.calls]
    assert said == ["Bearer heed_x", "Bearer heed_x", None]
    assert str(server.calls[0][1]["user-agent"]).startswith("heed-python/")


async def test_a_list_of_many_pages_is_one_list(server: FakeServer, client: heed.Client) -> None:
    origin = heed.Origin(source="tests")
    for at in range(1_001):
        await client.declare_topic(f"t{at:04}", topic_class="promotional", origin=origin)
    server.calls.clear()

    names = [topic.name async for topic in client.list_topics()]

    assert len(set(names)) == 1_001
    assert [name for name, _ in server.calls] == ["ListTopics", "ListTopics"]


async def test_an_export_that_breaks_off_is_not_an_export(
    server: FakeServer, client: heed.Client
) -> None:
    server.answers["ExportRecords"] = lambda _data, _context: b""  # one message, and not the last

    export = client.export_records()
    with pytest.raises(heed.UnavailableError, match="broke off"):
        async for _ in export:
            pass

    assert export.revision is None


async def test_a_cancelled_call_is_cancelled_on_the_wire(
    server: FakeServer, client: heed.Client
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def wait(data: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(cancelled.set)
        begun.set()
        cancelled.wait(10)
        return b""

    server.answers["CheckSuppression"] = wait
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.check(user="u", channel="in_app"))
        await asyncio.to_thread(begun.wait, 10)
        call.cancel()

    assert call.cancelled()
    assert await asyncio.to_thread(cancelled.wait, 10)
