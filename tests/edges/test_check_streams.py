"""StreamCheckSuppression as any client meets it: in order, refused in place, ended kindly."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from grpc import aio

from heed.errors import ErrorReason
from heed.model import Revision
from heed.tokens import decode_token, encode_token
from heed.wire import limits
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.follow import Follower
from heed_server.rpc import CheckStreamLimits
from heed_server.rpc import check_streams as streams
from tests.edges.test_watch_rpc import Keys
from tests.support import hostile
from tests.support import requests as ask
from tests.support.servers import METHODS, Running, error_of, new_channel, running_server
from tests.support.stores import FakeClock

PATH = "/heed.v1.PreferenceService/StreamCheckSuppression"
Ask: TypeAlias = preference.StreamCheckSuppressionRequest
Told: TypeAlias = preference.StreamCheckSuppressionResponse
ADA = "ada@example.com"
WAIT_SECONDS = 10
WINDOW_BYTES_MAX = 32 << 20
"""More than gRPC lets a sender have under way on one connection."""
SMALL_WINDOWS = [
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_536),
    ("grpc.use_local_subchannel_pool", 1),
]
FOREVER = CheckStreamLimits(check_stream_seconds_max=600)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, check_stream_limits=FOREVER) as running:
        yield running


class Talk:
    """One stream, as a client has it."""

    def __init__(self, channel: aio.Channel, *, key: str = "") -> None:
        method: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(PATH)
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self.call = method(metadata=metadata, timeout=60)

    async def send(self, request: Ask | bytes) -> None:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        await self.call.write(data)

    async def next(self) -> Told | None:
        """The next response; None: the stream ended well."""
        async with asyncio.timeout(WAIT_SECONDS):
            read: object = await self.call.read()
        return Told.FromString(read) if isinstance(read, bytes) else None

    async def ask(self, request: Ask | bytes) -> Told:
        await self.send(request)
        told = await self.next()
        assert told is not None
        return told

    async def refusal(self) -> aio.AioRpcError:
        """How the stream is refused, which it is."""
        try:
            while await self.next() is not None:
                pass
        except aio.AioRpcError as error:
            return error
        raise AssertionError("it ended well")


@asynccontextmanager
async def talk(server: Running, *, key: str = "") -> AsyncGenerator[Talk]:
    """A stream on a connection of its own."""
    async with new_channel(server.address) as channel:
        talking = Talk(channel, key=key)
        try:
            yield talking
        finally:
            talking.call.cancel()


def asked(*emails: str, sequence: int = 0, token: str = "", topic: str = "news") -> Ask:
    return Ask(
        queries=[ask.query(email, topic) for email in emails], sequence=sequence, token=token
    )


def kinds(told: Told) -> list[str | None]:
    return [one.WhichOneof("answer") for one in told.answers]


def verdicts(told: Told) -> list[int]:
    return [one.decision.verdict for one in told.answers]


# ---- answers ----------------------------------------------------------------------------------


async def test_requests_are_answered_in_their_order_and_queries_in_theirs(
    server: Running,
) -> None:
    """All are sent before any answer is read."""
    await server.call("SetPreference", ask.set_preference(email=ADA))
    numbers = [7, 0, 2**64 - 1, 7, 1, 2, 3]

    async with talk(server) as talking:
        for number in numbers:
            await talking.send(asked("bob@example.com", ADA, "eve@example.com", sequence=number))
        await talking.call.done_writing()
        told = [await talking.next() for _ in numbers]
        end = await talking.next()

    assert [one.sequence for one in told if one is not None] == numbers
    for one in told:
        assert one is not None
        assert verdicts(one) == [pb.VERDICT_ALLOWED, pb.VERDICT_SUPPRESSED, pb.VERDICT_ALLOWED]
        assert one.position.revision == 1
    assert end is None
    assert await talking.call.code() is grpc.StatusCode.OK


async def test_a_write_is_known_to_every_request_sent_after_its_answer(server: Running) -> None:
    async with talk(server) as talking:
        for number in range(20):
            email = f"p{number}@example.com"
            before = await talking.ask(asked(email))
            await server.call("SetPreference", ask.set_preference(email=email, key=email))
            after = await talking.ask(asked(email))

            assert (verdicts(before), verdicts(after)) == (
                [pb.VERDICT_ALLOWED],
                [pb.VERDICT_SUPPRESSED],
            )


async def test_a_query_that_is_refused_is_answered_in_its_place_and_ends_nothing(
    server: Running,
) -> None:
    request = asked("bob@example.com", "no address", ADA, ADA)
    request.queries[2].channel = pb.CHANNEL_UNSPECIFIED
    request.queries.add()

    async with talk(server) as talking:
        told = await talking.ask(request)
        again = await talking.ask(asked(ADA))

    assert kinds(told) == ["decision", "refusal", "refusal", "decision", "refusal"]
    refusals = [one.refusal for one in told.answers if one.HasField("refusal")]
    assert {one.code for one in refusals} == {3}
    assert {one.reason for one in refusals} == {"INVALID_FIELD"}
    fields = [one.violations[0].field for one in refusals]
    assert fields[:2] == ["queries[1].subjects[0].email", "queries[2].channel"]
    assert fields[2].startswith("queries[4].")
    assert kinds(again) == ["decision"]


async def test_a_request_of_nothing_but_malformed_queries_is_answered(server: Running) -> None:
    async with talk(server) as talking:
        told = await talking.ask(asked("x", "y"))

    assert kinds(told) == ["refusal", "refusal"]
    assert told.position.token


async def test_a_tenant_that_is_not_there_refuses_the_request_and_no_other(
    server: Running,
) -> None:
    request = asked(ADA, ADA, sequence=5)
    request.tenant = "nowhere"

    async with talk(server) as talking:
        told = await talking.ask(request)
        again = await talking.ask(asked(ADA))

    assert [one.refusal.reason for one in told.answers] == ["TENANT_UNKNOWN"] * 2
    assert [one.refusal.metadata["tenant"] for one in told.answers] == ["nowhere"] * 2
    assert told.sequence == 5
    assert not told.HasField("position")
    assert kinds(again) == ["decision"]


async def test_a_token_ahead_of_the_node_refuses_soon_and_holds_up_little(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await server.call("SetPreference", ask.set_preference(email=ADA))
    read = decode_token(stored.position.token)
    ahead = encode_token(
        epoch=read.epoch,
        tenant_id=read.tenant_id,
        revision=Revision(99),
        running_hash=read.running_hash,
    )
    waits: list[float] = []

    async def reached(_follower: Follower, _revision: object, seconds: float) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr(Follower, "reached", reached)
    async with talk(server) as talking:
        behind = await talking.ask(asked(ADA, token=ahead))
        bad = await talking.ask(asked(ADA, token="nonsense"))
        good = await talking.ask(asked(ADA, token=stored.position.token))

    assert [one.refusal.reason for one in behind.answers] == ["NODE_BEHIND"]
    assert [one.refusal.reason for one in bad.answers] == ["BAD_TOKEN"]
    assert verdicts(good) == [pb.VERDICT_SUPPRESSED]
    assert waits == [0.1]


async def test_what_is_too_old_is_refused_query_by_query_and_never_allowed(
    tmp_path: Path,
) -> None:
    """The rest of the request is answered: a stop is safe at any age."""
    clock = FakeClock()
    async with running_server(tmp_path, clock=clock, check_stream_limits=FOREVER) as server:
        await server.call("SetPreference", ask.set_preference(email=ADA))
        await server.call(
            "DeclareTopic", ask.declare_topic("orders", "t", pb.TOPIC_CLASS_TRANSACTIONAL)
        )
        request = asked(ADA, "bob@example.com")
        request.queries.append(ask.query("bob@example.com", "orders"))
        async with talk(server) as talking:
            fresh = await talking.ask(request)
            for context in server.tenants.all():
                context.follower.source_age_seconds = lambda: 6.0  # type: ignore[method-assign]
            stale = await talking.ask(request)

    assert verdicts(fresh) == [pb.VERDICT_SUPPRESSED, pb.VERDICT_ALLOWED, pb.VERDICT_ALLOWED]
    assert kinds(stale) == ["decision", "refusal", "decision"]
    assert stale.answers[0].decision.verdict == pb.VERDICT_SUPPRESSED
    assert (stale.answers[1].refusal.reason, stale.answers[1].refusal.code) == ("STATE_STALE", 14)
    assert stale.answers[1].refusal.metadata["age_ms"] == "6000"
    assert stale.answers[2].decision.verdict == pb.VERDICT_ALLOWED


async def test_a_mistake_of_ours_refuses_the_request_and_tells_no_address(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise KeyError(ADA)

    async with talk(server) as talking:
        with monkeypatch.context() as patched:
            patched.setattr(Follower, "source_age_seconds", broken)
            told = await talking.ask(asked(ADA, ADA))
        again = await talking.ask(asked(ADA))

    assert [one.refusal.reason for one in told.answers] == ["STORE_UNAVAILABLE"] * 2
    assert ADA not in str(told)
    assert kinds(again) == ["decision"]


# ---- what ends a stream -----------------------------------------------------------------------


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
    assert not server.check_streams._of_principal


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


# ---- bounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["check_streams_max", "check_streams_of_principal_max"])
async def test_one_stream_too_many_is_refused_and_its_place_is_given_back(
    tmp_path: Path, limit: str
) -> None:
    bounds = CheckStreamLimits(**{limit: 1})
    async with running_server(tmp_path, check_stream_limits=bounds) as server:
        async with talk(server) as first:
            await first.ask(asked(ADA))
            async with talk(server) as second:
                await second.send(asked(ADA))
                error = await second.refusal()
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
    request = asked(*[ADA] * limits.STREAM_QUERIES_MAX).SerializeToString()
    sent = 0

    async def send_on(talking: Talk) -> None:
        nonlocal sent
        with suppress(aio.AioRpcError, asyncio.CancelledError):
            while True:
                await talking.send(request)
                sent += 1

    async def stalled() -> None:
        before = -1
        while sent != before:
            before = sent
            await asyncio.wait({sending}, timeout=0.3)

    async with aio.insecure_channel(server.address, SMALL_WINDOWS) as channel:
        slow = Talk(channel)
        sending = asyncio.ensure_future(send_on(slow))
        await stalled()
        async with talk(server) as quick:
            others = [await quick.ask(asked(ADA)) for _ in range(50)]
        assert await server.next_end() == ("StreamCheckSuppression", "OK", "", "open")
        sent_until_then = sent
        server.check_streams.end()
        cut_off = await server.next_end()
        slow.call.cancel()
        await sending

    assert all(kinds(one) == ["decision"] for one in others)
    assert 0 < sent_until_then * len(request) < WINDOW_BYTES_MAX
    assert cut_off == ("StreamCheckSuppression", "RESOURCE_EXHAUSTED", "OVERLOADED", "open")


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
