"""What the first records of a file look like: all that a format is told by.

Laws:
- A sample is of the file's own reader, within its bounds; its size does not grow with the file.
- Names of columns are compared without case and without the white space around them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final

from heed.formats.cells import looks_like_address
from heed.formats.documents import (
    CONTAINERS,
    RECORD_CHARACTERS_MAX,
    document_records,
    line_records,
)
from heed.formats.rows import UnusableInputError
from heed.formats.streams import Member
from heed.formats.tables import (
    Broken,
    Table,
    delimiter_of,
    is_separator_line,
)

SAMPLED_RECORDS: Final = 20
ERROR_COLUMN: Final = "heed_error"
"""What a file of rejected rows has beside the columns of the file that they are from."""
ERROR_CELL_PREFIX: Final = "heed: "
"""How its cells begin, by which they are told where there is no header."""
_BLANK_LINES_MAX: Final = 1_000
_HASH_CHARACTERS: Final = frozenset({32, 40, 64, 128})
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class Shape(Enum):
    """How a file holds its records."""

    TABLE = "table"
    LINES = "JSON lines"
    DOCUMENTS = "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The beginning of a file."""

    shape: Shape
    delimiter: str = ""
    """Of a table."""
    header: tuple[str, ...] | None = None
    """A table's columns as they stand in it; None where the first row is already a record."""
    names: tuple[str, ...] = ()
    """The same, lower-cased; of several of one name all but the first are numbered."""
    keys: frozenset[str] = frozenset()
    """The columns of a table that has a header, or the members of the first JSON objects."""
    rows: tuple[tuple[str, ...], ...] = ()
    """The first rows of a table."""
    skipped: int = 0
    """How many records of a table stand before the first row: the header, and `sep=;`."""
    values: tuple[object, ...] = ()
    """The first records of JSON."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no records, and nothing says of what there are none."""
        return not (self.rows or self.values or self.keys)

    @property
    def is_list_of_addresses(self) -> bool:
        """Whether a record is an address and nothing else."""
        return self.is_bare and looks_like_address(self.first_text())

    @property
    def is_bare(self) -> bool:
        """Whether a record is one cell or one text, and no column has a name."""
        if self.shape is Shape.TABLE:
            return self.header is None and bool(self.rows) and len(self.rows[0]) == 1
        return isinstance(next(iter(self.values), None), str)

    def first_text(self) -> str:
        """Return the first cell of the first row, or the first text of JSON."""
        if self.shape is Shape.TABLE:
            return self.rows[0][0] if self.rows else ""
        first = next(iter(self.values), None)
        return first if isinstance(first, str) else ""

    def second_cell(self) -> str:
        """Return what follows the address in the first row of a table without a header."""
        if self.header is None and self.rows and len(self.rows[0]) > 1:
            return self.rows[0][1].strip() if looks_like_address(self.rows[0][0]) else ""
        return ""


def sample(member: Member) -> Sample:
    """Return what a file begins with.

    Raises:
        UnusableInputError: it is empty, no text, or broken from the start.
    """
    with member.text() as text:
        first_line = ""
        for _ in range(_BLANK_LINES_MAX):
            first_line = text.readline(RECORD_CHARACTERS_MAX)
            if not first_line or not first_line.isspace():
                break
    start = first_line.lstrip()[:1]
    if not start:
        raise UnusableInputError("the input has no text; an export of nothing still has its header")
    if start in "{[":
        return _sample_of_json(member, first_line)
    return _sample_of_table(member, first_line)


def _sample_of_json(member: Member, first_line: str) -> Sample:
    shape = Shape.LINES if _is_object(first_line) else Shape.DOCUMENTS
    with member.text() as text:
        records = line_records(text) if shape is Shape.LINES else document_records(text)
        values = tuple(
            value
            for value in _until_broken(islice((value for _, value in records), SAMPLED_RECORDS))
            if not isinstance(value, Broken)
        )
    keys = {key for value in values if isinstance(value, dict) for key in value}
    return Sample(shape=shape, keys=frozenset(keys) - {ERROR_COLUMN}, values=values)


def _is_object(line: str) -> bool:
    """Whether a line is a whole object and no page: then a line is a record."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and CONTAINERS.isdisjoint(value)


def _until_broken(values: Iterator[object]) -> Iterator[object]:
    """Yield values until one is broken; the first must not be."""
    is_first = True
    try:
        for value in values:
            is_first = False
            yield value
    except UnusableInputError:
        if is_first:
            raise


def _sample_of_table(member: Member, first_line: str) -> Sample:
    delimiter = delimiter_of(first_line)
    with member.text() as text:
        records = islice(Table(text, delimiter).records(), SAMPLED_RECORDS + 2)
        rows = [tuple(cells) for _, cells in records if not isinstance(cells, Broken)]
    skipped = int(is_separator_line(first_line))
    rows = rows[skipped:]
    if not rows:
        return Sample(shape=Shape.TABLE, delimiter=delimiter)
    if not _is_header(rows[0]):
        return Sample(
            shape=Shape.TABLE,
            delimiter=delimiter,
            rows=tuple(tuple(without_error(row)) for row in rows[:SAMPLED_RECORDS]),
            skipped=skipped,
        )
    names = _numbered([cell.strip().casefold() for cell in rows[0]])
    return Sample(
        shape=Shape.TABLE,
        delimiter=delimiter,
        header=rows[0],
        names=names,
        keys=frozenset(names) - {ERROR_COLUMN, ""},
        rows=tuple(rows[1 : SAMPLED_RECORDS + 1]),
        skipped=skipped + 1,
    )


def without_error(row: Sequence[str]) -> Sequence[str]:
    """Return a row without the cell that says why it was rejected."""
    return row[:-1] if row[-1].startswith(ERROR_CELL_PREFIX) else row


def _is_header(row: tuple[str, ...]) -> bool:
    return not any(looks_like_address(cell) or looks_like_hash(cell) for cell in row)


def looks_like_hash(cell: str) -> bool:
    """Whether a cell is the hexadecimal digest of something."""
    cell = cell.strip()
    return len(cell) in _HASH_CHARACTERS and _HEX.issuperset(cell)


def _numbered(names: list[str]) -> tuple[str, ...]:
    """Tell columns of one name apart: the first keeps it."""
    seen: dict[str, int] = {}
    numbered: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(numbered)
