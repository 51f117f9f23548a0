"""Calls that need a second person wait in the database, without the call."""

import asyncio
from dataclasses import replace

import pytest

from heed.errors import ErrorReason, ExhaustedError, InvalidArgumentError
from heed.model import ApprovalState, Instant, TenantId
from heed_server.approvals import KEPT_MICROSECONDS, Approval
from heed_server.storage import SqlStore, approvals
from tests.support.stores import DAY, NOW, Shop


def approval(tenant_id: TenantId, number: int = 1, *, key: str = "key-1") -> Approval:
    return Approval(
        tenant_id=tenant_id,
        approval_id=f"approval-{number:04}",
        method="RevertBatch",
        idempotency_key=key,
        payload_hash=bytes(32),
        about="batch list-1",
        reason="the wrong file",
        shown={"records": 3, "newly_allowed": 2},
        asked_by="jane",
        ask_time=Instant(NOW + number),
        expire_time=Instant(NOW + DAY),
    )


async def ask(store: SqlStore, new: Approval, granted_from: int = 0) -> Approval:
    return await store.ask_approval(new, Instant(granted_from))


async def test_what_was_asked_is_found_by_its_id_in_its_tenant(store: SqlStore, shop: Shop) -> None:
    asked = approval(shop.tenant_id)

    assert await ask(store, asked) == asked

    assert await store.approval(shop.tenant_id, "approval-0001") == asked
    assert await store.approval(TenantId(shop.tenant_id + 1), "approval-0001") is None


async def test_one_call_is_asked_for_once_however_many_ask_at_one_time(
    store: SqlStore, shop: Shop
) -> None:
    numbers = range(1, 9)

    told = await asyncio.gather(*(ask(store, approval(shop.tenant_id, at)) for at in numbers))

    assert len({one.approval_id for one in told}) == 1
    assert len((await store.approvals(shop.tenant_id, "", 10)).items) == 1


async def test_neither_another_payload_nor_another_caller_hides_what_was_granted(
    store: SqlStore, shop: Shop
) -> None:
    asked = approval(shop.tenant_id)
    await ask(store, asked)
    granted = await store.decide_approval(asked, ApprovalState.GRANTED, "joe", Instant(NOW + 2))
    others = [
        replace(approval(shop.tenant_id, 3), payload_hash=bytes([1] * 32)),
        replace(approval(shop.tenant_id, 4), asked_by="eve"),
        approval(shop.tenant_id, 5, key="key-2"),
        replace(approval(shop.tenant_id, 6), method="ReleaseSuppressions"),
    ]

    told = [await ask(store, one) for one in others]

    assert told == others
    assert await ask(store, approval(shop.tenant_id, 7)) == granted
    assert await store.granted_approval(asked.call, Instant(NOW + 8)) == granted
    assert [await store.granted_approval(one.call, Instant(NOW + 8)) for one in others] == [
        None
    ] * 4


async def test_what_was_granted_goes_before_what_waits_and_ends_by_its_time(
    store: SqlStore, shop: Shop
) -> None:
    asked = approval(shop.tenant_id)
    await ask(store, asked)
    granted = await store.decide_approval(asked, ApprovalState.GRANTED, "joe", Instant(NOW + 5))

    too_late = await ask(store, approval(shop.tenant_id, 10), granted_from=NOW + 6)
    in_time = await ask(store, approval(shop.tenant_id, 11), granted_from=NOW + 5)

    assert too_late.approval_id == "approval-0010"
    assert in_time == granted
    assert await store.granted_approval(asked.call, Instant(asked.expire_time - 1)) == granted
    assert await store.granted_approval(asked.call, asked.expire_time) is None


async def test_what_showed_less_than_the_call_would_do_by_now_is_rejected(
    store: SqlStore, shop: Shop
) -> None:
    first = approval(shop.tenant_id)
    await ask(store, first)
    more = replace(approval(shop.tenant_id, 2), shown={"records": 4, "newly_allowed": 2})

    told = await ask(store, more)

    assert told == more
    rejected = await store.approval(shop.tenant_id, first.approval_id)
    assert rejected is not None
    assert (rejected.state, rejected.decided_by) == (ApprovalState.REJECTED, "jane")


async def test_it_is_decided_once(store: SqlStore, shop: Shop) -> None:
    asked = approval(shop.tenant_id)
    await ask(store, asked)

    granted = await store.decide_approval(asked, ApprovalState.GRANTED, "joe", Instant(NOW + 9))
    again = await store.decide_approval(asked, ApprovalState.REJECTED, "jim", Instant(NOW + 10))

    assert granted == replace(
        asked, state=ApprovalState.GRANTED, decided_by="joe", decide_time=Instant(NOW + 9)
    )
    assert again is None
    assert await store.approval(shop.tenant_id, asked.approval_id) == granted


async def test_pages_hold_each_once_the_newest_first(store: SqlStore, shop: Shop) -> None:
    for number in range(1, 6):
        await ask(store, approval(shop.tenant_id, number, key=f"key-{number}"))

    found: list[str] = []
    cursor = ""
    while True:
        page = await store.approvals(shop.tenant_id, cursor, 2)
        found += [one.approval_id for one in page.items]
        cursor = page.next_cursor
        if not cursor:
            break

    assert found == [f"approval-{number:04}" for number in (5, 4, 3, 2, 1)]
    with pytest.raises(InvalidArgumentError):
        await store.approvals(shop.tenant_id, "nonsense", 2)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let six of a tenant wait, and two of a principal."""
    monkeypatch.setattr(approvals, "PENDING_MAX", 6)
    monkeypatch.setattr(approvals, "PENDING_OF_PRINCIPAL_MAX", 2)


@pytest.mark.usefixtures("few")
async def test_only_so_many_wait_and_old_ones_are_forgotten(store: SqlStore, shop: Shop) -> None:
    def waiting(number: int) -> Approval:
        one = approval(shop.tenant_id, number, key=f"key-{number}")
        return replace(one, asked_by=f"caller {number // 2}")

    for number in range(6):
        await ask(store, waiting(number))

    with pytest.raises(
        ExhaustedError, match=r"this tenant .* nothing was done.* 24 hours"
    ) as refused:
        await ask(store, waiting(6))
    later = replace(
        waiting(6),
        ask_time=Instant(NOW + 6 + KEPT_MICROSECONDS),
        expire_time=Instant(NOW + 6 + KEPT_MICROSECONDS + DAY),
    )
    await ask(store, later)

    assert refused.value.reason is ErrorReason.LIMIT_REACHED
    assert refused.value.metadata == {"limit": "approvals_pending_max", "value": "6"}
    kept = await store.approvals(shop.tenant_id, "", 10)
    assert [one.approval_id for one in kept.items] == [later.approval_id]


@pytest.mark.usefixtures("few")
async def test_one_caller_keeps_no_other_from_asking(store: SqlStore, shop: Shop) -> None:
    first, second = (approval(shop.tenant_id, at, key=f"key-{at}") for at in (1, 2))
    await ask(store, first)
    await ask(store, second)

    with pytest.raises(ExhaustedError) as refused:
        await ask(store, approval(shop.tenant_id, 3, key="one-more"))
    other = replace(approval(shop.tenant_id, 4, key="another"), asked_by="eve")

    assert await ask(store, other) == other
    assert await ask(store, approval(shop.tenant_id, 5, key="key-1")) == first
    assert refused.value.metadata == {"limit": "approvals_of_principal_pending_max", "value": "2"}


def test_it_is_over_by_its_time_and_covers_what_it_showed() -> None:
    asked = approval(TenantId(1))

    assert asked.state_at(Instant(asked.expire_time - 1)) is ApprovalState.PENDING
    assert asked.state_at(asked.expire_time) is ApprovalState.EXPIRED
    assert asked.covers({"records": 3, "newly_allowed": 0})
    assert not asked.covers({"records": 4})
    assert not asked.covers({"released": 1})
