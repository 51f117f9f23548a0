"""The ledger of erasures: who is to be erased again after a restore, as keyed hashes alone.

A backup from before an erasure brings back what was erased; the ledger, which is kept apart from
backups, says of whom. On SQLite it is a file beside the database, on PostgreSQL
`heed-server erasures export` writes it (docs/operations.md).

Laws:
- One line of JSON an erasure, never changed: `{"v":1,"tenant_id":1,"subject":"9f…","us":…}`, where
  `us` is when it was committed, in microseconds since 1970 in UTC. One may stand there twice.
- It is a ledger (`heed_server.ledgers`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from heed.model import Instant, SubjectKey, TenantId
from heed_server.ledgers import LedgerUnreadableError, append_lines, whole_lines

_VERSION = 1


class Erased(NamedTuple):
    """One subject that was erased."""

    tenant_id: TenantId
    key: SubjectKey
    erase_time: Instant


class _Line(msgspec.Struct):
    v: int
    tenant_id: int
    subject: str
    us: int


def ledger_path(database: Path) -> Path:
    """Return where the ledger beside a SQLite database is."""
    return database.with_name(f"{database.name}-erasures.jsonl")


def line_of(erased: Erased) -> bytes:
    """Return an erasure as a line, its end included."""
    tenant_id, key, erase_time = erased
    return msgspec.json.encode(_Line(_VERSION, tenant_id, key.hex(), erase_time)) + b"\n"


def read_ledger(lines: Iterable[bytes]) -> Iterator[Erased]:
    """Return the erasures of a ledger, in its order.

    Raises:
        LedgerUnreadableError: a line is none, or of a later version.
    """
    for number, line in whole_lines(lines):
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
    append_lines(path, b"".join(map(line_of, erased)))


_decode = msgspec.json.Decoder(_Line).decode
