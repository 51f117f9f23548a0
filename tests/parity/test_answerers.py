"""Whoever answers checks, answers alike: every case of the decision table, and 10,000 drawn ones."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import heed
from heed.model import Channel, Record, RecordKind, Verdict
from heed.records import in_order
from tests.support import scenarios
from tests.support.answerers import ANSWERERS, Asks, by_batch, by_cache
from tests.support.decision_cases import DecisionCase, load
from tests.support.naive_decision import Scenario, verdict
from tests.support.worlds import Ask, World, served

pytestmark = pytest.mark.slow

CHUNKS = 2
"""Each starts an agent, and a process that reads a cache."""
WORLDS_A_CHUNK = 25
ASKS_A_WORLD = 200

Cases = list[tuple[World, list[Ask], list[Verdict]]]
"""Worlds, what is asked about each, and what the answers must be."""


@pytest.mark.parametrize("answerer", ANSWERERS)
async def test_every_case_of_the_table_is_answered_alike(answerer: str, tmp_path: Path) -> None:
    cases = of_the_table([case for case in load() if is_known(case)])

    assert sum(len(asks) for _, asks, _ in cases) > 200
    await assert_answered_alike(answerer, cases, tmp_path)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("answerer", ANSWERERS)
async def test_drawn_cases_are_answered_alike(answerer: str, chunk: int, tmp_path: Path) -> None:
    """Two chunks of 25 worlds of 200 questions are 10,000."""
    worlds = [drawn(chunk * WORLDS_A_CHUNK + at) for at in range(WORLDS_A_CHUNK)]

    await assert_answered_alike(answerer, worlds, tmp_path)


async def test_an_answerer_that_forgets_somebody_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: by half of the people named, the answers are not those of all."""

    @contextmanager
    def forgetful(address: str, folder: Path) -> Generator[Asks]:
        with by_cache(address, folder) as asked:
            yield lambda tenant, asks: asked(
                tenant, [replace(ask, emails=ask.emails[:1]) for ask in asks]
            )

    monkeypatch.setitem(ANSWERERS, "forgetful", forgetful)

    with pytest.raises(AssertionError):
        await assert_answered_alike("forgetful", [drawn(1)], tmp_path)


async def assert_answered_alike(answerer: str, cases: Cases, folder: Path) -> None:
    async with served([world for world, _, _ in cases], folder / "server") as address:
        with (
            by_batch(address, folder / "none") as expected,
            ANSWERERS[answerer](address, folder / "own") as found,
        ):
            for world, asks, verdicts in cases:
                there = await asyncio.to_thread(expected, world.name, asks)
                here = await asyncio.to_thread(found, world.name, asks)

                for ask, verdict_, one, other in zip(asks, verdicts, there, here, strict=True):
                    assert f"verdict={verdict_!r}" in one, ask
                    assert other == one, ask


def of_the_table(table: Sequence[DecisionCase]) -> Cases:
    """Cases that share topics and holds share a world, each with people of its own."""
    found: dict[object, tuple[World, list[Ask], list[Verdict]]] = {}
    for at, case in enumerate(table):
        scenario = case.scenario
        ends = any(hold.end_time is not None for hold in scenario.holds)
        like = (scenario.topics, scenario.holds, scenario.now if ends else None)
        if like not in found:
            name = f"world-{len(found)}"
            world = World(name, scenario.topics, scenario.holds, now=scenario.now)
            found[like] = (world, [], [])
        world, asks, verdicts = found[like]
        emails = tuple(f"c{at}-{number}@example.com" for number in range(len(scenario.subjects)))
        for email, records in zip(emails, scenario.subjects, strict=True):
            world.add(email, records, now=scenario.now)
        asks.append(Ask(emails=emails, query=scenario.query))
        verdicts.append(case.expected.verdict)
    return list(found.values())


def drawn(seed: int) -> tuple[World, list[Ask], list[Verdict]]:
    """A world, and questions about one or two people of it."""
    pick = scenarios.seeded(seed)
    topics = [
        topic
        for topic in (scenarios.topic(pick, name) for name in scenarios.TOPICS if pick((0, 1)))
        if topic.topic_class in set(heed.TopicClass)
    ]
    holds = {
        hold.hold_id: hold
        for hold in scenarios.some(pick, scenarios.hold, 1)
        if hold.channel in {None, *Channel}
    }
    now = pick(scenarios.TIMES)
    world = World(f"drawn-{seed}", topics, list(holds.values()), now=now)
    people = {
        f"p{at}@example.com": standing(scenarios.some(pick, scenarios.record, 4))
        for at in range(ASKS_A_WORLD)
    }
    for email, records in people.items():
        world.add(email, records, now=now)
    asks = [
        Ask(emails=tuple(sorted({email, pick(list(people))})), query=scenarios.scenario(pick).query)
        for email in people
    ]
    verdicts = [
        verdict(
            Scenario(
                topics=tuple(topics),
                holds=tuple(holds.values()),
                subjects=tuple(people[email] for email in ask.emails),
                query=ask.query,
                now=now,
            )
        )
        for ask in asks
    ]
    return world, asks, verdicts


def standing(records: Sequence[Record]) -> tuple[Record, ...]:
    """One record a slot, as they can stand."""
    return in_order({record.slot: record for record in records}.values())


def is_known(case: DecisionCase) -> bool:
    """Whether a stream can tell of it: a later version's words never come into a cache."""
    scenario = case.scenario
    return (
        all(
            isinstance(part, Channel | RecordKind | heed.Cause | heed.Reach)
            for records in scenario.subjects
            for record in records
            for part in (record.kind, record.cause, record.reach, record.channel)
        )
        and all(isinstance(topic.topic_class, heed.TopicClass) for topic in scenario.topics)
        and all(isinstance(hold.channel, Channel | None) for hold in scenario.holds)
    )
