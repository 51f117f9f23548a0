"""What the inbound edge counts beside its requests.

Law: labels are of closed lists and the names of sources; nothing that a stranger sends becomes one.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from heed_server.telemetry.metrics import CALL_SECONDS_BUCKETS
from heed_server.web.inbound.notification import Why

NO_SOURCE: Final = ""
"""The label of what came for a source that there is not."""


class InboundMetrics:
    """Counts notifications and events. Written on one loop alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._notifications = Counter(
            "heed_inbound_notifications_total",
            "Notifications by source and outcome.",
            ("source", "outcome"),
            registry=registry,
        )
        self._events = Counter(
            "heed_inbound_events_total",
            "Verified events by source, the provider's word, and what became of them.",
            ("source", "event", "became"),
            registry=registry,
        )
        self._not_verified = Counter(
            "heed_inbound_not_verified_total",
            "Notifications that were not believed, by source and why.",
            ("source", "why"),
            registry=registry,
        )
        self._seconds = Histogram(
            "heed_inbound_seconds",
            "How long a notification took from its whole body until it was committed.",
            buckets=CALL_SECONDS_BUCKETS,
            registry=registry,
        )
        self._in_force = Gauge(
            "heed_inbound_sources_in_force",
            "Whether the file of sources, as it is now, is what they are judged by.",
            registry=registry,
        )

    def ended(self, source: str, outcome: str) -> None:
        """Count a notification."""
        self._notifications.labels(source, outcome).inc()

    def not_verified(self, source: str, why: Why) -> None:
        """Count one that is not believed."""
        self._not_verified.labels(source, why.value).inc()
        self.ended(source, "not_verified")

    def became(self, source: str, event: str, became: str) -> None:
        """Count what an event became."""
        self._events.labels(source, event, became).inc()

    def took(self, seconds: float) -> None:
        """Note how long one took."""
        self._seconds.observe(seconds)

    def watch(self, is_in_force: Callable[[], bool]) -> None:
        """Have what is told asked at each scrape: whether the file is in force."""
        self._in_force.set_function(lambda: float(is_in_force()))
