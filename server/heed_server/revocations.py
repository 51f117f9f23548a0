"""The ledger of revocations: which API keys are to be revoked again after a restore, by id.

A backup from before a revocation brings the key back as it was; the ledger, which is kept apart
from backups, says which. On SQLite it is a file beside the database, on PostgreSQL
`heed-server keys revocations` writes it (docs/operations.md).

Laws:
- One line of JSON a key: `{"v":1,"key_id":"k3v9x0q2m7ta","us":…}`, where `us` is when it was
  revoked, in microseconds since 1970 in UTC. Ids are random, and none is given twice.
- It is a ledger (`heed_server.ledgers`); each revocation adds what is missing of those before it.
Source: ADR 0041.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from heed.model import Instant
from heed_server.key_store import ApiKey
from heed_server.ledgers import LedgerUnreadableError, append_lines, whole_lines

_VERSION = 1


class Revoked(NamedTuple):
    """One key that was revoked."""

    key_id: str
    revoke_time: Instant


class _Line(msgspec.Struct):
    v: int
    key_id: str
    us: int


def revocations_path(database: Path) -> Path:
    """Return where the ledger beside a SQLite database is."""
    return database.with_name(f"{database.name}-revocations.jsonl")


def revoked_of(keys: Iterable[ApiKey]) -> list[Revoked]:
    """Return the revoked among keys."""
    return [Revoked(key.key_id, key.revoke_time) for key in keys if key.revoke_time is not None]


def lines_of_revoked(revoked: Iterable[Revoked]) -> bytes:
    """Return revocations as lines."""
    encode = msgspec.json.encode
    return b"".join(encode(_Line(_VERSION, *one)) + b"\n" for one in revoked)


def read_revocations(lines: Iterable[bytes]) -> Iterator[Revoked]:
    """Return the revocations of a ledger, in its order.

    Raises:
        LedgerUnreadableError: a line is none, or of a later version.
    """
    for number, line in whole_lines(lines):
        try:
            read = _decode(line)
        except (msgspec.DecodeError, ValueError) as error:
            raise LedgerUnreadableError(f"line {number} is none of a ledger: {error}") from error
        if read.v != _VERSION:
            raise LedgerUnreadableError(f"line {number} is of version {read.v}")
        yield Revoked(read.key_id, Instant(read.us))


def add_revocations(path: Path, revoked: Iterable[Revoked]) -> None:
    """Add those that are not in a ledger yet.

    Raises:
        OSError: it cannot be read or written.
        LedgerUnreadableError: what is there is no ledger.
    """
    there = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    known = {one.key_id for one in read_revocations(there)}
    append_lines(path, lines_of_revoked(one for one in revoked if one.key_id not in known))


_decode = msgspec.json.Decoder(_Line).decode
