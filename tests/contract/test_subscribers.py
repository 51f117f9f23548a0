"""All nodes see the same subscribers, and how far each said to be."""

from dataclasses import replace

from heed.model import Instant, Revision, TenantId
from heed_server.storage import SqlStore
from heed_server.store import Subscriber
from tests.support.stores import NOW, SECOND, Database, FakeClock, Shop, new_shop


def subscriber(shop: Shop, name: str = "mailer-1", stream_id: str = "stream-1") -> Subscriber:
    return Subscriber(
        tenant_id=shop.tenant_id,
        name=name,
        stream_id=stream_id,
        instance="run-1",
        node="node-1",
        open_time=NOW,
        close_time=None,
        probe_time=Instant(NOW + SECOND),
        max_staleness=5 * SECOND,
        applied_revision=Revision(7),
        applied_time=Instant(NOW + SECOND),
    )


async def test_what_a_node_puts_is_read_as_it_was_put(store: SqlStore, shop: Shop) -> None:
    closed = replace(subscriber(shop, "agent"), close_time=Instant(NOW + 2 * SECOND))
    declared = replace(subscriber(shop, "billing", ""), applied_revision=Revision(0))

    await store.put_subscribers([subscriber(shop), declared, closed])

    assert await store.subscribers(shop.tenant_id) == [closed, declared, subscriber(shop)]


async def test_a_later_report_of_a_stream_takes_the_place_of_the_one_before(
    store: SqlStore, shop: Shop
) -> None:
    first = subscriber(shop)
    later = replace(first, applied_revision=Revision(9), probe_time=Instant(NOW + 3 * SECOND))
    await store.put_subscribers([first])

    await store.put_subscribers([first, later])

    assert await store.subscribers(shop.tenant_id) == [later]


async def test_two_streams_of_one_name_are_both_kept(store: SqlStore, shop: Shop) -> None:
    second = replace(subscriber(shop, stream_id="stream-2"), open_time=Instant(NOW + SECOND))

    await store.put_subscribers([second, subscriber(shop)])

    assert await store.subscribers(shop.tenant_id) == [subscriber(shop), second]


async def test_a_subscriber_that_reported_since_is_not_forgotten(
    store: SqlStore, shop: Shop
) -> None:
    known = subscriber(shop)
    later = replace(known, probe_time=Instant(NOW + 3 * SECOND))
    gone = subscriber(shop, "gone")
    await store.put_subscribers([later, gone])

    await store.forget_subscribers([known, gone])

    assert await store.subscribers(shop.tenant_id) == [later]


async def test_tenants_do_not_see_each_others_subscribers(store: SqlStore, shop: Shop) -> None:
    other = await new_shop(store, "other")
    await store.put_subscribers([subscriber(shop)])

    assert await store.subscribers(other.tenant_id) == []
    assert await store.subscribers(TenantId(999)) == []


async def test_subscribers_outlive_the_store(database: Database, clock: FakeClock) -> None:
    before = await database.open(clock=clock)
    shop = await new_shop(before)
    await before.put_subscribers([subscriber(shop)])
    await before.close()

    after = await database.open(clock=clock)

    assert await after.subscribers(shop.tenant_id) == [subscriber(shop)]
