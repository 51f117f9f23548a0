"""The root keys of the tests' PostgreSQL databases: one file a run, as the servers of one have it."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from heed_server.secrets import RootFile


@functools.cache
def shared_root_file() -> Path:
    """Return the file, made by the first who asks."""
    folder = Path(tempfile.mkdtemp(prefix="heed-root-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "root.json"
    RootFile(path).create()
    return path


def root_file_for(url: str) -> Path | None:
    """Return what a store of this URL is given: on SQLite nothing, it has its own."""
    return shared_root_file() if url.startswith("postgresql") else None
