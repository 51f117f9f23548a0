"""Traces and metrics to a collector: a real server, and a collector that keeps what it is sent."""

import queue
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from heed import HeedError, OptOut, Origin
from heed.requests import PersonChoices
from heed.wire import ask
from heed_proto.v1 import preference_service_pb2 as preference
from tests.support.served import WAIT_SECONDS_MAX, Served

ORIGIN = Origin(source="tests")
CANARY = "canary.person@canary.example"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE_PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"

pytestmark = pytest.mark.slow  # each starts processes


class Collector:
    """Takes OTLP over gRPC."""

    def __init__(self) -> None:
        self.spans: queue.Queue[trace_pb2.Span] = queue.Queue()
        self.metrics: queue.Queue[metrics_pb2.Metric] = queue.Queue()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "opentelemetry.proto.collector.trace.v1.TraceService",
                    {"Export": grpc.unary_unary_rpc_method_handler(self._take_spans)},
                ),
                grpc.method_handlers_generic_handler(
                    "opentelemetry.proto.collector.metrics.v1.MetricsService",
                    {"Export": grpc.unary_unary_rpc_method_handler(self._take_metrics)},
                ),
            )
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait(WAIT_SECONDS_MAX)

    def span(self, name: str) -> trace_pb2.Span:
        while True:
            span = self.spans.get(timeout=WAIT_SECONDS_MAX)
            if span.name == name:
                return span

    def metric(self, name: str) -> metrics_pb2.Metric:
        """The first that has a number: what has counted nothing yet is exported without one."""
        while True:
            metric = self.metrics.get(timeout=WAIT_SECONDS_MAX)
            if metric.name == name and metric.WhichOneof("data"):
                return metric

    def _take_spans(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        asked = trace_service_pb2.ExportTraceServiceRequest.FromString(data)
        assert b"canary" not in data
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)
        return trace_service_pb2.ExportTraceServiceResponse().SerializeToString()

    def _take_metrics(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        asked = metrics_service_pb2.ExportMetricsServiceRequest.FromString(data)
        assert b"canary" not in data
        for resource in asked.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.metrics.put(metric)
        return metrics_service_pb2.ExportMetricsServiceResponse().SerializeToString()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


def _attributes(span: trace_pb2.Span) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_calls_are_traced_within_the_callers_trace_and_counted_and_checks_are_neither(
    tmp_path: Path, collector: Collector
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    choices = PersonChoices(email=CANARY, choices=[OptOut()])
    request = ask.set_preference("", "key-1", choices, ORIGIN)
    with Served(tmp_path, variables=variables) as server:
        with grpc.insecure_channel(server.address) as channel:
            call: grpc.UnaryUnaryMultiCallable[
                preference.SetPreferenceRequest, preference.SetPreferenceResponse
            ] = channel.unary_unary(
                "/heed.v1.PreferenceService/SetPreference",
                request_serializer=preference.SetPreferenceRequest.SerializeToString,
                response_deserializer=preference.SetPreferenceResponse.FromString,
            )
            call(request, timeout=WAIT_SECONDS_MAX, metadata=(("traceparent", TRACE_PARENT),))
        with server.client() as client:
            client.check(email=CANARY, channel="email")
            with pytest.raises(HeedError):
                client.lift_hold("nosuch", reason="r", origin=ORIGIN)

        traced = collector.span("heed.v1.PreferenceService/SetPreference")
        refused = collector.span("heed.v1.AdminService/LiftHold")
        counted = collector.metric("heed_calls_total")
        timed = collector.metric("heed_call_seconds")
        known = collector.metric("heed_index_revision")
        server.stop()

    assert traced.trace_id.hex() == TRACE_ID
    assert traced.kind == trace_pb2.Span.SPAN_KIND_SERVER
    assert _attributes(traced)["rpc.method"] == "SetPreference"
    assert _attributes(traced)["rpc.grpc.status_code"] == 0
    assert _attributes(refused)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert refused.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert counted.sum.is_monotonic
    assert timed.histogram.data_points[0].count >= 1
    assert len(known.gauge.data_points) == 1
    left = [span.name for span in collector.spans.queue]
    assert not any("Check" in name or "Health" in name for name in left)


def test_a_collector_that_is_away_costs_no_call_and_no_stop(tmp_path: Path) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_METRIC_EXPORT_INTERVAL": "50",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with Served(tmp_path, variables=variables) as server:
        with server.client() as client:
            for number in range(20):
                client.set_preference(user=f"u-{number}", choices=[OptOut()], origin=ORIGIN)

        began = time.monotonic()
        assert server.stop() == 0

    assert time.monotonic() - began < 8
