"""What entries of a list become, in words that a table of cases can hold."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from heed.formats import (
    Became,
    Entry,
    ImportedRow,
    Nothing,
    Options,
    Rejected,
    entries,
    lists,
)
from heed.model import Instant, SubjectType
from heed.names import word_of

CASES = Path(__file__).parent.parent / "cases" / "imports"
DAY_END = Instant(1_790_035_200_000_000)
"""2026-09-22T00:00:00Z, the end of the day on which the cases are imported."""


def options(**said: object) -> Options:
    return Options(**{"day_end": DAY_END, **said})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def read(source: bytes | BinaryIO, said: Options | None = None) -> list[Entry]:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    return list(entries(lists(stream, said or options())))


def words_of(source: bytes, said: Options | None = None) -> list[str]:
    return [words for entry in read(source, said) for words in words_of_entry(entry)]


def words_of_entry(entry: Entry) -> list[str]:
    became: Became | Rejected = entry.became
    if isinstance(became, tuple):
        return [_row(row) for row in became]
    match became:
        case Nothing():
            return [f"nothing {became.word}"]
        case Rejected():
            return [f"rejected {became.field_name}: {became.description}"]
        case _:
            return [_row(became)]


def _row(row: ImportedRow) -> str:
    parts = [row.word, row.address]
    if row.subject_type is not SubjectType.EMAIL:
        parts.append(f"type={word_of(row.subject_type)}")
    if row.reach is not None:
        parts.append(f"reach={word_of(row.reach)}")
    if row.channel is not None:
        parts.append(f"channel={word_of(row.channel)}")
    if row.topic:
        parts.append(f"topic={row.topic}")
    if row.decided_time is not None:
        parts.append(f"at={iso(row.decided_time)}")
    if row.end_time is not None:
        parts.append(f"end={iso(row.end_time)}")
    if row.reason:
        parts.append(f"reason={row.reason}")
    return " ".join(parts)


def iso(instant: Instant) -> str:
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    return time.isoformat().replace("+00:00", "Z")
