"""Traces and metrics to an OpenTelemetry collector, when asked for.

Laws:
- Where to, how often and how much is sampled say the standard OTEL_* variables, nothing of ours.
- What is exported is the registry that /metrics shows: each metric is declared once.
- A collector that is slow or away costs no call: exports run on threads, and what cannot be sent
  in time is dropped and counted by the exporter's own log line.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import structlog
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from heed.task_group import TaskGroup

SCOPE = "heed_server"
_log = structlog.stdlib.get_logger(SCOPE)
LAST_SECONDS_MAX = 1.0
"""How long the last export may take when the server stops."""
_EXPORT_INTERVAL_MS = 60_000
_INTERVAL_VARIABLE = "OTEL_METRIC_EXPORT_INTERVAL"


@asynccontextmanager
async def export_traces(version: str) -> AsyncGenerator[Tracer]:
    """Send this tracer's spans to the collector within the block; the last ones at its end."""
    exporter = OTLPSpanExporter()
    provider = TracerProvider(resource=_resource(version))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider.get_tracer(SCOPE, version)
    finally:
        await _last(provider.shutdown, exporter.shutdown)


async def export_metrics(registry: CollectorRegistry, version: str) -> None:
    """Send the registry's metrics at the standard interval until cancelled, and once more then."""
    exporter = OTLPMetricExporter()
    interval_seconds = float(os.environ.get(_INTERVAL_VARIABLE) or _EXPORT_INTERVAL_MS) / 1000
    started_ns = time.time_ns()

    def export() -> None:
        try:
            found = metrics_of(
                registry, version=version, started_ns=started_ns, now_ns=time.time_ns
            )
            exporter.export(found)
        except Exception:  # noqa: BLE001 - a thread's root; telemetry ends no node
            _log.exception("metrics_not_sent")

    try:
        while True:
            await asyncio.sleep(interval_seconds)
            await asyncio.to_thread(export)
    finally:
        await _last(export, exporter.shutdown)


def metrics_of(
    registry: CollectorRegistry, *, version: str, started_ns: int, now_ns: Callable[[], int]
) -> MetricsData:
    """Return what the registry holds now, in OpenTelemetry's words."""
    at_ns = now_ns()
    metrics = [_metric(family, started_ns, at_ns) for family in registry.collect()]
    scope = ScopeMetrics(
        scope=InstrumentationScope(SCOPE, version),
        metrics=[metric for metric in metrics if metric is not None],
        schema_url="",
    )
    resource = ResourceMetrics(resource=_resource(version), scope_metrics=[scope], schema_url="")
    return MetricsData(resource_metrics=[resource])


async def _last(work: Callable[[], object], interrupt: Callable[[], object]) -> None:
    """Do the last of the sending, which `interrupt` cuts short: no collector holds up a stop."""
    async with TaskGroup() as group:
        working = group.create_task(asyncio.to_thread(work))
        await asyncio.wait({working}, timeout=LAST_SECONDS_MAX)
        interrupt()


def _resource(version: str) -> Resource:
    return Resource.create({"service.name": "heed-server", "service.version": version})


def _metric(family: Family, started_ns: int, at_ns: int) -> Metric | None:
    """One family of the registry; None for kinds that heed does not declare."""
    match family.type:
        case "counter":
            points = _points(family, started_ns, at_ns, suffix="_total")
            data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
            return Metric(family.name + "_total", family.documentation, "", data)
        case "gauge":
            points = _points(family, started_ns, at_ns, suffix="")
            return Metric(family.name, family.documentation, "", Gauge(points))
        case "histogram":
            buckets = _histograms(family, started_ns, at_ns)
            timed = Histogram(buckets, AggregationTemporality.CUMULATIVE)
            return Metric(family.name, family.documentation, "", timed)
        case _:
            return None


def _points(family: Family, started_ns: int, at_ns: int, *, suffix: str) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(sample.labels, started_ns, at_ns, sample.value)
        for sample in family.samples
        if sample.name == family.name + suffix
    ]


def _histograms(family: Family, started_ns: int, at_ns: int) -> list[HistogramDataPoint]:
    """The family's histograms: Prometheus counts cumulatively, OpenTelemetry bucket by bucket."""
    bounds: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            bound = (float(sample.labels["le"]), sample.value)
            bounds.setdefault(labels, []).append(bound)
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    points: list[HistogramDataPoint] = []
    for labels, cumulative in bounds.items():
        totals = [0.0, *(total for _, total in cumulative)]
        counts = [int(after - before) for before, after in pairwise(totals)]
        points.append(
            HistogramDataPoint(
                attributes=dict(labels),
                start_time_unix_nano=started_ns,
                time_unix_nano=at_ns,
                count=int(totals[-1]),
                sum=sums.get(labels, 0.0),
                bucket_counts=counts,
                explicit_bounds=[bound for bound, _ in cumulative[:-1]],
                min=0.0,
                max=0.0,
            )
        )
    return points
