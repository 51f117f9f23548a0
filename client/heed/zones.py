"""What a clock on the wall shows in a time zone, and at which instants it shows a time.

Laws:
- The data is heed's own (`heed.zone_table`), never the host's: two hosts of one rule version agree.
  Years before 2025 are as the rules of now would have them; from 2100 on nothing turns any more.
- A time that a clock shows twice, or leaves out, is meant by two instants: the readings by the
  clock before the turn and by the clock after it. Who asks takes the side that protects.

Source: ADR 0045.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

from heed.zone_table import ROWS, Turn, ZoneRow

DAY: Final = 86_400_000_000
"""Microseconds of a day of a clock."""

_SECOND: Final = 1_000_000
_YEARS: Final = range(1970, 2100)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LAST_WEEK: Final = 5


class Zone(NamedTuple):
    """A time zone. All numbers are microseconds, of the Unix epoch or of a clock since then."""

    turns: tuple[int, ...]
    """When another offset begins, ascending; two are days apart."""
    offsets: tuple[int, ...]
    """The offset before the first turn, and from each on."""

    def offset_at(self, instant: int) -> int:
        """Return how far the clock is ahead of UTC."""
        return self.offsets[bisect_right(self.turns, instant)]

    def readings(self, shown: int) -> tuple[int, int]:
        """Return the first and the last instant that may be meant by what the clock shows."""
        # No clock is a day ahead or behind, so a turn that matters is between these two.
        before = bisect_right(self.turns, shown - DAY)
        after = bisect_right(self.turns, shown + DAY)
        earlier = shown - self.offsets[before]
        if before == after:
            return earlier, earlier
        later, turn = shown - self.offsets[after], self.turns[before]
        is_before, is_after = earlier < turn, later >= turn
        if is_before == is_after:  # shown twice, or not at all
            return min(earlier, later), max(earlier, later)
        return (earlier, earlier) if is_before else (later, later)


def zone_of(name: str) -> Zone | None:
    """Return the zone of an IANA name; None: there is none here."""
    row = _ROW_OF.get(name)
    return None if row is None else _zone_in(row)


def zone_names() -> tuple[str, ...]:
    """Return every name there is, sorted."""
    return tuple(sorted(_ROW_OF))


@cache  # at most as many as there are rows
def _zone_in(number: int) -> Zone:
    row = ROWS[number]
    known = [(at * _SECOND, offset * _SECOND) for at, offset in row.changes]
    last = known[-1][0] if known else -(2**63)
    changes = [*known, *((at, offset) for at, offset in _turns(row) if at > last)]
    first = row.first * _SECOND
    # A turn to the offset that there is already is none.
    moves = [
        after for before, after in pairwise([(last, first), *changes]) if before[1] != after[1]
    ]
    return Zone(
        turns=tuple(at for at, _ in moves), offsets=(first, *(offset for _, offset in moves))
    )


def _turns(row: ZoneRow) -> Iterator[tuple[int, int]]:
    """Yield when the clock turns by the yearly rule, and to which offset, ascending."""
    standard, other = row.standard * _SECOND, row.other * _SECOND
    if row.begins is None or row.ends is None:
        return
    for year in _YEARS:
        yield from sorted(
            [
                (_shown(row.begins, year) - standard, other),
                (_shown(row.ends, year) - other, standard),
            ]
        )


def _shown(turn: Turn, year: int) -> int:
    """What the clock shows when it turns."""
    month, week, day, seconds = turn
    if week == _LAST_WEEK:
        next_month = date(year + month // 12, month % 12 + 1, 1).toordinal()
        ordinal = next_month - 1 - (next_month - 1 - day) % 7
    else:
        first = date(year, month, 1).toordinal()
        ordinal = first + (day - first) % 7 + 7 * (week - 1)
    return (ordinal - _EPOCH) * DAY + seconds * _SECOND


_ROW_OF: Final = {name: number for number, row in enumerate(ROWS) for name in row.names.split()}
