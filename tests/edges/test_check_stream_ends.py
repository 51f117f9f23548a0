"""StreamCheckSuppression: what ends a stream, and what bounds it."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from structlog.testing import capture_logs

from heed.errors import ErrorReason
from heed.wire import limits
from heed_server.rpc import CheckStreamLimits
from heed_server.rpc import check_streams as streams
from tests.support import hostile
from tests.support.api_keys import Keys
from tests.support.servers import METHODS, Running, error_of, running_server
from tests.support.talks import FOREVER, Ask, Talk, Told, asked, kinds, talk

ADA = "ada@example.com"
WINDOW_BYTES_MAX = 32 << 20
"""More than gRPC lets a sender have under way on one connection."""
SMALL_WINDOWS = [
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_536),
    ("grpc.use_local_subchannel_pool", 1),
]

MANY = asked(*[ADA] * limits.STREAM_QUERIES_MAX).SerializeToString()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, check_stream_limits=FOREVER) as running:
        yield running


class Unread:
    """A caller that asks on and reads nothing."""

    def __init__(self, channel: aio.Channel) -> None:
        self.sent = 0
        self._talk = Talk(channel)

    async def send_on(self) -> None:
        with suppress(aio.AioRpcError, asyncio.CancelledError):
            while True:
                await self._talk.send(MANY)
                self.sent += 1

    def go_away(self) -> None:
        self._talk.call.cancel()


@asynccontextmanager
async def unread(server: Running) -> AsyncGenerator[Unread]:
    """One whose windows are full within the block, and that goes away at its end."""
    async with aio.insecure_channel(server.address, SMALL_WINDOWS) as channel:
        slow, before = Unread(channel), -1
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(slow.send_on())
            while slow.sent != before:
                before = slow.sent
                await asyncio.wait({sending}, timeout=0.3)
            yield slow
            slow.go_away()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", ErrorReason.MALFORMED_MESSAGE),
        (Ask(), ErrorReason.INVALID_FIELD),
        (asked(*[ADA] * (limits.STREAM_QUERIES_MAX + 1)), ErrorReason.BATCH_TOO_LARGE),
    ],
)
async def test_what_cannot_be_answered_ends_the_stream_after_what_came_before(
    server: Running, data: Ask | bytes, reason: ErrorReason
) -> None:
    async with talk(server) as talking:
        await talking.send(asked(ADA, sequence=1))
        await talking.send(data)
        first = await talking.next()
        error = await talking.refusal()

    assert first is not None
    assert first.sequence == 1
    assert error_of(error).reason is reason
    assert await server.next_end() == ("StreamCheckSuppression", error.code().name, reason, "open")


@pytest.mark.slow
async def test_anything_sent_is_answered_in_order_or_ends_the_stream_clearly(
    server: Running,
) -> None:
    """Fuzzed bytes between requests that are good; the next stream is none the worse."""
    chance = random.Random(3)
    clear = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}

    for data in hostile.raw_bytes(chance, METHODS["StreamCheckSuppression"]):
        async with talk(server) as talking:
            assert (await talking.ask(asked(ADA, sequence=1))).sequence == 1
            await talking.send(data)
            await talking.call.done_writing()
            error: aio.AioRpcError | None = None
            told: Told | None = None
            try:
                told = await talking.next()
            except aio.AioRpcError as refused:
                error = refused
        if error is None:
            assert told is not None
            assert len(told.answers) >= 1
        else:
            assert error.code() in clear, data[:100]
            error_of(error)


async def test_a_caller_that_half_closes_is_answered_and_the_stream_ends_well(
    server: Running,
) -> None:
    async with talk(server) as talking:
        await talking.send(asked(ADA, sequence=1))
        await talking.send(asked(ADA, sequence=2))
        await talking.call.done_writing()
        told = [await talking.next() for _ in range(3)]

    assert [one and one.sequence for one in told] == [1, 2, None]
    assert await server.next_end() == ("StreamCheckSuppression", "OK", "", "open")


async def test_a_caller_that_goes_away_leaves_nothing_behind(server: Running) -> None:
    async with talk(server) as talking:
        await talking.ask(asked(ADA))

    # Between two requests it is known as one that has no more to ask.
    assert (await server.next_end())[1] in {"OK", "CANCELLED"}
    assert not server.check_streams._under_way
    assert not server.check_streams._room._of_principal


@pytest.mark.parametrize("is_busy", [False, True])
async def test_a_stream_that_came_of_age_ends_well_idle_or_busy(
    tmp_path: Path, is_busy: bool
) -> None:
    """Nothing that was answered is told twice, and what was not answered is known by its number."""
    limits_ = CheckStreamLimits(check_stream_seconds_max=1)
    async with running_server(tmp_path, check_stream_limits=limits_) as server, talk(server) as it:
        answered = 0
        # A request that meets the end is an error of this side's gRPC alone.
        with suppress(asyncio.InvalidStateError, aio.AioRpcError):
            while is_busy:
                await it.send(asked(ADA, sequence=answered))
                told = await it.next()
                if told is None:
                    break
                assert told.sequence == answered
                answered += 1
        end = None if is_busy else await it.next()
        ended = await server.next_end()

    assert end is None
    assert ended == ("StreamCheckSuppression", "OK", "", "open")
    assert bool(answered) is is_busy


async def test_a_revoked_key_ends_the_stream_at_its_next_request(tmp_path: Path) -> None:
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys, check_stream_limits=FOREVER) as server:
        key, key_id = await keys.make("check")
        async with talk(server, key=key) as talking:
            assert kinds(await talking.ask(asked(ADA))) == ["decision"]
            await keys.revoke(key_id)
            await talking.send(asked(ADA))
            error = await talking.refusal()

    assert error_of(error).reason is ErrorReason.CREDENTIAL_INVALID


async def test_a_key_without_the_right_or_of_another_tenant_is_told_nothing(
    tmp_path: Path,
) -> None:
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys, check_stream_limits=FOREVER) as server:
        await server.store.create_tenant("other", bytes(32))
        await server.tenants.learn(await server.store.tenants())
        writer, _ = await keys.make("write", tenant="default")
        other, _ = await keys.make("check", tenant="other")
        async with talk(server, key=writer) as talking:
            await talking.send(asked(ADA))
            lacking = await talking.refusal()
        async with talk(server, key=other) as talking:
            request = asked(ADA)
            request.tenant = "default"
            elsewhere = await talking.ask(request)
            own = await talking.ask(asked(ADA))

    assert error_of(lacking).reason is ErrorReason.RIGHT_REQUIRED
    assert [one.refusal.reason for one in elsewhere.answers] == ["TENANT_UNKNOWN"]
    assert kinds(own) == ["decision"]


@pytest.mark.parametrize("limit", ["check_streams_max", "check_streams_of_principal_max"])
async def test_one_stream_too_many_is_refused_and_its_place_is_given_back(
    tmp_path: Path, limit: str
) -> None:
    bounds = CheckStreamLimits(**{limit: 1})
    async with running_server(tmp_path, check_stream_limits=bounds) as server:
        async with talk(server) as first:
            await first.ask(asked(ADA))
            async with talk(server) as second:
                error = await second.refusal()  # nothing is sent: it may be refused by then
            await server.next_end()
        await server.next_end()
        async with talk(server) as third:
            told = await third.ask(asked(ADA))

    refused = error_of(error)
    assert (refused.reason, refused.metadata) == (
        ErrorReason.LIMIT_REACHED,
        {"limit": limit, "value": "1"},
    )
    assert kinds(told) == ["decision"]


async def test_a_caller_that_does_not_read_is_not_read_from_and_cut_off_at_the_end(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits stays with the caller: the server reads so many requests, and no more."""
    monkeypatch.setattr(streams, "ANSWER_SECONDS_MAX", 0.1)

    async with unread(server) as slow:
        async with talk(server) as quick:
            others = [await quick.ask(asked(ADA)) for _ in range(50)]
        assert (await server.next_end())[1] in {"OK", "CANCELLED"}
        sent_until_then = slow.sent
        server.check_streams.end()
        cut_off = await server.next_end()

    assert all(kinds(one) == ["decision"] for one in others)
    assert 0 < sent_until_then * len(MANY) < WINDOW_BYTES_MAX
    assert cut_off == ("StreamCheckSuppression", "RESOURCE_EXHAUSTED", "OVERLOADED", "open")


async def test_a_caller_that_goes_away_in_the_middle_of_an_answer_is_no_mistake_of_ours(
    server: Running,
) -> None:
    with capture_logs() as logged:
        for _ in range(3):
            async with unread(server):
                pass
            assert await server.next_end() == ("StreamCheckSuppression", "CANCELLED", "", "open")

    assert [line["event"] for line in logged if line["event"] == "call_failed"] == []


async def test_draining_answers_what_was_read_ends_streams_well_and_opens_no_other(
    server: Running,
) -> None:
    async with talk(server) as idle:
        await idle.ask(asked(ADA))
        server.check_streams.end()
        end = await idle.next()
        code = await idle.call.code()
    async with talk(server) as fresh:
        error = await fresh.refusal()

    assert end is None
    assert code is grpc.StatusCode.OK
    assert error_of(error).reason is ErrorReason.DRAINING


async def test_an_answer_under_way_when_the_node_drains_is_told(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    check = server.service.stream_check

    async def slowly(*arguments: Any) -> object:
        began.set()
        await go_on.wait()
        return await check(*arguments)

    monkeypatch.setattr(server.service, "stream_check", slowly)
    async with talk(server) as talking:
        await talking.send(asked(ADA, sequence=3))
        await began.wait()
        server.check_streams.end()
        go_on.set()
        told = await talking.next()
        end = await talking.next()

    assert told is not None
    assert told.sequence == 3
    assert end is None
