"""What makes the names of files durable: a name that was given, or moved, may be lost without."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make durable which names stand in a folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
