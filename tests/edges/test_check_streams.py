"""StreamCheckSuppression as any client meets it: answered in order, refused in place."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from heed.model import Revision
from heed.tokens import decode_token, encode_token
from heed_proto.v1 import types_pb2 as pb
from heed_server.follow import Follower
from tests.support import requests as ask
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock
from tests.support.talks import FOREVER, asked, kinds, talk, verdicts

ADA = "ada@example.com"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, check_stream_limits=FOREVER) as running:
        yield running


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
