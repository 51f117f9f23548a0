"""A read that is given up leaves nothing behind that a later read could see.

A follower gives up a read that takes too long. Where that leaves a connection inside its old view,
whoever reads by it next is told an old head, believes it, and answers "allowed" for ever.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from heed_server.storage import SqlStore, StorageLimits, open_store
from tests.support.postgres import Postgres
from tests.support.roots import shared_root_file

pytestmark = pytest.mark.postgres

STEPS = 24
"""Turns of the loop that a read lasts at most before it is given up; a whole one takes fewer."""


@pytest.fixture
async def store(postgres: Postgres) -> AsyncGenerator[SqlStore]:
    url = postgres.create_database("heed_attack_reads")
    try:
        # Two connections in all, taken in turn: two reads meet what any earlier one left.
        limits = StorageLimits(readers_max=1, streams_max=1)
        async with await open_store(
            url, limits=limits, migrates=True, root_file=shared_root_file()
        ) as opened:
            yield opened
    finally:
        postgres.drop_database("heed_attack_reads")


async def read_by_each_connection(store: SqlStore) -> list[set[str]]:
    return [{tenant.name for tenant in await store.tenants()} for _ in range(2)]


@pytest.mark.parametrize("is_first", [True, False], ids=["of a new pool", "of a used one"])
async def test_a_read_that_was_given_up_is_never_read_from_again(
    store: SqlStore, *, is_first: bool
) -> None:
    tenant_id = (await store.create_tenant("first", bytes(32))).tenant_id
    if not is_first:
        await read_by_each_connection(store)
    for steps in range(STEPS):
        given_up = asyncio.create_task(store.head(tenant_id))
        for _ in range(steps):
            await asyncio.sleep(0)
        given_up.cancel()
        with suppress(asyncio.CancelledError):
            await given_up
        await read_by_each_connection(store)

        await store.create_tenant(f"made-after-{steps}", bytes(32))

        for names in await read_by_each_connection(store):
            assert f"made-after-{steps}" in names, f"given up after {steps} turns"
