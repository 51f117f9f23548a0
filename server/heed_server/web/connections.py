"""One connection of an HTTP edge, by uvicorn: what it may hold, and for how long.

Laws:
- Whoever is connected is waited for so long each time: for a request to arrive whole, and for an
  answer to be read. Then the connection is cut. Only the edge's own work has no time here.
- A request that says its length in two ways is the last of its connection: what a proxy takes for
  its body would be read here as the next request.

Source: RFC 9112, section 6.1.
"""

import asyncio
import ssl
from typing import Any, Final, TypeAlias

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from heed_server.web.limits import ListenerLimits
from heed_server.web.measures import EdgeMetrics

CERTIFICATE: Final = "heed_certificate"
"""The name in a request's state of the certificate that its caller showed, as PEM; None: none."""

_LENGTHS: Final = {b"content-length", b"transfer-encoding"}

_Timer: TypeAlias = asyncio.TimerHandle | None


class Connection(H11Protocol):
    """A connection that is cut when what is awaited of its other end does not come."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        metrics: EdgeMetrics,
        limits: ListenerLimits,
    ) -> None:
        super().__init__(config, server_state, {})
        self._metrics = metrics
        self._seconds = limits.request_seconds_max
        self._arrival: _Timer = None
        """Cuts the connection unless the request that is awaited has arrived by then."""
        self._reading: _Timer = None
        """Cuts it unless what was answered has been read by then."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        self._metrics.connections.inc()
        super().connection_made(transport)
        # What the system does not take at once waits for the reader, and so for the timer. Not 0:
        # by asyncio's TLS nothing at all is as much as that.
        transport.set_write_buffer_limits(high=1)
        self.app_state = {CERTIFICATE: _certificate_of(transport)}
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._await_nothing()
        self._await_no_reader()
        self._metrics.connections.dec()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self._await_request()

    def handle_events(self) -> None:
        """Read what has arrived; once an answer is complete, also what came meanwhile."""
        super().handle_events()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            return
        if {name for name, _ in self.headers} >= _LENGTHS:
            cycle.keep_alive = False
        if cycle.more_body:
            self._await_request()
        else:
            self._await_nothing()

    def pause_writing(self) -> None:
        """Wait for the reader."""
        super().pause_writing()
        self._await_no_reader()
        self._reading = self.loop.call_later(self._seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: all that was answered is on its way."""
        super().resume_writing()
        self._await_no_reader()

    def timeout_keep_alive_handler(self) -> None:
        """End what is idle. Whoever has not read a short answer by now keeps no connection."""
        self.transport.abort()

    def _await_request(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(self._seconds, self.transport.abort)

    def _await_nothing(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _await_no_reader(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def _certificate_of(transport: asyncio.Transport) -> bytes | None:
    handshake: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    shown = None if handshake is None else handshake.getpeercert(binary_form=True)
    return None if shown is None else ssl.DER_cert_to_PEM_cert(shown).encode()
