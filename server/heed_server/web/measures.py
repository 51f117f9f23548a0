"""What every HTTP edge counts; no address and no path is a label. Written on one loop alone."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"


class WebMetrics:
    """The requests and connections of all HTTP edges of a node; each takes its own part."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "heed_web_requests_total",
            "Requests over HTTP that were answered, by edge, method and status code.",
            ("edge", "method", "code"),
            registry=registry,
        )
        self._connections = Gauge(
            "heed_web_connections", "HTTP connections now, by edge.", ("edge",), registry=registry
        )
        self._connections_refused = Counter(
            "heed_web_connections_refused_total",
            "HTTP connections that were closed because there were too many, by edge.",
            ("edge",),
            registry=registry,
        )

    def of(self, edge: str) -> "EdgeMetrics":
        """Return the part of one edge: `public`, for one."""
        return EdgeMetrics(
            edge,
            self._requests,
            self._connections.labels(edge),
            self._connections_refused.labels(edge),
        )


class EdgeMetrics:
    """Counts what one edge answers, and who is connected to it."""

    def __init__(
        self, edge: str, requests: Counter, connections: Gauge, connections_refused: Counter
    ) -> None:
        self._edge = edge
        self._requests = requests
        self.connections = connections
        self.connections_refused = connections_refused

    def answered(self, method: str, code: int) -> None:
        """Count a request."""
        known = method if method in _METHODS else _OTHER
        self._requests.labels(self._edge, known, str(code)).inc()
