"""One process an index: a lock on a file beside its directory.

The lock is the kernel's (flock): it goes with the process, however that ends. The file stays.
"""

import fcntl
import os
from pathlib import Path

from heed.index.faults import IndexClaimedError


class Claim:
    """The sole use of an index by this process, until released."""

    __slots__ = ("_descriptor",)

    def __init__(self, index: Path) -> None:
        """Claim the index at this path, which need not exist yet.

        Raises:
            IndexClaimedError: another process, or another index object of this one, has it.
        """
        index.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = index.with_name(index.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise IndexClaimedError(
                f"the index at {index} is in use by another process; "
                "give each node a directory of its own"
            ) from error
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let others claim it; releasing twice is releasing once."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
