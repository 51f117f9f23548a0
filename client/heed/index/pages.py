"""Whether a data file has all the pages that LMDB takes it to have.

Laws:
- A file is held against its pages before one of them is read: a page of a map that is behind the
  file's end kills the process that reads it (SIGBUS), and takes every other answer with it.
- A write leaves the file that long. LMDB does not by itself: pages at the end that the transaction
  took and let go of again are counted and not written, in one of some two hundred transactions.

What cuts a file while it is mapped is not found by this: whoever can do so can do anything here.
"""

import os
from pathlib import Path

import lmdb

from heed.index.faults import Fault, IndexUnusableError, os_errors_as
from heed.index.seal import DATA_FILE


def require_all_pages(env: lmdb.Environment, directory: Path) -> None:
    """Refuse an environment that was just opened and is short of pages; read nothing before.

    Raises:
        IndexUnusableError: DAMAGED.
    """
    needed = _bytes_of(env)
    with os_errors_as(Fault.DAMAGED, "be read"):
        found = (directory / DATA_FILE).stat().st_size
    if found < needed:
        raise IndexUnusableError(
            Fault.DAMAGED,
            f"the data file of the index at {directory} was cut: {found} of {needed} bytes",
        )


def fill_up(env: lmdb.Environment, directory: Path) -> None:
    """Give the file all its pages, after a write; those that are added are of no one.

    Raises:
        IndexUnusableError: REFUSED.
    """
    needed, path = _bytes_of(env), directory / DATA_FILE
    with os_errors_as(Fault.REFUSED, "be written"):
        if path.stat().st_size < needed:
            os.truncate(path, needed)


def _bytes_of(env: lmdb.Environment) -> int:
    return (env.info()["last_pgno"] + 1) * env.stat()["psize"]
