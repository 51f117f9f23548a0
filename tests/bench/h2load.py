"""Load by h2load (Debian's nghttp2-client): a C program, for what a load in Python cannot drive.

It sends one request again and again, and counts an answer by its HTTP status; whether the server
means what it answers is for a real client to see before anything is timed (`Asked.verified`). Where
the program is absent, the bench says so and goes on.
"""

import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure, median_of
from tests.bench.nodes import LOAD_CORE, BenchError

PROGRAM: Final = "h2load"
ABSENT: Final = "h2load is not here (Debian's nghttp2-client); not measured"
_RATE: Final = re.compile(r"finished in [\d.]+m?s, ([\d.]+) req/s")
_ENDS: Final = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class H2Arm:
    """One side of a comparison."""

    name: str
    method: str
    """`/heed.v1.PreferenceService/CheckSuppression`"""
    request: str
    """A file with the request, as `request_file` writes it."""
    address: str
    """`127.0.0.1:50051` or `unix:/path`."""
    pids: tuple[int, ...]
    """The processes that answer, to tell their processor time by."""
    connections: int = 4
    in_flight: int = 64
    """Calls under way over all connections."""
    seconds: float = 2.0
    load_cores: frozenset[int] = frozenset({LOAD_CORE})
    """Where the load may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class H2Round:
    """One load of one arm."""

    calls_per_second: float
    cpu_us_per_call: float
    """Of the processes that answer; a neighbour on the machine cannot take it away."""
    load_cpu_share: float
    """How much of one core the load itself had."""


H2Results = dict[str, list[H2Round]]
"""The rounds of each arm, by its name."""


def is_there() -> bool:
    """Whether the program is installed."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def request_file(message: bytes) -> Generator[str]:
    """Write a message as gRPC frames it, within the block."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(message).to_bytes(4, "big") + message)
        file.flush()
        yield file.name


def alternate(arms: Sequence[H2Arm], rounds: int) -> H2Results:
    """Run every arm once a round, in an order that turns, after one round that does not count."""
    results: H2Results = {arm.name: [] for arm in arms}
    for number in range(rounds + 1):
        for arm in arms if number % 2 else reversed(arms):
            found = _load(arm)
            if number:
                results[arm.name].append(found)
    return results


def rate_ratio(name: str, over: H2Arm, under: H2Arm, results: H2Results, against: str) -> Figure:
    """The median, over the rounds, of one arm's rate divided by the other's."""
    pairs = list(zip(results[over.name], results[under.name], strict=True))
    return _figure(
        name, [one.calls_per_second / other.calls_per_second for one, other in pairs],
        over, under, results, against,
    )  # fmt: skip


def cpu_ratio(name: str, over: H2Arm, under: H2Arm, results: H2Results, against: str) -> Figure:
    """The same by what the processes spent: how much of `over`'s time `under` would have taken."""
    pairs = list(zip(results[over.name], results[under.name], strict=True))
    return _figure(
        name, [other.cpu_us_per_call / one.cpu_us_per_call for one, other in pairs],
        over, under, results, against,
    )  # fmt: skip


def rate(name: str, arm: H2Arm, results: H2Results, against: str) -> Figure:
    """The median rate of one arm."""
    value = statistics.median(one.calls_per_second for one in results[arm.name])
    return Figure(name=name, value=value, unit="calls/s", against=against)


def absent(*names: str) -> None:
    """Say that these figures are left out, and why."""
    print(f"  {', '.join(names)}: {ABSENT}")


def _figure(
    name: str,
    values: Sequence[float],
    over: H2Arm,
    under: H2Arm,
    results: H2Results,
    against: str,
) -> Figure:
    value, spread = median_of(values)
    rounds = tuple(
        {
            over.name: [one.calls_per_second, one.cpu_us_per_call],
            under.name: [other.calls_per_second, other.cpu_us_per_call],
        }
        for one, other in zip(results[over.name], results[under.name], strict=True)
    )
    return Figure(
        name=name, value=value, unit="ratio", against=against, spread=spread, rounds=rounds
    )


def _load(arm: H2Arm) -> H2Round:
    before, load_before = sum(map(_cpu_seconds, arm.pids)), _load_seconds()
    begun = time.perf_counter()
    base = ["-B", arm.address] if arm.address.startswith("unix:") else []
    host = "localhost" if base else arm.address
    done = subprocess.run(
        [
            *("taskset", "-c", ",".join(map(str, sorted(arm.load_cores))), PROGRAM),
            *("-D", f"{arm.seconds:g}s", "--warm-up-time", "300ms"),
            *("-c", str(arm.connections), "-m", str(arm.in_flight // arm.connections)),
            *("-d", arm.request, "-H", "content-type: application/grpc", "-H", "te: trailers"),
            *base,
            f"http://{host}{arm.method}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    spent = sum(map(_cpu_seconds, arm.pids)) - before
    load_share = (_load_seconds() - load_before) / (time.perf_counter() - begun)
    rate_found, ends = _RATE.search(done.stdout), _ENDS.search(done.stdout)
    if done.returncode or rate_found is None or ends is None:
        raise BenchError(f"h2load failed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
    succeeded, *bad = map(int, ends.groups())
    if any(bad) or not succeeded:
        raise BenchError(f"{arm.name}: {succeeded} answered, {bad} not:\n{done.stdout[-2000:]}")
    return H2Round(
        calls_per_second=float(rate_found[1]),
        cpu_us_per_call=spent * 1e6 / succeeded,
        load_cpu_share=load_share,
    )


def _load_seconds() -> float:
    """The processor time of programs that have ended: the loads."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
