"""What the owner tells the workers without a call: small files that all of them map.

Laws:
- The owner alone writes, but for the one word by which workers report damage. What a number
  promises is true before the number is written: the index has taken what `in_step_at` says, the
  state is in its file before its version is told.
- A worker reads the promise first and what it is about after it: what it then finds is at least
  that fresh.
- Each number is one aligned word, which is read and written whole.
- A board of another run is no board.
"""

import math
import mmap
import os
from pathlib import Path
from typing import Final

from heed.index import HASHES_KEPT_MAX
from heed.model import Revision
from heed.tokens import TOKEN_HASH_BYTES
from heed_server.primary.workers.folder import RUN_BYTES, put

_RUN_AT: Final = 64
_HASHES_AT: Final = 4_096
_NODE_BYTES: Final = 4_096
_TENANT_BYTES: Final = _HASHES_AT + HASHES_KEPT_MAX * TOKEN_HASH_BYTES

# The words of a tenant's board, by their place.
_GENERATION, _IN_STEP_AT, _CLAIMED, _NEWEST, _OLDEST, _DAMAGED, _LOOKUP_KEY = range(7)
# And those of the node's.
_VERSION, _KEYS_READ_AT = range(2)

_NONE_YET: Final = 1 << 62
"""A revision that no log reaches."""


class _Board:
    """A mapped file that begins with words."""

    __slots__ = ("_floats", "_map", "_words")

    def __init__(self, path: Path, size: int, *, run: bytes, is_owner: bool) -> None:
        """Map it. The owner makes it, or begins it anew if it is of another run.

        Raises:
            OSError: it cannot be made, or is not there yet.
        """
        if is_owner and not _is_of(path, size, run):
            _make(path, size, run)
        if not _is_of(path, size, run):
            raise FileNotFoundError(f"{path} is not of this run of the server")
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("q")
        self._floats = memoryview(self._map).cast("d")


class NodeBoard(_Board):
    """What is one for all tenants."""

    __slots__ = ()

    def __init__(self, path: Path, *, run: bytes, is_owner: bool = False) -> None:
        super().__init__(path, _NODE_BYTES, run=run, is_owner=is_owner)

    @property
    def version(self) -> int:
        """Of the state; 0: there is none yet."""
        return self._words[_VERSION]

    @property
    def keys_read_at(self) -> float:
        """When the database was last asked for the keys, by the boot clock."""
        return self._floats[_KEYS_READ_AT]

    def tell_version(self, version: int) -> None:
        """Tell that the state's file holds this version."""
        self._words[_VERSION] = version

    def tell_keys_read(self, at: float) -> None:
        """Tell when the keys were read."""
        self._floats[_KEYS_READ_AT] = at


class TenantBoard(_Board):
    """What is known of one tenant's index: which it is, how fresh, and its last running hashes."""

    __slots__ = ()

    def __init__(self, path: Path, *, run: bytes, is_owner: bool = False) -> None:
        super().__init__(path, _TENANT_BYTES, run=run, is_owner=is_owner)

    @property
    def generation(self) -> int:
        """Which index is to be read; negative: none is, until the next one is there."""
        return self._words[_GENERATION]

    @property
    def in_step_at(self) -> float:
        """All that was committed at this time of the boot clock is in the index."""
        return self._floats[_IN_STEP_AT]

    @property
    def revision(self) -> Revision:
        """Where the index stands, or a moment ago stood."""
        return Revision(self._words[_NEWEST])

    @property
    def lookup_key_id(self) -> int:
        """The newest lookup key under which anything may stand in the index."""
        return self._words[_LOOKUP_KEY]

    def tell_lookup_key(self, key_id: int) -> None:
        """Tell of the newest lookup key, before anything stands under it."""
        self._words[_LOOKUP_KEY] = key_id

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first bytes of the running hash at a revision; None: it is not kept."""
        words = self._words
        if revision > words[_NEWEST]:
            return None
        start = _HASHES_AT + revision % HASHES_KEPT_MAX * TOKEN_HASH_BYTES
        found = self._map[start : start + TOKEN_HASH_BYTES]
        # Read after it: what the owner has begun to write over is not what was asked for.
        if revision < words[_OLDEST] or revision <= words[_CLAIMED] - HASHES_KEPT_MAX:
            return None
        return found

    @property
    def is_damaged(self) -> bool:
        """Whether a worker met damage in the index that is to be read."""
        return self.generation > 0 and self._words[_DAMAGED] == self.generation

    def report_damage(self, generation: int) -> None:
        """Tell the owner that an index cannot be read (the workers' one word)."""
        self._words[_DAMAGED] = generation

    def tell_in_step(self, at: float) -> None:
        """Tell how fresh the index is; minus infinity: it is not to be believed."""
        self._floats[_IN_STEP_AT] = at

    def take_away(self) -> None:
        """Tell that there is no index to read."""
        self.tell_in_step(-math.inf)
        self._words[_GENERATION] = -abs(self._words[_GENERATION])
        self._words[_OLDEST] = _NONE_YET

    def begin(self, revision: Revision, hashes: bytes) -> None:
        """Tell that another index is to be read, and its hashes, the last of which is its own."""
        words = self._words
        words[_OLDEST] = _NONE_YET
        count = len(hashes) // TOKEN_HASH_BYTES
        for at in range(count):
            self._put(
                Revision(revision - count + 1 + at),
                hashes[at * TOKEN_HASH_BYTES : (at + 1) * TOKEN_HASH_BYTES],
            )
        words[_CLAIMED] = words[_NEWEST] = revision
        words[_OLDEST] = revision - count + 1
        words[_GENERATION] = abs(words[_GENERATION]) + 1

    def push(self, revision: Revision, running_hash: bytes) -> None:
        """Tell the running hash of the next revision."""
        self._words[_CLAIMED] = revision
        self._put(revision, running_hash[:TOKEN_HASH_BYTES])
        self._words[_NEWEST] = revision

    def _put(self, revision: Revision, running_hash: bytes) -> None:
        start = _HASHES_AT + revision % HASHES_KEPT_MAX * TOKEN_HASH_BYTES
        self._map[start : start + TOKEN_HASH_BYTES] = running_hash


def _is_of(path: Path, size: int, run: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(_RUN_AT)
            return file.read(RUN_BYTES) == run and path.stat().st_size == size
    except FileNotFoundError:
        return False


def _make(path: Path, size: int, run: bytes) -> None:
    """Make a board, in the place of one of an earlier run, which somebody may still have mapped."""
    # Written, not left sparse: a store to a mapped page that a full disk has no room for kills
    # the process.
    put(path, bytes(_RUN_AT) + run + bytes(size - _RUN_AT - len(run)))
