"""Webhooks under kill -9 of the server, at each step of a delivery, and with two nodes.

After each fault the receiver has been told every change, each person's in the log's order; what it
was told twice had the same id.
"""

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from heed import Client, OptOut, Origin
from tests.support.postgres import Postgres
from tests.support.receiver import Came, Receiver, target_file
from tests.support.served import Served, run_command

ORIGIN = Origin(source="tests")

pytestmark = pytest.mark.slow


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as running:
        yield running


def settings(folder: Path, receiver: Receiver, **more: str) -> dict[str, str]:
    file = target_file(folder, receiver.url, events=["preference.changed"])
    return {
        "HEED_WEBHOOKS_TARGETS_FILE": str(file),
        "HEED_WEBHOOKS_PRIVATE_NETWORKS": "127.0.0.0/8",
        "HEED_WEBHOOKS_RETRY_SECONDS_MIN": "0.05",
        "HEED_WEBHOOKS_RETRY_SECONDS_MAX": "0.2",
        "HEED_WEBHOOKS_LEASE_SECONDS": "1",
        **more,
    }


async def write(server: Served, count: int, people: int = 5) -> int:
    """Write so many changes at once; return the last revision."""
    async with Client(server.address, timeout=20) as client:
        answers = await asyncio.gather(
            *(
                client.set_preference(
                    user=f"u-{number % people}",
                    choices=[OptOut(topic=f"t{number}")],
                    origin=ORIGIN,
                )
                for number in range(count)
            )
        )
    return max(answer.revision for answer in answers)


def assert_told_all_in_order(receiver: Receiver, head: int) -> None:
    assert {came.revision for came in receiver.taken} == set(range(1, head + 1))
    told: dict[str, list[int]] = {}
    ids: dict[int, set[str]] = {}
    for came in receiver.taken:
        of_subject = told.setdefault(came.subject, [])
        if came.revision not in of_subject:
            of_subject.append(came.revision)
        ids.setdefault(came.revision, set()).add(came.event_id)
    assert all(revisions == sorted(revisions) for revisions in told.values())
    assert all(len(of_one) == 1 for of_one in ids.values())


@pytest.mark.parametrize("step", ["before it arrives", "before it is answered", "once it is taken"])
async def test_kill_9_at_each_step_has_it_delivered_again_under_its_id(
    receiver: Receiver, tmp_path: Path, step: str
) -> None:
    variables = settings(tmp_path, receiver)
    server = await asyncio.to_thread(Served(tmp_path, variables=variables).start)
    written = asyncio.Event()

    async def answer(came: Came) -> int:
        if step == "before it arrives":
            return 503
        if came.revision == 2:
            await written.wait()
            # Stopped, it is answered and can note nothing more.
            server.signal(signal.SIGSTOP if step == "once it is taken" else signal.SIGKILL)
        return 204

    receiver.answer = answer
    try:
        head = await write(server, 3, people=1)
        written.set()
        if step == "once it is taken":
            await receiver.until_taken(2)
        await receiver.until(lambda: len(receiver.came) >= 2)
        server.signal(signal.SIGKILL)
        await asyncio.to_thread(server.wait)
        came_before = len(receiver.came)
        receiver.answer = lambda _: 204
        server = await asyncio.to_thread(Served(tmp_path, variables=variables).start)
        await receiver.until(lambda: head in {one.revision for one in receiver.taken})
    finally:
        await asyncio.to_thread(server.end)

    assert_told_all_in_order(receiver, head)
    again = {came.event_id for came in receiver.came[:came_before]}
    assert again & {came.event_id for came in receiver.came[came_before:]}, "no kill met anything"


async def test_kill_9_again_and_again_beside_a_flaky_receiver(
    receiver: Receiver, tmp_path: Path
) -> None:
    chance = random.Random(20261127)
    variables = settings(tmp_path, receiver)
    receiver.answer = lambda _: 500 if chance.random() < 0.3 else 204
    head = 0
    for _ in range(4):
        server = await asyncio.to_thread(Served(tmp_path, variables=variables).start)
        try:
            head = await write(server, 25)
            met = len(receiver.came) + chance.randrange(15)
            await receiver.until(lambda met=met: len(receiver.came) >= met)  # type: ignore[misc]
        finally:
            server.signal(signal.SIGKILL)
            await asyncio.to_thread(server.end)
    server = await asyncio.to_thread(Served(tmp_path, variables=variables).start)
    try:
        wanted = set(range(1, head + 1))
        await receiver.until(lambda: wanted <= {came.revision for came in receiver.taken})
    finally:
        await asyncio.to_thread(server.end)

    assert head == 100
    assert_told_all_in_order(receiver, head)


async def test_after_an_orderly_stop_nothing_is_told_again(
    receiver: Receiver, tmp_path: Path
) -> None:
    variables = settings(tmp_path, receiver)
    for wanted in (20, 40):
        server = await asyncio.to_thread(Served(tmp_path, variables=variables).start)
        try:
            head = await write(server, 20)
            await receiver.until_taken(wanted)
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            await asyncio.to_thread(server.end)
        assert head == wanted

    assert len(receiver.came) == 40


async def test_a_target_is_tried_by_a_command_and_looked_at_by_doctor(
    receiver: Receiver, tmp_path: Path
) -> None:
    variables = settings(tmp_path, receiver)
    receiver.answer = lambda came: 204 if came.type == "webhook.test" else 500

    def run(*arguments: str, **more: str) -> tuple[int, str]:
        done = run_command(*arguments, cwd=tmp_path, variables=variables | more)
        return done.returncode, done.stdout + done.stderr

    taken = await asyncio.to_thread(run, "webhooks", "test", "crm")
    unknown = await asyncio.to_thread(run, "webhooks", "test", "other", "--json")
    receiver.answer = lambda _: 500
    refused = await asyncio.to_thread(run, "webhooks", "test", "crm", "--json")
    secret = await asyncio.to_thread(run, "webhooks", "new-secret")
    looked = await asyncio.to_thread(run, "doctor", "--json")
    inside = await asyncio.to_thread(run, "doctor", HEED_WEBHOOKS_PRIVATE_NETWORKS="")

    assert taken == (0, "crm took it\n")
    assert unknown[0] == 4
    assert refused == (1, '{"taken": false, "why": "HTTP 500"}\n')
    assert secret[1].startswith("whsec_")
    findings = [json.loads(line) for line in looked[1].splitlines() if line.startswith("{")]
    assert {one["good"] for one in findings if "webhooks" in one["what"]} == {True}
    assert "BAD webhooks" in inside[1]


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database("webhooks") as url:
        yield url


@pytest.mark.postgres
async def test_a_node_that_was_stopped_in_the_middle_leaves_out_nothing_when_it_goes_on(
    receiver: Receiver, url: str, tmp_path: Path
) -> None:
    """Another took its lease meanwhile; what the first still sends is a repeat, and no more."""
    variables = settings(tmp_path, receiver, HEED_STORAGE_URL=url)
    migrated = await asyncio.to_thread(run_command, "migrate", cwd=tmp_path, variables=variables)
    assert migrated.returncode == 0
    nodes: list[Served] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        nodes.append(Served(tmp_path / name, variables=variables))
    first, second = nodes
    try:
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(first.wait_for, "webhooks_delivering")
        await asyncio.to_thread(second.start)
        await write(second, 20)
        await receiver.until_taken(20)
        writing = asyncio.create_task(write(second, 100))
        await receiver.until_taken(40)
        first.signal(signal.SIGSTOP)
        await writing
        await asyncio.to_thread(second.wait_for, "webhooks_delivering")
        await receiver.until(lambda: len({one.revision for one in receiver.taken}) == 120)
        first.signal(signal.SIGCONT)
        head = await write(first, 20)
        await receiver.until(lambda: len({one.revision for one in receiver.taken}) == head)
    finally:
        for node in nodes:
            await asyncio.to_thread(node.end)

    assert head == 140
    assert_told_all_in_order(receiver, head)
