"""Rounds of load: one arm after the other, again and again, so that both meet the same weather."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadResult, LoadSpec, write_requests
from tests.bench.nodes import LOAD_CORE, BenchError, cpu_seconds

LOAD_IDLE_SHARE_MIN = 0.1
"""A load with less to spare may be what is measured; a closed loop is then refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One side of a comparison."""

    name: str
    spec: LoadSpec
    fresh: Callable[[], list[bytes]] | None = None
    """Makes the requests of each round anew, for calls whose keys serve once."""
    units: int = 1
    """What one call counts for: the queries or records in it."""
    pid: int | None = None
    """The server's process, to tell its processor time by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One load of one arm."""

    load: LoadResult
    cpu_us_per_unit: float
    """The server's processor time, which a neighbour on the machine cannot take away."""


Results = dict[str, list[Round]]
"""The rounds of each arm, by its name."""


def load(spec: LoadSpec) -> LoadResult:
    """Make a load from a process of its own, on its own core.

    Raises:
        BenchError: a call failed, or the load itself was the limit.
    """
    pinned = replace(spec, core=LOAD_CORE)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=json.dumps(asdict(pinned)).encode(),
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    if done.returncode:
        raise BenchError(f"the load failed:\n{done.stderr.decode()[-3000:]}")
    result = LoadResult(**json.loads(done.stdout))
    if result.failures or not result.calls:
        raise BenchError(f"{spec.method}: {result.calls} calls, failures {result.failures}")
    if spec.rate is None and result.idle_share < LOAD_IDLE_SHARE_MIN:
        raise BenchError(f"the load was the limit: idle for {result.idle_share:.0%} of the time")
    return result


def alternate(arms: Sequence[Arm], rounds: int) -> Results:
    """Run every arm once a round, in an order that turns, after one round that does not count."""
    results: Results = {arm.name: [] for arm in arms}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for arm in arms if number % 2 else reversed(arms):
                spec = replace(arm.spec, seconds=0.5) if number == 0 else arm.spec
                if arm.fresh is not None:
                    path = Path(folder) / arm.name
                    write_requests(path, arm.fresh())
                    spec = replace(spec, requests=str(path), repeats=False)
                cpu_before = cpu_seconds(arm.pid)
                result = load(spec)
                cpu_taken = cpu_seconds(arm.pid) - cpu_before
                if number:
                    cpu_us = cpu_taken * 1e6 / (result.all_calls * arm.units)
                    results[arm.name].append(Round(load=result, cpu_us_per_unit=cpu_us))
    return results


def ratio(name: str, over: Arm, under: Arm, results: Results, against: str) -> Figure:
    """The median, over the rounds, of one arm's rate divided by the other's."""
    pairs = list(zip(results[over.name], results[under.name], strict=True))
    value, spread = median_of(
        [
            one.load.calls_per_second * over.units / (other.load.calls_per_second * under.units)
            for one, other in pairs
        ]
    )
    rounds = tuple({over.name: _told(one), under.name: _told(other)} for one, other in pairs)
    return Figure(
        name=name, value=value, unit="ratio", against=against, spread=spread, rounds=rounds
    )


def cpu_ratio(name: str, over: Arm, under: Arm, results: Results, against: str) -> Figure:
    """The same of the units that each server's second of processor time gives."""
    pairs = zip(results[over.name], results[under.name], strict=True)
    value, spread = median_of([other.cpu_us_per_unit / one.cpu_us_per_unit for one, other in pairs])
    return Figure(name=name, value=value, unit="ratio", against=against, spread=spread)


def rate(name: str, arm: Arm, results: Results, unit: str, against: str) -> Figure:
    """The median of one arm's rate."""
    value, spread = median_of([one.load.calls_per_second * arm.units for one in results[arm.name]])
    return Figure(name=name, value=value, unit=unit, against=against, spread=spread)


def cpu_us(name: str, arm: Arm, results: Results, against: str) -> Figure:
    """The median of the server's processor time for one unit of an arm."""
    value, spread = median_of([one.cpu_us_per_unit for one in results[arm.name]])
    return Figure(name=name, value=value, unit="µs", against=against, spread=spread)


def median_p99_ms(rounds: Sequence[Round]) -> float:
    """The median of the rounds' 99th percentiles."""
    return statistics.median(one.load.p99_ms for one in rounds)


@contextmanager
def requests_file(messages: list[bytes]) -> Generator[str, None, None]:
    """A file of requests for loads that send them again and again."""
    with tempfile.NamedTemporaryFile() as file:
        write_requests(Path(file.name), messages)
        yield file.name


def _told(one: Round) -> dict[str, Any]:
    return {
        "calls_per_second": round(one.load.calls_per_second, 1),
        "p50_ms": round(one.load.p50_ms, 3),
        "p99_ms": round(one.load.p99_ms, 3),
        "server_cpu_us_per_unit": round(one.cpu_us_per_unit, 2),
        "load_idle_share": round(one.load.idle_share, 3),
    }
