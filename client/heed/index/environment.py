"""The LMDB environment of one index: how it is opened, read, written and grown.

- `sync=False`: a commit is not flushed. The index is derived data; what a power failure leaves of
  it has no seal and is never opened (`heed.index.seal`).
- The file is written with pwrite, never through the map: a stray write of this process faults
  instead of changing an answer.
- One thread uses an environment: the one with the follower's event loop. So growing the map,
  which no transaction may outlive, is safe between any two calls.
- Look-ups share one read transaction, which the next write ends: beginning one costs more than a
  look-up, and nothing but this process writes. Other processes may read (`heed.index.reader`):
  LMDB's lock file, which lists them, is therefore never removed while the directory stands, and
  those that died in the middle of a look-up are forgotten now and then.
- LMDB's errors end here, as `IndexUnusableError`.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import lmdb

from heed.index.faults import Fault, IndexUnusableError, lmdb_errors_as
from heed.index.pages import fill_up

MAP_BYTES_MIN = 16 << 20
"""The map of a small index; address space, neither memory nor disk."""


class Environment:
    """An open LMDB environment with the four databases of an index."""

    __slots__ = (
        "_begin",
        "_env",
        "_get",
        "_map_bytes_max",
        "_reader",
        "directory",
        "holds",
        "map_bytes",
        "meta",
        "records",
        "topics",
    )

    def __init__(self, directory: Path, *, data_bytes: int, map_bytes_max: int) -> None:
        """Open what is there, `data_bytes` long, or create it when that is 0.

        Raises:
            IndexUnusableError: DAMAGED, or REFUSED when the cap is below what is there.
        """
        if data_bytes > map_bytes_max:
            raise IndexUnusableError(
                Fault.REFUSED,
                f"the index has {data_bytes} bytes, map_bytes_max is {map_bytes_max}: raise it",
            )
        self.directory = directory
        self._map_bytes_max = map_bytes_max
        self.map_bytes = min(map_bytes_max, max(MAP_BYTES_MIN, 2 * data_bytes))
        creates = data_bytes == 0
        with _errors_as(Fault.DAMAGED, "be opened"):
            self._env = lmdb.open(
                str(directory),
                map_size=self.map_bytes,
                mode=0o600,
                sync=False,
                metasync=False,
                max_dbs=4,
                max_spare_txns=2,
            )
            self._begin = self._env.begin
            self._get: Callable[[bytes], bytes | None] | None = None
            try:
                self.records = self._env.open_db(b"records", create=creates)
                self.topics = self._env.open_db(b"topics", create=creates)
                self.holds = self._env.open_db(b"holds", create=creates)
                self.meta = self._env.open_db(b"meta", create=creates)
            except lmdb.Error:
                self._env.close()
                raise

    def get_records(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return what stands under each key, all of one revision."""
        try:
            get = self._get
            if get is None:
                self._reader = self._begin(self.records)
                get = self._get = self._reader.get
            return list(map(get, keys))
        except lmdb.Error as error:
            raise IndexUnusableError(Fault.DAMAGED, f"the index cannot be read: {error}") from error

    def read(self, read: "Callable[[lmdb.Transaction[bytes]], None]") -> None:
        """Read several databases in one transaction."""
        with _errors_as(Fault.DAMAGED, "be read"), self._begin() as txn:
            read(txn)

    def write(self, write: "Callable[[lmdb.Transaction[bytes]], None]") -> None:
        """Run one write transaction; `write` may run again, from the start, after the map grew.

        Raises:
            IndexUnusableError: REFUSED when the map is at its cap or the disk is full.
        """
        self._end_reading()
        while True:
            try:
                with _errors_as(Fault.REFUSED, "be written"), self._begin(write=True) as txn:
                    write(txn)
                return fill_up(self._env, self.directory)
            except _MapFullError:
                self._grow()

    def sync(self) -> None:
        """Flush everything to the disk."""
        with _errors_as(Fault.REFUSED, "be flushed"):
            self._env.sync(True)

    def forget_dead_readers(self) -> int:
        """Let go of the pages that processes read which are gone; return how many those were."""
        with _errors_as(Fault.DAMAGED, "be read"):
            return self._env.reader_check()

    def data_bytes(self) -> int:
        """The bytes of the data file that are in use or free for reuse."""
        return (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]

    def count_subjects(self) -> int:
        """How many subjects have records."""
        with _errors_as(Fault.DAMAGED, "be read"), self._begin() as txn:
            return txn.stat(self.records)["entries"]

    def close(self) -> None:
        """Close, without flushing."""
        self._end_reading()
        self._env.close()

    def _end_reading(self) -> None:
        if self._get is not None:
            self._get = None
            self._reader.abort()

    def _grow(self) -> None:
        if self.map_bytes >= self._map_bytes_max:
            raise IndexUnusableError(
                Fault.REFUSED, f"the index is full at map_bytes_max {self._map_bytes_max}: raise it"
            )
        self.map_bytes = min(self._map_bytes_max, 2 * self.map_bytes)
        with _errors_as(Fault.REFUSED, "grow"):
            self._env.set_mapsize(self.map_bytes)


class _MapFullError(Exception):
    """The transaction needs more map; it was rolled back."""


@contextmanager
def _errors_as(fault: Fault, act: str) -> Generator[None, None, None]:
    with lmdb_errors_as(fault, act):
        try:
            yield
        except lmdb.MapFullError as error:
            raise _MapFullError from error
