"""Rotations of keys from beginning to end, in the bounded transactions of `rotation`.

Law: each may be cancelled or killed at any moment and asked again: it goes on where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from heed.model import Instant, TenantId
from heed_server.secrets.keysets import Keyset
from heed_server.secrets.names import PURPOSES
from heed_server.secrets.states import RootState
from heed_server.storage import rotation
from heed_server.storage.keyring import Keyring
from heed_server.storage.statements import Dialect
from heed_server.storage.wrapped import wrap_lookup_keys

T = TypeVar("T")


class Run(Protocol):
    """Runs a body in a transaction, or in a view."""

    def __call__(self, body: Callable[[Connection], T], /) -> Awaitable[T]:
        """Return what the body returns."""
        ...


class KeyRotation:
    """What replaces the keys of an open store, and encrypts what an earlier heed left readable."""

    def __init__(
        self,
        *,
        read: Run,
        write: Run,
        scrub: Callable[[], Awaitable[None]],
        dialect: Dialect,
        keyring: Keyring,
        now: Callable[[], Instant],
    ) -> None:
        """`scrub` makes what was deleted unreadable in the database's files."""
        self._read = read
        self._write = write
        self._scrub = scrub
        self._dialect = dialect
        self._keyring = keyring
        self._now = now

    async def encrypt_readable(self) -> int:
        """Encrypt what an earlier heed left readable, keys and addresses; return how many."""
        now = self._now()
        count = await self._write(lambda c: wrap_lookup_keys(c, self._keyring, now))
        while some := await self._write(
            lambda c: rotation.encrypt_readable(c, self._dialect, self._keyring, now)
        ):
            count += some
        await self._scrub()
        return count

    async def begin_addresses(self, tenant_id: TenantId) -> bool:
        """Have a tenant's addresses encrypted under a new key from here on.

        False: an earlier rotation is not done yet; it is to be finished first.
        """
        now = self._now()
        return await self._write(
            lambda c: rotation.add_address_key(c, self._keyring, tenant_id, now)
        )

    async def finish_addresses(self, tenant_id: TenantId) -> int:
        """Put every address under the key that encrypts today, drop the others; return how many.

        Checks and writes go on meanwhile.
        """
        primary_id = await self._read(
            lambda c: rotation.rotating_address_key(c, self._keyring, tenant_id)
        )
        if primary_id is None:
            return 0
        count = 0
        after: bytes | None = b""
        while after is not None:
            some, after = await self._write(self._encrypt_again(tenant_id, after))
            count += some
        await self._write(
            lambda c: rotation.drop_old_address_keys(c, self._keyring, tenant_id, primary_id)
        )
        return count

    def _encrypt_again(
        self, tenant_id: TenantId, after: bytes
    ) -> Callable[[Connection], tuple[int, bytes | None]]:
        return lambda c: rotation.encrypt_again(c, self._dialect, self._keyring, tenant_id, after)

    async def add_link_key(self, tenant_id: TenantId) -> None:
        """Have a tenant's links opened by a new key; one that waits already is kept."""
        now = self._now()
        await self._write(lambda c: rotation.add_link_key(c, self._keyring, tenant_id, now))

    async def seal_by_last_link_key(self, tenant_id: TenantId) -> None:
        """Have a tenant's links sealed by the key that was added last."""
        now = self._now()
        await self._write(
            lambda c: rotation.seal_by_last_link_key(c, self._keyring, tenant_id, now)
        )

    async def stage_root(self) -> None:
        """Add root keys to the file that open and do not wrap yet, so that all servers get them."""
        await self._change_root(_with_one_that_waits)

    async def rotate_root(self) -> int:
        """Wrap everything by new root keys; return how many secrets it wrapped again.

        Those that wait in the file, or new ones. A rotation that was cut off is finished first, and
        no other begun.

        Raises:
            SecretsError: the file cannot be changed, or is of before another's rotation.
        """
        states = await self.root_state()
        if all(key_id == one.primary_id for one in states for key_id in one.wrapped):
            await self._change_root(_with_the_next)
        # A crash here leaves a file whose new keys wrap nothing yet, and the old ones in it.
        count = 0
        after: str | None = ""
        while after is not None:
            some, after = await self._write(self._wrap_again(after))
            count += some
        return count

    async def destroy_old_root(self, purposes: Collection[str]) -> None:
        """Take the root keys that wrap nothing any more out of the file, for ever.

        Backups that are older than the rotation open by them alone.

        Raises:
            SecretsError: something is wrapped by one of them still.
        """
        await self._write(lambda c: rotation.require_all_current(c, self._keyring, purposes))
        # From here on nothing is wrapped by an older key, whatever its file says (`move_check`).
        await asyncio.to_thread(
            self._keyring.root_file.change,
            lambda keys: keys.changed(purposes, Keyset.without_old_keys),
        )

    async def root_state(self) -> Sequence[RootState]:
        """Return which root keys there are, and what each wraps."""
        root = self._keyring.root()
        return await self._read(lambda c: rotation.root_state(c, root))

    def _wrap_again(self, after: str) -> Callable[[Connection], tuple[int, str | None]]:
        return lambda c: rotation.wrap_again(c, self._keyring, after)

    async def _change_root(self, change: Callable[[Keyset], Keyset]) -> None:
        await asyncio.to_thread(
            self._keyring.root_file.change, lambda keys: keys.changed(PURPOSES, change)
        )


def _with_one_that_waits(keyset: Keyset) -> Keyset:
    is_there = keyset.key_ids[-1] != keyset.primary_id
    return keyset if is_there else keyset.with_new_key(is_primary=False)


def _with_the_next(keyset: Keyset) -> Keyset:
    return _with_one_that_waits(keyset).with_last_as_primary()
