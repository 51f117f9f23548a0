"""A disk that fails when told to, and that forgets what was not fsynced when its power is cut.

It is a VFS of SQLite over the real one. Every write and truncation since a file's last fsync is
remembered; a power cut leaves each file as it was at that fsync, plus any of the later writes, in
any order, whole or torn: what a kernel and a disk may have written by themselves.
"""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

_IOERR, _FULL = 10, 13
_SECTOR = 512


@dataclass
class _Image:
    """One file: what is surely on the disk, and what may be."""

    durable: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, bytes written), or (size, None) for a truncation."""


class FaultyDisk:
    """The default disk of SQLite while it is entered."""

    def __init__(self) -> None:
        self.fails_syncs = False
        self.is_full = False
        self.syncs = 0
        self._images: dict[str, _Image] = {}
        # Writers write from their own thread, and power is cut from another.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._vfs = _Vfs(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._vfs.unregister()

    def cut_power(self, folder: Path, chance: random.Random) -> None:
        """Write into another folder what the disk holds when the power goes now."""
        folder.mkdir()
        with self._lock:
            for name, image in self._images.items():
                (folder / Path(name).name).write_bytes(_after_cut(image, chance))

    def wrote(self, name: str, data: bytes, offset: int) -> None:
        with self._lock:
            self._image(name).pending.append((offset, bytes(data)))

    def truncated(self, name: str, size: int) -> None:
        with self._lock:
            self._image(name).pending.append((size, None))

    def synced(self, name: str) -> None:
        with self._lock:
            self.syncs += 1
            image = self._image(name)
            content = bytearray(image.durable)
            for offset, data in image.pending:
                _apply(content, offset, data)
            image.durable, image.pending = bytes(content), []

    def deleted(self, name: str) -> None:
        with self._lock:
            self._images.pop(name, None)

    def _image(self, name: str) -> _Image:
        return self._images.setdefault(name, _Image())


def _after_cut(image: _Image, chance: random.Random) -> bytes:
    content = bytearray(image.durable)
    survived = [one for one in image.pending if chance.random() < 0.5]
    chance.shuffle(survived)
    for offset, data in survived:
        torn = data
        if data is not None and chance.random() < 0.3:
            torn = data[: _SECTOR * chance.randrange(1 + len(data) // _SECTOR)]
        _apply(content, offset, torn)
    return bytes(content)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class _Vfs(apsw.VFS):
    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk
        super().__init__("heed-faulty", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(filename, syncdir)
        self._disk.deleted(filename)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.is_full:
            raise apsw.exception_for(_FULL)
        super().xWrite(data, offset)
        self._disk.wrote(self._name, data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._disk.truncated(self._name, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.fails_syncs:
            raise apsw.exception_for(_IOERR)
        super().xSync(flags)
        self._disk.synced(self._name)
