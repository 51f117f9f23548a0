"""The listener of an HTTP edge: HTTP/1.1 by uvicorn, in the server's own loop.

Laws:
- Strangers reach it, so everything is bounded: connections, the time that a request takes to
  arrive, its head and its body (`heed_server.web.limits`).
- It takes no signals and writes no line a request: the node is told to stop, and a link in a log
  would be a link in more hands.
- It stops when it is told to, once what was asked is answered.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from heed.errors import UnavailableError
from heed_server.config.addresses import Address
from heed_server.web.limits import HEAD_BYTES_MAX, ListenerLimits
from heed_server.web.measures import EdgeMetrics

App = ASGIApp
"""What answers requests."""

BACKLOG: Final = 512
"""Connections that wait to be taken; more are refused by the system."""

_EVERY_INTERFACE: Final = "::"


class Listener:
    """Serves an application on one address, from when it is made until it is stopped."""

    def __init__(
        self,
        app: App,
        address: Address,
        metrics: EdgeMetrics,
        limits: ListenerLimits,
        *,
        setting: str,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Bind the address, which came from a setting: `web.address`.

        Raises:
            UnavailableError: it is in use, or is not this host's.
        """
        self._socket = _bind(address, setting)
        self.port = int(self._socket.getsockname()[1])
        """The port that it got."""
        config = uvicorn.Config(
            app,
            http=_bounded(metrics, limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=limits.idle_seconds_max,  # type: ignore[arg-type]  # any number does
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    async def stop(self, grace_seconds: float | None) -> None:
        """Take no more connections, and let requests under way end within so many seconds.

        None: at once. What is cut off then is finished all the same if it is being committed, and
        its retry finds it done.
        """
        self._server.config.timeout_graceful_shutdown = int(grace_seconds or 0)
        self._server.force_exit = grace_seconds is None
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # they are the node's


def _bounded(metrics: EdgeMetrics, limits: ListenerLimits) -> type[H11Protocol]:
    """Return the protocol of one connection, with these bounds."""

    class Bounded(H11Protocol):
        """A connection that is closed when there are too many, or when a request does not come."""

        _arrival: asyncio.TimerHandle | None = None
        """Ends the connection unless the request that is awaited has arrived by then."""
        _is_counted = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if len(self.connections) >= limits.connections_max:
                metrics.connections_refused.inc()
                transport.abort()
            else:
                metrics.connections.inc()
                self._is_counted = True
                self._await_request()
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._await_nothing()
            if self._is_counted:
                metrics.connections.dec()
                self._is_counted = False
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            cycle: Any = self.cycle
            if cycle is not None and not cycle.more_body and not cycle.response_complete:
                self._await_nothing()
            elif self._arrival is None:
                self._await_request()

        def timeout_keep_alive_handler(self) -> None:
            # Whoever has not read a short answer by now keeps no connection.
            self.transport.abort()

        def _await_request(self) -> None:
            self._arrival = self.loop.call_later(limits.request_seconds_max, self._give_up)

        def _await_nothing(self) -> None:
            if self._arrival is not None:
                self._arrival.cancel()
                self._arrival = None

        def _give_up(self) -> None:
            self._arrival = None
            self.transport.abort()

    return Bounded


def _bind(address: Address, setting: str) -> socket.socket:
    host = address.host or _EVERY_INTERFACE
    try:
        is_ipv6 = ":" in host
        return socket.create_server(
            (host, address.port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=is_ipv6 and not address.host and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise UnavailableError(
            f"{setting}: cannot listen on {address}: {error.strerror}; set another, or an empty "
            "one for none"
        ) from error
