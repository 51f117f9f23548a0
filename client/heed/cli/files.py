"""Files in and out: `-` is stdin or stdout, and a file that is not whole never has its name.

Bytes that are no UTF-8 pass through as they are; whatever reads them as an address refuses them.
"""

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

STREAM = Path("-")
PARTIAL_SUFFIX = ".partial"


@contextmanager
def reading(path: Path) -> Generator[tuple[TextIO, BinaryIO, int | None]]:
    """Open a file to read: as text, the bytes beneath to tell how far, and how many there are."""
    if path == STREAM:
        text = _text(sys.stdin.buffer)
        try:
            yield text, sys.stdin.buffer, None
        finally:
            text.detach()
        return
    with path.open("rb") as file:
        yield _text(file), file, os.fstat(file.fileno()).st_size


@contextmanager
def writing(path: Path | None) -> Generator[TextIO]:
    """Open a file to write, which gets its name once it is whole; None and `-`: stdout.

    What is no file (a pipe, `/dev/stdout`) has nothing to protect and is written as it is; a link
    stays a link, and what it names is replaced.
    """
    if path is None or path == STREAM:
        out = io.TextIOWrapper(
            sys.stdout.buffer, encoding="utf-8", errors="surrogateescape", newline=""
        )
        try:
            yield out
            out.flush()
        finally:
            out.detach()
        return
    is_file = path.is_file() or not path.exists()
    named = path.resolve() if is_file else path
    written = named.with_name(named.name + PARTIAL_SUFFIX) if is_file else named
    with written.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        # A crash from here on leaves the partial file, which the next run writes over.
        yield file
    if is_file:
        written.replace(named)


def _text(raw: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
