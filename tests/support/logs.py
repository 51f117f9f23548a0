"""What stands by a log, worked out change by change from its database, for whoever follows it."""

from dataclasses import dataclass

from heed.model import ChangeKind, Effect, Head, Record, Revision, SubjectKey
from heed.records import Slot
from heed_server.storage import SqlStore, SystemClock, open_store
from tests.support.roots import root_file_for
from tests.support.watching import Knowledge

PAGE_CHANGES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What a log says at its head."""

    head: Head
    records: dict[SubjectKey, frozenset[Record]]


async def logged(url: str) -> Logged:
    """Read the log of the first tenant of a database that no SQLite server holds just then."""
    root_file = root_file_for(url)
    async with await open_store(
        url, clock=SystemClock(), migrates=False, root_file=root_file
    ) as store:
        return await logged_in(store)


async def logged_in(store: SqlStore) -> Logged:
    """The same of a store that is open."""
    tenant = (await store.tenants())[0]
    standing: dict[SubjectKey, dict[Slot, Record]] = {}
    after = Revision(0)
    while changes := await store.read_changes(tenant.tenant_id, after, PAGE_CHANGES):
        for change in changes:
            assert change.revision == after + 1
            after = change.revision
            if change.subject is not None and change.erasure is not None:
                standing[change.subject] = {one.slot: one for one in change.erasure.standing}
            if change.subject is None or change.record is None:
                continue
            if change.effect is Effect.SUPERSEDED:
                continue
            records = standing.setdefault(change.subject, {})
            if change.kind is ChangeKind.RELEASE:
                del records[change.record.slot]
            else:
                records[change.record.slot] = change.record
    head = await store.head(tenant.tenant_id)
    assert head.revision == after
    return Logged(
        head=head,
        records={key: frozenset(some.values()) for key, some in standing.items() if some},
    )


def assert_equals(knowledge: Knowledge, log: Logged) -> None:
    """A follower knows what the log says, record by record, and stands at its head."""
    assert knowledge.standing() == log.records
    assert knowledge.revision == log.head.revision
    assert knowledge.running_hash == log.head.running_hash
