"""Cells as text: for people (a page, a PDF) and for files (CSV, JSON). Pure."""

from datetime import UTC, datetime
from typing import Final

from heed.model import Instant
from heed_server.web.dashboard.tables import Cell, Kind, State

NOTHING: Final = "\N{EN DASH}"
"""What people read where there is no such thing."""
_MICROSECONDS: Final = 1_000_000
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def shown(cell: Cell, kind: Kind) -> str:
    """Return what people read."""
    if cell is None:
        return NOTHING
    if isinstance(cell, State):
        return cell.word
    if isinstance(cell, tuple):
        return ", ".join(cell) or NOTHING
    if isinstance(cell, str):
        return cell
    match kind:
        case Kind.INSTANT:
            return instant_shown(Instant(int(cell)))
        case Kind.SECONDS:
            return seconds_shown(cell)
        case Kind.SHARE:
            return f"{100 * cell:.1f} %"
        case _:
            return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}"


def written(cell: Cell, kind: Kind) -> str | int | float | list[str] | None:
    """Return what a file has: exact, and without what is for eyes alone."""
    if isinstance(cell, State):
        return cell.word
    if isinstance(cell, tuple):
        return list(cell)
    if kind is Kind.INSTANT and isinstance(cell, int):
        return instant_written(Instant(cell))
    return cell


def instant_written(instant: Instant) -> str:
    """Return an instant as RFC 3339 has it, in UTC."""
    return _moment(instant).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant_shown(instant: Instant) -> str:
    """Return an instant to the second; of what zone it is, is said once a page."""
    return _moment(instant).strftime("%Y-%m-%d %H:%M:%S")


def seconds_shown(seconds: float) -> str:
    """Return a duration by its two largest units: `184 ms`, `3 min 4 s`, `2 d 3 h`."""
    if seconds < 0:
        return f"\N{MINUS SIGN}{seconds_shown(-seconds)}"
    if seconds < 1:
        return f"{1_000 * seconds:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def _moment(instant: Instant) -> datetime:
    seconds, microseconds = divmod(instant, _MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
