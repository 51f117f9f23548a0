"""The file of a backup: rows of every table, then a manifest that says what all of it is.

    `heed backup 1`, a line end                            the format, and its version
    `R`, length, zlib(msgpack([table, [column …], [[value …] …]]))    as often as needed
    `M`, length, JSON: the manifest                        once, at the end
    SHA-256 of everything before it, 32 bytes

A length is 4 bytes, big-endian.

Laws:
- A file that was cut, or in which a bit is another, is refused: the manifest and the hash over all
  come last, and each table's rows are counted and hashed in the manifest.
- It is written under another name, fsynced, and then given its own: there is none that is half.
- Values are null, booleans, whole numbers, text and bytes; any tool that knows zlib and msgpack
  reads it.
- It is its user's alone (0600): it holds lookup keys and hashes of API keys, as the database does.

ADR 0035.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from heed.errors import ErrorReason, InvalidArgumentError, UnavailableError, invalid_field
from heed_server.durable import sync_folder
from heed_server.storage.copying import bytes_of

MAGIC: Final = b"heed backup 1\n"
FRAME_BYTES: Final = 8 << 20
"""Rows of about so many bytes make a frame; one that is longer has one of its own."""
FRAME_BYTES_MAX: Final = 256 << 20
"""The longest frame that is read, unpacked too."""

_HEAD = struct.Struct(">cI")
_ROWS, _MANIFEST = b"R", b"M"
_HASH_BYTES: Final = 32
_LEVEL: Final = 1
"""Half of a log is hashes, which nothing makes shorter; more than the least is time for nothing."""


class ManifestLog(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tenant's log ended."""

    tenant_id: int
    name: str
    revision: int
    running_hash: str
    """In hex."""


class ManifestTable(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one table."""

    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str
    """Over its frames, as they stand in the file; in hex."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of."""

    heed_version: str
    schema_version: int
    database: str
    """`sqlite` or `postgresql`; it can be restored into either."""
    epoch: str
    """In hex."""
    taken_us: int
    """When it was begun, by the clock of the command; microseconds since 1970."""
    logs: tuple[ManifestLog, ...]
    tables: tuple[ManifestTable, ...]


class Rows(NamedTuple):
    """Some rows of one table."""

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


class _Counted:
    """What was written of, or read from, one table."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.rows = 0
        self.hash = hashlib.sha256()


class BackupWriter:
    """Writes one backup. Use: `add` as often as needed, then `finish`; or `abandon`."""

    def __init__(self, path: Path) -> None:
        """Begin; nothing stands at `path` before `finish`.

        Raises:
            InvalidArgumentError: something stands there already.
            UnavailableError: the file cannot be made.
        """
        if path.exists():
            raise invalid_field("--to", f"{path} is there already; name another file")
        self.path = path
        self.bytes = 0
        self._draft = path.with_name(f"{path.name}.partial")
        self._hash = hashlib.sha256()
        self._tables: dict[str, _Counted] = {}
        self._pack = msgspec.msgpack.Encoder().encode
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One that an earlier run left behind is not a backup, and is written over.
            self._draft.unlink(missing_ok=True)
            self._file = open(self._draft, "xb", opener=_for_its_user_alone)  # noqa: SIM115 - closed by finish and abandon
        except OSError as error:
            raise _not_written(self._draft, error) from error
        self._write(MAGIC)

    def begin(self, table: str, columns: tuple[str, ...]) -> None:
        """Name a table, which may have no row."""
        self._tables[table] = _Counted(columns)

    def add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Write rows of a table that was begun. Raises UnavailableError."""
        start = size = 0
        for end, row in enumerate(rows):
            size += bytes_of(row)
            if size > FRAME_BYTES and end > start:
                self._add(table, rows[start:end])
                start, size = end, bytes_of(row)
        if start < len(rows):
            self._add(table, rows[start:])

    def finish(self, manifest: Manifest) -> Manifest:
        """Write the manifest with its tables, and give the file its name, durably.

        A crash before the rename leaves a `.partial`, which nothing takes for a backup.

        Raises:
            UnavailableError: it cannot be written.
        """
        told = tuple(
            ManifestTable(
                name=name, columns=one.columns, rows=one.rows, sha256=one.hash.hexdigest()
            )
            for name, one in self._tables.items()
        )
        manifest = msgspec.structs.replace(manifest, tables=told)
        encoded = msgspec.json.encode(manifest)
        self._write(_HEAD.pack(_MANIFEST, len(encoded)))
        self._write(encoded)
        self._write(self._hash.digest())
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.rename(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise _not_written(self.path, error) from error
        return manifest

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._draft.unlink(missing_ok=True)

    def _add(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        counted = self._tables[table]
        packed = zlib.compress(self._pack((table, counted.columns, rows)), _LEVEL)
        counted.rows += len(rows)
        counted.hash.update(packed)
        self._write(_HEAD.pack(_ROWS, len(packed)))
        self._write(packed)

    def _write(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.bytes += len(piece)
        try:
            self._file.write(piece)
        except OSError as error:
            raise _not_written(self._draft, error) from error


class BackupReader:
    """Reads one backup."""

    def __init__(self, path: Path) -> None:
        """Verify the whole file, and read its manifest.

        Raises:
            InvalidArgumentError: it is no backup, was cut, or was changed.
            UnavailableError: it cannot be read.
        """
        self.path = path
        found: dict[str, _Counted] = {}
        manifest: Manifest | None = None
        for kind, payload in self._frames():
            if manifest is not None:
                raise self._refused("something follows its manifest")
            if kind == _MANIFEST:
                manifest = self._manifest(payload)
                continue
            table, columns, rows = self._rows(payload)
            counted = found.setdefault(table, _Counted(columns))
            counted.rows += len(rows)
            counted.hash.update(payload)
        if manifest is None:
            raise self._refused("it has no manifest: it was cut")
        for one in manifest.tables:
            counted = found.pop(one.name, _Counted(one.columns))
            if (counted.rows, counted.hash.hexdigest()) != (one.rows, one.sha256):
                raise self._refused(f"the rows of {one.name} are not those that were written")
        if found:
            raise self._refused(f"its manifest does not name {', '.join(sorted(found))}")
        self.manifest = manifest

    def rows(self) -> Iterator[Rows]:
        """Yield all rows, in the order in which they were written."""
        for kind, payload in self._frames():
            if kind == _ROWS:
                yield self._rows(payload)

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        hashed = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                end = os.fstat(file.fileno()).st_size - _HASH_BYTES
                if file.read(len(MAGIC)) != MAGIC:
                    raise self._refused("it does not begin as one")
                hashed.update(MAGIC)
                place = len(MAGIC)
                while place < end:
                    head = file.read(_HEAD.size)
                    if len(head) < _HEAD.size:
                        raise self._refused("it was cut")
                    kind, length = _HEAD.unpack(head)
                    place += _HEAD.size + length
                    if kind not in (_ROWS, _MANIFEST) or length > FRAME_BYTES_MAX or place > end:
                        raise self._refused("it was cut, or changed")
                    payload = file.read(length)
                    hashed.update(head)
                    hashed.update(payload)
                    if place == end and file.read() != hashed.digest():
                        raise self._refused("its hash is another: it was changed")
                    yield kind, payload
                if place != end:
                    raise self._refused("it was cut")
        except OSError as error:
            raise UnavailableError(
                f"{self.path} cannot be read: {error.strerror}",
                reason=ErrorReason.STORE_UNAVAILABLE,
            ) from error

    def _manifest(self, payload: bytes) -> Manifest:
        try:
            return msgspec.json.decode(payload, type=Manifest)
        except msgspec.DecodeError as error:
            raise self._refused(f"its manifest cannot be read: {error}") from error

    def _rows(self, payload: bytes) -> Rows:
        try:
            opened = zlib.decompressobj()
            unpacked = opened.decompress(payload, FRAME_BYTES_MAX)
            if not opened.eof:
                raise self._refused("rows are longer than any that are written")
            return _unpack(unpacked)
        except (zlib.error, msgspec.DecodeError) as error:
            raise self._refused(f"rows cannot be read: {error}") from error

    def _refused(self, why: str) -> InvalidArgumentError:
        said = f"{self.path} is no backup that can be restored: {why}; take another"
        return invalid_field("--from", said)


def _not_written(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{path} cannot be written: {error.strerror}", reason=ErrorReason.STORE_UNAVAILABLE
    )


def _for_its_user_alone(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


_unpack = msgspec.msgpack.Decoder(Rows).decode
