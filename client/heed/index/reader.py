"""Reading an index that another process of the host keeps in step.

Laws:
- Every look-up reads in a transaction of its own, begun at that moment: whatever the writer had
  committed when the look-up was asked for is in it, and all of it is of one revision.
- No transaction outlives its look-up, so that a reader at rest keeps no old pages from reuse.
- It writes nothing, repairs nothing, and never takes damage for "no record".
- One thread uses a reader, and a process has one reader a directory.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb

from heed.decide import Facts
from heed.index.environment import MAP_BYTES_MIN
from heed.index.faults import Fault, IndexUnusableError, lmdb_errors_as, os_errors_as
from heed.index.meta import META_KEY, IndexMeta, decode_meta
from heed.index.pages import require_all_pages
from heed.index.seal import DATA_FILE
from heed.index.stops import in_order, read_stops
from heed.model import Hold, Record, Revision, SubjectKey
from heed.records import DamagedRecordError, decode_each
from heed.tokens import TOKEN_HASH_BYTES
from heed.topics import TopicTable


class IndexReader:
    """The index at a path, as it stood at the last look-up."""

    __slots__ = (
        "_begin",
        "_env",
        "_hash_at",
        "_meta_db",
        "_path",
        "_place",
        "_records_db",
        "_stops_dbs",
        "_stops_revision",
        "epoch",
        "holds",
        "is_damaged",
        "revision",
        "running_hash",
        "tenant_id",
        "topics",
    )

    def __init__(self, path: Path, *, hash_at: Callable[[Revision], bytes | None]) -> None:
        """Open what is there. `hash_at` knows the hashes of revisions before the newest.

        Raises:
            IndexUnusableError: MISSING, DAMAGED, or VERSION when other code wrote it.
        """
        self._path = path
        self._hash_at = hash_at
        self.is_damaged = False
        """Whether a look-up met what the writer cannot have written. It stays so."""
        self._place: bytes | None = None
        self._stops_revision: Revision | None = None
        self.holds: tuple[Hold, ...] = ()
        self.topics = TopicTable(())
        self._open()
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def refresh(self) -> None:
        """Take note of where the index stands now. Raises: as `records_many`."""
        self.records_many(())

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return all that `decide` needs of these subjects, of one revision.

        Raises: as `records_many`.
        """
        records = tuple(self.records_many(keys))
        return Facts(records=records, holds=self.holds, topics=self.topics)

    def records_many(self, keys: Sequence[SubjectKey]) -> list[tuple[Record, ...]]:
        """Return the records of each subject, by position, and move to the newest revision.

        Raises:
            IndexUnusableError: it cannot be read; another look-up may succeed once the writer has
                made it anew.
        """
        try:
            return decode_each(self._look_up(keys))
        except DamagedRecordError as error:
            self.is_damaged = True
            raise IndexUnusableError(Fault.DAMAGED, error.message) from error
        except lmdb.Error as error:
            self.is_damaged = True
            raise IndexUnusableError(Fault.DAMAGED, f"the index cannot be read: {error}") from error
        except IndexUnusableError as error:
            self.is_damaged = error.fault is Fault.DAMAGED
            raise

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first 8 bytes of the running hash at a revision; None: it is not known."""
        if revision == self.revision:
            return self.running_hash[:TOKEN_HASH_BYTES]
        return self._hash_at(revision)

    def close(self) -> None:
        """Let go of the files."""
        self._env.close()

    def _open(self) -> None:
        with os_errors_as(Fault.MISSING, "be read"):
            data_bytes = (self._path / DATA_FILE).stat().st_size
        with lmdb_errors_as(Fault.DAMAGED, "be opened"):
            self._env = lmdb.open(
                str(self._path),
                map_size=max(MAP_BYTES_MIN, 2 * data_bytes),
                readonly=True,
                create=False,
                max_dbs=4,
                max_spare_txns=1,
            )
            try:
                require_all_pages(self._env, self._path)
                self._records_db = self._env.open_db(b"records", create=False)
                self._meta_db = self._env.open_db(b"meta", create=False)
                self._stops_dbs = (
                    self._env.open_db(b"topics", create=False),
                    self._env.open_db(b"holds", create=False),
                )
            except (lmdb.Error, IndexUnusableError):
                self._env.close()
                raise
        self._begin = self._env.begin

    def _look_up(self, keys: Sequence[SubjectKey]) -> list[bytes | None]:
        try:
            transaction = self._begin(self._records_db)
        except lmdb.MapResizedError:  # the writer made room for more
            self._env.close()
            self._open()
            transaction = self._begin(self._records_db)
        try:
            # Not by the transaction's number: LMDB takes it before it reads the root, which may be
            # of two commits later by then.
            place = transaction.get(META_KEY, b"", db=self._meta_db)
            if place != self._place:
                self._look_around(transaction, place)
            return list(map(transaction.get, keys))
        finally:
            transaction.abort()

    def _look_around(self, transaction: "lmdb.Transaction[bytes]", place: bytes) -> None:
        """Take all but records from a transaction of a revision that was not seen yet."""
        self._place = None  # half of what follows is not to be believed
        meta = decode_meta(place)
        if meta.stops_revision != self._stops_revision:
            topics_db, holds_db = self._stops_dbs
            topics, holds = read_stops(
                transaction.cursor(db=topics_db).iternext(),
                transaction.cursor(db=holds_db).iternext(),
            )
            self.topics = TopicTable(topics)
            self.holds = in_order(holds)
            self._stops_revision = meta.stops_revision
        self._stand_at(meta)
        self._place = place

    def _stand_at(self, meta: IndexMeta) -> None:
        self.tenant_id = meta.tenant_id
        self.epoch = meta.epoch
        self.revision = meta.revision
        self.running_hash = meta.running_hash
