"""The ledger of erasures: who is to be erased again after a restore, as keyed hashes alone.

A backup from before an erasure brings back what was erased; the ledger, which is kept apart from
backups, says of whom. On SQLite it is a file beside the database, on PostgreSQL
`heed-server erasures export` writes it (docs/operations.md).

Laws:
- One line of JSON an erasure, never changed: `{"v":1,"tenant_id":1,"subject":"9f…","us":…}`, where
  `us` is when it was committed, in microseconds since 1970 in UTC. One may stand there twice.
- It is fsynced before the erasure is acknowledged, and for its owner's eyes only.
- A last line that was cut by a crash is no line; the next one begins on a line of its own.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from heed.model import Instant, SubjectKey, TenantId
from heed_server.durable import sync_folder

_VERSION = 1
_MODE = 0o600


class Erased(NamedTuple):
    """One subject that was erased."""

    tenant_id: TenantId
    key: SubjectKey
    erase_time: Instant


class LedgerUnreadableError(ValueError):
    """A line is not one of a ledger. Nothing is guessed: one left out would not be erased again."""


class _Line(msgspec.Struct):
    v: int
    tenant_id: int
    subject: str
    us: int


def line_of(erased: Erased) -> bytes:
    """Return an erasure as a line, its end included."""
    tenant_id, key, erase_time = erased
    return msgspec.json.encode(_Line(_VERSION, tenant_id, key.hex(), erase_time)) + b"\n"


def read_ledger(lines: Iterable[bytes]) -> Iterator[Erased]:
    """Return the erasures of a ledger, in its order.

    Raises:
        LedgerUnreadableError: a line is none, or of a later version.
    """
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return  # a crash cut it: that erasure was not acknowledged
        if line == b"\n":
            continue
        try:
            read = _decode(line)
            if read.v != _VERSION:
                raise LedgerUnreadableError(f"line {number} is of version {read.v}")
            key = SubjectKey(bytes.fromhex(read.subject))
        except (msgspec.DecodeError, ValueError) as error:
            raise LedgerUnreadableError(f"line {number} is none of a ledger: {error}") from error
        yield Erased(TenantId(read.tenant_id), key, Instant(read.us))


def append_to_ledger(path: Path, erased: Iterable[Erased]) -> None:
    """Add erasures to a ledger and fsync it, and its folder where it is new.

    Raises:
        OSError: it cannot be written; what came of it is not known.
    """
    lines = b"".join(map(line_of, erased))
    if not lines:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            lines = b"\n" + lines
        with os.fdopen(descriptor, "ab", closefd=False) as file:
            file.write(lines)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not end:
        sync_folder(path.parent)


_decode = msgspec.json.Decoder(_Line).decode
