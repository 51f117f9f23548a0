"""WatchChanges and ReportApplied as any client meets them: rights, refusals, ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc import aio

from heed.errors import ErrorReason
from heed.keys import Keyer, normalise
from heed.model import Subject, SubjectType
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.watch import WatchLimits, stream
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.servers import Running, error_of, new_channel, running_server
from tests.support.watching import Subscriber

QUICK = WatchLimits(heartbeat_seconds=0.1)
EMAIL = "ada@example.com"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, watch_limits=QUICK) as running:
        yield running


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[Running, Keys]]:
    keys = Keys()
    async with running_server(tmp_path, watch_limits=QUICK, authenticator=keys) as running:
        yield running, keys


async def refusal(subscriber: Subscriber) -> aio.AioRpcError:
    """How a stream that does not begin is refused."""
    with pytest.raises(aio.AioRpcError) as refused:
        async with subscriber.stream():
            pass
    return refused.value


async def test_the_first_message_says_what_is_needed_to_read_the_rest(server: Running) -> None:
    """By the key of `Opened` an address is found among the records."""
    await server.call("SetPreference", ask.set_preference(email=EMAIL))
    subscriber = Subscriber(server.channel)
    async with subscriber.stream() as told:
        await told.reach(1)
    opened = subscriber.opened
    (lookup_key,) = opened.lookup_keys

    key = Keyer(lookup_key.key).key(normalise(Subject(type=SubjectType.EMAIL, value=EMAIL)))

    assert lookup_key.key_id == 1
    assert set(subscriber.standing()) == {key}
    assert (opened.tenant, opened.tenant_id, opened.head_revision) == ("default", 1, 1)
    assert (opened.rule_version, opened.normaliser_version) == (1, 1)
    assert opened.heartbeat_interval.ToMilliseconds() in range(90, 111)
    assert len(opened.epoch) == 8


async def test_nothing_readable_is_told(server: Running) -> None:
    subscriber = Subscriber(server.channel)
    messages: list[bytes] = []
    async with subscriber.stream() as told:
        await told.reach(0)
        await server.call("SetPreference", ask.set_preference(email=EMAIL))
        messages.append((await told.read()).SerializeToString())
        await told.reach(1)

    assert EMAIL.encode() not in b"".join(messages)
    assert b"preference-page" not in b"".join(messages)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subscriber", ""),
        ("subscriber", "x" * 129),
        ("subscriber", "é"),
        ("instance", "x" * 65),
        ("channels", [1]),
        ("channels", [99]),
        ("channels", [3] * 65),
        ("topics", ["Not A Topic"]),
        ("topics", [f"t{number}" for number in range(101)]),
        ("rule_version", -1),
    ],
)
async def test_a_malformed_request_is_refused_with_its_field(
    server: Running, field: str, value: object
) -> None:
    asked = pb.WatchChangesRequest(**{"subscriber": "mailer", field: value})  # type: ignore[arg-type]  # drawn from the table

    with pytest.raises(aio.AioRpcError) as refused:
        await server.send("WatchChanges", asked.SerializeToString())

    error = error_of(refused.value)
    assert error.reason is ErrorReason.INVALID_FIELD
    assert str(error.metadata["field"]).startswith(field)


@pytest.mark.parametrize("seconds", [0, 3_601, -1])
async def test_a_staleness_out_of_bounds_is_refused(server: Running, seconds: int) -> None:
    asked = pb.WatchChangesRequest(subscriber="mailer")
    asked.max_staleness.seconds = seconds

    with pytest.raises(aio.AioRpcError) as refused:
        await server.send("WatchChanges", asked.SerializeToString())

    assert error_of(refused.value).metadata["field"] == "max_staleness"


@pytest.mark.parametrize(
    ("field", "value"), [("stream_id", ""), ("probe", 0), ("applied_revision", -1)]
)
async def test_a_malformed_report_is_refused_with_its_field(
    server: Running, field: str, value: object
) -> None:
    asked = ask.report_applied()
    setattr(asked, field, value)

    with pytest.raises(aio.AioRpcError) as refused:
        await server.send("ReportApplied", asked.SerializeToString())

    assert error_of(refused.value).metadata["field"] == field


async def test_a_token_that_is_none_is_refused(server: Running) -> None:
    subscriber = Subscriber(server.channel)
    subscriber.token = "nonsense"

    error = error_of(await refusal(subscriber))

    assert error.reason is ErrorReason.BAD_TOKEN


async def test_a_token_from_ahead_is_refused_and_not_resynced(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heed_server.service.watching.INDEX_WAIT_SECONDS_MAX", 0.1)
    subscriber = Subscriber(server.channel)
    answer = await server.call("SetPreference", ask.set_preference(email=EMAIL))
    subscriber.token = _ahead(answer.position.token)

    refused = await refusal(subscriber)

    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert error_of(refused).reason is ErrorReason.NODE_BEHIND


def _ahead(token: str) -> str:
    from heed.tokens import decode_token, encode_token

    at = decode_token(token)
    return encode_token(
        epoch=at.epoch,
        tenant_id=at.tenant_id,
        revision=type(at.revision)(at.revision + 100),
        running_hash=at.running_hash,
    )


async def test_a_report_reaches_its_own_stream_alone(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    mine, _ = await keys.make("watch")
    others, _ = await keys.make("watch")
    subscriber = Subscriber(server.channel, key=mine)
    thief = Subscriber(server.channel, key=others)
    async with subscriber.stream() as told:
        await told.heartbeat_of(await subscriber.report())
        thief.opened = subscriber.opened
        with pytest.raises(aio.AioRpcError) as refused:
            await thief.report()

    assert error_of(refused.value).reason is ErrorReason.STREAM_UNKNOWN


async def test_without_the_right_no_key_goes_out(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    key, _ = await keys.make("check", "write", "admin", "operate", "export", "audit")

    error = error_of(await refusal(Subscriber(server.channel, key=key)))

    assert error.reason is ErrorReason.RIGHT_REQUIRED
    assert error.metadata == {"right": "watch"}


async def test_a_key_of_one_tenant_watches_no_other(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    await server.store.create_tenant("other", bytes(32))
    await server.tenants.learn(await server.store.tenants())
    key, _ = await keys.make("watch", tenant="other")

    error = error_of(await refusal(Subscriber(server.channel, key=key, tenant="default")))
    own = Subscriber(server.channel, key=key)
    async with own.stream():
        pass

    assert error.reason is ErrorReason.TENANT_UNKNOWN
    assert own.opened.tenant == "other"


async def test_a_key_that_is_revoked_ends_its_stream(
    guarded: tuple[Running, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CREDENTIAL_SECONDS", 0.1)
    server, keys = guarded
    key, key_id = await keys.make("watch")
    other, _ = await keys.make("watch")
    revoked, kept = Subscriber(server.channel, key=key), Subscriber(server.channel, key=other)
    async with revoked.stream() as told, kept.stream() as goes_on:
        await told.reach(0)
        await keys.revoke(key_id)
        with pytest.raises(aio.AioRpcError) as refused:
            await told.read_to_end()
        beats = len(kept.heartbeats)
        await goes_on.read_until(lambda: len(kept.heartbeats) > beats + 2)

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error_of(refused.value).reason is ErrorReason.CREDENTIAL_INVALID


async def test_a_stream_whose_life_is_over_is_drained_and_ends_well(tmp_path: Path) -> None:
    limits = replace(QUICK, stream_seconds_max=0.5)
    async with running_server(tmp_path, watch_limits=limits) as server:
        subscriber = Subscriber(server.channel)
        async with subscriber.stream() as told:
            await told.read_to_end()
            code = await told.call.code()

    assert code is grpc.StatusCode.OK
    assert subscriber.draining is not None


async def test_a_reader_that_went_away_leaves_nothing(server: Running) -> None:
    """By cancelling, and by closing its connection."""
    subscriber = Subscriber(server.channel)
    async with subscriber.stream() as told:
        await told.reach(0)
    async with new_channel(server.address) as channel:
        lost = Subscriber(channel)
        async with lost.stream() as told:
            await told.reach(0)
            await channel.close(None)

    ends = [await server.next_end() for _ in range(2)]
    assert {end[:2] for end in ends} == {("WatchChanges", "CANCELLED")}
    assert not server.service.watches._streams


async def test_limits_are_told_with_their_names(tmp_path: Path) -> None:
    limits = replace(QUICK, streams_of_principal_max=1)
    async with (
        running_server(tmp_path, watch_limits=limits) as server,
        Subscriber(server.channel).stream(),
    ):
        error = error_of(await refusal(Subscriber(server.channel)))

    assert error.reason is ErrorReason.LIMIT_REACHED
    assert error.metadata == {"limit": "streams_of_principal_max", "value": "1"}


async def test_while_the_clock_is_doubted_followers_are_told_an_endless_age(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the time that no one sets: so nothing they stop ends early by a clock that jumped."""
    subscriber = Subscriber(server.channel)
    right = server.service.now()
    monkeypatch.setattr(server.service, "_now_by_boot", lambda: right)
    monkeypatch.setattr(server.service, "now", lambda: right + 3_600_000_000)
    async with subscriber.stream() as told:
        heartbeat = await told.heartbeat_of(await subscriber.report())

    assert heartbeat.source_age_ms >= 10**12
    assert heartbeat.now_us == right


async def test_a_probe_tells_how_old_the_nodes_own_knowledge_was(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server.tenants.all()[0]
    monkeypatch.setattr(type(context.follower), "source_age_seconds", lambda _: 7.25)
    subscriber = Subscriber(server.channel)
    async with subscriber.stream() as told:
        heartbeat = await told.heartbeat_of(await subscriber.report())

    assert heartbeat.source_age_ms == 7_250


async def test_two_hundred_who_reconnect_at_once_are_all_served_one_snapshot(
    server: Running,
) -> None:
    asked = ask.import_records(2_000)
    for row in asked.rows:
        row.subject.email = f"user{row.row}@example.com"
    await server.call("ImportRecords", asked)
    subscribers = [Subscriber(server.channel, f"mailer-{number}") for number in range(200)]

    async def follow(subscriber: Subscriber) -> None:
        async with subscriber.stream() as told:
            await told.reach(2_000)

    async with asyncio.TaskGroup() as group:
        for subscriber in subscribers:
            group.create_task(follow(subscriber))

    assert server.service.watches.snapshots.made == 1
    assert all(one.reasons == ["NEW"] for one in subscribers)
    assert all(one.standing() == subscribers[0].standing() for one in subscribers)
    assert len(subscribers[0].standing()) == 2_000
