"""The same calls on other versions of grpcio, for the choice of the one that is pinned.

Each version is installed into a folder of its own that is searched before the environment's; heed
and the bare handler run on it unchanged. Rounds go over all versions in turn.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench import messages
from tests.bench.figures import Figure
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, alternate, cpu_us, rate, ratio, requests_file
from tests.bench.nodes import HeedNode, bare_server

COMPANIONS: Final = ("grpcio-health-checking", "grpcio-reflection", "grpcio-status")
"""Pure Python, of the same minor version; not every patch of grpcio has its own."""
ROUNDS: Final = 7
REPLY_BYTES: Final = 80


def measure_versions(folder: Path, versions: Sequence[str]) -> list[Figure]:
    """Calls a second of the bare handler and of Check on each version, and their ratio."""
    arms: list[Arm] = []
    pairs: list[tuple[str, Arm, Arm]] = []
    with ExitStack() as stack:
        checks = stack.enter_context(requests_file(messages.checks(iter(range(20_000)))))
        for version in versions:
            libraries = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _install(version, libraries)
            node = stack.enter_context(HeedNode(folder / version, libraries=libraries))
            port, pid = stack.enter_context(
                bare_server({messages.CHECK: bytes(REPLY_BYTES)}, libraries=libraries)
            )
            spec = LoadSpec(port=node.port, method=messages.CHECK, requests=checks, seconds=1.5)
            check = Arm(name=f"check_{version}", spec=spec, pid=node.pid)
            bare = Arm(name=f"bare_{version}", spec=replace(spec, port=port), pid=pid)
            arms += [check, bare]
            pairs.append((version, check, bare))
        results = alternate(arms, ROUNDS)
    figures: list[Figure] = []
    for version, check, bare in pairs:
        on = f"grpcio {version}"
        figures += [
            rate(f"check_calls_per_second_{version}", check, results, "calls/s", on),
            rate(f"bare_calls_per_second_{version}", bare, results, "calls/s", on),
            ratio(f"check_over_bare_{version}", check, bare, results, on),
            cpu_us(f"check_cpu_us_{version}", check, results, on),
            cpu_us(f"bare_cpu_us_{version}", bare, results, on),
        ]
    return figures


def _install(version: str, target: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--target", str(target)),
            f"grpcio=={version}",
            *(f"{package}=={version.rpartition('.')[0]}.*" for package in COMPANIONS),
        ],
        check=True,
    )
