"""What a node does now and then, beside answering.

Law: a loop outlives a database that is away, says so once, and goes on.
"""

import asyncio

import structlog

from heed.errors import HeedError, UnavailableError
from heed_server.service import LEARN_SECONDS, Tenants
from heed_server.storage import Clock, SqlStore

PRUNE_SECONDS = 600.0
"""How often idempotency keys whose time is over are deleted."""

PRUNED_MAX = 1_000
"""How many of them in one transaction, which writes wait for."""

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


async def watch_store(store: SqlStore) -> None:
    """End the node when the store can write no more: what is on its disk must be read anew.

    Raises:
        StoreFailedError: that is so.
    """
    while not store.failure:  # noqa: ASYNC110 - the store tells nobody, and needs not
        await asyncio.sleep(WATCH_SECONDS)
    raise StoreFailedError(f"the database failed, nothing more is written: {store.failure}")
