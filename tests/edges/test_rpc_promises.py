"""What an answer promises: never from before its token, never allowed by what is too old, and
never by way of the database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2

from heed.acts import Outcome, PersonChoices, SetPreferences
from heed.errors import (
    ConflictError,
    ErrorReason,
    HeedError,
    InvalidArgumentError,
    UnavailableError,
)
from heed.model import Revision, TenantId
from heed.tokens import decode_token, encode_token
from heed.wire import parse
from heed_proto.v1 import types_pb2 as pb
from heed_server.follow import Follower
from heed_server.service.node import keyed
from heed_server.storage import SqlStore
from heed_server.writes import Write
from tests.support import requests as ask
from tests.support.postgres import Postgres
from tests.support.servers import Running, new_channel, running_server
from tests.support.stores import FakeClock, new_database


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


def other(token: str, **fields: Any) -> str:
    """A token that differs in some fields."""
    read = replace(decode_token(token), **fields)
    return encode_token(
        epoch=read.epoch,
        tenant_id=read.tenant_id,
        revision=read.revision,
        running_hash=read.running_hash,
    )


@pytest.mark.parametrize("token", ["x", "x" * 39, "é" * 39, "A" * 10_000, "\0" * 39])
async def test_a_token_that_heed_never_made_is_refused(server: Running, token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await server.call("CheckSuppression", ask.check(token=token))

    assert refused.value.reason is ErrorReason.BAD_TOKEN


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epoch": b"12345678"}, ErrorReason.EPOCH_CHANGED),
        ({"tenant_id": TenantId(77)}, ErrorReason.STORE_MISMATCH),
        ({"running_hash": b"12345678"}, ErrorReason.STORE_MISMATCH),
    ],
)
async def test_a_token_of_another_log_is_refused(
    server: Running, fields: dict[str, Any], reason: ErrorReason
) -> None:
    stored = await server.call("SetPreference", ask.set_preference())
    batch = ask.batch_check()
    batch.token = other(stored.position.token, **fields)

    for name, asked in (
        ("CheckSuppression", ask.check(token=batch.token)),
        ("BatchCheckSuppression", batch),
    ):
        with pytest.raises(ConflictError) as refused:
            await server.call(name, asked)
        assert refused.value.reason is reason


async def test_a_token_of_an_earlier_revision_is_served_by_what_is_known_now(
    server: Running,
) -> None:
    first = await server.call("SetPreference", ask.set_preference(key="a"))
    await server.call("SetPreference", ask.set_preference(ask.opt_out("news"), key="b"))

    answer = await server.call("CheckSuppression", ask.check(token=first.position.token))

    assert answer.position.revision == 2


async def test_a_token_from_before_the_first_change_is_good(server: Running) -> None:
    empty = await server.call("CheckSuppression", ask.check())

    again = await server.call("CheckSuppression", ask.check(token=empty.position.token))

    assert again.position.revision == 0


async def test_a_token_ahead_of_the_node_waits_no_longer_than_half_the_deadline(
    server: Running,
) -> None:
    stored = await server.call("SetPreference", ask.set_preference())
    ahead = other(stored.position.token, revision=Revision(2))

    with pytest.raises(UnavailableError) as refused:
        await server.call("CheckSuppression", ask.check(token=ahead), timeout=2)

    assert refused.value.reason is ErrorReason.NODE_BEHIND
    assert refused.value.metadata == {"applied": "1"}


async def test_a_token_ahead_of_the_node_is_answered_once_the_node_is_there(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    (context,) = server.tenants.all()
    # What another node commits is not offered to this one, which finds it in the log.
    monkeypatch.setattr(Follower, "offer", lambda *_: None)
    tokens: list[str] = []

    def encode_answer(outcome: Outcome) -> bytes:
        tokens.append(
            encode_token(
                epoch=outcome.epoch,
                tenant_id=context.tenant.tenant_id,
                revision=outcome.revision,
                running_hash=outcome.running_hash,
            )
        )
        return b""

    asked = parse.set_preference(ask.set_preference().SerializeToString())
    (person,) = asked.people
    act = SetPreferences(
        people=(
            PersonChoices(
                subjects=tuple(keyed(context, subject) for subject in person.subjects),
                choices=person.choices,
                origin=person.origin,
            ),
        )
    )
    await server.store.append(
        Write(
            tenant_id=context.tenant.tenant_id,
            idempotency_key="elsewhere",
            payload_hash=bytes(32),
            act=act,
            encode_answer=encode_answer,
        )
    )
    known_before = context.follower.revision

    answer = await server.call("CheckSuppression", ask.check(token=tokens[-1]))

    assert known_before == 0
    assert answer.position.revision == 1
    assert answer.decision.verdict == pb.VERDICT_SUPPRESSED


async def test_the_deadline_of_a_call_without_one_is_not_waited_for(server: Running) -> None:
    stored = await server.call("SetPreference", ask.set_preference())
    ahead = other(stored.position.token, revision=Revision(9))

    with pytest.raises(UnavailableError) as refused:
        await server.call("CheckSuppression", ask.check(token=ahead), timeout=None)

    assert refused.value.reason is ErrorReason.NODE_BEHIND


@pytest.fixture
async def aging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Running, FakeClock]]:
    """A server whose database went away after it had declared a topic of each class."""
    clock = FakeClock()
    async with running_server(tmp_path, clock=clock) as running:
        await running.call("DeclareTopic", ask.declare_topic("news", "a"))
        await running.call(
            "DeclareTopic", ask.declare_topic("orders", "b", pb.TOPIC_CLASS_TRANSACTIONAL)
        )
        await running.call(
            "DeclareTopic", ask.declare_topic("login", "c", pb.TOPIC_CLASS_MANDATORY)
        )
        await running.call("SetPreference", ask.set_preference(email="out@example.com"))

        async def away(*_: object) -> None:
            raise UnavailableError("the database is away")

        monkeypatch.setattr(SqlStore, "head", away)
        monkeypatch.setattr(SqlStore, "read_changes", away)
        yield running, clock


@pytest.mark.parametrize(
    ("topic", "seconds"), [("news", 5), ("orders", 60), ("login", 900), ("undeclared", 5)]
)
async def test_allowed_is_answered_only_by_what_is_young_enough_for_the_class(
    aging: tuple[Running, FakeClock], topic: str, seconds: float
) -> None:
    server, clock = aging
    asked = ask.check()
    asked.query.topic = topic

    clock.pass_seconds(seconds - 0.5)
    young = await server.call("CheckSuppression", asked)
    clock.pass_seconds(1)
    with pytest.raises(UnavailableError) as refused:
        await server.call("CheckSuppression", asked)

    assert young.decision.verdict == pb.VERDICT_ALLOWED
    assert refused.value.reason is ErrorReason.STATE_STALE
    assert int(refused.value.metadata["age_ms"]) >= seconds * 1_000


async def test_suppressed_is_answered_at_any_age(aging: tuple[Running, FakeClock]) -> None:
    server, clock = aging
    clock.pass_seconds(86_400)

    answer = await server.call("CheckSuppression", ask.check("out@example.com"))

    assert answer.decision.verdict == pb.VERDICT_SUPPRESSED


async def test_one_message_that_is_too_old_to_allow_fails_the_whole_batch(
    aging: tuple[Running, FakeClock],
) -> None:
    server, clock = aging
    clock.pass_seconds(30)
    asked = ask.batch_check(2)
    asked.queries[0].topic = asked.queries[1].topic = "orders"

    fresh = await server.call("BatchCheckSuppression", asked)
    asked.queries[1].topic = "news"
    with pytest.raises(UnavailableError) as refused:
        await server.call("BatchCheckSuppression", asked)
    asked.queries[1].subjects[0].email = "out@example.com"
    suppressed = await server.call("BatchCheckSuppression", asked)

    assert len(fresh.decisions) == 2
    assert refused.value.reason is ErrorReason.STATE_STALE
    assert suppressed.decisions[1].verdict == pb.VERDICT_SUPPRESSED


async def test_health_tells_of_age_only_past_the_bound(
    aging: tuple[Running, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, clock = aging

    async def away(*_: object) -> None:
        raise UnavailableError("the database is away")

    monkeypatch.setattr(SqlStore, "ping", away)
    await server.health.refresh()
    assert await health_of(server) == {
        "": "SERVING",
        "heed.v1.Check": "SERVING",
        "heed.v1.PreferenceService": "SERVING",
        "heed.v1.WatchService": "SERVING",
        "heed.v1.Write": "NOT_SERVING",
        "heed.v1.AdminService": "NOT_SERVING",
        "heed.v1.AuditService": "NOT_SERVING",
    }
    clock.pass_seconds(6)
    await server.health.refresh()

    assert (await health_of(server))["heed.v1.Check"] == "NOT_SERVING"


async def test_an_index_that_is_being_made_anew_answers_nothing(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: Follower) -> None:
        raise UnavailableError("being made anew", reason=ErrorReason.STATE_STALE)

    monkeypatch.setattr(Follower, "index", property(none))

    with pytest.raises(UnavailableError) as refused:
        await server.call("CheckSuppression", ask.check())

    assert refused.value.reason is ErrorReason.STATE_STALE


async def test_a_check_never_touches_the_database(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await server.call("SetPreference", ask.set_preference())
    touched: list[str] = []
    for name in dir(SqlStore):
        if callable(getattr(SqlStore, name)) and not name.startswith("_"):
            monkeypatch.setattr(SqlStore, name, refusing(name, touched))
    (context,) = server.tenants.all()
    asked_at_start = len(touched)

    for token in ("", stored.position.token):
        answer = await server.call("CheckSuppression", ask.check(token=token))
        assert answer.decision.verdict == pb.VERDICT_SUPPRESSED
        batch = ask.batch_check()
        batch.token = token
        assert len((await server.call("BatchCheckSuppression", batch)).decisions) == 3

    # The follower goes on asking for the head by itself, and for nothing else.
    assert set(touched[asked_at_start:]) <= {"head"}
    assert context.follower.revision == 1


async def test_a_write_that_the_index_does_not_follow_is_not_acknowledged(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(Follower, "reached", never)
    with pytest.raises(HeedError) as refused:
        await server.call("SetPreference", ask.set_preference())
    monkeypatch.undo()

    again = await server.call("SetPreference", ask.set_preference())

    assert refused.value.reason is ErrorReason.OUTCOME_UNKNOWN
    assert again.replayed


async def test_a_check_with_the_token_of_a_write_is_never_stale(server: Running) -> None:
    await assert_never_stale(server, server, people=400)


@pytest.mark.postgres
async def test_a_check_on_another_node_with_the_token_of_a_write_is_never_stale(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with (
        new_database("postgres", tmp_path, postgres) as database,
        running_server(tmp_path / "one", url=database.url) as one,
        running_server(tmp_path / "two", url=database.url) as two,
    ):
        await assert_never_stale(one, two, people=200)
        await assert_never_stale(two, one, people=200, first=200)
        assert await one.head() == await two.head() == 400


async def assert_never_stale(
    writer: Running, reader: Running, *, people: int, first: int = 0
) -> None:
    """64 people at a time opt out on one node and are checked on another, and by another
    connection on the one that wrote."""

    async def opt_out_and_check(number: int) -> None:
        email = f"user{number}@example.com"
        stored = await writer.call(
            "SetPreference", ask.set_preference(email=email, key=f"k{number}")
        )
        for node, token in ((reader, stored.position.token), (writer, "")):
            answer = await node.call(
                "CheckSuppression", ask.check(email, token=token), channel=channels[node.address]
            )
            assert answer.decision.verdict == pb.VERDICT_SUPPRESSED
            assert answer.position.revision >= stored.position.revision

    channels = {node.address: new_channel(node.address) for node in (writer, reader)}
    slots = asyncio.Semaphore(64)

    async def one(number: int) -> None:
        async with slots:
            await opt_out_and_check(number)

    async with asyncio.TaskGroup() as group:
        for number in range(first, first + people):
            group.create_task(one(number))
    for channel in channels.values():
        await channel.close()


def refusing(name: str, touched: list[str]) -> Any:
    """What stands in for a method of the store."""

    async def refuse(*_: object, **__: object) -> None:
        touched.append(name)
        raise UnavailableError("the database is away")

    return refuse


async def health_of(server: Running) -> dict[str, str]:
    """What every name of the health service says."""
    check: aio.UnaryUnaryMultiCallable[
        health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    ] = server.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    names = ["", "heed.v1.Check", "heed.v1.Write"] + [
        f"heed.v1.{service}Service" for service in ("Preference", "Watch", "Admin", "Audit")
    ]
    told: dict[str, str] = {}
    for name in names:
        answer = await check(health_pb2.HealthCheckRequest(service=name))
        told[name] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return told
