"""An index that several processes of a host read while one of them writes: what a cache is.

It differs from a node's (`heed.index.index`), which one process has for itself:
- The map has one size for ever, since no process may change it under another. Address space only.
- A look-up is one read transaction, so that any thread may make one, and what it finds is of one
  revision together with the holds and topics (`View`).
- LMDB takes a transaction's number before it copies the roots, which may be of two commits later
  by then. So a view is known again by its number and by its place's entry, never by one of them.
- All stands in LMDB's main database, under prefixes: the others are opened in a write transaction,
  and a reader would wait for the writer, however long that one takes.
- LMDB's own lock file stays: it keeps the writer from pages that another process reads, and is
  taken from a process that was killed.
- A commit is not flushed. A killed process loses nothing, a crashed machine may: what is found
  after another boot counts only if it was closed (`sync`).

Nothing closes an environment that may be read at this moment: the last reference does.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import lmdb

from heed.index.changes import write_changes
from heed.index.faults import (
    Fault,
    IndexGapError,
    IndexUnusableError,
    lmdb_errors_as,
    os_errors_as,
)
from heed.index.pages import fill_up, require_all_pages
from heed.index.place import (
    PLACE_KEY,
    SOURCE_KEY,
    Place,
    Source,
    decode_place,
    decode_source,
)
from heed.index.seal import DATA_FILE
from heed.index.stops import (
    encode_hold,
    encode_topic,
    hold_entry_key,
    in_order,
    read_stops,
    topic_entry_key,
)
from heed.model import Change, Hold, SubjectKey, Topic
from heed.topics import TopicTable

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

MAP_BYTES: Final = 64 << 30
"""The map of a cache: address space, neither memory nor disk; room for some 600 million records."""

READERS_MAX: Final = 1_024
"""Look-ups at one time, of all processes together."""

SPARE_TRANSACTIONS_MAX: Final = 16
"""Read transactions a process keeps for its next look-ups, one a thread."""

Entry = tuple[SubjectKey, bytes]
"""A subject's key, and its records as `heed.records` encodes them."""

_RECORDS: Final = b"r"
_TOPICS: Final = b"t"
_HOLDS: Final = b"h"
_META: Final = b"m"
"""What the keys of each kind of entry begin with."""
_PLACE: Final = _META + PLACE_KEY
_SOURCE: Final = _META + SOURCE_KEY
_TREE: Final = _META + b"tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything but records, as one write transaction left it. Threads share it."""

    transaction_id: int
    place: Place
    source: Source
    topics: TopicTable
    holds: tuple[Hold, ...]
    place_entry: bytes = field(repr=False)
    """What the place was read from, by which a look-up knows that it is of this revision."""
    source_entry: bytes = field(repr=False)
    """What the source was read from, by which the next view knows that it is the same."""


class SharedIndex:
    """One generation of a cache. `apply` and the like are the owner's alone, on one thread."""

    __slots__ = ("__weakref__", "_begin", "_env", "directory")

    def __init__(self, directory: Path, *, creates: bool, map_bytes: int = MAP_BYTES) -> None:
        """Open what is there, or create it where nothing is.

        Raises:
            IndexUnusableError: MISSING or DAMAGED; REFUSED if it cannot be created.
        """
        self.directory = directory
        if creates:
            with os_errors_as(Fault.REFUSED, "be created"):
                directory.mkdir(mode=0o700)
        elif not (directory / DATA_FILE).is_file():
            raise IndexUnusableError(Fault.MISSING, f"there is no index at {directory}")
        with lmdb_errors_as(Fault.REFUSED if creates else Fault.DAMAGED, "be opened"):
            self._env = lmdb.open(
                str(directory),
                map_size=map_bytes,
                mode=0o600,
                create=creates,
                sync=False,
                metasync=False,
                max_readers=READERS_MAX,
                max_spare_txns=SPARE_TRANSACTIONS_MAX,
            )
        try:
            if not creates:
                require_all_pages(self._env, directory)
        except IndexUnusableError:
            self._env.close()
            raise
        self._begin = self._env.begin

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open what is there. Raises as the constructor."""
        return cls(directory, creates=False)

    @classmethod
    def create(cls, directory: Path, *, map_bytes: int = MAP_BYTES) -> Self:
        """Create one where nothing is. Raises as the constructor."""
        return cls(directory, creates=True, map_bytes=map_bytes)

    def find(self, key: bytes, known: View) -> tuple[bool, bytes | None]:
        """Return whether a view is still the newest, and what stands under a key if it is.

        Raises:
            IndexUnusableError: DAMAGED.
        """
        try:
            transaction = self._begin()
            if (
                transaction.id() != known.transaction_id
                or transaction.get(_PLACE) != known.place_entry
            ):
                return False, None
            return True, transaction.get(_RECORDS + key)
        except lmdb.Error as error:
            raise _damaged(error) from error

    def find_all(
        self, keys: Iterable[bytes], known: View | None
    ) -> tuple[View, list[bytes | None]]:
        """Return what stands under each key and the view, all of one revision.

        `known` is an earlier view of this index, of which what is the same is taken over.

        Raises:
            IndexUnusableError: DAMAGED.
        """
        with lmdb_errors_as(Fault.DAMAGED, "be read"), self._begin() as transaction:
            place_entry = transaction.get(_PLACE, b"")
            if (
                known is None
                or known.transaction_id != transaction.id()
                or known.place_entry != place_entry
            ):
                known = self._view(transaction, place_entry, known)
            return known, [transaction.get(_RECORDS + key) for key in keys]

    def apply(
        self,
        changes: Sequence[Change],
        *,
        before: Place,
        after: Place,
        tree: bytes | None = None,
    ) -> None:
        """Take changes that lead from one place to another: all or none of them.

        `tree` is kept with the place: what a cache that verifies grows the log's tree from.

        Raises:
            IndexGapError: the index does not stand at `before`.
            IndexUnusableError: REFUSED: the disk is full, or a change does not fit what stands.
        """

        def write(transaction: "lmdb.Transaction[bytes]") -> None:
            if transaction.get(_PLACE) != before.encode():
                raise IndexGapError(f"the cache does not stand at {before.revision} any more")
            write_changes(_PARTS, _Parted(transaction), changes)
            transaction.put(_PLACE, after.encode())
            if tree is not None:
                transaction.put(_TREE, tree)

        self._write(write)

    def amend(self, place: Place, source: Source) -> None:
        """Note what the upstream says of itself: its versions, its keys.

        Raises:
            IndexUnusableError: REFUSED: the disk is full.
        """

        def write(transaction: "lmdb.Transaction[bytes]") -> None:
            transaction.put(_PLACE, place.encode())
            transaction.put(_SOURCE, source.encode())

        self._write(write)

    def tree(self) -> bytes | None:
        """Return the tree that is kept with the place; None: none is.

        Raises:
            IndexUnusableError: DAMAGED.
        """
        with lmdb_errors_as(Fault.DAMAGED, "be read"), self._begin() as transaction:
            return transaction.get(_TREE)

    def forget_tree(self) -> None:
        """Keep no tree any more. Raises as `amend`."""
        self._write(lambda transaction: transaction.delete(_TREE))

    def append(self, entries: Sequence[Entry]) -> None:
        """Add the records of further subjects, ascending by key over all calls.

        Raises:
            IndexUnusableError: REFUSED: they are not ascending, or the disk is full.
        """

        def write(transaction: "lmdb.Transaction[bytes]") -> None:
            rows = [(_RECORDS + key, records) for key, records in entries]
            _, added = transaction.cursor().putmulti(rows, append=True)
            if added != len(entries):
                raise IndexUnusableError(
                    Fault.REFUSED, "a snapshot's subjects do not come ascending, each once"
                )

        self._write(write)

    def complete(
        self,
        place: Place,
        source: Source,
        topics: Iterable[Topic],
        holds: Iterable[Hold],
        tree: bytes | None = None,
    ) -> None:
        """Add all that is not records, and with it the place: the index is whole.

        Raises:
            IndexUnusableError: REFUSED: the disk is full.
        """

        def write(transaction: "lmdb.Transaction[bytes]") -> None:
            for topic in topics:
                transaction.put(_TOPICS + topic_entry_key(topic.name), encode_topic(topic))
            for hold in holds:
                transaction.put(_HOLDS + hold_entry_key(hold.hold_id), encode_hold(hold))
            if tree is not None:
                transaction.put(_TREE, tree)
            transaction.put(_SOURCE, source.encode())
            transaction.put(_PLACE, place.encode())

        self._write(write)

    def records_by_key(self) -> "Generator[Entry, None, None]":
        """Yield every subject's records, by key, all of one revision."""
        with lmdb_errors_as(Fault.DAMAGED, "be read"), self._begin() as transaction:
            for key, encoded in _entries(transaction, _RECORDS):
                yield SubjectKey(key[1:]), encoded

    def forget_dead_readers(self) -> int:
        """Let go of the pages that processes read which are gone; return how many those were."""
        with lmdb_errors_as(Fault.DAMAGED, "be read"):
            return self._env.reader_check()

    def sync(self) -> None:
        """Flush everything to the disk.

        Raises:
            IndexUnusableError: REFUSED.
        """
        with lmdb_errors_as(Fault.REFUSED, "be flushed"):
            self._env.sync(force=True)

    def data_bytes(self) -> int:
        """How long the data file is."""
        with os_errors_as(Fault.DAMAGED, "be read"):
            return (self.directory / DATA_FILE).stat().st_size

    @staticmethod
    def remove(directory: Path) -> None:
        """Remove the files of an index; those who read it go on reading it."""
        shutil.rmtree(directory, ignore_errors=True)

    def _write(self, write: "Callable[[lmdb.Transaction[bytes]], object]") -> None:
        with lmdb_errors_as(Fault.REFUSED, "be written"), self._begin(write=True) as transaction:
            write(transaction)
        fill_up(self._env, self.directory)

    def _view(
        self, transaction: "lmdb.Transaction[bytes]", place_entry: bytes, known: View | None
    ) -> View:
        place = decode_place(place_entry)
        source_entry = transaction.get(_SOURCE, b"")
        if known is not None and known.place.stops_revision == place.stops_revision:
            topics, holds = known.topics, known.holds
        else:
            topics, holds = self._stops(transaction)
        return View(
            transaction_id=transaction.id(),
            place=place,
            source=known.source
            if known is not None and known.source_entry == source_entry
            else decode_source(source_entry),
            topics=topics,
            holds=holds,
            place_entry=place_entry,
            source_entry=source_entry,
        )

    def _stops(self, transaction: "lmdb.Transaction[bytes]") -> tuple[TopicTable, tuple[Hold, ...]]:
        topics, holds = read_stops(_entries(transaction, _TOPICS), _entries(transaction, _HOLDS))
        return TopicTable(topics), in_order(holds)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The databases that changes are written to, as prefixes."""

    records: bytes = _RECORDS
    topics: bytes = _TOPICS
    holds: bytes = _HOLDS


class _Parted:
    """A transaction in which a database is a prefix."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: "lmdb.Transaction[bytes]") -> None:
        self._transaction = transaction

    def get(self, key: bytes, *, db: bytes) -> bytes | None:
        return self._transaction.get(db + key)

    def put(self, key: bytes, value: bytes, *, db: bytes) -> bool:
        return self._transaction.put(db + key, value)

    def delete(self, key: bytes, *, db: bytes) -> bool:
        return self._transaction.delete(db + key)


_PARTS: Final = _Parts()


def _entries(
    transaction: "lmdb.Transaction[bytes]", prefix: bytes
) -> "Generator[tuple[bytes, bytes], None, None]":
    cursor = transaction.cursor()
    if not cursor.set_range(prefix):
        return
    for key, value in cursor:
        if not key.startswith(prefix):
            return
        yield key, value


def _damaged(error: lmdb.Error) -> IndexUnusableError:
    return IndexUnusableError(Fault.DAMAGED, f"the cache cannot be read: {error}")
