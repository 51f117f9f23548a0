"""/metrics for Prometheus, on a port of its own and off the event loop.

Law: a scrape is answered by a thread of its own, so that a slow or stuck scraper costs no call.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, start_http_server

from heed.errors import UnavailableError
from heed_server.config.addresses import Address

STOP_SECONDS_MAX = 2.0
"""How long a scrape under way may take to end when the server stops."""

_EVERY_INTERFACE = "0.0.0.0"  # noqa: S104 - only when the operator wrote `:port`


@asynccontextmanager
async def serve_metrics(address: Address, registry: CollectorRegistry) -> AsyncGenerator[int]:
    """Serve the registry's metrics within the block; yields the port.

    Raises:
        UnavailableError: the address cannot be listened on.
    """
    try:
        # On a thread: it looks its own name up, which may take a while.
        server, thread = await asyncio.to_thread(
            start_http_server,
            address.port,
            addr=address.host or _EVERY_INTERFACE,
            registry=registry,
        )
    except OSError as error:
        raise UnavailableError(
            f"/metrics cannot listen on {address}: {error.strerror}; set another "
            "--telemetry-metrics-address, or an empty one for none"
        ) from error
    try:
        yield int(server.server_port)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join, STOP_SECONDS_MAX)
