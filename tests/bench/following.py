"""What following costs and brings: caches, snapshots, watchers beside writes."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from tests.bench import messages
from tests.bench.calls import IN_FLIGHT, SETS_MAX, seeded_node
from tests.bench.etcd import running_etcd
from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, Round, alternate
from tests.bench.nodes import LOAD_CORE, SERVER_CORE, BenchError, HeedNode
from tests.bench.watchers import WatchersSpec
from tests.support.ports import free_port

ROUNDS: Final = 3
WATCHERS: Final = 100
CACHES: Final = (1, 10, 100)
HELD_CACHES: Final = 10
SEEDED: Final = 10_000
_ON = f"server on core {SERVER_CORE}, everything else on core {LOAD_CORE}"


def measure_cache(folder: Path) -> list[Figure]:
    """`cached_checks_per_second`, and `cached_over_redis` where a redis is; asyncio too."""
    with seeded_node(HeedNode(folder)) as node, _redis() as redis_port:
        rounds = [_asked(node, "checks", redis_port=redis_port) for _ in range(ROUNDS)]
    figures: list[Figure] = []
    for ending, client in (("", "SyncClient"), ("_asyncio", "Client")):
        cached, stored = f"cached{ending}_per_second", f"redis{ending}_per_second"
        by_cpu = f"cached{ending}_per_cpu_second"
        value, spread = median_of([one[by_cpu] for one in rounds])
        by_wall, _ = median_of([one[cached] for one in rounds])
        figures.append(
            Figure(
                name=f"cached_checks_per_second{ending}",
                value=value,
                unit="checks/s",
                against=f"{client}.check from its cache a second of processor time, the follower's "
                f"included ({by_wall:,.0f} a second by the clock), one in 5 suppressed, {_ON}",
                spread=spread,
                rounds=tuple(rounds),
            )
        )
        if all(one[stored] for one in rounds):
            over, spread = median_of([one[cached] / one[stored] for one in rounds])
            figures.append(
                Figure(
                    name=f"cached_over_redis{ending}",
                    value=over,
                    unit="ratio",
                    against="the same by the clock over a redis-py GET on loopback, in turns",
                    spread=spread,
                )
            )
        else:
            print("no redis-server on this machine: it is not measured against")
    return figures


def measure_snapshot(folder: Path, people: int) -> list[Figure]:
    """`snapshot_records_per_second` and `cache_bytes_per_record`."""
    with HeedNode(folder) as node:
        batches = messages.batch_sets(iter(range(people)), calls=people // 1000, size=1000)
        for request in batches:
            node.call(messages.BATCH_SET, request)
        told = _asked(node, "snapshot")
    return [
        Figure(
            name="snapshot_records_per_second",
            value=people / told["seconds"],
            unit="records/s",
            against=f"{people:,} records to a fresh cache, from its opening to LIVE, {_ON}",
        ),
        Figure(
            name="cache_bytes_per_record",
            value=told["bytes"] / people,
            unit="bytes",
            against=f"size of that cache's file, {people:,} records",
        ),
    ]


def measure_propagation(folder: Path) -> list[Figure]:
    """`propagation_p50_ms_N` and `propagation_p99_ms_N`, to the last of N caches, and etcd's."""
    figures: list[Figure] = []
    with seeded_node(HeedNode(folder)) as node, running_etcd(folder) as etcd_port:
        if not etcd_port:
            print("no etcd on this machine: it is not measured against")
        for count in CACHES:
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(_asked(node, "propagation", count=count))
                if etcd_port:
                    theirs.append(_asked(node, "etcd", count=count, port=etcd_port))
            figures += _propagated("propagation", ours, f"caches of one process, SQLite, {_ON}")
            if theirs:
                against = f"watchers of one etcd, same client stack, in turns with ours, {_ON}"
                figures += _propagated("etcd_propagation", theirs, against)
                figures.append(_over_etcd(ours, theirs))
    return figures


def _propagated(name: str, rounds: list[dict[str, Any]], what: str) -> list[Figure]:
    """The medians of the rounds' 50th and 99th percentiles, of one count of followers."""
    count = rounds[0]["count"]
    figures: list[Figure] = []
    for share in ("p50", "p99"):
        value, spread = median_of([one[f"{share}_ms"] for one in rounds])
        figures.append(
            Figure(
                name=f"{name}_{share}_ms_{count}",
                value=value,
                unit="ms",
                against=f"call start to applied in the last of {count}, one write at a time, "
                f"fsynced, {what}",
                spread=spread,
                rounds=tuple(rounds),
            )
        )
    return figures


def _over_etcd(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Figure:
    pairs = zip(ours, theirs, strict=True)
    value, spread = median_of([one["p99_ms"] / other["p99_ms"] for one, other in pairs])
    return Figure(
        name=f"propagation_p99_over_etcd_{ours[0]['count']}",
        value=value,
        unit="ratio",
        against="the same rounds",
        spread=spread,
    )


def measure_holds(folder: Path) -> list[Figure]:
    """`hold_p50_ms_10` and `hold_p99_ms_10`, to the last of ten caches."""
    with seeded_node(HeedNode(folder)) as node:
        told = _asked(node, "holds", count=HELD_CACHES)
    return [
        Figure(
            name=f"hold_{share}_ms_{HELD_CACHES}",
            value=told[f"{share}_ms"],
            unit="ms",
            against=f"call start of PlaceHold to suppressed in the last of {HELD_CACHES} caches of "
            f"one process, one at a time, SQLite, fsynced, {_ON}",
        )
        for share in ("p50", "p99")
    ]


def measure_watched(folder: Path) -> list[Figure]:
    """`writes_watched_over_unwatched`."""
    people = itertools.count(10 * SEEDED)
    with seeded_node(HeedNode(folder)) as node:
        writes = Arm(
            name="writes",
            spec=LoadSpec(
                port=node.port,
                method=messages.SET,
                requests="",
                in_flight=IN_FLIGHT,
                seconds=2.0,
            ),
            fresh=lambda: messages.sets(people, calls=SETS_MAX),
            pid=node.pid,
        )
        pairs: list[tuple[Round, Round]] = []
        for _ in range(ROUNDS):
            (alone,) = alternate([writes], 1)[writes.name]
            with _watching(node, WATCHERS):
                (watched,) = alternate([writes], 1)[writes.name]
            pairs.append((watched, alone))
    value, spread = median_of(
        [one.load.calls_per_second / other.load.calls_per_second for one, other in pairs]
    )
    by_cpu, spread_by_cpu = median_of(
        [other.cpu_us_per_unit / one.cpu_us_per_unit for one, other in pairs]
    )
    return [
        Figure(
            name="writes_watched_over_unwatched",
            value=value,
            unit="ratio",
            against=f"SetPreference a second, {IN_FLIGHT} in flight, with {WATCHERS} watchers over "
            f"none, {_ON}",
            spread=spread,
        ),
        Figure(
            name="writes_watched_over_unwatched_by_cpu",
            value=by_cpu,
            unit="ratio",
            against="the same rounds, by the server's processor time: the watchers and the load "
            "share a core, and take of it from each other",
            spread=spread_by_cpu,
        ),
    ]


@contextmanager
def _redis() -> Generator[int]:
    """Run a redis of this machine, which keeps nothing; 0 where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        yield 0
        return
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _asked(
    node: HeedNode, mode: str, *, count: int = 1, redis_port: int = 0, port: int | None = None
) -> dict[str, Any]:
    """Run one process of followers to its end and return what it tells, and how many it had.

    They follow the node, or what else listens on a port.
    """
    spec = replace(_spec(node, mode, count=count, redis_port=redis_port), port=port or node.port)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.watchers"],
        input=json.dumps(asdict(spec)).encode() + b"\n",
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    if done.returncode:
        raise BenchError(f"the followers failed:\n{done.stderr.decode()[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return {**told, "count": count}


@contextmanager
def _watching(node: HeedNode, count: int) -> Generator[None]:
    """Keep so many streams open."""
    spec = _spec(node, "follow", count=count)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.watchers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise BenchError("the watchers did not open their streams")
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _spec(node: HeedNode, mode: str, *, count: int, redis_port: int = 0) -> WatchersSpec:
    return WatchersSpec(
        mode=mode,
        port=node.port,
        folder=str(node.folder),
        core=LOAD_CORE,
        count=count,
        people=SEEDED,
        redis_port=redis_port,
    )
