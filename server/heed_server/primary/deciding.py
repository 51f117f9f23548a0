"""The decision log of a process: where it is, and what is measured of it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from heed_server.config import Config
from heed_server.decisions import DecisionLog, DecisionLogLimits, open_decision_log
from heed_server.primary.limits import limits_of
from heed_server.telemetry.metrics import Declaration, single


def decision_log(
    opened: AsyncExitStack, config: Config, *, worker: int | None = None
) -> DecisionLog | None:
    """Open the decision log, if one is asked for, until the stack is closed.

    Raises:
        UnavailableError: its file cannot be opened.
    """
    file = config.decision_log.file
    if file is None:
        return None
    path = file if worker is None else of_worker(file, worker)
    log = open_decision_log(path, limits_of(DecisionLogLimits, config.decision_log))
    opened.push_async_callback(asyncio.to_thread, log.close)
    return log


def of_worker(file: Path, number: int) -> Path:
    """Return the file of a worker: two processes never write one."""
    return file.with_name(f"{file.stem}.worker-{number}{file.suffix}")


def of_decisions(log: DecisionLog | None) -> list[Declaration]:
    """Return the metrics of the decision log; without one they have no numbers."""
    return [
        single(
            "heed_decision_log_lines_total",
            "Decisions written to the decision log.",
            lambda: None if log is None else log.written,
            is_counter=True,
        ),
        single(
            "heed_decision_log_dropped_total",
            "Decisions that are missing there: too many waited, or the file took none.",
            lambda: None if log is None else log.dropped,
            is_counter=True,
        ),
    ]
