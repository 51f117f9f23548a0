"""Finding the addresses of a target's host, and letting nothing connect anywhere else.

Laws:
- A name is looked up for each new connection, and each address is judged when a socket is made for
  it: what is judged is what is connected to, whatever a name says a moment later.
- A name that has any address that may not be reached is not reached at all.
- Looking up blocks a thread of its own, and one at a time: one name that hangs takes one thread,
  which holds up nobody else, nor the end of the process.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult

from heed_server.webhooks.addresses import Network, may_be_reached

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""What `socket.getaddrinfo` tells of one address."""

ADDRESSES_MAX: Final = 16
"""Addresses of one name that are looked at; of more the first."""


class Found(NamedTuple):
    """An address of a name."""

    family: int
    address: str


Lookup = Callable[[str, int], Sequence[Found]]
"""Returns the addresses of a name, blocking; raises OSError."""


class AddressRefusedError(OSError):
    """An address is not one that webhooks may go to."""


def lookup(host: str, port: int) -> Sequence[Found]:
    """Ask the system for the addresses of a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Found(family, str(place[0])) for family, _, _, _, place in found[:ADDRESSES_MAX]]


class Guard:
    """Says where webhooks may connect to."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    def require(self, address: str) -> None:
        """Return if an address may be reached. Raises AddressRefusedError."""
        if not may_be_reached(address, self._allowed):
            raise AddressRefusedError(
                f"{address} is not of the public internet; if it is meant, name its network in "
                "webhooks.private_networks"
            )

    def new_socket(self, about: AddressInfo) -> socket.socket:
        """Make the socket by which just this address is connected to. Raises OSError."""
        family, kind, protocol, _, place = about
        self.require(str(place[0]))
        return socket.socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Finds addresses, all of which may be reached."""

    def __init__(self, guard: Guard, look_up: Lookup) -> None:
        self._guard = guard
        self._look_up = look_up
        self._is_asking = False
        self._turn = asyncio.Lock()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            AddressRefusedError: one of them may not be reached.
            OSError: there are none, or an earlier look-up hangs.
        """
        async with self._turn:
            found = await self._in_a_thread(host, port)
        for one in found:
            self._guard.require(one.address)
        fitting = [one for one in found if family in {socket.AF_UNSPEC, one.family}]
        if not fitting:
            raise OSError(f"{host} has no address")
        return [
            ResolveResult(
                hostname=host,
                host=one.address,
                port=port,
                family=one.family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for one in fitting
        ]

    async def close(self) -> None:
        """Hold nothing: a thread that hangs ends by itself, or with the process."""

    async def _in_a_thread(self, host: str, port: int) -> Sequence[Found]:
        if self._is_asking:
            raise OSError(f"an earlier look-up of {host} hangs")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Found]] = loop.create_future()

        def tell(found: Sequence[Found] | None, error: OSError | None) -> None:
            self._is_asking = False
            if answer.done():
                return  # nobody waits any more
            if error is None:
                answer.set_result(found or ())
            else:
                answer.set_exception(error)

        def ask() -> None:
            try:
                found, error = self._look_up(host, port), None
            except OSError as failed:
                found, error = None, failed
            except UnicodeError as failed:  # a label that no name has
                found, error = None, OSError(f"{host} is no name: {failed}")
            with suppress(RuntimeError):  # the loop has ended, and everybody in it
                loop.call_soon_threadsafe(tell, found, error)

        self._is_asking = True
        threading.Thread(target=ask, name="heed-webhook-lookup", daemon=True).start()
        return await answer
