"""The opt-outs of a log that are told of again and again: each change is read once."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Instant,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
    TenantId,
)
from heed_server.deadlines import Clocked, DeadlineRules
from heed_server.service import opt_outs
from heed_server.service.opt_outs import OptOuts
from heed_server.service.tenants import TenantContext
from heed_server.store import LogReader

NOW = Instant(1_800_000_000_000_000)


class Log:
    """A log in which every third change is an opt-out; it notes what is read."""

    def __init__(self) -> None:
        self.length = 0
        self.read: list[int] = []

    async def read_changes(
        self, _tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[Change]:
        found = [change(number) for number in range(after + 1, self.length + 1)][:limit]
        self.read += [one.revision for one in found]
        return found


def change(number: int) -> Change:
    revision = Revision(number)
    kind = RecordKind.OPT_IN if number % 3 else RecordKind.OPT_OUT
    record = Record(
        kind, Cause.NONE, Reach.PROMOTIONAL, Channel.EMAIL, "news", NOW, None, revision
    )  # fmt: skip
    return Change(
        revision=revision,
        commit_time=NOW,
        kind=ChangeKind.CHOICE,
        effect=Effect.APPLIED,
        running_hash=bytes(32),
        record=record,
        origin=Origin(source="tests", jurisdiction="US"),
    )


def tenant(log: Log, number: int = 1) -> TenantContext:
    follower = SimpleNamespace(head_revision=Revision(log.length))
    return cast(
        "TenantContext",
        SimpleNamespace(tenant_id=TenantId(number), name="shop", follower=follower),
    )


def revisions(found: Sequence[Clocked]) -> list[int]:
    return [one.opt_out.revision for one in found]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def finder(log: Log) -> OptOuts:
    return OptOuts(cast("LogReader", log), DeadlineRules())


async def test_the_last_are_found_the_newest_first_and_nothing_is_read_twice(
    log: Log, finder: OptOuts
) -> None:
    log.length = 7
    assert revisions(await finder.recent(tenant(log))) == [6, 3]
    log.length = 12

    found = await finder.recent(tenant(log))

    assert revisions(found) == [12, 9, 6, 3]
    assert log.read == list(range(1, 13))


async def test_of_very_many_the_last_are_kept(
    log: Log, finder: OptOuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs, "RECENT_OPT_OUTS_MAX", 3)
    log.length = 30

    assert revisions(await finder.recent(tenant(log))) == [30, 27, 24]


async def test_of_a_long_log_only_the_end_is_read(
    log: Log, finder: OptOuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs, "CHANGES_A_CALL_MAX", 6)
    log.length = 100
    assert revisions(await finder.recent(tenant(log))) == [99, 96]
    log.length = 200

    assert revisions(await finder.recent(tenant(log))) == [198, 195]
    assert len(log.read) == 12


async def test_who_is_waited_for_is_found_from_the_least_revision_on(
    log: Log, finder: OptOuts
) -> None:
    log.length = 12
    found, read = await finder.after(tenant(log), Revision(4))
    assert (revisions(found), read) == ([6, 9, 12], 12)

    log.length = 15
    found, _ = await finder.after(tenant(log), Revision(9))

    assert revisions(found) == [12, 15]
    assert log.read == list(range(5, 16))


async def test_somebody_further_behind_has_it_read_anew(log: Log, finder: OptOuts) -> None:
    log.length = 12
    await finder.after(tenant(log), Revision(9))

    found, _ = await finder.after(tenant(log), Revision(0))

    assert revisions(found) == [3, 6, 9, 12]


async def test_a_long_wait_is_read_a_part_at_a_time_and_says_up_to_where(
    log: Log, finder: OptOuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs, "CHANGES_A_CALL_MAX", 6)
    monkeypatch.setattr(opt_outs, "WAITING_OPT_OUTS_MAX", 4)
    log.length = 100

    told: list[tuple[list[int], int]] = []
    for _ in range(3):
        found, read = await finder.after(tenant(log), Revision(0))
        told.append((revisions(found), read))

    assert told == [([3, 6], 6), ([3, 6, 9, 12], 12), ([3, 6, 9, 12], 12)]


async def test_a_log_that_is_shorter_than_it_was_is_read_anew(log: Log, finder: OptOuts) -> None:
    log.length = 12
    await finder.recent(tenant(log))
    await finder.after(tenant(log), Revision(0))
    log.length = 6

    assert revisions(await finder.recent(tenant(log))) == [6, 3]
    assert revisions((await finder.after(tenant(log), Revision(0)))[0]) == [3, 6]


async def test_tenants_beyond_the_bound_are_read_anew(
    log: Log, finder: OptOuts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs, "OPT_OUT_TENANTS_MAX", 2)
    log.length = 3

    for number in (1, 2, 3, 1):
        assert revisions(await finder.recent(tenant(log, number))) == [3]

    assert len(log.read) == 12
    assert len(finder._recent) == 2
