"""What type checkers see of the library: mypy and pyright both hold it, nothing here runs."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import heed
from heed.client.export import RecordExport
from heed.sync_client.export import RecordExport as SyncRecordExport

ORIGIN = heed.Origin(source="types")


async def asynchronous(client: heed.Client) -> None:
    """Every method gives what it says, awaited."""
    answer = await client.check(email="ada@example.com", channel="email", topic="news")
    assert_type(answer, heed.CheckAnswer)
    assert_type(answer.allowed, bool)
    assert_type(answer.rule, heed.Rule | None)
    assert_type(
        await client.check_many([heed.Query(channel=heed.Channel.SMS, phone="+43 1")]),
        tuple[heed.CheckAnswer, ...],
    )
    assert_type(await client.explain(user=["a", "b"], channel="push"), heed.CheckAnswer)
    assert_type(await client.opt_out(email="a@b.c", source="s"), heed.SetAnswer)
    assert_type(await client.set_preferences([], origin=ORIGIN), heed.BatchSetAnswer)
    assert_type((await client.get_preferences(user="u")).records, tuple[heed.Record, ...])
    assert_type(client.list_tenants(), AsyncIterator[heed.Tenant])
    assert_type(client.list_topics(), AsyncIterator[heed.Topic])
    assert_type(client.list_holds(), AsyncIterator[heed.Hold])
    assert_type(client.list_approvals(), AsyncIterator[heed.Approval])
    assert_type(client.list_suppressions(), AsyncIterator[heed.SubjectRecord])
    assert_type(client.export_records(), RecordExport)
    async for record in client.export_records():
        assert_type(record.subject, heed.Subject | None)
    async with heed.Client() as opened:
        assert_type(opened, heed.Client)


def synchronous(client: heed.SyncClient) -> None:
    """The same, waited for."""
    answer = client.check(email="ada@example.com", channel="email", topic="news")
    assert_type(answer, heed.CheckAnswer)
    assert_type(
        client.check_many([heed.Query(channel=heed.Channel.SMS, phone="+43 1")]),
        tuple[heed.CheckAnswer, ...],
    )
    assert_type(client.explain(user=["a", "b"], channel="push"), heed.CheckAnswer)
    assert_type(client.opt_out(email="a@b.c", source="s"), heed.SetAnswer)
    assert_type(client.set_preferences([], origin=ORIGIN), heed.BatchSetAnswer)
    assert_type(client.get_preferences(user="u").records, tuple[heed.Record, ...])
    assert_type(client.list_tenants(), Iterator[heed.Tenant])
    assert_type(client.list_topics(), Iterator[heed.Topic])
    assert_type(client.list_holds(), Iterator[heed.Hold])
    assert_type(client.list_approvals(), Iterator[heed.Approval])
    assert_type(client.list_suppressions(), Iterator[heed.SubjectRecord])
    assert_type(client.export_records(), SyncRecordExport)
    with heed.SyncClient() as opened:
        assert_type(opened, heed.SyncClient)


def errors(error: heed.HeedError) -> None:
    """Callers decide by class and reason."""
    assert_type(error.reason, heed.ErrorReason)
    assert_type(error.metadata, dict[str, str])
    if isinstance(error, heed.InvalidArgumentError):
        assert_type(error.violations, tuple[heed.FieldViolation, ...])
