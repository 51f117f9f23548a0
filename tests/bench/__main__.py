"""`python -m tests.bench`: measure, print a table, write bench/results.json.

`--only NAME` runs what gives that figure, several times for several. `--people N` takes so many
where the default is a million; `--scale` measures only what depends on it, with ten million.
`--grpcio-versions 1.80.0,1.85.1` compares those instead of all
else. The exit code is 0 whether targets are met or not, unless `--strict` is given: a shared
machine's weather must not fail a build that did not ask.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import (
    agents,
    calls,
    edges,
    floods,
    following,
    proofs,
    scale,
    soak,
    versions,
    workers,
)
from tests.bench.figures import Figure, print_table, write_results

WORK = Path("bench/work")
"""Where servers keep their data while they are measured: a real disk, for fsync."""


SCALE_FIGURES = (
    "import_rows_per_second",
    "p99_million_over_ten_thousand",
    "index_bytes_per_record",
    "server_memory_mib",
    "warm_start_seconds",
    "rebuild_seconds",
    "backup_seconds",
    "restore_seconds",
)
SCALE_PEOPLE = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Figures that are measured together."""

    gives: tuple[str, ...]
    run: Callable[[Path], list[Figure]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments ask for; return the exit code."""
    asked = _parser().parse_args(arguments)
    begun = time.perf_counter()
    figures: list[Figure] = []
    for measurement in _chosen(asked):
        print(f"{', '.join(measurement.gives)} …", flush=True)
        shutil.rmtree(WORK, ignore_errors=True)
        figures += measurement.run(WORK)
    shutil.rmtree(WORK, ignore_errors=True)
    print_table(figures)
    write_results(figures)
    print(f"\n{time.perf_counter() - begun:.0f} s; bench/results.json, bench/rounds.json")
    missed = [figure.name for figure in figures if figure.is_met is False]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return 1 if missed and asked.strict else 0


def _chosen(asked: argparse.Namespace) -> list[Measurement]:
    if asked.grpcio_versions:
        compared = tuple(asked.grpcio_versions.split(","))
        return [
            Measurement(
                gives=tuple(f"check_over_bare_{version}" for version in compared),
                run=lambda work: versions.measure_versions(work, compared),
            )
        ]
    people, only = asked.people, set(asked.only)
    if asked.scale:
        people, only = SCALE_PEOPLE, set(SCALE_FIGURES)
    every = [
        Measurement(gives=("check_over_bare", "batch_over_unary"), run=calls.measure_checks),
        Measurement(gives=("stream_over_unary",), run=calls.measure_stream),
        Measurement(gives=("check_tls_over_bare_tls",), run=calls.measure_checks_tls),
        Measurement(gives=("secure_check_over_bare",), run=calls.measure_checks_secure),
        Measurement(gives=("set_over_bare", "batch_set_over_set"), run=calls.measure_sets),
        Measurement(gives=("set_over_bare_postgres",), run=calls.measure_sets_postgres),
        Measurement(gives=edges.PRESS_FIGURES, run=edges.measure_presses),
        Measurement(gives=edges.REST_FIGURES, run=edges.measure_rest),
        Measurement(gives=proofs.FIGURES, run=proofs.measure_audited),
        Measurement(
            gives=(proofs.VERIFIED, "verify_million_seconds"),
            run=lambda work: proofs.measure_verification(work, people),
        ),
        Measurement(gives=("import_rows_per_second_postgres",), run=scale.measure_import_postgres),
        Measurement(
            gives=(
                "cached_checks_per_second",
                "cached_over_redis",
                "cached_checks_per_second_asyncio",
                "cached_over_redis_asyncio",
            ),
            run=following.measure_cache,
        ),
        Measurement(
            gives=("snapshot_records_per_second", "cache_bytes_per_record"),
            run=lambda work: following.measure_snapshot(work, people),
        ),
        Measurement(
            gives=tuple(
                f"propagation_{figure}_{count}"
                for count in following.CACHES
                for figure in ("p50_ms", "p99_ms", "p99_over_etcd")
            ),
            run=following.measure_propagation,
        ),
        Measurement(
            gives=tuple(f"hold_{share}_ms_{following.HELD_CACHES}" for share in ("p50", "p99")),
            run=following.measure_holds,
        ),
        Measurement(gives=agents.FIGURES, run=agents.measure_agent),
        Measurement(gives=workers.FIGURES, run=workers.measure_workers),
        Measurement(gives=("writes_watched_over_unwatched",), run=following.measure_watched),
        Measurement(gives=floods.FIGURES, run=floods.measure_floods),
        Measurement(gives=soak.FIGURES, run=soak.measure_soak),
        Measurement(
            gives=SCALE_FIGURES,
            run=lambda work: scale.measure_scale(work, people),
        ),
    ]
    unknown = only - {name for one in every for name in one.gives}
    if unknown:
        _parser().error(f"no such figure: {', '.join(sorted(unknown))}")
    return [one for one in every if not only or only & set(one.gives)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--people", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--grpcio-versions", default="", metavar="VERSIONS")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
