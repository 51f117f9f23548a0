"""How an index is made anew from a snapshot: beside the old one, which it then replaces.

Records come ascending by subject key and are appended, so that pages are filled to the brim and
the whole is as fast as encoding is. A crash at any point leaves no seal, and the next start
rebuilds again.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from heed.index.claim import Claim
from heed.index.environment import Environment
from heed.index.faults import Fault, IndexUnusableError, os_errors_as
from heed.index.index import MAP_BYTES_MAX, Index
from heed.index.meta import META_KEY, IndexMeta
from heed.index.stops import encode_hold, encode_topic, hold_entry_key, topic_entry_key
from heed.model import Head, Hold, Record, SubjectKey, TenantId, Topic
from heed.records import encode_records, rules_needed

if TYPE_CHECKING:
    import lmdb

_WRITE_SUBJECTS_MAX = 4096
"""Subjects a transaction: higher holds more memory and the loop for longer, lower commits more."""


class IndexBuilder:
    """Makes the index of one tenant at one revision. Close it by `finish` or `abandon`."""

    def __init__(
        self,
        path: Path,
        *,
        tenant_id: TenantId,
        head: Head,
        topics: Iterable[Topic],
        holds: Iterable[Hold],
        map_bytes_max: int = MAP_BYTES_MAX,
    ) -> None:
        """Begin; what is at `path` stays until `finish`.

        Raises:
            IndexClaimedError: another process, or an index of this one, uses it.
            IndexUnusableError: REFUSED, as from `add`.
        """
        self._path = path
        self._meta = IndexMeta(
            tenant_id=tenant_id,
            epoch=head.epoch,
            revision=head.revision,
            running_hash=head.running_hash,
            stops_revision=head.revision,
            rule_version=1,
        )
        self._topics = tuple(topics)
        self._holds = tuple(holds)
        self._key = SubjectKey(b"")
        self._records: list[Record] = []
        self._entries: list[tuple[bytes, bytes]] = []
        self._claim = Claim(path)
        try:
            draft = path.with_name(path.name + ".building")
            with os_errors_as(Fault.REFUSED, "be begun"):
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(mode=0o700, parents=True)
            self._env = Environment(draft, data_bytes=0, map_bytes_max=map_bytes_max)
        except BaseException:
            self._claim.release()
            raise

    def add(self, batch: Sequence[tuple[SubjectKey, Record]]) -> None:
        """Add records, ascending by subject key, also from batch to batch.

        Raises:
            ValueError: they are not ascending.
            IndexUnusableError: REFUSED: the disk is full, or the map at its cap.
        """
        for key, record in batch:
            if key == self._key:
                self._records.append(record)
                continue
            if key < self._key:
                raise ValueError("records for an index must come ascending by subject key")
            self._end_subject()
            self._key = key
            self._records = [record]
        if len(self._entries) >= _WRITE_SUBJECTS_MAX:
            self._write_entries()

    def finish(self) -> Index:
        """Put the new index in the place of the old one and return it, open.

        Raises:
            IndexUnusableError: REFUSED, as from `add`; the builder is still to be abandoned.
        """
        self._end_subject()
        self._write_entries()
        self._env.write(self._write_rest)
        # The old one goes first: a crash between the two leaves none, which is rebuilt.
        with os_errors_as(Fault.REFUSED, "take the place of the old one"):
            shutil.rmtree(self._path, ignore_errors=True)
            self._env.directory = self._env.directory.rename(self._path)
        return Index(self._env, self._claim, seal=None)

    def abandon(self) -> None:
        """Give up; what is at `path` stays as it was."""
        self._env.close()
        shutil.rmtree(self._env.directory, ignore_errors=True)
        self._claim.release()

    def _end_subject(self) -> None:
        if not self._records:
            return
        try:
            self._entries.append((self._key, encode_records(self._records)))
            needed = rules_needed(self._records)
            if needed > self._meta.rule_version:
                self._meta = replace(self._meta, rule_version=needed)
        except ValueError as error:
            raise IndexUnusableError(
                Fault.REFUSED, f"a record cannot be encoded: {error}"
            ) from error
        self._records = []

    def _write_entries(self) -> None:
        entries = self._entries

        def write(txn: "lmdb.Transaction[bytes]") -> None:
            _, added = txn.cursor(db=self._env.records).putmulti(entries, append=True)
            if added != len(entries):
                raise IndexUnusableError(Fault.REFUSED, f"{added} of {len(entries)} were added")

        self._env.write(write)
        self._entries = []

    def _write_rest(self, txn: "lmdb.Transaction[bytes]") -> None:
        for topic in self._topics:
            txn.put(topic_entry_key(topic.name), encode_topic(topic), db=self._env.topics)
        for hold in self._holds:
            txn.put(hold_entry_key(hold.hold_id), encode_hold(hold), db=self._env.holds)
        txn.put(META_KEY, self._meta.encode(), db=self._env.meta)
