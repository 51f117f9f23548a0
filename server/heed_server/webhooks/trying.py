"""Trying a target: whether its host may be reached, and an event to see whether it is taken."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from heed.model import Instant
from heed_server.webhooks.events import EventType, payload
from heed_server.webhooks.resolving import Guard, GuardedResolver, Lookup, lookup
from heed_server.webhooks.sendings import Failed, Sender
from heed_server.webhooks.targets import Target

LOOK_UP_SECONDS: Final = 5.0
"""How long finding a host's addresses may take."""

_HTTPS_PORT = 443


async def send_test(
    target: Target, sender: Sender, *, event_id: str, now: Instant
) -> Failed | None:
    """Send an event that says nothing, whatever the target wants; None: it was taken."""
    told = {"tenant": target.tenant, "target": target.name}
    return await sender.post(event_id, payload(EventType.WEBHOOK_TEST, now, told), now)


async def unreachable(target: Target, guard: Guard, look_up: Lookup = lookup) -> str:
    """Return why a target's host may not be reached, by its addresses as they are now.

    Empty: it may. Nothing is connected to.
    """
    parts = urlsplit(target.url)
    resolver = GuardedResolver(guard, look_up)
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            await resolver.resolve(parts.hostname or "", parts.port or _HTTPS_PORT)
    except TimeoutError:
        return "its name is not found in time"
    except OSError as error:
        return error.strerror or str(error)
    return ""
