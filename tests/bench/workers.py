"""Checks by two workers against one process, by a C load.

The load shares the machine with what it measures: on two cores it takes from the two workers what
the one process leaves to it. So the ratio is less than two however good the workers are, and a
third figure says how much of the machine the load had.
"""

import statistics
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from heed_proto.v1 import preference_service_pb2 as preference
from tests.bench import h2load, messages
from tests.bench.calls import SEEDED, seeded_node
from tests.bench.figures import Figure
from tests.bench.nodes import EVERY_CORE, BenchError, HeedNode

ROUNDS: Final = 7
WORKERS: Final = 2
CONNECTIONS: Final = 32
"""The kernel deals them out by chance: so many, that each worker always has some."""
IN_FLIGHT: Final = 128
FIGURES: Final = ("two_workers_over_one", "two_workers_over_one_by_cpu")


def measure_workers(folder: Path) -> list[Figure]:
    """`two_workers_over_one`."""
    if len(EVERY_CORE) < WORKERS:
        print(f"  {', '.join(FIGURES)}: {WORKERS} workers need as many cores; not measured")
        return []
    if not h2load.is_there():
        h2load.absent(*FIGURES)
        return []
    request = preference.CheckSuppressionRequest(query=messages.query_of(messages.email(1)))
    with (
        h2load.request_file(request.SerializeToString()) as file,
        _arm("one process", folder / "one", file, workers=1) as under,
        _arm("two workers", folder / "two", file, workers=WORKERS) as over,
    ):
        results = h2load.alternate([over, under], ROUNDS)
    load_share = statistics.median(one.load_cpu_share for one in results[over.name])
    against = (
        f"unary Check, --workers {WORKERS} over one process, h2load on the same "
        f"{len(EVERY_CORE)} cores, {CONNECTIONS} connections, {IN_FLIGHT} in flight"
    )
    return [
        h2load.rate_ratio(FIGURES[0], over, under, results, against),
        h2load.cpu_ratio(
            FIGURES[1], over, under, results, "the same rounds, by processor time a call"
        ),
        h2load.rate("two_workers_calls_per_second", over, results, "the same rounds"),
        Figure(
            name="two_workers_load_cores",
            value=load_share,
            unit="cores",
            against="what the load itself took of the machine meanwhile",
        ),
    ]


@contextmanager
def _arm(name: str, folder: Path, file: str, *, workers: int) -> Generator[h2load.H2Arm]:
    """A server with people in it, and the load that is put on it."""
    variables = {"HEED_LISTEN_WORKERS": str(workers)}
    with seeded_node(HeedNode(folder, variables=variables, cores=EVERY_CORE)) as node:
        answer = node.check(messages.email(1))
        if not answer.decision.verdict or answer.position.revision < SEEDED:
            raise BenchError(f"{name} answers {answer}")
        processes = [int(event["pid"]) for event in node.events("process_serves")]
        if workers > 1 and len(processes) != workers + 1:
            raise BenchError(f"{name} is {len(processes)} processes")
        yield h2load.H2Arm(
            name=name,
            method=messages.CHECK,
            request=file,
            address=f"127.0.0.1:{node.port}",
            pids=tuple(processes) or (node.pid,),
            connections=CONNECTIONS,
            in_flight=IN_FLIGHT,
            load_cores=EVERY_CORE,
        )
