"""Calls that need a second person wait in the database, without the call."""

from dataclasses import replace

import pytest

from heed.errors import ErrorReason, ExhaustedError, InvalidArgumentError
from heed.model import ApprovalState, Instant, TenantId
from heed_server.approvals import KEPT_MICROSECONDS, PENDING_MAX, Approval
from heed_server.storage import SqlStore
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


async def test_what_was_asked_is_found_by_its_id_and_by_its_call(
    store: SqlStore, shop: Shop
) -> None:
    first, second = approval(shop.tenant_id, 1), approval(shop.tenant_id, 2)
    await store.put_approval(first)
    await store.put_approval(second)

    assert await store.approval(shop.tenant_id, "approval-0001") == first
    assert await store.approval_of_call(shop.tenant_id, "RevertBatch", "key-1") == second
    assert await store.approval_of_call(shop.tenant_id, "RevertBatch", "key-2") is None
    assert await store.approval(TenantId(shop.tenant_id + 1), "approval-0001") is None


async def test_it_is_decided_once(store: SqlStore, shop: Shop) -> None:
    asked = approval(shop.tenant_id)
    await store.put_approval(asked)

    granted = await store.decide_approval(asked, ApprovalState.GRANTED, "joe", Instant(NOW + 9))
    again = await store.decide_approval(asked, ApprovalState.REJECTED, "jim", Instant(NOW + 10))

    assert granted == replace(
        asked, state=ApprovalState.GRANTED, decided_by="joe", decide_time=Instant(NOW + 9)
    )
    assert again is None
    assert await store.approval(shop.tenant_id, asked.approval_id) == granted


async def test_pages_hold_each_once_the_newest_first(store: SqlStore, shop: Shop) -> None:
    for number in range(1, 6):
        await store.put_approval(approval(shop.tenant_id, number))

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


async def test_only_so_many_wait_and_old_ones_are_forgotten(store: SqlStore, shop: Shop) -> None:
    for number in range(1, PENDING_MAX + 1):
        await store.put_approval(approval(shop.tenant_id, number))

    with pytest.raises(ExhaustedError) as refused:
        await store.put_approval(approval(shop.tenant_id, PENDING_MAX + 1))
    later = replace(
        approval(shop.tenant_id, PENDING_MAX + 1),
        ask_time=Instant(NOW + PENDING_MAX + 1 + KEPT_MICROSECONDS),
        expire_time=Instant(NOW + PENDING_MAX + 1 + KEPT_MICROSECONDS + DAY),
    )
    await store.put_approval(later)

    assert refused.value.reason is ErrorReason.LIMIT_REACHED
    kept = await store.approvals(shop.tenant_id, "", 10)
    assert [one.approval_id for one in kept.items] == [later.approval_id]


def test_it_is_over_by_its_time_and_covers_what_it_showed() -> None:
    asked = approval(TenantId(1))

    assert asked.state_at(Instant(asked.expire_time - 1)) is ApprovalState.PENDING
    assert asked.state_at(asked.expire_time) is ApprovalState.EXPIRED
    assert asked.covers({"records": 3, "newly_allowed": 0})
    assert not asked.covers({"records": 4})
    assert not asked.covers({"released": 1})
