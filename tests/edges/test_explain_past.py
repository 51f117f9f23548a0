"""A decision of then is given back: as it was answered, or not at all."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import heed
from heed import past
from heed.model import Change, ChangeKind, Instant
from heed_server.service.node import Node
from tests.support.postgres import Postgres
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock, new_database
from tests.support.talking import Talk, Told

WRITES = 100
QUERIES_A_WRITE = 10


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Running, FakeClock]]:
    kind: str = request.param
    server: Postgres | None = None
    if kind == "postgres":
        server = request.getfixturevalue("postgres")
    clock = FakeClock(runs=kind == "postgres")
    async with (
        new_database(kind, tmp_path, server) as database,
        running_server(tmp_path / "server", url=database.url, clock=clock) as running,
    ):
        yield running, clock


async def told(server: tuple[Running, FakeClock], *, writes: int = WRITES) -> list[Told]:
    """What was answered while the log was written."""
    running, clock = server
    async with heed.Client(running.address, timeout=20) as client:
        talk = Talk(client, clock, random.Random(7))
        return [one for _ in range(writes) for one in await talk.go_on(QUERIES_A_WRITE)]


async def differences(
    client: heed.Client, decisions: Sequence[Told], moment: Callable[[Told], heed.AsOf]
) -> int:
    """How many decisions are not given back by their moments."""
    found = 0
    for one in decisions:
        explained = await client.explain(
            channel=one.query.channel,
            topic=one.query.topic,
            campaign=one.query.campaign,
            email=one.query.email,
            as_of=moment(one),
        )
        found += not one.is_given_back_by(explained)
    return found


async def test_a_thousand_past_decisions_are_given_back_by_their_positions(
    server: tuple[Running, FakeClock],
) -> None:
    decisions = await told(server)

    assert len(decisions) == 1_000
    assert len({one.answer.verdict for one in decisions}) == 2
    rules = {one.answer.rule for one in decisions}
    assert rules >= {
        heed.Rule.HOLD,
        heed.Rule.SUPPRESSION,
        heed.Rule.OPT_OUT,
        heed.Rule.PAUSE,
        heed.Rule.OPT_IN,
        heed.Rule.DEFAULT,
        heed.Rule.NO_CONSENT,
        heed.Rule.MANDATORY,
    }
    async with heed.Client(server[0].address, timeout=20) as client:
        assert await differences(client, decisions, lambda one: one.answer) == 0


async def test_decisions_are_given_back_by_the_instants_of_their_answers(
    server: tuple[Running, FakeClock],
) -> None:
    """One node that answers behind no log: each instant has one answer."""
    decisions = await told(server, writes=30)

    async with heed.Client(server[0].address, timeout=20) as client:
        assert await differences(client, decisions, lambda one: one.answer.now) == 0


async def test_decisions_asked_about_at_another_revision_are_found_out(
    server: tuple[Running, FakeClock],
) -> None:
    """The control: what is compared does depend on the moment."""
    decisions = await told(server, writes=30)
    newest = decisions[-1].answer

    async with heed.Client(server[0].address, timeout=20) as client:
        assert await differences(client, decisions, lambda _: newest) > 20
        assert (
            await differences(
                client,
                decisions,
                lambda one: heed.Position(
                    revision=one.answer.revision, now=newest.now + timedelta(minutes=2)
                ),
            )
            > 0
        )


@pytest.mark.parametrize("kind", [ChangeKind.RELEASE, ChangeKind.HOLD, ChangeKind.TOPIC])
async def test_a_past_that_forgets_something_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ChangeKind
) -> None:
    clock = FakeClock()
    async with running_server(tmp_path, clock=clock) as running:
        decisions = await told((running, clock), writes=60)
        take = past.Past._take

        def forgetful(one: past.Past, change: Change) -> None:
            if change.kind is not kind:
                take(one, change)

        monkeypatch.setattr(past.Past, "_take", forgetful)
        async with heed.Client(running.address, timeout=20) as client:
            assert await differences(client, decisions, lambda one: one.answer) > 0


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[tuple[heed.Client, FakeClock]]:
    clock = FakeClock()
    async with (
        running_server(tmp_path, clock=clock) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        yield client, clock


def at(clock: FakeClock, seconds: float = 0) -> datetime:
    return datetime.fromtimestamp(clock.ahead(seconds) / 1e6, UTC)


async def ask(client: heed.Client, as_of: heed.AsOf | None = None) -> heed.CheckAnswer:
    return await client.explain(email="ada@example.com", channel="email", topic="news", as_of=as_of)


async def test_a_past_decision_tells_who_said_so_then(shop: tuple[heed.Client, FakeClock]) -> None:
    client, clock = shop
    first = await client.opt_out(email="ada@example.com", source="page", actor="person")
    clock.pass_seconds(5)
    await client.opt_out(email="ada@example.com", source="phone", method="phone")

    then, now = await ask(client, first), await ask(client)

    assert (then.revision, now.revision) == (1, 2)
    assert then.reasons[0].record is not None
    assert then.reasons[0].record.origin == heed.Origin(source="page", actor="person")
    assert now.reasons[0].record is not None
    assert now.reasons[0].record.origin is not None
    assert now.reasons[0].record.origin.source == "phone"
    assert then.token == first.token


async def test_what_ended_since_stands_in_its_time(shop: tuple[heed.Client, FakeClock]) -> None:
    client, clock = shop
    await client.pause(email="ada@example.com", end_time=at(clock, 60), source="page")
    clock.pass_seconds(30)
    halfway = at(clock)
    clock.pass_seconds(60)

    then, now = await ask(client, halfway), await ask(client)

    assert then.rule is heed.Rule.PAUSE
    assert then.now == halfway
    assert now.allowed


async def test_before_the_first_change_nothing_stood(shop: tuple[heed.Client, FakeClock]) -> None:
    client, clock = shop
    clock.pass_seconds(5)
    await client.opt_out(email="ada@example.com", source="page")
    clock.pass_seconds(5)

    by_revision = await ask(client, heed.Position(revision=0))
    by_instant = await ask(client, at(clock, -8))

    assert by_revision.allowed
    assert by_instant.allowed
    assert by_revision.revision == by_instant.revision == 0


async def test_without_an_instant_a_revision_is_asked_about_when_it_was_committed(
    shop: tuple[heed.Client, FakeClock],
) -> None:
    client, clock = shop
    await client.pause(email="ada@example.com", end_time=at(clock, 60), source="page")
    (change,) = [one async for one in client.get_history(email="ada@example.com")]
    clock.pass_seconds(90)

    then = await ask(client, heed.Position(revision=1))

    assert then.rule is heed.Rule.PAUSE
    assert then.now == change.commit_time


async def test_a_revision_that_is_not_there_yet_is_unknown(
    shop: tuple[heed.Client, FakeClock],
) -> None:
    client, _ = shop
    await client.opt_out(email="ada@example.com", source="page")

    with pytest.raises(heed.NotFoundError) as refused:
        await ask(client, heed.Position(revision=2))

    assert refused.value.reason is heed.ErrorReason.REVISION_UNKNOWN
    assert refused.value.metadata == {"revision": "2", "head": "1"}


async def test_rules_of_another_version_are_unknown(shop: tuple[heed.Client, FakeClock]) -> None:
    client, _ = shop

    with pytest.raises(heed.NotFoundError) as refused:
        await ask(client, heed.Position(revision=0, rule_version=3))

    assert refused.value.reason is heed.ErrorReason.RULES_UNKNOWN
    assert refused.value.metadata == {"rule_version": "3", "rule_version_max": "2"}


async def test_an_instant_ahead_of_the_clock_is_refused(
    shop: tuple[heed.Client, FakeClock],
) -> None:
    client, clock = shop

    with pytest.raises(heed.InvalidArgumentError, match="what will stand then"):
        await ask(client, at(clock, 1))


async def test_an_answer_of_another_history_is_refused(
    shop: tuple[heed.Client, FakeClock], tmp_path: Path
) -> None:
    """A store that was put back and went on otherwise does not know what it answered."""
    client, clock = shop
    await client.opt_out(email="ada@example.com", source="page")
    async with (
        running_server(tmp_path / "other", clock=clock) as running,
        heed.Client(running.address, timeout=20) as other,
    ):
        answer = await other.opt_out(email="bob@example.com", source="page")

    with pytest.raises(heed.ConflictError) as refused:
        await ask(client, answer)

    assert refused.value.reason is heed.ErrorReason.STORE_MISMATCH


async def test_a_token_of_another_revision_is_refused(
    shop: tuple[heed.Client, FakeClock],
) -> None:
    client, _ = shop
    answer = await client.opt_out(email="ada@example.com", source="page")

    with pytest.raises(heed.InvalidArgumentError, match=r"position\.revision"):
        await ask(client, heed.Position(revision=0, token=answer.token))


async def test_while_the_clock_is_doubted_explain_and_an_export_allow_what_both_times_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    async with (
        running_server(tmp_path / "server", clock=clock) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        end = datetime.fromtimestamp(clock.ahead(60) / 1e6).astimezone()
        await client.pause(email="ada@example.com", end_time=end, source="tests")
        clock.pass_seconds(90)

        async def allowed() -> list[bool]:
            export = await client.export_subject([heed.email("ada@example.com")])
            (by_email,) = (one for one in export.decisions if one.channel is heed.Channel.EMAIL)
            explained = await client.explain(email="ada@example.com", channel="email")
            return [explained.allowed, by_email.answer.allowed]

        believed = await allowed()
        monkeypatch.setattr(Node, "doubted", lambda _, now: Instant(now - 80_000_000))
        doubted = await allowed()

    assert believed == [True, True]
    assert doubted == [False, False]
