"""The listener of an HTTP edge: HTTP/1.1 by uvicorn, in the server's own loop.

Laws:
- Strangers reach it, so everything is bounded: connections, those too that have not shaken hands,
  what is waited for of each (`heed_server.web.connections`), a request's head and its body.
- It takes no signals and writes no line a request: the node is told to stop, and a link in a log
  would be a link in more hands.
- It stops when it is told to, once what was asked is answered. Who is cut off is told to ask again.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from http import HTTPStatus
from typing import Final

import structlog
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heed.errors import UnavailableError
from heed.task_group import TaskGroup
from heed_server.config.addresses import Address
from heed_server.web.bodies import BoundedBodies
from heed_server.web.connections import Connection
from heed_server.web.limits import HEAD_BYTES_MAX, RETRY_AFTER_SECONDS, ListenerLimits
from heed_server.web.measures import EdgeMetrics

App = ASGIApp
"""What answers requests."""

BACKLOG: Final = 512
"""Connections that wait to be taken; more are refused by the system."""

TAKE_AGAIN_SECONDS: Final = 1.0
"""How long no connection is taken after the system had none to give: no file descriptor, say."""

_EVERY_INTERFACE: Final = "::"

_log = structlog.stdlib.get_logger("heed_server.web")


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
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        """The port that it got."""
        self._metrics = metrics
        self._limits = limits
        self._tls = tls
        self._arriving: set[Connection] = set()
        """Those that were taken, until they have shaken hands."""
        self._taking: asyncio.Task[None] | None = None
        self._config = uvicorn.Config(
            _CuttingOff(BoundedBodies(app)),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds_max,  # type: ignore[arg-type]  # any number does
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        self._config.load()
        self._server = _Server(self._config)

    async def run(self) -> None:
        """Serve until `stop`."""
        with self._socket:
            async with TaskGroup() as arriving:
                self._taking = arriving.create_task(self._take_connections(arriving))
                await self._server.serve()
                for task in arriving.tasks:
                    task.cancel()

    async def stop(self, grace_seconds: float | None) -> None:
        """Take no more connections, and let requests under way end within so many seconds.

        None: at once. What is cut off then is finished all the same if it is being committed, and
        its retry finds it done.
        """
        if self._taking is not None:
            self._taking.cancel()
        self._config.timeout_graceful_shutdown = int(grace_seconds or 0)
        self._server.force_exit = grace_seconds is None
        self._server.should_exit = True

    async def _take_connections(self, arriving: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(self._socket)
            except ConnectionError:
                continue  # it was gone before it was taken
            except OSError as error:
                _log.error("connections_not_taken", why=error.strerror)
                await asyncio.sleep(TAKE_AGAIN_SECONDS)
                continue
            if self._count() >= self._limits.connections_max:
                self._metrics.connections_refused.inc()
                connected.close()
            else:
                state = self._server.server_state
                connection = Connection(self._config, state, self._metrics, self._limits)
                self._arriving.add(connection)
                arriving.create_task(self._begin(connection, connected))
            await asyncio.sleep(0)  # those who are connected go first

    def _count(self) -> int:
        connections = self._server.server_state.connections
        return len(connections) + len(self._arriving - connections)

    async def _begin(self, connection: Connection, connected: socket.socket) -> None:
        """Shake hands, which ends what does not within the time of a request."""
        seconds = None if self._tls is None else self._limits.request_seconds_max
        try:
            with contextlib.suppress(OSError):  # a stranger who speaks no TLS, or is slow
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection,
                    connected,
                    ssl=self._tls,
                    ssl_handshake_timeout=seconds,
                    ssl_shutdown_timeout=seconds,
                )
        finally:
            self._arriving.discard(connection)


class _CuttingOff:
    """An application whose requests may be cut off by a stop, which is no fault of its.

    Only a stop cancels a request here, and its task has nothing else to do.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:
            if not has_begun:
                await _CUT_OFF(scope, receive, send)


_CUT_OFF: Final = PlainTextResponse(
    "This server is stopping. Ask again.",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Retry-After": str(RETRY_AFTER_SECONDS), "Cache-Control": "no-store", "Connection": "close"},
)


class _Server(uvicorn.Server):
    """What serves the connections that the listener gives it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # they are the node's

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets or [])


def _bind(address: Address, setting: str) -> socket.socket:
    host = address.host or _EVERY_INTERFACE
    try:
        is_ipv6 = ":" in host
        listening = socket.create_server(
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
    # Each connection has it from here; asyncio sets it only where a socket's protocol is named.
    # Without it a body waits until its head is acknowledged: 40 ms, where one connection is kept.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
