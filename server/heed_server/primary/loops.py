"""What a node does now and then, beside answering.

Law: a loop outlives a database that is away, says so once, and goes on.
"""

import asyncio
import contextlib

import structlog

from heed.errors import HeedError, UnavailableError
from heed_server.service import LEARN_SECONDS, Tenants
from heed_server.storage import Clock, SqlStore

PRUNE_SECONDS = 600.0
"""How often idempotency keys whose time is over are deleted."""

PRUNED_MAX = 1_000
"""How many of them in one transaction, which writes wait for."""

RENEW_SECONDS = 5.0
"""How often it is looked whether addresses are to be encrypted, or put under another key."""

RENEW_LEASE_SECONDS = 10.0
"""For how long one node is to be the one that does so."""

WATCH_SECONDS = 0.5
"""How soon it is noticed that the store writes no more."""

_log = structlog.stdlib.get_logger("heed_server.primary")


class StoreFailedError(UnavailableError):
    """The store writes no more until this process is started anew."""


async def learn_tenants(store: SqlStore, tenants: Tenants) -> None:
    """Serve tenants that other nodes made, within `LEARN_SECONDS`."""
    is_away = False
    while True:
        await asyncio.sleep(LEARN_SECONDS)
        try:
            await tenants.learn(await store.tenants())
        except HeedError as error:
            if not is_away:
                _log.warning("tenants_not_learned", why=error.message)
            is_away = True
        else:
            is_away = False


async def prune_keys(store: SqlStore, clock: Clock) -> None:
    """Delete idempotency keys whose time is over, a few at a time."""
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        try:
            is_done = False
            while not is_done:
                is_done = await store.prune_keys(clock.now(), PRUNED_MAX) < PRUNED_MAX
        except HeedError as error:
            _log.warning("idempotency_keys_not_pruned", why=error.message)


async def renew_keys(store: SqlStore, tenants: Tenants, holder: str, soon: asyncio.Event) -> None:
    """Encrypt what an earlier heed left readable, and finish rotations of address keys.

    `soon` is set to look at once. Of the nodes of one database one does it; two would do no harm.
    """
    while True:
        soon.clear()
        try:
            if await store.take_lease("key renewal", holder, RENEW_LEASE_SECONDS):
                await _renew(store, tenants)
        except HeedError as error:
            _log.warning("keys_not_renewed", why=error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS):
                await soon.wait()


async def _renew(store: SqlStore, tenants: Tenants) -> None:
    count = await store.rotation.encrypt_readable()
    if count:
        _log.info("readable_encrypted", count=count)
    for context in tenants.all():
        count = await store.rotation.finish_addresses(context.tenant_id)
        if count:
            _log.info("addresses_encrypted_again", tenant=context.tenant.name, count=count)


async def watch_store(store: SqlStore) -> None:
    """End the node when the store can write no more: what is on its disk must be read anew.

    Raises:
        StoreFailedError: that is so.
    """
    while not store.failure:  # noqa: ASYNC110 - the store tells nobody, and needs not
        await asyncio.sleep(WATCH_SECONDS)
    raise StoreFailedError(f"the database failed, nothing more is written: {store.failure}")
