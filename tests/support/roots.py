"""The root keys of the tests' PostgreSQL databases: one file a run, as the servers of one have it."""

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

from heed_server.secrets.root_file import RootFile

_VARIABLE = "HEED_TEST_ROOT_FILE"


@functools.cache
def shared_root_file() -> Path:
    """Return the file, made by the first who asks; a process of its own has it from its parent."""
    if inherited := os.environ.get(_VARIABLE):
        return Path(inherited)
    folder = Path(tempfile.mkdtemp(prefix="heed-root-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "root.json"
    RootFile(path).create()
    os.environ[_VARIABLE] = str(path)
    return path


def root_file_for(url: str) -> Path | None:
    """Return what a store of this URL is given: on SQLite nothing, it has its own."""
    return shared_root_file() if url.startswith("postgresql") else None
