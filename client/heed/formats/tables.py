"""Records of delimited text, as the exporters of this world write it.

Laws:
- Quoting is read strictly. A record that breaks it costs its first line, which is given back as
  text; reading goes on with the very next line. So a stray quotation mark never swallows rows.
- A quoted field may span lines (bounce reasons do), if the record then has as many cells as the
  first, and no line in it is a row by itself; else the quotation mark is taken for a stray one.
- No line and no record is held beyond its bound.

Source: RFC 4180, and what spreadsheets do to it.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

LINE_CHARACTERS_MAX: Final = 131_072
"""Characters of one line; also the csv module's bound of one field."""
RECORD_LINES_MAX: Final = 1_000
"""Lines of one record."""
RECORD_CHARACTERS_MAX: Final = 262_144
"""Characters of one record."""

DELIMITERS: Final = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"?')
_ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+")


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that is no record, and why."""

    text: str
    description: str


class _UnreadableError(Exception):
    """The record under way breaks a bound."""


TableRecord = tuple[int, list[str] | Broken]
"""The number of a record's first line, and its cells."""


def delimiter_of(line: str) -> str:
    """Return the delimiter that stands most often outside quotes in a file's first line."""
    if (said := _SEPARATOR_LINE.fullmatch(line)) is not None:
        return said[1]
    bare = _QUOTED.sub("", line)
    return max(DELIMITERS, key=bare.count)


def is_separator_line(line: str) -> bool:
    """Whether a line only names the delimiter, as some spreadsheets write it (`sep=;`)."""
    return _SEPARATOR_LINE.fullmatch(line) is not None


class Table:
    """Reads the records of a text. Lines without any text in a cell are none."""

    def __init__(self, text: TextIO, delimiter: str) -> None:
        self._text = text
        self._delimiter = delimiter
        self._line = 0
        """The number of the last line taken."""
        self._pending: deque[str] = deque()
        """Lines to be taken again, before those of the text."""
        self._taken: list[str] = []
        """The lines of the record under way."""
        self._width = 0
        """How many cells the first record has."""

    def records(self) -> Iterator[TableRecord]:
        """Yield the records, each with the number of its first line, from 1."""
        taken = self._taken
        while True:
            reader = csv.reader(self._lines(), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    first = self._line - len(taken) + 1
                    if len(taken) > 1 and self._swallows_rows(len(cells)):
                        yield self._broken("a quotation mark in it is not closed in its line")
                        break
                    taken.clear()
                    if cells and (cells[0].strip() or "".join(cells).strip()):
                        self._width = self._width or len(cells)
                        yield first, cells
                else:
                    return
            except _UnreadableError as error:
                yield self._broken(str(error))
            except csv.Error as error:
                yield self._broken(f"its quotation marks do not match ({error})")

    def _lines(self) -> Iterator[str]:
        """Yield lines, remembering those of the record under way."""
        readline, pending, taken = self._text.readline, self._pending, self._taken
        size = 0
        while True:
            line = pending.popleft() if pending else readline(LINE_CHARACTERS_MAX)
            if not line:
                return
            self._line += 1
            size = size + len(line) if taken else len(line)
            taken.append(line)
            if len(line) == LINE_CHARACTERS_MAX and line[-1] not in "\r\n":
                self._skip_line()
                raise _UnreadableError(f"it has more than {LINE_CHARACTERS_MAX} characters")
            if size > RECORD_CHARACTERS_MAX or len(taken) > RECORD_LINES_MAX:
                raise _UnreadableError("a quotation mark in it is not closed")
            yield line

    def _skip_line(self) -> None:
        while True:
            rest = self._text.readline(LINE_CHARACTERS_MAX)
            if not rest or rest[-1] in "\r\n":
                return

    def _broken(self, description: str) -> TableRecord:
        """Give up the first line of the record under way; the others are taken again."""
        first, *others = self._taken
        number = self._line - len(others)
        self._pending.extendleft(reversed(others))
        self._line = number
        self._taken.clear()
        return number, Broken(first.rstrip("\r\n"), description)

    def _swallows_rows(self, width: int) -> bool:
        """Whether the record under way has lines that belong to others.

        By itself a row has an address; a line that ends a quoted field has a quotation mark inside
        a cell, and is no row.
        """
        if self._width and width != self._width:
            return True
        for line in self._taken[1:]:
            cells = next(csv.reader([line], delimiter=self._delimiter), [])
            if (
                len(cells) == (self._width or width)
                and any(_ADDRESS.fullmatch(cell.strip()) for cell in cells)
                and not any('"' in cell for cell in cells)
            ):
                return True
        return False
