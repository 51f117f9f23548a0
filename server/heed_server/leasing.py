"""Having a lease: taking it, keeping it while the work goes on, giving it back.

Laws:
- It is a courtesy among nodes that share a database, so that they do not do the same work. What is
  done under it has to be safe without it: a node that was stopped may go on after another took
  over.
- Where the database cannot say, this node has it for as long as it was given, and not beyond.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from heed.errors import HeedError, UnavailableError
from heed_server.store import LeaseStore

RENEWALS_A_LEASE: Final = 3
"""How often a lease is renewed before it would be over. Higher: more small writes. Lower: a slow
database costs the lease."""

RELEASE_SECONDS_MAX: Final = 2.0
"""How long giving a lease back may hold up the end; it is over by itself soon."""

_log = structlog.stdlib.get_logger("heed_server.leasing")


class LeaseLostError(UnavailableError):
    """Another node has the lease now, or may have."""


class Lease:
    """One node's hold on one lease."""

    def __init__(
        self,
        leases: LeaseStore,
        name: str,
        *,
        holder: str,
        seconds: float,
        boot_seconds: Callable[[], float],
    ) -> None:
        """`holder` names this node among those that share the database."""
        self.name = name
        self.holder = holder
        self._leases = leases
        self._seconds = seconds
        self._boot_seconds = boot_seconds
        self._until = 0.0

    @property
    def renewal_seconds(self) -> float:
        """How often it is asked for."""
        return self._seconds / RENEWALS_A_LEASE

    async def take(self) -> bool:
        """Whether this node has it now; where the database cannot say, it has not."""
        try:
            return await self._ask()
        except HeedError as error:
            _log.debug("lease_not_taken", lease=self.name, why=error.message)
            return False

    async def keep(self) -> None:
        """Say again and again that it is this node's, until it is not.

        Raises:
            LeaseLostError: it is not, or the database could not say so for as long as it lasts.
        """
        while True:
            await asyncio.sleep(self.renewal_seconds)
            try:
                is_mine = await self._ask()
            except HeedError as error:
                if self._boot_seconds() >= self._until:
                    raise LeaseLostError(
                        f"the lease is over and cannot be renewed: {error.message}"
                    ) from error
                continue
            if not is_mine:
                raise LeaseLostError("another node has the lease")

    async def release(self) -> None:
        """Give it back, if that can be done now."""
        with suppress(HeedError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS_MAX):
                await self._leases.release_lease(self.name, self.holder)

    async def _ask(self) -> bool:
        asked_at = self._boot_seconds()
        is_mine = await self._leases.take_lease(self.name, self.holder, self._seconds)
        if is_mine:
            self._until = asked_at + self._seconds
        return is_mine
