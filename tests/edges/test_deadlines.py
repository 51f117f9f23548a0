"""By when opt-outs must have reached everyone: over the wire, and with a cache that is stopped."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import heed
from heed.deadlines import DeadlineStanding
from heed.errors import InvalidArgumentError
from heed.model import Instant, Revision, Scope, TenantId
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.deadlines import DeadlineWatch, DeadlineWatchLimits
from heed_server.service import clocks
from tests.support import requests as ask
from tests.support.cache_process import CacheProcess
from tests.support.servers import Running, running_server
from tests.support.watching import Subscriber

HOUR = 3_600_000_000
SHOP = TenantId(1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server") as running:
        yield running


def opt_out(key: str, place: str = "US", email: str = "ada@example.com") -> Any:
    request: preference.SetPreferenceRequest = ask.set_preference(key=key, email=email)
    request.origin.jurisdiction = place
    return request


async def deadlines(server: Running, **asked: Any) -> watch.GetDeadlinesResponse:
    answer: watch.GetDeadlinesResponse = await server.call(
        "GetDeadlines", watch.GetDeadlinesRequest(**asked)
    )
    return answer


async def looks(server: Running, after: int) -> list[dict[str, Any]]:
    """What a watch that was just started tells, so long after the last commit."""
    now = Instant((await server.store.head(SHOP)).commit_time + after)
    looking = DeadlineWatch(
        server.store,
        server.store,
        server.store,
        server.store.deadlines,
        server.service.registry,
        rules=server.service.rules,
        holder="test",
        followers=lambda: [context.follower for context in server.tenants.all()],
        now=lambda: now,
        limits=DeadlineWatchLimits(),
    )
    with capture_logs() as logs:
        await looking.look()
    return [dict(one) for one in logs]


async def test_a_cache_that_is_stopped_is_named_before_the_earliest_deadline(
    server: Running, tmp_path: Path
) -> None:
    """SIGSTOP: its process is there, its stream is open, and it applies nothing."""
    with CacheProcess(server.address, tmp_path / "cache") as cache:
        await asyncio.to_thread(cache.ask, "live")
        progress = await server.service.registry.progress(SHOP, Revision(0))
        name = next(one.name for one in progress if one.name != "node/test")
        await server.call("DeclareSubscriber", watch.DeclareSubscriberRequest(subscriber=name))
        applied = await server.call("SetPreference", opt_out("k1", email="bob@example.com"))
        await asyncio.to_thread(cache.ask, "wait", revision=applied.position.revision)
        await server.service.registry.propagated(SHOP, applied.position.revision, 20)
        cache.process.send_signal(signal.SIGSTOP)
        with contextlib.ExitStack() as going_on:
            going_on.callback(cache.process.send_signal, signal.SIGCONT)
            written = await server.call("SetPreference", opt_out("k2"))
            revision = written.position.revision

            assert await looks(server, 23 * HOUR) == []
            told = await looks(server, 24 * HOUR)

            assert [(one["event"], one["subscriber"], one["revision"]) for one in told] == [
                ("deadline_near", name, revision)
            ]
            assert told[0]["policy"] == "mailbox-providers"
            assert "ada" not in str(told)
            assert await looks(server, 25 * HOUR) == []
            waited_for, reached = (await deadlines(server)).opt_outs
            assert list(waited_for.waiting_for) == [name]
            assert waited_for.standing == watch.DEADLINE_STANDING_WAITING
            assert reached.standing == watch.DEADLINE_STANDING_APPLIED

        progress = await server.service.registry.propagated(SHOP, revision, 30)

        assert all(one.applied_revision >= revision for one in progress)
        assert await looks(server, 26 * HOUR) == []
        now_applied = (await deadlines(server)).opt_outs[0]
        assert now_applied.standing == watch.DEADLINE_STANDING_APPLIED
        assert now_applied.HasField("applied_time")


async def test_each_opt_out_is_told_with_its_deadlines(server: Running) -> None:
    await server.call("SetPreference", opt_out("k1", "US-CA"))
    await server.call("AddSuppressions", ask.add_suppressions())
    await server.call("SetPreference", opt_out("k2", "FR", "bob@example.com"))

    async with heed.Client(server.address, insecure=True) as client:
        page = await client.get_deadlines()

    second, first = page.opt_outs
    assert (first.revision, first.jurisdiction, first.scope) == (
        1,
        "US-CA",
        Scope(channel=heed.Channel.EMAIL),
    )
    assert [(one.policy, one.calendar) for one in first.deadlines] == [
        ("mailbox-providers", ""),
        ("can-spam", "US 2026-11"),
    ]
    assert "10 business days" in first.deadlines[1].title
    assert (first.deadlines[0].time - first.decided_time).total_seconds() == 48 * 3_600
    assert second.deadlines[0].policy == "gdpr-objection"
    assert {one.standing for one in page.opt_outs} == {DeadlineStanding.APPLIED}
    assert page.next_before_revision == 0
    assert page.policies_version == server.service.rules.policies.version


async def test_who_has_not_applied_an_opt_out_is_told_with_it(server: Running) -> None:
    mailer = Subscriber(server.channel, "mailer-1")
    async with mailer.stream():
        await server.call("SetPreference", opt_out("k1", "FR"))

        (one,) = (await deadlines(server)).opt_outs

        assert list(one.waiting_for) == ["mailer-1"]
        assert one.standing == watch.DEADLINE_STANDING_WAITING
        assert not one.HasField("applied_time")


async def test_pages_go_back_to_the_first_opt_out(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over a stretch of the log without any, a part of which a page looks at."""
    monkeypatch.setattr(clocks, "CLOCKED_CHANGES_READ", 2)
    monkeypatch.setattr(clocks, "CLOCKED_CHANGES_MAX", 4)
    for at in range(3):
        await server.call("SetPreference", opt_out(f"k{at}", email=f"user{at}@example.com"))
    await server.call("ImportRecords", ask.import_records())
    for at in range(5):
        await server.call("DeclareTopic", ask.declare_topic(f"topic{at}", f"t{at}"))
    everything: list[int] = []
    before, pages = 0, 0
    while True:
        page = await deadlines(server, before_revision=before, page_size=2)
        everything += [one.revision for one in page.opt_outs]
        before, pages = page.next_before_revision, pages + 1
        if not before:
            break

    assert everything[-3:] == [3, 2, 1]
    assert everything == sorted(set(everything), reverse=True)
    assert pages > 2


async def test_a_page_of_what_cannot_be_is_refused(server: Running) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await deadlines(server, before_revision=-1, page_size=1_001)

    assert {one.field for one in refused.value.violations} == {"before_revision", "page_size"}


async def test_the_command_tells_what_is_pressing_by_its_exit_code(server: Running) -> None:
    await server.call("SetPreference", opt_out("k1", "FR"))

    shown = await command(server, "deadlines")
    assert shown[0] == 0
    assert "gdpr-objection" in shown[1]
    assert await command(server, "deadlines", "--pressing") == (
        0,
        "no opt-out is near its deadline\n",
    )

    await server.call("DeclareSubscriber", watch.DeclareSubscriberRequest(subscriber="billing"))
    server.service.rules = type(server.service.rules)(grace_seconds=0)

    code, told = await command(server, "deadlines", "--pressing", "--json")
    assert code == 12
    assert '"waiting_for": ["billing"]' in told
    assert '"standing": "over"' in told


async def command(server: Running, *arguments: str) -> tuple[int, str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HEED_")}
    environment = bare | {"HEED_ADDRESS": server.address}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("heed"),
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
