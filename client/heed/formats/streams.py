"""From the bytes of an input to the text of each file in it.

Laws:
- What an input is, is told by its first bytes, never by its name.
- Nothing is held whole: bytes are unpacked and decoded as they are read, so that a file that
  unpacks to far more than it is costs time, not memory.
- Bytes that are not UTF-8 do not end an import: they are carried along (`surrogateescape`), and
  matter only if they stand in a cell that is used.
"""

import bz2
import codecs
import gzip
import importlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase, TextIOWrapper
from typing import BinaryIO, Final, TextIO, cast

from heed.formats.rows import UnusableInputError

MEMBERS_MAX: Final = 100
"""Files in one archive."""

_HEAD_BYTES: Final = 4_096
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\x00"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ENCRYPTED_FLAG: Final = 0x1

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""

DAMAGE: Final = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, UnicodeError)
"""What reading damaged bytes raises."""
_ARCHIVE_DAMAGE: Final = (ValueError, NotImplementedError, RuntimeError, struct.error)
"""What opening an archive or a file in it raises besides."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an input."""

    name: str
    """Its name in an archive; empty outside one."""
    open_bytes: Callable[[], BinaryIO]
    """Opens it, unpacked, from its start. One at a time."""

    @contextmanager
    def text(self) -> Generator[TextIO]:
        """Open it as text, without translating line ends.

        Raises:
            UnusableInputError: it is no text, or (also while reading) damaged.
        """
        where = f"{self.name}: " if self.name else ""
        try:
            encoding = self._encoding(where)
            with TextIOWrapper(
                self.open_bytes(), encoding=encoding, errors="surrogateescape", newline=""
            ) as text:
                yield text
        except DAMAGE as error:
            raise UnusableInputError(
                f"{where}the file is damaged or cut short ({error}); fetch it again"
            ) from error

    def _encoding(self, where: str) -> str:
        with self.open_bytes() as opened:
            head = opened.read(_HEAD_BYTES)
        if _packing_of(head) is not None:
            raise UnusableInputError(f"{where}this is packed twice; unpack it once")
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding
        if b"\x00" in head:
            if not head[::2].strip(b"\x00"):
                return "utf-16-be"
            if not head[1::2].strip(b"\x00"):
                return "utf-16-le"
            raise UnusableInputError(f"{where}this is no text; give a CSV or JSON file")
        return "utf-8"


def members(stream: BinaryIO) -> tuple[Member, ...]:
    """Return the files of an input, an archive's in its order.

    `stream` can seek; it is read by the members, from its start.

    Raises:
        UnusableInputError: it is empty, or an archive that cannot be read.
    """
    stream.seek(0)
    head = stream.read(8)
    if not head:
        raise UnusableInputError("the input is empty; an export of nothing still has its header")
    packing = _packing_of(head)
    if packing == "zip":
        return _archive_members(stream)
    return (Member("", partial(_opened, stream, packing)),)


def _packing_of(head: bytes) -> str | None:
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(_BZIP2) and head[3:4].isdigit() and head[4:8] in {b"1AY&", b"\x17rE8"}:
        return "bzip2"
    if head.startswith(_XZ):
        return "xz"
    if head.startswith(_ZSTD):
        return "zstd"
    return None


def _opened(stream: BinaryIO, packing: str | None) -> BinaryIO:
    """Open an input that is one file, from its start. Closing it leaves `stream` open."""
    stream.seek(0)
    match packing:
        case "gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=stream, mode="rb"))
        case "bzip2":
            return cast("BinaryIO", bz2.BZ2File(stream))
        case "xz":
            return cast("BinaryIO", lzma.LZMAFile(stream))
        case "zstd":
            return _opened_zstd(stream)
        case _:
            return cast("BinaryIO", _Unclosing(stream))


def _opened_zstd(stream: BinaryIO) -> BinaryIO:
    try:
        zstd = importlib.import_module("compression.zstd")
    except ModuleNotFoundError:
        raise UnusableInputError(
            "this Python cannot unpack zstd (3.14 can); unpack the file first: "
            "zstd -dc FILE | heed import -"
        ) from None
    return cast("BinaryIO", zstd.ZstdFile(stream))


class _Unclosing(BufferedIOBase):
    """A stream as it is, save that closing this does not close what it reads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._stream.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size)


def _archive_members(stream: BinaryIO) -> tuple[Member, ...]:
    try:
        archive = zipfile.ZipFile(stream)
    except (*DAMAGE, *_ARCHIVE_DAMAGE) as error:
        raise UnusableInputError(
            f"the archive is damaged or cut short ({error}); fetch it again"
        ) from error
    files = [one for one in archive.infolist() if not _is_clutter(one)]
    if not files:
        raise UnusableInputError("the archive has no files")
    if len(files) > MEMBERS_MAX:
        raise UnusableInputError(
            f"the archive has {len(files)} files, at most {MEMBERS_MAX} are read; "
            "give the lists one by one"
        )
    if len({one.filename for one in files}) < len(files):
        raise UnusableInputError("the archive has two files of one name; give the lists one by one")
    for one in files:
        if one.flag_bits & _ENCRYPTED_FLAG:
            raise UnusableInputError(f"{one.filename} in the archive has a password; unpack it")
    return tuple(Member(one.filename, partial(_opened_member, archive, one)) for one in files)


def _opened_member(archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> BinaryIO:
    try:
        return cast("BinaryIO", archive.open(file))
    except _ARCHIVE_DAMAGE as error:
        raise zipfile.BadZipFile(str(error)) from error


def _is_clutter(file: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder, or what a desktop adds to archives."""
    name = file.filename
    base = name.rpartition("/")[2]
    return file.is_dir() or name.startswith("__MACOSX/") or base in {".DS_Store", "Thumbs.db"}
