"""An opt-out is proved to have reached everyone: who has applied it, and who has not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import heed
from heed.errors import InvalidArgumentError
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch
from tests.support import requests as ask
from tests.support.servers import Running, running_server
from tests.support.watching import Subscriber

APPLIED = watch.SUBSCRIBER_STATUS_APPLIED
PENDING = watch.SUBSCRIBER_STATUS_PENDING
MISSING = watch.SUBSCRIBER_STATUS_MISSING


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


async def propagation(server: Running, revision: int = 0) -> watch.GetPropagationResponse:
    asked = watch.GetPropagationRequest(revision=revision)
    answer: watch.GetPropagationResponse = await server.call("GetPropagation", asked)
    return answer


def statuses(answer: watch.GetPropagationResponse) -> dict[str, int]:
    return {one.subscriber: one.status for one in answer.subscribers}


def waiting_opt_out(key: str, seconds: float) -> preference.SetPreferenceRequest:
    request = ask.set_preference(key=key)
    request.wait_propagated.FromMilliseconds(round(seconds * 1000))
    return request


async def test_a_subscriber_has_applied_a_revision_once_it_said_so(server: Running) -> None:
    mailer = Subscriber(server.channel, "mailer-1")
    async with mailer.stream():
        written = await server.call("SetPreference", ask.set_preference(key="k1"))
        revision = written.position.revision
        assert statuses(await propagation(server, revision)) == {
            "mailer-1": PENDING,
            "node/test": APPLIED,
        }

        await mailer.report(applied=revision)

        answer = await propagation(server, revision)
        assert statuses(answer) == {"mailer-1": APPLIED, "node/test": APPLIED}
        assert answer.propagated
        assert answer.subscribers[0].applied_revision == revision


async def test_a_write_that_waits_ends_when_the_last_subscriber_said_so(server: Running) -> None:
    mailer = Subscriber(server.channel, "mailer-1")
    async with mailer.stream() as stream:
        writing = asyncio.create_task(server.call("SetPreference", waiting_opt_out("k1", 30)))
        await stream.reach(1)
        assert not writing.done()

        await mailer.report()

        written = await writing
        assert written.propagated
        assert list(written.waiting_for) == []


async def test_a_write_that_waited_in_vain_is_committed_and_names_who_is_behind(
    server: Running,
) -> None:
    async with Subscriber(server.channel, "mailer-1").stream():
        written = await server.call("SetPreference", waiting_opt_out("k1", 0))

    assert written.HasField("propagated")
    assert not written.propagated
    assert list(written.waiting_for) == ["mailer-1"]
    assert written.position.revision == 1


async def test_how_long_a_call_waits_is_no_part_of_what_its_key_names(server: Running) -> None:
    first = await server.call("SetPreference", ask.set_preference(key="k1"))

    again = await server.call("SetPreference", waiting_opt_out("k1", 0))

    assert again.replayed
    assert again.propagated
    assert again.position == first.position
    assert not first.HasField("propagated")


async def test_a_wait_of_more_than_half_a_minute_is_refused(server: Running) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await server.call("SetPreference", waiting_opt_out("k1", 31))

    assert [one.field for one in refused.value.violations] == ["wait_propagated"]
    assert (await propagation(server)).head_revision == 0


async def test_a_declared_subscriber_that_never_came_is_missing_until_it_is_withdrawn(
    server: Running,
) -> None:
    declared = watch.DeclareSubscriberRequest(subscriber="billing")
    await server.call("DeclareSubscriber", declared)
    await server.call("DeclareSubscriber", declared)
    answer = await propagation(server)
    assert statuses(answer)["billing"] == MISSING
    assert not answer.propagated

    withdrawn = watch.WithdrawSubscriberRequest(subscriber="billing")
    await server.call("WithdrawSubscriber", withdrawn)
    await server.call("WithdrawSubscriber", withdrawn)
    answer = await propagation(server)
    assert "billing" not in statuses(answer)
    assert answer.propagated


async def test_a_cache_says_at_once_what_it_has_applied(server: Running, tmp_path: Path) -> None:
    """Its next probe would be minutes away: the write's wait ends by what was applied."""
    patient: dict[heed.TopicClass | str, timedelta] = dict.fromkeys(
        heed.TopicClass, timedelta(hours=1)
    )
    async with heed.Client(
        server.address,
        cache=tmp_path / "cache",
        max_staleness=patient,
        subscriber="mailer-1",
        timeout=30,
    ) as client:
        await client.wait_live(30)

        first = await client.opt_out(email="a@example.com", source="t", wait_propagated=20)
        second = await client.opt_out(email="b@example.com", source="t", wait_propagated=20)

        assert (first.propagated, first.waiting_for) == (True, ())
        assert (second.propagated, second.waiting_for) == (True, ())
        names = [one.name for one in (await client.get_propagation()).subscribers]
        assert names == ["mailer-1", "node/test"]
