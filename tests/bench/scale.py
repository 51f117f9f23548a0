"""A million people: how fast they come in, what they cost, and how soon a server is back."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import messages
from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, alternate, load, median_p99_ms, requests_file
from tests.bench.nodes import LOAD_CORE, SERVER_CORE, BenchError, HeedNode, cpu_seconds, memory_mib
from tests.support.postgres import Postgres

SMALL: Final = 10_000
MILLION: Final = 1_000_000
POSTGRES_ROWS: Final = 200_000
P99_ROUNDS: Final = 5
P99_SECONDS: Final = 4.0
P99_RATE_SHARE: Final = 0.3
"""The share of the rate at which the server is full: moderate, so that a queue says nothing."""


def measure_scale(folder: Path, people: int) -> list[Figure]:
    """Import, p99, bytes, warm start and rebuild with so many people, on SQLite."""
    cache_mib = 1_024 if people > MILLION else 32
    large = HeedNode(folder / "large", variables={"HEED_STORAGE_PAGE_CACHE_MIB": str(cache_mib)})
    with large:
        figures = _measure_import("", large, folder, people, "SQLite, fsynced, server")
        with HeedNode(folder / "small") as small:
            _import(small, folder, SMALL)
            figures += _measure_p99(large, small, people)
        figures += _measure_memory(large, people)
    figures += _measure_index(folder / "large" / "data" / "index", people)
    figures += _measure_starts(large, people)
    figures += _measure_ways_back(large, people)
    return figures


def measure_import_postgres(folder: Path) -> list[Figure]:
    """`import_rows_per_second_postgres`."""
    with Postgres() as postgres:
        postgres.pin([SERVER_CORE])
        url = postgres.create_database("heed_bench_import")
        with HeedNode(folder, database_url=url) as node:
            where = "PostgreSQL and server"
            return _measure_import("_postgres", node, folder, POSTGRES_ROWS, where)


def _measure_import(
    ending: str, node: HeedNode, folder: Path, rows: int, where: str
) -> list[Figure]:
    cpu_before = cpu_seconds(node.pid)
    rows_per_second = _import(node, folder, rows)
    cpu_taken = cpu_seconds(node.pid) - cpu_before
    return [
        Figure(
            name=f"import_rows_per_second{ending}",
            value=rows_per_second,
            unit="rows/s",
            against=f"`heed import` of a SendGrid CSV of {rows:,} rows, {where} on core "
            f"{SERVER_CORE}, command on core {LOAD_CORE}, its start included",
        ),
        Figure(
            name=f"import_rows_per_cpu_second{ending}",
            value=rows / cpu_taken,
            unit="rows/s",
            against="the same by the processor time of heed's server alone",
        ),
    ]


def _import(node: HeedNode, folder: Path, rows: int) -> float:
    """Import a vendor's file by the command that people use; return rows a second."""
    path = folder / "bounces.csv"
    with path.open("w") as file:
        file.write("status,reason,email,created\n")
        file.writelines(
            f"5.1.1,550 5.1.1 user unknown,{messages.email(number)},{1_700_000_000 + number}\n"
            for number in range(rows)
        )
    begun = time.perf_counter()
    command = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("heed")),
            *("import", str(path), "--as", "sendgrid-bounces", "--json"),
        ],
        env=_command_environment(node.port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.sched_setaffinity(command.pid, {LOAD_CORE})
    out, errors = command.communicate()
    seconds = time.perf_counter() - begun
    path.unlink()
    if command.returncode or f'"added": {rows}'.encode() not in out:
        raise BenchError(f"the import failed: {out.decode()} {errors.decode()[-2000:]}")
    return rows / seconds


def _measure_p99(large: HeedNode, small: HeedNode, people: int) -> list[Figure]:
    with _checks_of(people) as of_large, _checks_of(SMALL) as of_small:
        spec = LoadSpec(port=large.port, method=messages.CHECK, requests=of_large, seconds=1.0)
        rate = P99_RATE_SHARE * load(spec).calls_per_second
        paced = replace(spec, rate=rate, seconds=P99_SECONDS)
        arms = [
            Arm(name="large", spec=paced, pid=large.pid),
            Arm(
                name="small",
                spec=replace(paced, port=small.port, requests=of_small),
                pid=small.pid,
            ),
        ]
        results = alternate(arms, P99_ROUNDS)
    pairs = zip(results["large"], results["small"], strict=True)
    value, spread = median_of([one.load.p99_ms / other.load.p99_ms for one, other in pairs])
    against = f"open loop at {rate:,.0f} calls/s ({P99_RATE_SHARE:.0%} of full)"
    return [
        Figure(
            name="p99_million_over_ten_thousand",
            value=value,
            unit="ratio",
            against=f"Check p99 with {people:,} people over {SMALL:,}, {against}",
            spread=spread,
        ),
        Figure(
            name="check_p99_ms_million",
            value=median_p99_ms(results["large"]),
            unit="ms",
            against=f"{people:,} people, {against}",
        ),
    ]


def _measure_memory(node: HeedNode, people: int) -> list[Figure]:
    """Look at the process after an import and checks: what is its own, and what it maps."""
    own, mapped = memory_mib(node.pid)
    return [
        Figure(
            name="server_memory_mib",
            value=own,
            unit="MiB",
            against=f"the server's own memory, {people:,} people, after the import and the checks",
        ),
        Figure(
            name="server_mapped_mib",
            value=mapped,
            unit="MiB",
            against="what it has of mapped files, which the kernel may take back: the index, code",
        ),
    ]


def _measure_index(index: Path, people: int) -> list[Figure]:
    """Look at what the server left: grown by its imports, not made at once."""
    (path,) = (one for one in index.iterdir() if one.is_dir() and one.suffix != ".building")
    data_bytes = (path / "data.mdb").stat().st_size
    return [
        Figure(
            name="index_bytes_per_record",
            value=data_bytes / people,
            unit="bytes",
            against=f"size of the index file after importing {people:,} records in chunks",
        )
    ]


def _measure_starts(node: HeedNode, people: int) -> list[Figure]:
    """Start on a closed index, then kill and start without one; both to the first answer."""
    warm: list[float] = []
    warm_cpu: list[float] = []
    for _ in range(3):
        with node:
            warm.append(node.start_seconds)
            warm_cpu.append(node.start_cpu_seconds)
            if node.events("index_rebuilt"):
                raise BenchError("the index was rebuilt where it should have been opened")
    shutil.rmtree(node.folder / "data" / "index")
    with node:
        rebuild_seconds = node.start_seconds
        (rebuilt,) = node.events("index_rebuilt")
    seconds, spread = median_of(warm)
    by_cpu, spread_by_cpu = median_of(warm_cpu)
    return [
        Figure(
            name="warm_start_seconds",
            value=seconds,
            unit="s",
            against=f"start of the process to its first answer, {people:,} people, after a stop",
            spread=spread,
        ),
        Figure(
            name="warm_start_cpu_seconds",
            value=by_cpu,
            unit="s",
            against="the same by the server's processor time",
            spread=spread_by_cpu,
        ),
        Figure(
            name="rebuild_seconds",
            value=rebuild_seconds,
            unit="s",
            against=f"the same without an index, which is made anew: {people:,} records",
        ),
        Figure(
            name="rebuild_records_per_second",
            value=people / float(rebuilt["seconds"]),
            unit="records/s",
            against="the making of the index alone, from SQLite's current records",
        ),
    ]


def _measure_ways_back(node: HeedNode, people: int) -> list[Figure]:
    """Take a backup while the server runs, restore it elsewhere, and hold the two together."""
    file, elsewhere = node.folder / "taken.backup", node.folder / "elsewhere" / "heed.db"
    with node:
        begun = time.perf_counter()
        taken = json.loads(node.run_command("backup", "--to", str(file), "--json"))
        backup_seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    restored = json.loads(
        node.run_command(
            *("restore", "--from", str(file), "--database", f"sqlite:///{elsewhere}", "--json")
        )
    )
    restore_seconds = time.perf_counter() - begun
    file_bytes = file.stat().st_size
    file.unlink()
    shutil.rmtree(elsewhere.parent)
    if restored["tenants"] != taken["tenants"]:
        raise BenchError("what was restored is not what was taken")
    return [
        Figure(
            name="backup_seconds",
            value=backup_seconds,
            unit="s",
            against=f"`heed-server backup` of {people:,} people beside the server that runs, "
            "the command's start included",
        ),
        Figure(
            name="restore_seconds",
            value=restore_seconds,
            unit="s",
            against="`heed-server restore` of the same into an empty SQLite: verified before, "
            "while and after it is written",
        ),
        Figure(
            name="backup_bytes_per_person",
            value=file_bytes / people,
            unit="bytes",
            against="size of that file; a person is a change, a record, an address",
        ),
    ]


@contextmanager
def _checks_of(people: int) -> Generator[str, None, None]:
    """Questions about people, half of whom are known, in no order."""
    chance = random.Random(1)
    asked = (chance.randrange(2 * people) for _ in range(50_000))
    with requests_file(messages.checks(asked)) as path:
        yield path


def _command_environment(port: int) -> Mapping[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEED_")}
    return {**own, "HEED_ADDRESS": f"127.0.0.1:{port}"}
