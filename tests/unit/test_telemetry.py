"""What the server says about itself: in which form, and never with an address."""

import asyncio
import io
import json
import logging
import urllib.request
from collections.abc import Iterator
from typing import cast

import pytest
import structlog
from opentelemetry.sdk.metrics.export import Histogram, Sum
from prometheus_client import CollectorRegistry

from heed.errors import UnavailableError
from heed_server.config import load
from heed_server.config.addresses import Address
from heed_server.config.page import effective_values
from heed_server.telemetry import otlp_is_asked_for
from heed_server.telemetry.logs import REDACTED, configure_logs, redact_text
from heed_server.telemetry.metrics import CallMetrics, Declaration, Gauges, Reading
from heed_server.telemetry.otlp import metrics_of
from heed_server.telemetry.scrape import serve_metrics

CANARY = "canary.person+tag@mail.example"
CANARY_PHONE = "+43 660 1234567"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_event_with_its_fields(stream: io.StringIO) -> None:
    configure_logs(log_format="json", level="info", stream=stream)

    structlog.stdlib.get_logger("heed_server").info("listening", address="127.0.0.1:50051", n=3)

    (line,) = _lines(stream)
    assert line["event"] == "listening"
    assert (line["address"], line["n"], line["level"]) == ("127.0.0.1:50051", 3, "info")
    assert "timestamp" in line


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure_logs(log_format="json", level="warning", stream=stream)

    structlog.stdlib.get_logger("heed_server").info("listening")
    logging.getLogger("grpc").info("listening")

    assert stream.getvalue() == ""


def test_of_libraries_only_what_is_wrong_is_written(stream: io.StringIO) -> None:
    configure_logs(log_format="json", level="info", stream=stream)

    logging.getLogger("alembic.runtime").info("plugin loaded")
    logging.getLogger("grpc").warning("connection lost")

    assert [line["event"] for line in _lines(stream)] == ["connection lost"]


def test_away_from_a_terminal_auto_means_json(stream: io.StringIO) -> None:
    configure_logs(log_format="auto", level="info", stream=stream)

    structlog.stdlib.get_logger("heed_server").info("listening")

    assert _lines(stream)[0]["event"] == "listening"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_address_gets_into_a_line_however_it_comes(stream: io.StringIO, log_format: str) -> None:
    configure_logs(
        log_format="json" if log_format == "json" else "console", level="info", stream=stream
    )
    log = structlog.stdlib.get_logger("heed_server")

    def fail(subject: str) -> None:
        raise ValueError(f"Key (value)=({subject}) already exists")

    log.info(
        CANARY, subject=CANARY, nested={"a": [CANARY], CANARY: (CANARY_PHONE,)}, b=CANARY.encode()
    )
    try:
        fail(CANARY)
    except ValueError:
        log.exception("failed")
        logging.getLogger("grpc").exception("raised by servicer for %s", CANARY)

    assert "mail.example" not in stream.getvalue()
    assert "660 1234567" not in stream.getvalue()
    assert REDACTED in stream.getvalue()
    assert "Traceback" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("to <ada@example.com>", f"to <{REDACTED}>"),
        ("sqlite: ('ada@exämple.com', 1)", f"sqlite: ('{REDACTED}', 1)"),
        ("call +43 (660) 123-45-67 now", f"call {REDACTED} now"),
        ("2026-11-21T05:54:00+00:00", "2026-11-21T05:54:00+00:00"),
        ("revision 17 of 18", "revision 17 of 18"),
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        (
            "postgresql+asyncpg://heed:***@db.example:5432/heed?***",
            "postgresql+asyncpg://heed:***@db.example:5432/heed?***",
        ),
        ("no postgres://heed:s3cret@[::1]/heed!", "no postgres://heed:***@[::1]/heed!"),
        ("postgresql://heed@db.example/heed", "postgresql://heed@db.example/heed"),
        ("postgresql://a:b@h1:5432,h2:5432/c", "postgresql://a:***@h1:5432,h2:5432/c"),
        ("nats://t0ken@a:4222,nats://u:p@b:4222", "nats://***@a:4222,nats://u:***@b:4222"),
        ("https://otel:s3cret@otel.example: refused", "https://otel:***@otel.example: refused"),
        ("https://ada@example.com/", f"https:{REDACTED}/"),
        ("nats://u:p@h/ada@example.com", f"nats://u:***@h{REDACTED}"),
        ("nats://u:p@h,ada@example.com", f"nats://u:***@h,{REDACTED}"),
        ("postgresql://ada@example.com:pw@db/heed", f"postgresql:{REDACTED}:{REDACTED}/heed"),
        ("postgresql://heed:p@ss@db/heed", f"postgresql://heed:{REDACTED}/heed"),
    ],
)
def test_only_what_looks_like_an_address_is_taken_out(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


def test_the_settings_in_a_log_say_where_the_database_is_and_hide_its_password(
    stream: io.StringIO,
) -> None:
    configure_logs(log_format="json", level="info", stream=stream)
    url = "postgresql://heed:hunter2@db.example:5432/heed?sslmode=require"
    effective = load(flags={"storage.url": url}, variables={})

    structlog.stdlib.get_logger("heed_server").info(
        "settings", settings=effective_values(effective.config)
    )

    (line,) = _lines(stream)
    shown = cast("dict[str, str]", line["settings"])
    assert shown["storage.url"] == "postgresql://heed:***@db.example:5432/heed?***"
    assert "hunter2" not in stream.getvalue()


def test_calls_are_counted_by_method_and_code_and_refusals_by_reason() -> None:
    registry = CollectorRegistry()
    calls = CallMetrics(registry)

    calls.observe("SetPreference", "OK", 0.002, reason="", caller="k")
    calls.observe("SetPreference", "OK", 0.2, reason="", caller="k")
    calls.observe(
        "SetPreference", "FAILED_PRECONDITION", 0.1, reason="CONSENT_REQUIRED", caller="k"
    )

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert value("heed_calls_total", method="SetPreference", code="OK") == 2
    assert value("heed_calls_total", method="SetPreference", code="FAILED_PRECONDITION") == 1
    assert value("heed_calls_refused_total", reason="CONSENT_REQUIRED") == 1
    assert value("heed_call_seconds_count", method="SetPreference") == 3
    assert value("heed_call_seconds_bucket", method="SetPreference", le="0.0025") == 1


def _registry(revisions: dict[str, int]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(
        Gauges(
            [
                Declaration(
                    name="heed_index_revision",
                    meaning="m",
                    labels=("tenant",),
                    read=lambda: [
                        Reading(value=revision, labels=(tenant,))
                        for tenant, revision in revisions.items()
                    ],
                )
            ]
        )
    )
    return registry


async def test_numbers_are_read_when_somebody_scrapes() -> None:
    revisions: dict[str, int] = {}
    registry = _registry(revisions)
    revisions["shop"] = 17

    async with serve_metrics(Address(host="127.0.0.1"), registry) as port:
        text = await asyncio.to_thread(_scraped, f"http://127.0.0.1:{port}/metrics")

    assert 'heed_index_revision{tenant="shop"} 17.0' in text


def _scraped(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own, on loopback
        return str(answer.read().decode())


async def test_an_address_in_use_is_an_error_that_says_what_to_do() -> None:
    async with serve_metrics(Address(host="127.0.0.1"), CollectorRegistry()) as port:
        second = serve_metrics(Address(host="127.0.0.1", port=port), CollectorRegistry())
        with pytest.raises(UnavailableError, match="--telemetry-metrics-address"):
            await second.__aenter__()


def test_otlp_gets_the_numbers_of_the_one_registry() -> None:
    registry = _registry({"shop": 17})
    calls = CallMetrics(registry)
    for seconds in (0.0004, 0.003, 99.0):
        calls.observe("SetPreference", "OK", seconds, reason="", caller="k")

    found = metrics_of(registry, version="1", started_ns=1, now_ns=lambda: 2)

    scope = found.resource_metrics[0].scope_metrics[0]
    metrics = {metric.name: metric.data for metric in scope.metrics}
    assert [point.value for point in metrics["heed_index_revision"].data_points] == [17.0]  # type: ignore[union-attr]  # a gauge's point
    counted = metrics["heed_calls_total"]
    assert isinstance(counted, Sum)
    assert counted.is_monotonic
    assert [(point.value, point.attributes) for point in counted.data_points] == [
        (3.0, {"method": "SetPreference", "code": "OK"})
    ]
    timed = metrics["heed_call_seconds"]
    assert isinstance(timed, Histogram)
    (point,) = timed.data_points
    assert (point.count, sum(point.bucket_counts)) == (3, 3)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert (point.bucket_counts[0], point.bucket_counts[-1]) == (1, 1)


@pytest.mark.parametrize(
    ("otlp", "variables", "asked"),
    [
        ("auto", {}, False),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, True),
        ("auto", {"OTEL_SERVICE_NAME": "heed"}, False),
        (True, {}, True),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, False),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_nothing_is_sent_unless_asked_for(
    otlp: bool, variables: dict[str, str], asked: bool
) -> None:
    assert otlp_is_asked_for(otlp, variables) is asked
