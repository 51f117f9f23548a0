"""Rotations of keys as an operator asks for them, by tenants' names."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from heed.errors import NotFoundError
from heed_server.primary.lookup_keys import move_subjects, replace_lookup_key
from heed_server.secrets.sealing import SealingKeyset
from heed_server.secrets.states import LinkKeyState, LookupState, RootState
from heed_server.service import LEARN_SECONDS
from heed_server.storage import SqlStore
from heed_server.store import Tenant

LINK_KEY_WAITS_SECONDS: Final = 2 * LEARN_SECONDS + 1
"""How long a new key of links waits until it seals: every node looks for keys twice meanwhile.
Lower: a node that is slow answers 404 to the first links that are sealed by it."""


class Rotations:
    """The rotations of an open store (see `heed_server.store.KeyRotations`)."""

    def __init__(self, store: SqlStore, *, renew_soon: Callable[[], None] | None = None) -> None:
        """`renew_soon` wakes the loop that finishes rotations of address keys; None: none runs."""
        self._store = store
        self._renew_soon = renew_soon

    async def stage_root(self) -> None:
        """Add root keys to the file that open and do not wrap yet."""
        await self._store.rotation.stage_root()

    async def rotate_root(self) -> int:
        """Wrap every secret by the next root keys; return how many were wrapped again."""
        return await self._store.rotation.rotate_root()

    async def destroy_old_root(self, purposes: Collection[str]) -> None:
        """Take the root keys that wrap nothing any more out of the file, for ever."""
        await self._store.rotation.destroy_old_root(purposes)

    async def root_state(self) -> Sequence[RootState]:
        """Return which root keys there are, and what each wraps."""
        return await self._store.rotation.root_state()

    async def rotate_addresses(self, tenant: str) -> Sequence[str]:
        """Put addresses under a new key; what was begun before is finished, and no other begun.

        Raises:
            NotFoundError: TENANT_UNKNOWN.
        """
        asked = await self._asked(tenant)
        for one in asked:
            await self._store.rotation.begin_addresses(one.tenant_id)
            if self._renew_soon is None:
                await self._store.rotation.finish_addresses(one.tenant_id)
        if self._renew_soon is not None:
            self._renew_soon()
        return [one.name for one in asked]

    async def rotate_links(self, tenant: str) -> Sequence[str]:
        """Seal links under a new key, once every node opens by it; a crash meanwhile leaves it.

        The next rotation takes a key that was left so.

        Raises:
            NotFoundError: TENANT_UNKNOWN.
        """
        asked = await self._asked(tenant)
        for one in asked:
            await self._store.rotation.add_link_key(one.tenant_id)
        await asyncio.sleep(LINK_KEY_WAITS_SECONDS)
        for one in asked:
            await self._store.rotation.seal_by_last_link_key(one.tenant_id)
        return [one.name for one in asked]

    async def link_key_state(self) -> Sequence[LinkKeyState]:
        """Return the keys of links of every tenant."""
        tenants = [one for one in await self._store.tenants() if one.link_keyset]
        keysets = [SealingKeyset(one.link_keyset) for one in tenants]
        return [
            LinkKeyState(tenant=one.name, key_ids=keyset.key_ids, primary_id=keyset.primary_id)
            for one, keyset in zip(tenants, keysets, strict=True)
        ]

    async def replace_lookup(self, tenant: str, reason: str) -> int:
        """Begin another lookup key of a tenant; where no server runs here, move all under it.

        Raises:
            NotFoundError: TENANT_UNKNOWN, also where none is named and there is not just one.
        """
        asked = await self._asked(tenant)
        if len(asked) != 1:
            raise NotFoundError(
                f"no tenant is named, and there are {len(asked)}; name one with --tenant",
                metadata={"tenant": tenant},
            )
        one = asked[0]
        key_id = await replace_lookup_key(self._store, one.tenant_id, reason)
        if self._renew_soon is None:
            await move_subjects(self._store, one.tenant_id)
        return key_id

    async def lookup_state(self) -> Sequence[LookupState]:
        """Return the lookup keys of every tenant, and how many subjects stand under each."""
        states: list[LookupState] = []
        for one in await self._store.tenants():
            counts = {
                count.key_id: count for count in await self._store.moves.counts(one.tenant_id)
            }
            for key in one.lookup_keys:
                count = counts.get(key.key_id)
                states.append(
                    LookupState(
                        tenant=one.name,
                        key_id=key.key_id,
                        is_newest=key == one.lookup_key,
                        readable=0 if count is None else count.readable,
                        erased=0 if count is None else count.erased,
                    )
                )
        return states

    async def _asked(self, tenant: str) -> Sequence[Tenant]:
        """The tenant of this name; of none, all. Raises NotFoundError."""
        asked = [one for one in await self._store.tenants() if tenant in {"", one.name}]
        if tenant and not asked:
            raise NotFoundError(
                f"there is no tenant {tenant!r}; `heed tenants list` shows them",
                metadata={"tenant": tenant},
            )
        return asked
