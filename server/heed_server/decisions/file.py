"""A file of lines that is replaced by the next one when it is full.

Laws:
- Never more than `files_max` files of about `bytes_max` bytes: the oldest goes. A line is whole in
  one file; one that a crash or a full disk cut off is ended before the next begins.
- The file is its user's alone. A crash between two renames leaves a gap in the numbers, which the
  next replacement fills.
"""

import os
from collections.abc import Sequence
from pathlib import Path


class RotatingFile:
    """Lines in a file and in its predecessors: `NAME`, `NAME.1` (the one before), `NAME.2` …"""

    def __init__(self, path: Path, *, bytes_max: int, files_max: int) -> None:
        """Open the file, to go on where it ends.

        Raises:
            OSError: it cannot be opened.
        """
        self._path = path
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._descriptor = -1
        self._size = 0
        self._is_cut_off = False
        self._open()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, and put the next file in the place of one that is full.

        Raises:
            OSError: not all could be written; the next call tries anew with what it is given.
        """
        if self._descriptor < 0:
            self._open()
        try:
            left = memoryview(b"".join((b"\n", *lines) if self._is_cut_off else lines))
            while left:
                written = os.write(self._descriptor, left)
                self._size += written
                left = left[written:]
            self._is_cut_off = False
            if self._size >= self._bytes_max:
                self._replace()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; closing twice is closing once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        last = os.pread(self._descriptor, 1, self._size - 1) if self._size else b"\n"
        self._is_cut_off = last != b"\n"

    def _replace(self) -> None:
        self.close()
        for number in range(self._files_max - 1, 0, -1):
            before = self._numbered(number - 1)
            if before.exists():
                before.replace(self._numbered(number))
        if self._files_max == 1:
            self._path.unlink()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
