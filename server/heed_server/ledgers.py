"""Ledgers: files of lines that a restore goes by, kept apart from backups and only added to.

Laws:
- A line is fsynced before what it says is acknowledged, and for its owner's eyes only.
- A last line that was cut by a crash, or by a full disk, is no line, and is taken away before the
  next one is added: with an end it would be one that nobody can read.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from heed_server.durable import sync_folder

_MODE = 0o600
_LINE_BYTES_MAX = 4_096
"""More than any line has."""


class LedgerUnreadableError(ValueError):
    """A line is not one of a ledger. Nothing is guessed: one left out would not be done again."""


def whole_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Return the lines of a ledger with their numbers, from 1, but for one that a crash cut."""
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return  # what it would have said was not acknowledged
        if line != b"\n":
            yield number, line


def append_lines(path: Path, lines: bytes) -> None:
    """Add lines to a ledger and fsync it, and its folder where it is new.

    Raises:
        OSError: it cannot be written; what came of it is not known.
        LedgerUnreadableError: what is there is no ledger.
    """
    if not lines:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        end = _take_cut_line_away(descriptor)
        with os.fdopen(descriptor, "ab", closefd=False) as file:
            file.write(lines)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not end:
        sync_folder(path.parent)


def _take_cut_line_away(descriptor: int) -> int:
    """Return where the last whole line ends, and the file with it."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    start = max(0, end - _LINE_BYTES_MAX)
    tail = os.pread(descriptor, _LINE_BYTES_MAX, start)
    whole = tail.rfind(b"\n") + 1
    if start and not whole:
        raise LedgerUnreadableError(f"its last {_LINE_BYTES_MAX} bytes are no line")
    if whole < len(tail):
        os.ftruncate(descriptor, start + whole)
    return start + whole
