"""A file or a pipe as bytes that can be read twice: once to name the batch, once to import.

A pipe is copied to a file without a name, which is the caller's alone (mode 0600) and gone with
the process, however it ends.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from heed.formats import UnusableInputError

_COPIED_BYTES: Final = 1_048_576


@contextmanager
def opened_source(path: Path | None, stdin: BinaryIO) -> Generator[BinaryIO]:
    """Open a file, or what comes through `stdin` where there is no path.

    Raises:
        OSError: it cannot be opened.
        UnusableInputError: while it was read, somebody changed it.
    """
    if path is None:
        with _copied(stdin) as copy:
            yield copy
        return
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            with _copied(file) as copy:
                yield copy
            return
        before = _version(file)
        yield file
        if _version(file) != before:
            raise UnusableInputError(
                f"{path} was changed while it was read, so that this import is of neither state; "
                "import it again"
            )


@contextmanager
def _copied(pipe: BinaryIO) -> Generator[BinaryIO]:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(pipe, copy, _COPIED_BYTES)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def _version(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
