"""What is counted and timed, as one registry a server; docs/operations.md explains each.

Laws:
- Names are `heed_<noun>_<unit>`. Labels are of closed lists (methods, codes, reasons) and the
  names of tenants; nothing that a caller sends becomes a label.
- What a part of the server knows about itself is read when somebody scrapes (`Gauges`), never
  pushed while it works. Only calls are counted as they end, and Checks only when asked for.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from heed_server.store import Tenant

CALL_SECONDS_BUCKETS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number read at a scrape."""

    value: float
    labels: tuple[str, ...] = ()
    """The values of the declaration's labels, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A metric whose numbers are read when somebody scrapes."""

    name: str
    meaning: str
    read: Callable[[], Iterable[Reading]]
    """Called off the event loop's thread; it reads plain numbers, takes no lock and never waits."""
    labels: Sequence[str] = ()
    is_counter: bool = False


class OfTenant(Protocol):
    """What belongs to one tenant."""

    @property
    def tenant(self) -> Tenant:
        """Whose it is."""
        ...


O_co = TypeVar("O_co", bound=OfTenant, covariant=True)


@dataclass(frozen=True, slots=True)
class ByTenant(Generic[O_co]):
    """Declares metrics that have one number for each tenant."""

    all_: Callable[[], Iterable[O_co]]
    """What is read of each tenant. Called like `Declaration.read`."""

    def __call__(
        self,
        name: str,
        meaning: str,
        read: Callable[[O_co], float],
        *,
        is_counter: bool = False,
    ) -> Declaration:
        """Return one of them."""
        return Declaration(
            name=name,
            meaning=meaning,
            labels=("tenant",),
            read=lambda: [
                Reading(value=float(read(one)), labels=(one.tenant.name,)) for one in self.all_()
            ],
            is_counter=is_counter,
        )


def single(
    name: str, meaning: str, read: Callable[[], float | None], *, is_counter: bool = False
) -> Declaration:
    """Return a metric of one number; None: there is none now."""

    def readings() -> Iterable[Reading]:
        value = read()
        return [] if value is None else [Reading(value=float(value))]

    return Declaration(name=name, meaning=meaning, read=readings, is_counter=is_counter)


def build_info() -> Declaration:
    """Return the metric that says what runs."""
    running = (version("heed-server"), platform.python_version(), version("grpcio"))
    return Declaration(
        name="heed_build_info",
        meaning="1; the labels say what runs.",
        labels=("version", "python", "grpc"),
        read=lambda: [Reading(value=1, labels=running)],
    )


class Gauges(Collector):
    """Reads declared numbers at each scrape."""

    def __init__(self, declarations: Iterable[Declaration]) -> None:
        self._declarations = tuple(declarations)

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without numbers, so that registering reads nothing."""
        return [_family(declaration) for declaration in self._declarations]

    def collect(self) -> Iterable[Metric]:
        """Read every number now."""
        for declaration in self._declarations:
            family = _family(declaration)
            for reading in declaration.read():
                family.add_metric(reading.labels, reading.value)
            yield family


class CallMetrics:
    """Counts and times calls. Written by the event loop alone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "heed_calls_total",
            "Calls that ended, by method and status code.",
            ("method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "heed_call_seconds",
            "How long calls took in the server, by method.",
            ("method",),
            buckets=CALL_SECONDS_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "heed_calls_refused_total",
            "Calls that ended in an error of heed's, by reason.",
            ("reason",),
            registry=registry,
        )
        # Children are kept: a label look-up costs more than the count.
        self._counters: dict[tuple[str, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def observe(self, method: str, code: str, seconds: float, *, reason: str, caller: str) -> None:  # noqa: ARG002 - a key's name is no label
        """Count one call that ended, and why if it was refused."""
        counter = self._counters.get((method, code))
        if counter is None:
            counter = self._counters[method, code] = self._calls.labels(method, code)
        counter.inc()
        timer = self._timers.get(method)
        if timer is None:
            timer = self._timers[method] = self._seconds.labels(method)
        timer.observe(seconds)
        if reason:
            self._refused.labels(reason).inc()


def _family(declaration: Declaration) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if declaration.is_counter else GaugeMetricFamily
    return family(declaration.name, declaration.meaning, labels=declaration.labels)
