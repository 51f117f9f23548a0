"""From a binary stream to entries: each record of each file in it, and what it becomes.

Laws:
- One pass, constant memory; the stream has only to seek to its start.
- Every file of an archive is told before the first is read, so that an import of what is not a
  list ends before it begins.
- A row that has not the cells of its header is rejected: its cells could stand under wrong names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TextIO, cast

from heed.errors import InvalidArgumentError
from heed.formats.documents import document_records, line_records
from heed.formats.format import Format
from heed.formats.registry import format_of
from heed.formats.rows import (
    Became,
    Convert,
    Entry,
    Options,
    Record,
    Rejected,
    RowRejectedError,
    UnusableInputError,
)
from heed.formats.sample import ERROR_COLUMN, Sample, Shape, sample, without_error
from heed.formats.streams import Member, members
from heed.formats.tables import Broken, Table
from heed.topics import validate_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """One file of an input, told."""

    member: Member
    sample: Sample
    format: Format | None
    """None: it has no records, and nothing in it says of what."""
    convert: Convert | None

    @property
    def place_word(self) -> str:
        """What an entry's place counts: lines or records."""
        return "record" if self.sample.shape is Shape.DOCUMENTS else "line"


def lists(stream: BinaryIO, options: Options) -> tuple[List, ...]:
    """Tell every file of an input.

    Raises:
        UnusableInputError: a file is damaged, of no format that heed knows or of several, or the
            options leave open what its records become.
    """
    _check_topics(options)
    return tuple(_told(member, options) for member in members(stream))


def entries(told: tuple[List, ...]) -> Iterator[Entry]:
    """Yield the records of these files, in order.

    Raises:
        UnusableInputError: the input is damaged from here on.
    """
    number = 0
    for one in told:
        if one.format is None or one.convert is None:
            continue
        with one.member.text() as text:
            if one.sample.shape is Shape.TABLE:
                found = _table_entries(one, one.format, one.convert, text, number)
            else:
                found = _json_entries(one, one.format, one.convert, text, number)
            for entry in found:
                number = entry.number
                yield entry


def _check_topics(options: Options) -> None:
    for topic in (options.topic, *options.topics.values()):
        try:
            validate_topic(topic)
        except InvalidArgumentError as error:
            raise UnusableInputError(f"topic {topic[:60]!r}: {error.message}") from None


def _told(member: Member, options: Options) -> List:
    seen = sample(member)
    if seen.is_empty and not options.format_name:
        return List(member=member, sample=seen, format=None, convert=None)
    name = options.format_name or ("generic" if options.columns else "")
    found = format_of(seen, name, member.name)
    return List(member=member, sample=seen, format=found, convert=found.bind(seen, options))


def _table_entries(
    one: List, told: Format, convert: Convert, text: TextIO, number: int
) -> Iterator[Entry]:
    seen, member = one.sample, one.member.name
    names = told.columns if seen.header is None else seen.names
    fit = _without_header if seen.header is None else _under_header
    width = len(names)
    skipped = seen.skipped
    for line, cells in Table(text, seen.delimiter).records():
        if isinstance(cells, Broken):
            number += 1
            yield Entry(number, member, line, cells.text, Rejected("", cells.description))
            continue
        if skipped:
            skipped -= 1
            continue
        number += 1
        row = cells if len(cells) == width else fit(cells, names)
        became: Became | Rejected
        if row is None:
            became = Rejected("", f"has {len(cells)} cells, {width} belong there")
        else:
            try:
                became = convert(dict(zip(names, row, strict=False)))
            except RowRejectedError as error:
                became = Rejected(error.field_name, error.description)
        yield Entry(number, member, line, cells, became)


def _under_header(cells: list[str], names: tuple[str, ...]) -> Sequence[str] | None:
    """Return a row whose cells are more or fewer than its header's, or None if they matter."""
    if len(cells) > len(names):
        return None if any(cells[len(names) :]) else cells
    return None if any(name not in {"", ERROR_COLUMN} for name in names[len(cells) :]) else cells


def _without_header(cells: list[str], names: tuple[str, ...]) -> Sequence[str] | None:
    """Return a row that has no header, or None if it has cells that mean nothing."""
    row = without_error(cells)
    return None if any(row[len(names) :]) else row


def _json_entries(
    one: List, told: Format, convert: Convert, text: TextIO, number: int
) -> Iterator[Entry]:
    member = one.member.name
    is_lines = one.sample.shape is Shape.LINES
    for place, value in line_records(text) if is_lines else document_records(text):
        number += 1
        if isinstance(value, Broken):
            yield Entry(number, member, place, value.text, Rejected("", value.description))
            continue
        record = {told.columns[0]: value} if isinstance(value, str) and told.columns else value
        became: Became | Rejected
        if isinstance(record, dict):
            try:
                became = convert(cast("Record", record))
            except RowRejectedError as error:
                became = Rejected(error.field_name, error.description)
        else:
            became = Rejected("", "is no object")
        yield Entry(number, member, place, value, became)
