"""Ledgers: files of lines that a restore goes by, kept apart from backups and only added to.

Laws:
- A line is fsynced before what it says is acknowledged, and for its owner's eyes only.
- A last line that was cut by a crash is no line; the next one begins on a line of its own.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from heed_server.durable import sync_folder

_MODE = 0o600


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
    """
    if not lines:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            lines = b"\n" + lines
        with os.fdopen(descriptor, "ab", closefd=False) as file:
            file.write(lines)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not end:
        sync_folder(path.parent)
