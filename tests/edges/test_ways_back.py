"""What needs a second person does nothing until another grants it, and then what was shown."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import heed
from heed.errors import (
    ConflictError,
    ErrorReason,
    NotFoundError,
    RightRequiredError,
    UnavailableError,
)
from heed.wire import limits
from heed_server.service.caps import CapLimits, Caps
from heed_server.writes import Appended
from tests.support.api_keys import Keys
from tests.support.servers import Running, running_server

ORIGIN = heed.Origin(source="ops", method=heed.Method.OPERATOR)
LIST = heed.Origin(source="file", method=heed.Method.IMPORT)
SEEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
RIGHTS = ("check", "write", "consent", "suppress", "admin", "audit", "export")


@dataclass
class Office:
    """A server that asks for keys, and clients of two persons."""

    server: Running
    keys: Keys
    jane: heed.Client
    joe: heed.Client


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with office_with(tmp_path) as office:
        yield office


@asynccontextmanager
async def office_with(folder: Path, caps: Caps | None = None) -> AsyncGenerator[Office]:
    keys = Keys()
    async with running_server(folder, authenticator=keys, caps=caps) as server:
        jane, _ = await keys.make(*RIGHTS)
        joe, _ = await keys.make(*RIGHTS)
        async with (
            heed.Client(server.address, api_key=jane) as first,
            heed.Client(server.address, api_key=joe) as second,
        ):
            yield Office(server, keys, first, second)


def rows(*names: str) -> list[heed.ImportRow]:
    return [
        heed.ImportRow(
            row=number,
            protection=heed.ImportedOptOut(subject=heed.email(f"{name}@example.com")),
            decided_time=SEEN,
        )
        for number, name in enumerate(names, start=1)
    ]


async def import_list(client: heed.Client, *names: str, chunk: int = 1) -> None:
    await client.import_records(
        batch_id="wrong",
        rows=rows(*names),
        origin=LIST,
        idempotency_key=f"wrong/{chunk}",
    )


async def revert(client: heed.Client, *, dry_run: bool = False) -> heed.RevertAnswer:
    return await client.revert_batch(
        "wrong",
        reason="the wrong file",
        origin=ORIGIN,
        dry_run=dry_run,
        idempotency_key="revert/wrong",
    )


async def asked_for(client: heed.Client) -> str:
    """Ask for the revert, and return the approval that it needs."""
    with pytest.raises(ConflictError) as refused:
        await revert(client)
    assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
    return refused.value.metadata["approval_id"]


async def allowed(client: heed.Client, name: str) -> bool:
    return (await client.check(email=f"{name}@example.com", channel="email", timeout=5)).allowed


async def test_a_batch_is_undone_once_another_granted_it(office: Office) -> None:
    await import_list(office.jane, "ada", "bob")
    await office.joe.opt_out(email="bob@example.com", source="page")
    shown = await revert(office.jane, dry_run=True)
    approval_id = await asked_for(office.jane)
    assert not await allowed(office.jane, "ada")

    granted = await office.joe.grant_approval(approval_id)
    done = await revert(office.jane)

    assert (granted.asked_by, granted.decided_by) == ("key 1", "key 2")
    assert granted.shown == {"records": 2, "released": 2, "restored": 0, "newly_allowed": 1}
    assert (shown.records, shown.released, shown.newly_allowed) == (2, 2, 1)
    assert (done.records, done.released, done.people, done.replayed) == (2, 2, 2, False)
    assert await allowed(office.jane, "ada")
    assert not await allowed(office.jane, "bob")
    again = await revert(office.jane)
    assert (again.released, again.replayed, again.revision) == (2, True, done.revision)


async def test_a_list_of_batches_says_who_brought_each_and_who_undid_it(office: Office) -> None:
    await import_list(office.jane, "ada", "bob")
    await office.jane.import_records(
        batch_id="next", rows=rows("eve"), origin=LIST, idempotency_key="next/1"
    )
    await office.joe.grant_approval(await asked_for(office.jane))
    done = await revert(office.jane)

    following, undone = [one async for one in office.jane.list_batches()]

    assert (following.batch_id, following.undoing) == ("next", None)
    assert (following.first_revision, following.last_revision) == (3, 3)
    assert (undone.batch_id, undone.first_revision, undone.last_revision) == ("wrong", 1, 2)
    assert undone.origin is not None
    assert undone.origin.source == LIST.source
    assert undone.first_time is not None
    assert undone.undoing is not None
    assert (undone.undoing.asked_by, undone.undoing.approved_by) == ("key 1", "key 2")
    assert undone.undoing.revision <= done.revision


async def test_who_asked_cannot_grant_it_nor_who_lacks_the_right(office: Office) -> None:
    await import_list(office.jane, "ada")
    approval_id = await asked_for(office.jane)
    other, _ = await office.keys.make("admin")

    with pytest.raises(ConflictError) as refused:
        await office.jane.grant_approval(approval_id)
    with pytest.raises(NotFoundError) as unknown:
        await office.joe.grant_approval("approval-77")

    assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert unknown.value.reason is ErrorReason.APPROVAL_UNKNOWN
    assert not await allowed(office.jane, "ada")
    async with heed.Client(office.server.address, api_key=other) as third:
        assert (await third.grant_approval(approval_id)).state is heed.ApprovalState.GRANTED


async def test_what_would_do_more_by_now_asks_anew(office: Office) -> None:
    await import_list(office.jane, "ada")
    first = await asked_for(office.jane)
    await office.joe.grant_approval(first)
    await import_list(office.jane, "bob", chunk=2)

    second = await asked_for(office.jane)

    assert second != first
    states = {one.approval_id: one.state async for one in office.joe.list_approvals()}
    assert states == {
        second: heed.ApprovalState.PENDING,
        first: heed.ApprovalState.REJECTED,
    }
    assert not await allowed(office.jane, "ada")


async def test_what_was_chosen_between_is_kept_and_needs_no_new_word(office: Office) -> None:
    await import_list(office.jane, "ada", "bob")
    await office.joe.grant_approval(await asked_for(office.jane))
    await office.joe.opt_out(email="ada@example.com", channel="email", source="page")

    done = await revert(office.jane)

    assert (done.released, done.unchanged) == (1, 1)
    assert not await allowed(office.jane, "ada")
    assert await allowed(office.jane, "bob")


async def test_what_was_rejected_does_nothing(office: Office) -> None:
    await import_list(office.jane, "ada")
    first = await asked_for(office.jane)

    rejected = await office.joe.reject_approval(first)
    with pytest.raises(ConflictError):
        await office.joe.grant_approval(first)
    second = await asked_for(office.jane)

    assert rejected.state is heed.ApprovalState.REJECTED
    assert second != first
    assert not await allowed(office.jane, "ada")


async def test_a_batch_of_more_people_than_a_part_is_undone_part_by_part(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REVERT_PEOPLE_MAX", 3)
    names = [f"name-{number}" for number in range(8)]
    await import_list(office.jane, *names)
    await office.joe.grant_approval(await asked_for(office.jane))

    done = await revert(office.jane)

    assert (done.records, done.released, done.people) == (8, 8, 8)
    assert all([await allowed(office.jane, name) for name in names])


async def test_a_call_that_ended_early_goes_on_when_it_is_sent_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REVERT_PEOPLE_MAX", 3)
    names = [f"name-{number}" for number in range(8)]
    await import_list(office.jane, *names)
    await office.joe.grant_approval(await asked_for(office.jane))
    service, parts = office.server.service, 0
    append = service.append

    async def fails_at_the_second(*args: Any) -> Appended:
        nonlocal parts
        if args[2].dry_run:
            return await append(*args)
        parts += 1
        if parts == 2:
            raise UnavailableError("the database went away")
        return await append(*args)

    monkeypatch.setattr(service, "append", fails_at_the_second)

    done = await revert(office.jane)

    assert parts > 3  # the client sent it again
    assert (done.records, done.released, done.people) == (8, 8, 8)
    assert all([await allowed(office.jane, name) for name in names])


async def test_an_erasure_between_two_parts_leaves_nobody_else_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REVERT_PEOPLE_MAX", 3)
    names = [f"name-{number}" for number in range(8)]
    await import_list(office.jane, *names)
    await office.joe.grant_approval(await asked_for(office.jane))
    service, parts = office.server.service, 0
    append = service.append

    async def fails_at_the_second(*args: Any) -> Appended:
        nonlocal parts
        parts += not args[2].dry_run
        if parts == 2:
            raise NotFoundError("this node was killed")
        return await append(*args)

    with monkeypatch.context() as broken:
        broken.setattr(service, "append", fails_at_the_second)
        with pytest.raises(NotFoundError):
            await revert(office.jane)
    (gone, *_) = [name for name in names if await allowed(office.jane, name)]
    await office.jane.erase_subject(
        [heed.email(f"{gone}@example.com")], reason="they asked for it", origin=ORIGIN
    )

    await revert(office.jane)

    assert [name for name in names if not await allowed(office.jane, name)] == []


async def test_suppressions_of_ones_own_fault_are_released_in_bulk(office: Office) -> None:
    for name, cause, seen in (
        ("ada", "bounce", SEEN),
        ("bob", "bounce", SEEN + timedelta(days=1)),
        ("eve", "complaint", SEEN),
    ):
        await office.jane.add_suppressions(
            [heed.Suppression(subject=heed.email(f"{name}@example.com"), cause=cause)],
            origin=heed.Origin(source="mta", decided_time=seen),
        )
    await office.jane.opt_out(email="joy@example.com", source="page")

    counted = await release(office.jane, dry_run=True)
    done = await release(office.jane)

    assert (counted.released, counted.people) == (done.released, done.people) == (1, 1)
    assert await allowed(office.jane, "ada")
    assert not await allowed(office.jane, "bob")
    assert not await allowed(office.jane, "eve")
    assert not await allowed(office.jane, "joy")
    with pytest.raises(heed.InvalidArgumentError):
        await office.jane.release_suppressions(
            cause="complaint",
            from_time=SEEN,
            before_time=SEEN + timedelta(hours=1),
            reason="r",
            origin=ORIGIN,
        )


async def suppress(client: heed.Client, *names: str) -> None:
    await client.add_suppressions(
        [
            heed.Suppression(subject=heed.email(f"{one}@example.com"), cause="bounce")
            for one in names
        ],
        origin=heed.Origin(source="mta", decided_time=SEEN),
    )


@pytest.fixture
async def cautious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """An office where one person releases two people an hour, and a part is of two."""
    monkeypatch.setattr(limits, "RELEASES_PART_MAX", 2)
    async with office_with(tmp_path, Caps(CapLimits(releases_per_hour_max=2))) as office:
        yield office


async def test_many_releases_need_a_second_person_with_the_right(cautious: Office) -> None:
    office = cautious
    names = [f"name-{number}" for number in range(5)]
    await suppress(office.jane, *names)
    admin, _ = await office.keys.make("admin")

    with pytest.raises(ConflictError) as refused:
        await release(office.jane)
    approval_id = refused.value.metadata["approval_id"]
    async with heed.Client(office.server.address, api_key=admin) as third:
        with pytest.raises(RightRequiredError):
            await third.grant_approval(approval_id)
    assert not any([await allowed(office.jane, name) for name in names])
    granted = await office.joe.grant_approval(approval_id)
    done = await release(office.jane)

    assert granted.shown == {"people": 5}
    assert granted.about.startswith("suppressions by bounce, seen from 20")
    assert granted.about.endswith(": more releases than one person may do in an hour")
    assert granted.reason == "our own server refused the mail"
    assert (done.released, done.people) == (5, 5)
    assert all([await allowed(office.jane, name) for name in names])
    assert (await release(office.jane)).replayed
    for name in names:
        (_, released) = [one async for one in office.joe.get_history(email=f"{name}@example.com")]
        assert (released.asked_by, released.approved_by) == ("key 1", "key 2")


async def test_what_is_left_of_a_release_goes_on_by_its_approval_and_names_it(
    cautious: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = cautious
    names = [f"name-{number}" for number in range(5)]
    await suppress(office.jane, *names)
    with pytest.raises(ConflictError) as refused:
        await release(office.jane)
    await office.joe.grant_approval(refused.value.metadata["approval_id"])
    service, parts = office.server.service, 0
    append = service.append

    async def fails_at_the_third(*args: Any, **named: Any) -> Appended:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise NotFoundError("this node was killed")
        return await append(*args, **named)

    # The first attempt meets the cap at its first part: it is not one of those.
    async def counted_from_the_approval(*args: Any, **named: Any) -> Appended:
        return await (fails_at_the_third if args[3].approved else append)(*args, **named)

    with monkeypatch.context() as broken:
        broken.setattr(service, "append", counted_from_the_approval)
        with pytest.raises(NotFoundError):
            await release(office.jane)
    (left,) = [name for name in names if not await allowed(office.jane, name)]

    done = await release(office.jane)

    assert (done.released, done.people) == (1, 1)
    (_, released) = [one async for one in office.joe.get_history(email=f"{left}@example.com")]
    assert (released.asked_by, released.approved_by) == ("key 1", "key 2")


async def test_another_payload_under_the_same_key_hides_no_approval(cautious: Office) -> None:
    office = cautious
    await suppress(office.jane, "ada", "bob", "cy")
    with pytest.raises(ConflictError) as refused:
        await release(office.jane)
    await office.joe.grant_approval(refused.value.metadata["approval_id"])

    with pytest.raises(ConflictError):
        await office.joe.release_suppressions(
            cause="bounce",
            from_time=SEEN,
            before_time=SEEN + timedelta(hours=2),
            reason="another",
            origin=ORIGIN,
            idempotency_key="release/1",
        )

    assert (await release(office.jane)).released == 3


async def test_a_server_that_asks_for_no_credentials_knows_no_second_person(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path) as server, heed.Client(server.address) as client:
        await import_list(client, "ada")

        with pytest.raises(ConflictError) as refused:
            await revert(client)

        assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
        assert "approval_id" not in refused.value.metadata
        assert not await allowed(client, "ada")
        assert [one async for one in client.list_approvals()] == []


async def release(client: heed.Client, *, dry_run: bool = False) -> heed.ReleasesAnswer:
    return await client.release_suppressions(
        cause="bounce",
        from_time=SEEN,
        before_time=SEEN + timedelta(hours=1),
        reason="our own server refused the mail",
        origin=ORIGIN,
        dry_run=dry_run,
        idempotency_key="release/1",
    )
