"""What the public edge counts; no address and no link is a label. Written on one loop alone."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from heed_server.telemetry.metrics import CALL_SECONDS_BUCKETS

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
_OTHER: Final = "other"


class WebMetrics:
    """Counts requests, presses and connections."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "heed_web_requests_total",
            "Requests to the public edge that were answered, by method and status code.",
            ("method", "code"),
            registry=registry,
        )
        self._presses = Counter(
            "heed_web_presses_total",
            "Links pressed: written, stood already, or failed and answered 503.",
            ("outcome",),
            registry=registry,
        )
        self._seconds = Histogram(
            "heed_web_press_seconds",
            "How long a press took until it was committed, or stood already.",
            buckets=CALL_SECONDS_BUCKETS,
            registry=registry,
        )
        self.connections = Gauge(
            "heed_web_connections", "Connections to the public edge now.", registry=registry
        )
        self.connections_refused = Counter(
            "heed_web_connections_refused_total",
            "Connections to the public edge that were closed because there were too many.",
            registry=registry,
        )

    def answered(self, method: str, code: int) -> None:
        """Count a request."""
        self._requests.labels(method if method in _METHODS else _OTHER, str(code)).inc()

    def pressed(self, outcome: str, seconds: float | None = None) -> None:
        """Count a press; `seconds` of one that is committed."""
        self._presses.labels(outcome).inc()
        if seconds is not None:
            self._seconds.observe(seconds)
