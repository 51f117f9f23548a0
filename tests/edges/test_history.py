"""What the log has of a person: all of it, in order, and of nobody else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import heed
from heed_proto.v1 import audit_service_pb2 as audit
from heed_server.rpc import audits
from tests.support import requests as ask
from tests.support.servers import Running, running_server
from tests.support.stores import EVIDENCE, FakeClock

ADA = "ada@example.com"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Running]:
    async with running_server(tmp_path, clock=clock) as running:
        yield running


@pytest.fixture
async def client(server: Running) -> AsyncIterator[heed.Client]:
    async with heed.Client(server.address, timeout=20) as client:
        yield client


def at(clock: FakeClock, seconds: float = 0) -> datetime:
    return datetime.fromtimestamp(clock.ahead(seconds) / 1e6, UTC)


async def history(client: heed.Client, *emails: str) -> list[heed.HistoricChange]:
    return [one async for one in client.get_history(email=emails or ADA)]


async def test_a_history_tells_who_said_what_when_how_and_why(
    client: heed.Client, clock: FakeClock
) -> None:
    clock.pass_seconds(1)  # past the making of the tenant
    committed = at(clock)
    by = heed.Origin(
        source="preference-page",
        actor="person",
        method=heed.Method.WEB_FORM,
        jurisdiction="AT",
        reference="ticket 4711",
        decided_time=at(clock, -5),
    )
    await client.set_preference(
        email=ADA,
        choices=[heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)],
        origin=by,
    )

    (change,) = await history(client)

    assert change.revision == 1
    assert change.commit_time == committed
    assert change.kind is heed.ChangeKind.CHOICE
    assert change.effect is heed.Effect.APPLIED
    assert change.origin == by
    assert change.evidence == EVIDENCE
    assert change.stood is None
    assert change.asked is not None
    assert change.asked.kind is heed.RecordKind.OPT_IN
    assert change.asked.scope == heed.Scope(channel=heed.Channel.EMAIL, topic="news")
    assert change.asked.decided_time == by.decided_time


async def test_a_history_has_what_stands_no_more_and_what_never_stood(
    client: heed.Client, clock: FakeClock
) -> None:
    by = heed.Origin(source="mail-server")
    bounce = heed.Suppression(subject=heed.email(ADA), cause="bounce", reason="550 5.1.1")
    await client.add_suppressions([bounce], origin=by)
    await client.release_suppression(
        subject=heed.email(ADA), cause="bounce", reason="it was us", origin=by
    )
    late = heed.Origin(source="mail-server", decided_time=at(clock, -60))
    await client.add_suppressions([bounce], origin=late)

    added, released, superseded = await history(client)

    assert [added.kind, released.kind, superseded.kind] == [
        heed.ChangeKind.SUPPRESSION,
        heed.ChangeKind.RELEASE,
        heed.ChangeKind.SUPPRESSION,
    ]
    assert added.reason == "550 5.1.1"
    assert released.reason == "it was us"
    assert released.asked is not None
    assert released.asked.revision == added.revision
    assert superseded.effect is heed.Effect.SUPERSEDED
    assert (await client.check(email=ADA, channel="email")).allowed


async def test_what_was_asked_and_what_stood_are_told_where_they_differ(
    client: heed.Client, clock: FakeClock
) -> None:
    for end in (at(clock, 90), at(clock, 5)):
        bounce = heed.Suppression(subject=heed.email(ADA), cause="bounce", end_time=end)
        await client.add_suppressions([bounce], origin=heed.Origin(source="mail-server"))

    _, second = await history(client)

    assert second.asked is not None
    assert second.asked.end_time == at(clock, 5)
    assert second.stood is not None
    assert second.stood.end_time == at(clock, 90)


async def test_a_history_names_the_list_of_an_import(client: heed.Client) -> None:
    row = heed.ImportRow(row=1, protection=heed.ImportedOptOut(subject=heed.email(ADA)))
    await client.import_records([row], batch_id="list-7", origin=heed.Origin(source="import"))

    (change,) = await history(client)

    assert change.batch_id == "list-7"
    assert change.kind is heed.ChangeKind.CHOICE


async def test_a_history_is_of_the_subjects_that_are_named(client: heed.Client) -> None:
    home = "ada@home.example"
    await client.opt_out(email=[ADA, home], source="page")
    await client.opt_out(email="bob@example.com", source="page")
    await client.declare_topic(
        "news", topic_class="promotional", origin=heed.Origin(source="tests")
    )
    await client.opt_out(email=home, topic="news", source="page")

    found = await history(client, home, ADA)

    assert [(one.revision, one.subject_index) for one in found] == [(1, 1), (2, 0), (5, 0)]
    assert await history(client, "nobody@example.com") == []


async def test_a_history_comes_in_pages(server: Running, client: heed.Client) -> None:
    for number in range(7):
        await client.opt_out(email=ADA, topic=f"t{number}", source="page")
    asked = audit.GetHistoryRequest(subjects=[ask.subject()], page_size=3)
    found: list[int] = []
    pages = 0

    while True:
        page = await server.call("GetHistory", asked)
        assert len(page.changes) <= 3
        found += [one.revision for one in page.changes]
        pages += 1
        asked.page_token = page.next_page_token
        if not asked.page_token:
            break

    assert found == list(range(1, 8))
    assert pages == 3
    assert page.position.revision == 7


async def test_a_page_of_long_texts_ends_before_it_is_too_long(
    server: Running, client: heed.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "HISTORY_BYTES_MAX", 1_000)
    for number in range(9):
        bounce = heed.Suppression(
            subject=heed.email(ADA), cause="bounce", topic=f"t{number}", reason="x" * 400
        )
        await client.add_suppressions([bounce], origin=heed.Origin(source="mail-server"))

    page = await server.call("GetHistory", audit.GetHistoryRequest(subjects=[ask.subject()]))

    assert 1 <= len(page.changes) < 4
    assert [one.revision for one in await history(client)] == list(range(1, 10))
