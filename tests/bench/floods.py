"""A legitimate caller's Checks while floods of HTTP/2 frames come in (`tests.support.flooded`).

The server has a core of its own; the caller shares the other with the attacker, which gives way.
"""

import statistics
from pathlib import Path
from typing import Final

from tests.bench.figures import Figure
from tests.bench.nodes import HeedNode
from tests.support.flooded import attack, caller, resident_bytes
from tests.support.http2_attacker import ATTACKS

ROUNDS: Final = 3
BASELINE_SECONDS: Final = 1.0
ATTACK_SECONDS: Final = 2.0
FIGURES: Final = ("flood_p99_over_baseline", "flood_growth_mib")


def measure_floods(folder: Path) -> list[Figure]:
    """`flood_p99_over_baseline`: the worst of all attacks, each by the median of its rounds."""
    ratios: dict[str, float] = {}
    grown: dict[str, float] = {}
    for name in ATTACKS:
        ratios[name], grown[name] = _measure(folder / name, name)
        print(f"  {name}: {ratios[name]:.1f} times, {grown[name]:.0f} MiB", flush=True)
    return [
        _worst(FIGURES[0], ratios, "times", "p99 of a caller's Checks over that before the flood"),
        _worst(FIGURES[1], grown, "MiB", "what the server's memory grew by"),
    ]


def _measure(folder: Path, name: str) -> tuple[float, float]:
    """How many times as long a caller's Checks take, and by how many MiB the server grows."""
    node = HeedNode(folder)
    node.start()
    try:
        before = resident_bytes(node.pid)
        ratios: list[float] = []
        with caller(f"127.0.0.1:{node.port}") as checked:
            checked(lambda: False, BASELINE_SECONDS)
            for _ in range(ROUNDS):
                baseline = checked(lambda: False, BASELINE_SECONDS)
                with attack(name, "127.0.0.1", node.port, ATTACK_SECONDS) as is_over:
                    attacked = checked(is_over, 60)
                ratios.append(attacked.p99 / baseline.p99)
        return statistics.median(ratios), (resident_bytes(node.pid) - before) / (1 << 20)
    finally:
        node.stop()


def _worst(name: str, values: dict[str, float], unit: str, against: str) -> Figure:
    worst = max(values, key=lambda attack: values[attack])
    return Figure(
        name=name,
        value=values[worst],
        unit=unit,
        against=f"{against}; the worst of {len(values)} floods, {worst}",
        rounds=tuple({"attack": attack, unit: value} for attack, value in values.items()),
    )
