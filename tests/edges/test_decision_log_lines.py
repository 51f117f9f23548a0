"""Every line of the decision log gives its decision back: what was told is what can be explained."""

import json
import random
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import heed
from heed.keys import Keyer
from heed.model import Instant, SubjectType
from heed_server.decisions import DecisionLogLimits, open_decision_log
from heed_server.service import Service
from heed_server.service.logged import LoggedService
from tests.support.agents import ServedAgent
from tests.support.postgres import Postgres
from tests.support.served import Served
from tests.support.servers import running_server
from tests.support.stores import LOOKUP_KEY, FakeClock, new_database
from tests.support.talking import PEOPLE, Talk
from tests.support.worked import Worked

Line = dict[str, Any]
KEYER = Keyer(LOOKUP_KEY)
NAMES = {KEYER.key_of(SubjectType.EMAIL, email).hex(): email for email in PEOPLE}


def lines_of(*paths: Path) -> list[Line]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


async def explained(client: heed.Client, line: Line, now: str = "now") -> heed.CheckAnswer:
    """What Explain says of a line, by nothing but the line and whom it is about."""
    return await client.explain(
        channel=line["channel"],
        topic=line.get("topic", ""),
        campaign=line.get("campaign", ""),
        email=[NAMES[key] for key in line["subjects"]],
        as_of=heed.Position(
            revision=line["revision"],
            now=datetime.fromisoformat(line[now]),
            rule_version=line["rule_version"],
            token=line["token"],
        ),
    )


def is_given_back(line: Line, answer: heed.CheckAnswer) -> bool:
    return (line["verdict"], line["rule"]) == (
        answer.verdict.name.lower(),
        answer.rule and answer.rule.name.lower(),
    )


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    kind: str = request.param
    server: Postgres | None = None
    if kind == "postgres":
        server = request.getfixturevalue("postgres")
    async with new_database(kind, tmp_path, server) as made:
        yield made.url


async def test_every_line_explained_gives_its_verdict(database: str, tmp_path: Path) -> None:
    """Of single checks, batches and streams alike, while the log is written."""
    clock = FakeClock(runs=database.startswith("postgres"))
    path = tmp_path / "decisions.jsonl"
    log = open_decision_log(path, DecisionLogLimits())
    async with (
        running_server(tmp_path / "server", url=database, clock=clock, decisions=log) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        talk = Talk(client, clock, random.Random(11))
        singly: list[heed.CheckAnswer] = []
        for round_ in range(30):
            await talk.go_on(4)
            one = talk.query()
            singly.append(
                await client.check(
                    channel=one.channel,
                    topic=one.topic,
                    campaign=one.campaign,
                    email=one.email,
                    reference=f"single {round_}",
                )
            )
            async with client.check_stream() as stream:
                await stream.check(
                    channel=one.channel, topic=one.topic, email=one.email, reference="streamed"
                )
        log.close()
        lines = lines_of(path)
        answers = [(line, await explained(client, line)) for line in lines]

    assert len(lines) == 30 * 6
    assert [line for line, answer in answers if not is_given_back(line, answer)] == []
    named = {line["reference"]: line for line in lines if "reference" in line}
    assert len(named) == 31
    for round_, answer in enumerate(singly):
        line = named[f"single {round_}"]
        assert (line["revision"], line["token"]) == (answer.revision, answer.token)
        assert datetime.fromisoformat(line["now"]) == answer.now
    assert not any(email in path.read_text() for email in PEOPLE)


async def test_a_line_of_another_moment_is_found_out(tmp_path: Path) -> None:
    """The control: its verdict does depend on where and when it was."""
    clock, path = FakeClock(), tmp_path / "decisions.jsonl"
    log = open_decision_log(path, DecisionLogLimits())
    async with (
        running_server(tmp_path / "server", clock=clock, decisions=log) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        talk = Talk(client, clock, random.Random(11))
        for _ in range(30):
            await talk.go_on(4)
        log.close()
        lines = lines_of(path)
        last = {name: lines[-1][name] for name in ("revision", "now", "token")}
        moved = [(line, await explained(client, line | last)) for line in lines]

    assert sum(not is_given_back(line, answer) for line, answer in moved) > 10


async def test_a_decision_of_a_doubted_clock_is_given_back_by_its_two_instants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, path = FakeClock(), tmp_path / "decisions.jsonl"
    log = open_decision_log(path, DecisionLogLimits())
    async with (
        running_server(tmp_path / "server", clock=clock, decisions=log) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        end = datetime.fromtimestamp(clock.ahead(60) / 1e6).astimezone()
        await client.pause(email=PEOPLE[0], end_time=end, source="tests")
        clock.pass_seconds(90)
        monkeypatch.setattr(LoggedService, "doubted", lambda _, now: Instant(now - 80_000_000))
        told = await client.check(email=PEOPLE[0], channel="email")
        log.close()
        (line,) = lines_of(path)
        by_now, by_other = await explained(client, line), await explained(client, line, "other_now")

    assert not told.allowed
    assert by_now.allowed
    assert is_given_back(line, by_other)


async def test_what_is_refused_is_no_decision_and_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    log = open_decision_log(path, DecisionLogLimits())
    async with (
        running_server(tmp_path / "server", decisions=log) as running,
        heed.Client(running.address, timeout=20) as client,
    ):
        with pytest.raises(heed.InvalidArgumentError):
            await client.check(email="no address", channel="email")
        async with client.check_stream() as stream:
            with pytest.raises(heed.InvalidArgumentError):
                await stream.check(email="no address", channel="email")
            await stream.check(email=PEOPLE[0], channel="email")
        log.close()

    assert len(lines_of(path)) == 1


def test_without_a_decision_log_no_check_is_answered_by_the_code_that_notes_it() -> None:
    """What it costs then is nothing: the class that answers has none of it."""
    assert not issubclass(Service, LoggedService)
    assert "_note" not in dir(Service)


def test_a_server_keeps_a_decision_log_and_counts_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with Served(tmp_path, variables={"HEED_DECISION_LOG_FILE": str(path)}) as server:
        with server.client() as client:
            for number in range(9):
                client.check(user="u-1", channel="in_app", reference=f"m-{number}")
        assert server.metrics()["heed_decision_log_dropped_total"] == 0
        server.stop()

    assert [line["reference"] for line in lines_of(path)] == [f"m-{number}" for number in range(9)]


@pytest.mark.slow
def test_each_worker_keeps_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with Worked(tmp_path, variables={"HEED_DECISION_LOG_FILE": str(path)}) as server:
        with server.clients() as clients:
            for client in clients:
                client.check(user="u-1", channel="in_app")
            count = len(clients)
        server.stop()

    files = [tmp_path / f"decisions.worker-{number}.jsonl" for number in (1, 2)]
    assert [bool(lines_of(file)) for file in files] == [True, True]
    assert len(lines_of(*files)) == count
    assert not path.exists()


@pytest.mark.slow
def test_an_agent_keeps_one_of_what_it_answers_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    with (
        Served(tmp_path) as server,
        ServedAgent(
            tmp_path, server.address, variables={"HEED_DECISION_LOG_FILE": str(path)}
        ) as agent,
    ):
        agent.wait_in_step()
        with agent.client() as client:
            told = client.check(user="u-1", channel="in_app", reference="m-1")
        agent.stop()

    (line,) = lines_of(path)
    assert (line["reference"], line["verdict"]) == ("m-1", "allowed")
    assert (line["revision"], line["token"]) == (told.revision, told.token)
