"""What a view shows, as typed tables: a page, CSV, JSON and PDF are written from the same ones.

Law: a cell is a value and never a text made for one of them, so that no two of them disagree.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from heed.model import Instant
from heed_server.web.dashboard.charts import Chart, Tone


class Kind(enum.Enum):
    """What the cells of a column are."""

    TEXT = "text"
    """A `str`, or several."""
    NUMBER = "number"
    """A count, or a revision."""
    SHARE = "share"
    """Between 0 and 1."""
    INSTANT = "instant"
    SECONDS = "seconds"
    STATE = "state"
    """A `State`."""


@dataclass(frozen=True, slots=True)
class State:
    """One of a few words, and what is to be thought of it."""

    word: str
    tone: Tone = Tone.PLAIN


Cell: TypeAlias = str | int | float | Instant | State | tuple[str, ...] | None
"""None: there is no such thing, which is not the same as nothing known or 0."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in files, what people read above it, and what its cells are."""

    name: str
    title: str
    kind: Kind = Kind.TEXT
    is_for_files: bool = False
    """Whether only CSV and JSON have it, since a page and a sheet of paper have no room."""


class Look(enum.Enum):
    """How a table is laid out on a page; a file has rows all the same."""

    ROWS = "rows"
    FIGURES = "figures"
    """Of one row: each cell large, under its title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Some rows, all of the same columns."""

    name: str
    """In files and addresses: lower-case letters and hyphens."""
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What has to be known to read it: of when and of whom it is, and of what it is not."""
    empty: str = "There is nothing."
    """What is said where there are no rows."""
    is_cut: bool = False
    """Whether there are more rows than may be told at once."""
    look: Look = Look.ROWS
    charts: tuple[Chart, ...] = ()
    """What shows the same to people who would rather look than read."""

    @property
    def seen(self) -> tuple[tuple[int, Column], ...]:
        """The columns that people see, each with its place in a row."""
        return tuple((at, one) for at, one in enumerate(self.columns) if not one.is_for_files)
