"""One process's side of a cache: the state that the owner tells, and the index that it names.

A process that was forked off has none of it: its threads are not there, LMDB's transactions are its
parent's, and it must not hold the parent's lock when that is gone.
"""

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from heed.index.faults import Fault, IndexUnusableError
from heed.index.shared import SharedIndex
from heed.replica.clock import boot_identity
from heed.replica.folder import Folder
from heed.replica.shared_state import NOTHING, SharedState, StateFile

BootClock = Callable[[], int]
"""`heed.replica.clock.boot_clock`, or one that a test sets."""


class Replica:
    """A cache's folder as this process has it open. Any thread may read."""

    __slots__ = (
        "__weakref__",
        "_file",
        "_held",
        "_is_owned",
        "_opening",
        "boot",
        "clock",
        "folder",
    )

    def __init__(self, path: Path, *, identity: bytes, clock: BootClock) -> None:
        """Open nothing yet."""
        self.folder = Folder(path, identity=identity)
        self.clock = clock
        self.boot = boot_identity()
        self._file: StateFile | None = None
        # An index may be open once in a process; the lock is held while one is opened.
        self._opening = threading.Lock()
        self._held: tuple[int, SharedIndex] | None = None
        self._is_owned = False
        _OPEN.add(self)

    def state(self) -> SharedState:
        """Return what the owner last told."""
        file = self._file
        return NOTHING if file is None else file.read()

    def index(self, generation: int) -> SharedIndex:
        """Return an index; opening it lets go of the one before.

        Raises:
            IndexUnusableError: it cannot be opened; it may be gone because there is a newer one.
        """
        held = self._held
        if held is not None and held[0] == generation:
            return held[1]
        with self._opening:
            held = self._held
            if held is None or held[0] != generation:
                if self._is_owned:
                    # What the owner uses is open already; the caller has seen an older state.
                    raise IndexUnusableError(Fault.MISSING, "the cache has another index by now")
                index = SharedIndex.open(self.folder.generation_path(generation))
                held = self._held = (generation, index)
            return held[1]

    def adopt(self, generation: int, index: SharedIndex) -> None:
        """Read this index from now on, which the owner in this process has open."""
        with self._opening:
            self._held = (generation, index)

    def join(self) -> None:
        """Find the owner's state, if there is one by now."""
        if self._file is None:
            folder = self.folder
            self._file = StateFile.of_reader(
                folder.state_path, boot=self.boot, identity=folder.identity
            )

    def own(self) -> bool:
        """Become the owner, if there is none.

        Raises:
            OSError: the folder cannot be written.
        """
        return self.folder.try_own()

    def keep_to_owned(self) -> None:
        """Read no index but those that the owner in this process adopts."""
        with self._opening:
            self._is_owned = True

    def disown(self) -> None:
        """Let another process own it, and go on reading."""
        with self._opening:
            self._is_owned = False
        self.folder.disown()

    def own_state(self) -> StateFile:
        """Return the state to write; for the owner.

        Raises:
            OSError: it cannot be made.
        """
        if self._file is None:
            folder = self.folder
            self._file = StateFile(
                folder.state_path, boot=self.boot, identity=folder.identity, creates=True
            )
        return self._file

    def close(self) -> None:
        """Let go of everything; a look-up under way ends as it would have."""
        self._file = None
        self._held = None
        self.disown()

    def leave_to_parent(self) -> None:
        """Read nothing any more, in a process that was forked off; the lock stays the parent's."""
        self._file = None
        self._held = None
        self.folder.disown()


_OPEN: "Final[weakref.WeakSet[Replica]]" = weakref.WeakSet()
"""Those of this process."""


def _leave_all_to_parent() -> None:
    for replica in tuple(_OPEN):
        replica.leave_to_parent()


os.register_at_fork(after_in_child=_leave_all_to_parent)
