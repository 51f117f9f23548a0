"""A cache's folder: who owns it, and which index in it counts.

    owner.lock   flock: the process that holds it follows the log, all others read
    state        what the owner tells them (`heed.replica.shared_state`)
    gen-…/       an index; its number is random, so that none is ever another's
    clean        which index was closed and flushed, and so counts after another boot
    gen-…/offer  in an index of an earlier life of the store: it is kept until it was offered back

The lock is the kernel's and goes with the process, however that ends. Everything is for the user
alone (0700, 0600): the index holds the tenant's lookup key. It belongs on a local file system.
"""

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any, Final, cast

from heed.index.shared import SharedIndex

_GENERATION_BITS: Final = 48
_PREFIX: Final = "gen-"
_KEPT: Final = "offer"


class Folder:
    """The files of one cache. What writes needs the lock."""

    __slots__ = ("_descriptor", "identity", "path")

    def __init__(self, path: Path, *, identity: bytes) -> None:
        """`identity` names what is cached: of whom, by which filter, in which format."""
        self.path = path
        self.identity = identity
        self._descriptor: int | None = None

    @property
    def state_path(self) -> Path:
        """Where the owner's state is."""
        return self.path / "state"

    def try_own(self) -> bool:
        """Take the lock, if nobody has it, and make the folder if there is none.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.path / "owner.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def disown(self) -> None:
        """Let another process own it; without the lock nothing happens."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def generation_path(self, generation: int) -> Path:
        """Where an index is."""
        return self.path / f"{_PREFIX}{generation:012x}"

    def new_generation(self) -> int:
        """Return the number of an index to be."""
        return secrets.randbits(_GENERATION_BITS) | 1

    def remove_others(self, kept: int) -> None:
        """Remove every index but one, and those that are kept to be offered back.

        A reader of another goes on until it sees the new state.
        """
        for path in self.path.glob(f"{_PREFIX}*"):
            if path != self.generation_path(kept) and not (path / _KEPT).exists():
                SharedIndex.remove(path)

    def keep(self, path: Path) -> None:
        """Keep an index of an earlier life of the store until it is removed by itself, durably."""
        (path / _KEPT).touch(mode=0o600)
        _sync(path)
        _sync(self.path)

    def kept(self) -> list[Path]:
        """Return the indexes that are kept, the one that was kept first at the front."""
        marks = sorted(self.path.glob(f"{_PREFIX}*/{_KEPT}"), key=lambda mark: mark.stat().st_mtime)
        return [mark.parent for mark in marks]

    def note_clean(self, generation: int) -> None:
        """Note, durably, that this index is flushed and nobody writes to it."""
        draft = self.path / "clean.new"
        noted = {"generation": generation, "identity": self.identity.hex()}
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(noted, file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path / "clean")
        _sync(self.path)

    def take_clean(self) -> int:
        """Return the index that was noted, 0 for none, and forget it, durably, before any write."""
        path = self.path / "clean"
        try:
            noted = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
            found = int(noted["generation"]) if noted["identity"] == self.identity.hex() else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError):
            found = 0
        path.unlink()
        _sync(self.path)
        return found


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
