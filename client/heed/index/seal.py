"""The seal: what makes a closed index file worth opening (ADR 0007).

Laws:
- A seal is written only after the data file was synced, and says what its bytes hash to.
- The data file is hashed before LMDB maps it: a cut or damaged file is never mapped, because a
  mapped file that is shorter than its pages say kills the process (SIGBUS), and one with other
  bytes may say "no record".
- It is removed, durably, before the first write after opening. A kill or a power failure at any
  point after that leaves no seal, and an index without a seal is rebuilt.

The file is one line of JSON, then the kept hashes, then a BLAKE2b over all of it.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from heed.index.faults import Fault, IndexUnusableError

DATA_FILE = "data.mdb"
"""LMDB's name for the file with the data."""

_SEAL_FILE = "seal"
_DIGEST_BYTES = 32
_SEAL_BYTES_MAX = 1 << 20
"""Higher than any seal: 512 KiB of hashes and a line. What is larger is none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What was true of a data file when its index was closed."""

    meta: bytes
    """The index's own statement of what it is, which the data file must repeat."""
    hashes: bytes
    """The running hashes kept, oldest first."""
    data_bytes: int
    """The size of the data file."""


def write_seal(directory: Path, *, meta: bytes, hashes: bytes) -> None:
    """Hash the synced and closed data file and state it, durably.

    A crash before the rename leaves no seal, only a file that the next one replaces.
    """
    size, digest = _digest_of(directory / DATA_FILE)
    header = {
        "meta": meta.hex(),
        "data_bytes": size,
        "data_blake2b": digest.hex(),
    }
    body = json.dumps(header).encode() + b"\n" + hashes
    draft = directory / f"{_SEAL_FILE}.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("wb") as file:
        file.write(body + _blake2b(body))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(directory / _SEAL_FILE)
    _sync_directory(directory)


def read_seal(directory: Path) -> Seal:
    """Return the seal of a data file, after comparing every byte of that file with it.

    Raises:
        IndexUnusableError: MISSING, UNCLEAN (no seal) or DAMAGED.
    """
    if not (directory / DATA_FILE).is_file():
        raise IndexUnusableError(Fault.MISSING, f"there is no index at {directory}")
    try:
        with (directory / _SEAL_FILE).open("rb") as file:
            sealed = file.read(_SEAL_BYTES_MAX)
    except FileNotFoundError:
        raise IndexUnusableError(
            Fault.UNCLEAN, f"the index at {directory} was not closed"
        ) from None
    seal, digest = _parse(directory, sealed)
    if _digest_of(directory / DATA_FILE) != (seal.data_bytes, digest):
        raise IndexUnusableError(
            Fault.DAMAGED, f"the data file of the index at {directory} is not as it was sealed"
        )
    return seal


def break_seal(directory: Path) -> None:
    """Remove the seal, durably; nothing happens if there is none."""
    (directory / _SEAL_FILE).unlink(missing_ok=True)
    _sync_directory(directory)


def _parse(directory: Path, sealed: bytes) -> tuple[Seal, bytes]:
    body, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if _blake2b(body) != digest:
        raise IndexUnusableError(Fault.DAMAGED, f"the seal of the index at {directory} is damaged")
    line, _, hashes = body.partition(b"\n")
    try:
        header = json.loads(line)
        seal = Seal(
            meta=bytes.fromhex(header["meta"]), hashes=hashes, data_bytes=header["data_bytes"]
        )
        return seal, bytes.fromhex(header["data_blake2b"])
    except (ValueError, KeyError, TypeError) as error:
        raise IndexUnusableError(
            Fault.VERSION, f"the seal of the index at {directory} is of another version"
        ) from error


def _digest_of(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES))
        return os.fstat(file.fileno()).st_size, digest.digest()


def _blake2b(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
