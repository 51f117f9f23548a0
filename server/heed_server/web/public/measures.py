"""What the public edge counts of links and pages beside its requests; no link is a label."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from heed_server.telemetry.metrics import CALL_SECONDS_BUCKETS


class LinkMetrics:
    """Counts presses of links, and forms of preference pages. Written on one loop alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._presses = Counter(
            "heed_web_presses_total",
            "Links pressed: written, stood already, or failed and answered 503.",
            ("outcome",),
            registry=registry,
        )
        self._choices = Counter(
            "heed_web_choices_total",
            "Forms of preference pages: written, stood already, refused, or failed with 503.",
            ("outcome",),
            registry=registry,
        )
        self._seconds = Histogram(
            "heed_web_press_seconds",
            "How long a press took until it was committed, or stood already.",
            buckets=CALL_SECONDS_BUCKETS,
            registry=registry,
        )

    def chosen(self, outcome: str) -> None:
        """Count a form of a preference page."""
        self._choices.labels(outcome).inc()

    def pressed(self, outcome: str, seconds: float | None = None) -> None:
        """Count a press; `seconds` of one that is committed."""
        self._presses.labels(outcome).inc()
        if seconds is not None:
            self._seconds.observe(seconds)
