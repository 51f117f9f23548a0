"""What every provider is asked: whether it may speak, and what it says."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

from heed_server.web.inbound.notification import Notification, Subscription
from heed_server.web.inbound.sources import Reading

INLINE_BYTES_MAX: Final = 32_768
"""Bytes of a notification up to which it is read in the event loop: some 4 ms. Higher: a large
batch holds up everybody's calls. Lower: what is small takes longer."""

Headers = Mapping[str, str]
"""Of a request, by their names in lower case."""

T = TypeVar("T")


class Opener(Protocol):
    """Verifies and reads the notifications of one source."""

    def admit(self, headers: Headers) -> None:
        """Return if the body may be read: whatever the head tells is right.

        Raises:
            NotVerifiedError: it is not.
        """
        ...

    async def open(
        self, headers: Headers, body: bytes, reading: Reading, /, *, leave: Callable[[], None]
    ) -> Notification | Subscription:
        """Return what a request says. `leave` is asked before anything is fetched for it.

        MUST NOT return what is not verified.

        Raises:
            NotVerifiedError: nobody is known to have sent it.
            NotVerifiableError: that cannot be told now.
            NotReadableError: it is verified, and malformed as a whole.
            ExhaustedError: leave was not given.
        """
        ...


async def computed(size: int, work: Callable[[], T]) -> T:
    """Return what some pure work makes of so many bytes: beside the event loop if they are many."""
    return work() if size <= INLINE_BYTES_MAX else await asyncio.to_thread(work)
