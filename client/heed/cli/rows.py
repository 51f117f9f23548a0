"""Rows of a file as CSV or JSON lines, in and out, one at a time.

Laws:
- The format is found by the first line: `{` begins JSON lines, all else is CSV, delimited by the
  comma, semicolon or tab that stands most often in it.
- What a file has besides, goes out as it came in. A column that we add replaces one of its name.
- A row that cannot be read is a row with a problem, never the end of the file.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TextIO

from heed.errors import invalid_field

CELL_CHARACTERS_MAX: Final = 131_072
"""Characters of one cell, and of one line of JSON; the csv module's own bound."""

KNOWN: Final[Mapping[str, str]] = {
    "email": "email",
    "e_mail": "email",
    "email_address": "email",
    "emailaddress": "email",
    "recipient": "email",
    "phone": "phone",
    "phone_number": "phone",
    "user": "user",
    "user_id": "user",
    "device": "device",
    "device_id": "device",
    "address": "address",
    "channel": "channel",
    "topic": "topic",
    "campaign": "campaign",
}
"""The columns that are read, by the spellings that are known."""

IDENTIFIERS: Final = ("email", "phone", "user", "device", "address")
_DELIMITERS: Final = ",;\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: what it says in the columns that are known, and all of it as it came."""

    number: int
    """Its line in the file, from 1."""
    said: Mapping[str, str] = field(repr=False)
    whole: Mapping[str, object] | Sequence[str] = field(repr=False)
    """Empty where nothing of it could be read."""
    problem: str = ""
    """Why it cannot be read; empty if it can."""


class RowsIn(Protocol):
    """The rows of a file."""

    columns: Sequence[str] | None
    """The names of the columns of CSV; None for JSON lines."""
    delimiter: str

    def __iter__(self) -> Iterator[Row]:
        """Yield them in order."""
        ...


def read_rows(lines: Iterator[str]) -> RowsIn:
    """Return the rows of a text's lines; its first one tells the format.

    Raises:
        InvalidArgumentError: it is empty, or names no column that says whom to ask about.
    """
    blanks = 0
    for first in lines:
        if first.strip():
            break
        blanks += 1
    else:
        raise invalid_field("file", "is empty; give addresses, one a line, or CSV with a header")
    first = first.removeprefix("\ufeff")
    whole = itertools.chain([first], lines)
    if first.lstrip().startswith("{"):
        return _JsonRows(whole, blanks)
    return _csv_rows(first, whole, blanks)


class RowsOut(Protocol):
    """Where rows go, with what was found."""

    def write(self, row: Row, found: Mapping[str, str]) -> None:
        """Write one."""
        ...


def write_rows(stream: TextIO, rows: RowsIn, added: Sequence[str], *, as_json: bool) -> RowsOut:
    """Return what writes rows in the format that they came in, or as JSON lines."""
    if rows.columns is None or as_json:
        return _JsonOut(stream, rows.columns)
    return _CsvOut(stream, rows.columns, rows.delimiter, added)


class _JsonRows:
    columns: Sequence[str] | None = None
    delimiter = ""

    def __init__(self, lines: Iterable[str], skipped: int) -> None:
        self._lines = lines
        self._skipped = skipped

    def __iter__(self) -> Iterator[Row]:
        for number, line in enumerate(self._lines, self._skipped + 1):
            if line.strip():
                yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if len(line) > CELL_CHARACTERS_MAX:
        return Row(number=number, said={}, whole={}, problem="is too long a line")
    try:
        read: object = json.loads(line)
    except ValueError:
        return Row(number=number, said={}, whole={}, problem="is no JSON")
    if not isinstance(read, dict):
        return Row(number=number, said={}, whole={}, problem="is no JSON object")
    whole: dict[str, object] = {str(name): value for name, value in read.items()}
    said: list[tuple[str, str]] = []
    for name, value in whole.items():
        known = KNOWN.get(_spelling(name))
        if known is None or value is None:
            continue
        if not isinstance(value, str):
            problem = f"has a {known} that is no text"
            return Row(number=number, said={}, whole=whole, problem=problem)
        said.append((known, value))
    return _row(number, said, whole)


def _row(
    number: int, said: Iterable[tuple[str, str]], whole: Mapping[str, object] | Sequence[str]
) -> Row:
    """A row of what the known columns say; two of one meaning may not say different things."""
    once: dict[str, str] = {}
    for name, value in said:
        if once.setdefault(name, value) != value:
            problem = f"has two columns of {name} that differ"
            return Row(number=number, said={}, whole=whole, problem=problem)
    return Row(number=number, said=once, whole=whole)


def _csv_rows(first: str, lines: Iterable[str], skipped: int) -> "_CsvRows":
    delimiter = max(_DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter))
    known = [KNOWN.get(_spelling(name), "") for name in header]
    if any(name in IDENTIFIERS for name in known):
        return _CsvRows(lines, skipped, header, known, delimiter, has_header=True)
    if len(header) == 1 and ("@" in first or first.lstrip().startswith("+")):
        return _CsvRows(lines, skipped, ["address"], ["address"], delimiter, has_header=False)
    raise invalid_field(
        "file",
        f"its first line names no column of {', '.join(IDENTIFIERS)}; give it a header",
    )


class _CsvRows:
    def __init__(
        self,
        lines: Iterable[str],
        skipped: int,
        columns: Sequence[str],
        known: Sequence[str],
        delimiter: str,
        *,
        has_header: bool,
    ) -> None:
        self.columns: Sequence[str] | None = columns
        self.delimiter = delimiter
        self._lines = lines
        self._skipped = skipped
        self._width = len(columns)
        self._known = known
        self._has_header = has_header

    def __iter__(self) -> Iterator[Row]:
        reader = csv.reader(self._lines, delimiter=self.delimiter)
        if self._has_header:
            next(reader)
        while True:
            number = self._skipped + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(number=number, said={}, whole=(), problem=f"is no CSV: {error}")
                continue
            if cells:
                yield self._read(number, cells)

    def _read(self, number: int, cells: list[str]) -> Row:
        whole = cells[: self._width] + [""] * (self._width - len(cells))
        if len(cells) > self._width:
            problem = f"has {len(cells)} cells, the header {self._width}"
            return Row(number=number, said={}, whole=whole, problem=problem)
        pairs = zip(self._known, whole, strict=True)
        return _row(number, ((name, cell.strip()) for name, cell in pairs if name and cell), whole)


class _CsvOut:
    def __init__(
        self, stream: TextIO, columns: Sequence[str], delimiter: str, added: Sequence[str]
    ) -> None:
        self._writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        self._kept = [at for at, name in enumerate(columns) if _spelling(name) not in added]
        self._added = added
        self._writer.writerow([*(columns[at] for at in self._kept), *added])

    def write(self, row: Row, found: Mapping[str, str]) -> None:
        whole = row.whole if isinstance(row.whole, Sequence) and row.whole else ()
        kept = [whole[at] if at < len(whole) else "" for at in self._kept]
        self._writer.writerow([*kept, *(found[name] for name in self._added)])


class _JsonOut:
    def __init__(self, stream: TextIO, columns: Sequence[str] | None) -> None:
        self._stream = stream
        self._columns = columns

    def write(self, row: Row, found: Mapping[str, str]) -> None:
        whole = row.whole
        if not isinstance(whole, Mapping):
            whole = dict(zip(self._columns or (), whole, strict=False))
        told = {**whole, **found} if whole else {"row": row.number, **found}
        self._stream.write(json.dumps(told, ensure_ascii=False) + "\n")


def _spelling(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
