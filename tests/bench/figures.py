"""What was measured, against what, and what was asked for: the table and bench/results.json."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path("bench/results.json")
"""A list of {name, value, unit, against}; not committed."""

ROUNDS = Path("bench/rounds.json")
"""Every single round behind the results, for whoever doubts a median."""

TARGETS: dict[str, tuple[str, float]] = {
    "check_over_bare": (">=", 0.85),
    "check_tls_over_bare_tls": (">=", 0.8),
    "secure_check_over_bare": (">=", 0.8),
    "batch_over_unary": (">=", 40),
    "stream_over_unary": (">=", 3),
    "set_over_bare": (">=", 0.6),
    "set_over_bare_postgres": (">=", 0.45),
    "audited_set_over_bare": (">=", 0.5),
    "receipt_seconds": ("<=", 1),
    "one_click_p99_ms": ("<=", 300),
    "batch_set_over_set": (">=", 5),
    "import_rows_per_second": (">=", 20_000),
    "import_rows_per_second_postgres": (">=", 12_000),
    "p99_million_over_ten_thousand": ("<=", 1.5),
    "index_bytes_per_record": ("<=", 100),
    "warm_start_seconds": ("<=", 2),
    "rebuild_records_per_second": (">=", 100_000),
    "cached_checks_per_second": (">=", 200_000),
    "cached_over_redis": (">=", 15),
    "cached_over_redis_asyncio": (">=", 15),
    "hold_p99_ms_10": ("<=", 1_000),
    "snapshot_records_per_second": (">=", 100_000),
    "cache_bytes_per_record": ("<=", 100),
    "propagation_p99_over_etcd_100": ("<=", 3),
    "writes_watched_over_unwatched": (">=", 0.6),
    "agent_check_over_bare": (">=", 0.8),
    "two_workers_over_one": (">=", 1.5),
    "flood_p99_over_baseline": ("<=", 10),
    "flood_growth_mib": ("<=", 367),  # as the tests have it
    "server_growth_mib": ("<=", 8),
    "client_growth_mib": ("<=", 8),
}
"""What the design asks for (section 8, and what issue 2 must show)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number, with enough said about it to be made again."""

    name: str
    value: float
    unit: str
    against: str
    """What it was measured against, or on: never a number alone."""
    spread: tuple[float, float] | None = None
    """The least and the greatest of the rounds whose median the value is."""
    rounds: tuple[dict[str, Any], ...] = ()

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None: there is none."""
        target = TARGETS.get(self.name)
        if target is None:
            return None
        return self.value >= target[1] if target[0] == ">=" else self.value <= target[1]


def median_of(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the median, the least and the greatest."""
    return statistics.median(values), (min(values), max(values))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def print_table(figures: Sequence[Figure]) -> None:
    """Print what was measured, one line a figure."""
    print(f"\n{'figure':32} {'value':>12} {'unit':12} {'spread':>19} {'target':>10}  against")
    for figure in figures:
        sign, bound = TARGETS.get(figure.name, ("", 0))
        target = f"{sign} {_short(bound)}" if sign else ""
        met = {True: " ", False: "!", None: " "}[figure.is_met]
        low_high = "" if figure.spread is None else " to ".join(map(_short, figure.spread))
        print(
            f"{figure.name:32} {_short(figure.value):>12} {figure.unit:12} {low_high:>19} "
            f"{target:>10}{met} {figure.against}"
        )


def write_results(figures: Sequence[Figure]) -> None:
    """Write the results and the rounds behind them."""
    RESULTS.parent.mkdir(exist_ok=True)
    results = [
        {"name": one.name, "value": one.value, "unit": one.unit, "against": one.against}
        for one in figures
    ]
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    rounds = {one.name: {"spread": one.spread, "rounds": one.rounds} for one in figures}
    ROUNDS.write_text(json.dumps(rounds, indent=1) + "\n")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
