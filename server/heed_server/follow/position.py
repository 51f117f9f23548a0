"""Where a log was known to stand, kept beside the index for the next start.

An index that was not closed is made anew from whatever the database says, and what it knew of the
log goes with it. What is kept here is enough to notice all the same, after a kill or a power
failure, that the database was put back meanwhile.

Law: a file that was not written whole, or is of other code, says nothing.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from heed.model import Revision

KEPT_SECONDS: Final = 1.0
"""What passes between two writings at least. Higher: a log that was put back by less than it is not
noticed after a kill. Lower: more fsyncs beside those of the log."""

_POSITION = struct.Struct(">4sq8s32s")
_MAGIC = b"hlp1"
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a log that everything up to was known of."""

    epoch: bytes
    revision: Revision
    running_hash: bytes


def keep_position(path: Path, position: Position) -> None:
    """Write a position down, durably. Raises OSError; a crash leaves the one before, or none."""
    body = _POSITION.pack(_MAGIC, position.revision, position.epoch, position.running_hash)
    draft = path.with_name(f"{path.name}.new")
    with open(draft, "wb", opener=_for_its_user_alone) as file:
        file.write(body + _digest(body))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def kept_position(path: Path) -> Position | None:
    """Return the position that was kept; None: there is none that says anything."""
    try:
        with path.open("rb") as file:
            kept = file.read(_POSITION.size + _DIGEST_BYTES + 1)
    except OSError:
        return None
    body, digest = kept[: _POSITION.size], kept[_POSITION.size :]
    if digest != _digest(body):
        return None
    magic, revision, epoch, running_hash = _POSITION.unpack(body)
    if magic != _MAGIC:
        return None
    return Position(epoch=epoch, revision=Revision(revision), running_hash=running_hash)


def _for_its_user_alone(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
