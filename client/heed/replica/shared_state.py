"""What the owner of a cache tells the other processes, many times a second: a small mapped file.

Laws:
- It is written by the owner alone, in its follower's thread.
- The index is written first and the state after it, and readers read the state first: whatever age
  a reader finds, what it then looks up is at least that fresh.
- Python cannot order stores, so instead of a sequence lock each copy carries its checksum; a
  reader that meets a half-written one reads again, and then the other copy. An owner that was
  killed while it wrote leaves one of the two whole.
- What was written under another boot, or for another cache (`identity`), is not there.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from zlib import crc32

from heed.model import Instant
from heed.replica.clock import BOOT_BYTES

IDENTITY_BYTES: Final = 16
NEVER: Final = -1
"""A time on the boot clock that never was."""

_FILE_BYTES: Final = 4_096
_BODY: Final = struct.Struct(f"<8s{BOOT_BYTES}s{IDENTITY_BYTES}sQqqqqq")
_CHECKSUM: Final = struct.Struct("<I")
_COPY_BYTES: Final = _BODY.size + _CHECKSUM.size
_SECOND_COPY: Final = 1_024
_MAGIC: Final = b"heedst\x00\x01"
_READS_MAX: Final = 64
"""So often a copy is read again before it counts as broken; writing one takes microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """What the owner knows."""

    generation: int
    """The index to read; 0: none is whole yet."""
    revision: int
    """What that index has taken at least."""
    known_ns: int
    """All that the log had at this time of the boot clock is in the index; NEVER: nobody knows."""
    source_now_us: int
    """The source's time, microseconds since 1970 in UTC, as it was heard at `heard_ns`; 0: none."""
    heard_ns: int
    owner_pid: int

    @property
    def is_whole(self) -> bool:
        """Whether there is an index to answer by, and a time to decide at."""
        return bool(self.generation and self.source_now_us)

    def age_at(self, now_ns: int) -> int | None:
        """How old the index is at a time of the boot clock, in nanoseconds; None: nobody knows."""
        return None if self.known_ns < 0 else now_ns - self.known_ns

    def now_at(self, now_ns: int) -> Instant:
        """The source's time then: as it was heard last, and what passed on the boot clock."""
        return Instant(self.source_now_us + (now_ns - self.heard_ns) // 1_000)


NOTHING: Final = SharedState(
    generation=0, revision=0, known_ns=NEVER, source_now_us=0, heard_ns=0, owner_pid=0
)


class StateFile:
    """The file, mapped. Any thread may read it."""

    __slots__ = ("_boot", "_identity", "_map", "_read")

    def __init__(self, path: Path, *, boot: bytes, identity: bytes, creates: bool) -> None:
        """Map it; create it, for the owner alone.

        Raises:
            OSError: it is not there, or cannot be made.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if creates else 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < _FILE_BYTES:
                if not creates:
                    raise FileNotFoundError(f"{path} is not whole yet")
                # Written, not left sparse: a store to a mapped page that a full disk has no room
                # for kills the process.
                os.pwrite(descriptor, bytes(_FILE_BYTES), 0)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            os.close(descriptor)
        self._boot = boot
        self._identity = identity
        # One tuple, replaced as a whole: threads may race for it.
        self._read: tuple[bytes, SharedState] = (b"", NOTHING)

    @classmethod
    def of_reader(cls, path: Path, *, boot: bytes, identity: bytes) -> Self | None:
        """Map it, if there is one."""
        try:
            return cls(path, boot=boot, identity=identity, creates=False)
        except OSError:
            return None

    def read(self) -> SharedState:
        """Return what the owner last wrote; NOTHING if that is not of this boot and cache."""
        known = self._read
        raw = self._map[:_COPY_BYTES]
        if raw == known[0]:
            return known[1]
        return self._read_again()

    def write(self, state: SharedState) -> None:
        """Tell everybody."""
        body = _BODY.pack(
            _MAGIC,
            self._boot,
            self._identity,
            state.generation,
            state.revision,
            state.known_ns,
            state.source_now_us,
            state.heard_ns,
            state.owner_pid,
        )
        copy = body + _CHECKSUM.pack(crc32(body))
        self._map[_SECOND_COPY : _SECOND_COPY + _COPY_BYTES] = copy
        self._map[:_COPY_BYTES] = copy

    def _read_again(self) -> SharedState:
        for _ in range(_READS_MAX):
            for start in (0, _SECOND_COPY):
                raw = self._map[start : start + _COPY_BYTES]
                body = raw[: _BODY.size]
                if _CHECKSUM.pack(crc32(body)) == raw[_BODY.size :]:
                    state = self._parse(body)
                    if start == 0:
                        self._read = (raw, state)
                    return state
        return NOTHING

    def _parse(self, body: bytes) -> SharedState:
        magic, boot, identity, *numbers = _BODY.unpack(body)
        if (magic, boot, identity) != (_MAGIC, self._boot, self._identity):
            return NOTHING
        generation, revision, known_ns, source_now_us, heard_ns, owner_pid = numbers
        return SharedState(
            generation=generation,
            revision=revision,
            known_ns=known_ns,
            source_now_us=source_now_us,
            heard_ns=heard_ns,
            owner_pid=owner_pid,
        )
