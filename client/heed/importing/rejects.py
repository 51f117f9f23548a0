"""The file of records that were not imported, in the form of the file that they are from.

Laws:
- A table's record stands with its cells as they were, under its header, and why in a last column;
  a record of JSON is a line of JSON with why as a last member. Either can be corrected and
  imported again as it is.
- The file holds addresses: it is the caller's alone (mode 0600).
- Each file of an archive has one of its own, since each has columns of its own.
"""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from heed.errors import InvalidArgumentError
from heed.formats import ERROR_CELL_PREFIX, ERROR_COLUMN, List, Shape
from heed.importing.driver import RejectedEntry

_OWNER_ONLY: Final = 0o600


class RejectsFile:
    """Writes rejected records as they come. Made empty at once, so that no older one is left."""

    def __init__(self, path: Path, source: Path | None) -> None:
        """`source` is the file being imported, which is never written to.

        Raises:
            InvalidArgumentError: `path` is the source itself.
            OSError: it cannot be written.
        """
        if source is not None and path.exists() and path.samefile(source):
            raise InvalidArgumentError(
                f"{path} is the file to import; name another one for what is rejected"
            )
        self._path = path
        self._files: dict[str, _MemberFile] = {}
        self._first = _opened(path)
        self._is_first_taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for one in self._files.values():
            one.out.close()
        self._first.close()

    @property
    def paths(self) -> list[Path]:
        """The files written to."""
        return [one.path for one in self._files.values()]

    def write(self, rejected: RejectedEntry) -> None:
        """Write one record."""
        member = rejected.entry.member
        file = self._files.get(member)
        if file is None:
            file = self._files[member] = self._file_of(rejected.list)
        file.write(rejected)

    def _file_of(self, told: List) -> "_MemberFile":
        """Open the file of one member; the first that has any takes the name as it is."""
        path, out = self._path, self._first
        if self._is_first_taken:
            stem = Path(told.member.name).stem
            path = self._path.with_name(f"{self._path.stem}-{stem}{self._path.suffix}")
            out = _opened(path)
        self._is_first_taken = True
        return _MemberFile(path, out, told)


class _Writer(Protocol):
    def writerow(self, row: Sequence[object], /) -> object: ...


class _MemberFile:
    """The rejected records of one file."""

    def __init__(self, path: Path, out: TextIO, told: List) -> None:
        self.path = path
        self.out = out
        self._told = told
        self._table: _Writer | None = None
        if told.sample.shape is Shape.TABLE:
            self._table = csv.writer(out, delimiter=told.sample.delimiter, lineterminator="\n")
            if told.sample.header is not None:
                columns = [one for one in told.sample.header if one != ERROR_COLUMN]
                self._table.writerow([*columns, ERROR_COLUMN])

    def write(self, rejected: RejectedEntry) -> None:
        if self._table is not None:
            self._table.writerow(self._row(rejected))
        else:
            self.out.write(_json_line(rejected))

    def _row(self, rejected: RejectedEntry) -> list[object]:
        """Return the cells as they were, and why where the reader will look for it."""
        raw, told = rejected.entry.raw, self._told
        cells = [raw] if isinstance(raw, str) else list(raw) if isinstance(raw, list) else []
        error = f"{ERROR_CELL_PREFIX}{rejected.message}"
        header = told.sample.header
        if header is None:
            if cells and str(cells[-1]).startswith(ERROR_CELL_PREFIX):
                cells.pop()
            width = len(told.format.columns) if told.format is not None else 0
            return [*cells, *[""] * (width - len(cells)), error]
        if ERROR_COLUMN in header and len(cells) == len(header):
            cells.pop(header.index(ERROR_COLUMN))
        width = sum(name != ERROR_COLUMN for name in header)
        return [*cells, *[""] * (width - len(cells)), error]


def _json_line(rejected: RejectedEntry) -> str:
    raw = rejected.entry.raw
    if isinstance(raw, dict):
        record = {**raw, ERROR_COLUMN: rejected.message}
    else:
        told = rejected.list.format
        key = told.columns[0] if told is not None and told.columns else "record"
        record = {key: raw, ERROR_COLUMN: rejected.message}
    # ASCII, because a text of the file may be no Unicode.
    return json.dumps(record, ensure_ascii=True) + "\n"


def _opened(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _OWNER_ONLY)
    # A file that was there keeps its mode otherwise.
    os.fchmod(descriptor, _OWNER_ONLY)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="")
