"""The owner's side of a cache: everything that is ever written to it.

Laws:
- One thread of one process uses an `Owned`: the follower's, while it holds the folder's lock.
- An index moves only from where it stands, in one transaction that checks that; the state is told
  afterwards. A crash in between leaves an index that is newer than the state says, never older.
- A snapshot is built beside the index that serves, and takes its place when it is whole. A crash
  before that leaves a folder that no state names; the next owner removes it.
- An index of another life of the store is kept, flushed and marked, before another takes its place:
  what it holds may be lacking there, and is offered back (`heed.replica.offering`).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from heed.errors import UnavailableError
from heed.index.faults import Fault, IndexUnusableError, os_errors_as
from heed.index.place import Place, Source
from heed.index.shared import Entry, SharedIndex
from heed.model import Change, ChangeKind, Hold, Topic
from heed.records import encode_records
from heed.replica.kept import KEPT_MAX, Kept
from heed.replica.replica import Replica
from heed.replica.shared_state import NEVER, NOTHING, SharedState
from heed.wire import watched

_SUBJECTS_A_WRITE: int = 4_096
"""Subjects a transaction of a snapshot: higher holds more memory, lower commits more often."""

_STOPS = frozenset({ChangeKind.TOPIC, ChangeKind.HOLD, ChangeKind.LIFT})


class Draft:
    """A snapshot on its way."""

    def __init__(
        self, generation: int, index: SharedIndex, topics: Sequence[Topic], holds: Sequence[Hold]
    ) -> None:
        """`index` is new and empty."""
        self.generation = generation
        self.index = index
        self.topics = tuple(topics)
        self.holds = tuple(holds)
        self.record_count = 0
        self._checksum = hashlib.sha256()
        self._entries: list[Entry] = []

    @property
    def checksum(self) -> bytes:
        """SHA-256 of what was added so far."""
        return self._checksum.digest()

    def add(self, chunk: bytes) -> None:
        """Take a chunk.

        Raises:
            LaterVersionError: it says what this version does not know.
            IndexUnusableError: REFUSED: the disk is full, or a record is none.
        """
        self._checksum.update(chunk)
        for key, records in watched.subjects_from(chunk):
            self.record_count += len(records)
            try:
                self._entries.append((key, encode_records(records)))
            except ValueError as error:
                raise IndexUnusableError(
                    Fault.REFUSED, f"a record of the snapshot cannot be kept: {error}"
                ) from error
        if len(self._entries) >= _SUBJECTS_A_WRITE:
            self._write()

    def complete(self, place: Place, source: Source, tree: bytes | None) -> None:
        """Make the index whole. Raises as `add`."""
        self._write()
        self.index.complete(place, source, self.topics, self.holds, tree)

    def _write(self) -> None:
        if self._entries:
            self.index.append(self._entries)
            self._entries = []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """An index that is whole, where it stands, and whose it is."""

    generation: int
    index: SharedIndex
    place: Place
    source: Source


class Owned:
    """A cache that this process owns."""

    def __init__(self, replica: Replica) -> None:
        """Take over what the last owner left; the caller holds the folder's lock.

        Raises:
            IndexUnusableError: the folder cannot be written.
        """
        self._replica = replica
        self._whole: _Whole | None = None
        self.kept: list[Kept] = []
        """Indexes to be offered back, the oldest first. Added to by the follower's thread, taken
        from by the one that offers."""
        folder = replica.folder
        with os_errors_as(Fault.REFUSED, "take over its folder"):
            self._file = replica.own_state()
            left = self._file.read()
            clean = folder.take_clean()
        if not left.generation and clean:
            left = replace(NOTHING, generation=clean)
        self._state = replace(left, owner_pid=os.getpid())
        if left.generation:
            self._resume(left.generation)
        with os_errors_as(Fault.REFUSED, "take over its folder"):
            serving = folder.generation_path(self._state.generation)
            paths = [path for path in folder.kept() if path != serving]
        self.kept += [kept for path in paths if (kept := Kept.found(path)) is not None]
        replica.keep_to_owned()
        self._tell()
        folder.remove_others(self._state.generation)

    @property
    def place(self) -> Place | None:
        """Where the index stands; None: none is whole."""
        return None if self._whole is None else self._whole.place

    @property
    def source(self) -> Source | None:
        """Whose log it is, as far as is known."""
        return None if self._whole is None else self._whole.source

    @property
    def state(self) -> SharedState:
        """What was last told."""
        return self._state

    def amend(self, source: Source, *, rule_version: int, normaliser_version: int) -> None:
        """Note what the upstream says of itself, if it is news.

        Raises:
            IndexUnusableError: REFUSED.
        """
        whole = self._required()
        place = replace(
            whole.place, rule_version=rule_version, normaliser_version=normaliser_version
        )
        if (place, source) != (whole.place, whole.source):
            whole.index.amend(place, source)
            self._whole = replace(whole, place=place, source=source)

    def draft(self, topics: Sequence[Topic], holds: Sequence[Hold]) -> Draft:
        """Begin a snapshot; what is there goes on serving.

        Raises:
            IndexUnusableError: REFUSED.
        """
        folder = self._replica.folder
        folder.remove_others(self._state.generation)
        generation = folder.new_generation()
        index = SharedIndex.create(folder.generation_path(generation))
        return Draft(generation, index, topics, holds)

    def install(
        self,
        draft: Draft,
        place: Place,
        source: Source,
        tree: bytes | None = None,
        *,
        is_other_history: bool = False,
    ) -> None:
        """Put a snapshot in the place of what is there, and keep a tree with its place.

        `is_other_history` says that the source's log does not go on from what is there.

        Raises:
            IndexUnusableError: REFUSED; what is there goes on serving.
        """
        draft.complete(place, source, tree)
        old = self.place
        self._keep_of_another_life(place, is_other_history=is_other_history)
        self._whole = _Whole(
            generation=draft.generation, index=draft.index, place=place, source=source
        )
        self._replica.adopt(draft.generation, draft.index)
        # What holds all that the old one held is as young; how old another is, a heartbeat says,
        # and until then nothing is allowed by it.
        holds_the_old = (
            old is not None
            and (old.epoch, old.tenant_id) == (place.epoch, place.tenant_id)
            and old.revision <= place.revision
        )
        self._tell(
            generation=draft.generation,
            revision=place.revision,
            known_ns=self._state.known_ns if holds_the_old else NEVER,
        )
        self._replica.folder.remove_others(draft.generation)

    def apply(self, changes: Sequence[Change], after: Place, tree: bytes | None = None) -> None:
        """Take changes that lead to `after`, whose `stops_revision` is set here, and keep a tree.

        Raises:
            IndexGapError: another process moved the index.
            IndexUnusableError: REFUSED.
        """
        whole = self._required()
        stops = [change.revision for change in changes if change.kind in _STOPS]
        after = replace(after, stops_revision=stops[-1] if stops else whole.place.stops_revision)
        whole.index.apply(changes, before=whole.place, after=after, tree=tree)
        self._whole = replace(whole, place=after)
        self._tell(revision=after.revision)

    def tree(self) -> bytes | None:
        """Return the tree that is kept with the place; None: none is.

        Raises:
            IndexUnusableError: DAMAGED.
        """
        return self._required().index.tree()

    def forget_tree(self) -> None:
        """Keep none any more, so that who verifies asks for a snapshot, also after a restart.

        Raises:
            IndexUnusableError: REFUSED.
        """
        if self._whole is not None:
            self._whole.index.forget_tree()

    def heard(self, *, known_ns: int, source_now_us: int, heard_ns: int) -> None:
        """Tell what a heartbeat said. What was known once stays known."""
        self._tell(
            known_ns=max(known_ns, self._state.known_ns),
            source_now_us=source_now_us,
            heard_ns=heard_ns,
        )

    def distrust(self) -> None:
        """Allow nothing by what is there: it is of another history than the source's."""
        if self._state.known_ns != NEVER:
            self._tell(known_ns=NEVER)

    def forget_dead_readers(self) -> None:
        """Let LMDB use again the pages that dead processes read."""
        if self._whole is not None:
            self._whole.index.forget_dead_readers()

    def close(self) -> None:
        """Flush, so that the index counts after another boot too.

        Nothing is raised: what could not be flushed is built anew then.
        """
        whole, self._whole = self._whole, None
        if whole is None:
            return
        try:
            whole.index.sync()
            self._replica.folder.note_clean(whole.generation)
        except (IndexUnusableError, OSError):
            return

    def _keep_of_another_life(self, place: Place, *, is_other_history: bool) -> None:
        """Keep what is there where the source's log may lack what it holds.

        A crash after it leaves an index that the state names and that is marked: it is taken over,
        and kept again when the next snapshot is whole.
        """
        whole = self._whole
        if whole is None or (whole.place.epoch == place.epoch and not is_other_history):
            return
        whole.index.sync()
        with os_errors_as(Fault.REFUSED, "keep what is of another life of the store"):
            self._replica.folder.keep(whole.index.directory)
        self.kept.append(Kept(whole.index, whole.place, whole.source))
        while len(self.kept) > KEPT_MAX:
            self.kept.pop(0).give_up("too many lives of the store ended before it could be")

    def _resume(self, generation: int) -> None:
        try:
            index = self._replica.index(generation)
            view, _ = index.find_all((), None)
            index.forget_dead_readers()
        except IndexUnusableError:
            self._state = replace(NOTHING, owner_pid=os.getpid())
            return
        self._whole = _Whole(
            generation=generation, index=index, place=view.place, source=view.source
        )
        # An index behind what was told of it was put there by another hand: how old it is nobody
        # knows.
        is_older = view.place.revision < self._state.revision
        self._state = replace(
            self._state,
            revision=view.place.revision,
            known_ns=NEVER if is_older else self._state.known_ns,
        )

    def _required(self) -> _Whole:
        if self._whole is None:
            raise UnavailableError("the cache is not whole yet")
        return self._whole

    def _tell(
        self,
        *,
        generation: int | None = None,
        revision: int | None = None,
        known_ns: int | None = None,
        source_now_us: int | None = None,
        heard_ns: int | None = None,
    ) -> None:
        old = self._state
        self._state = SharedState(
            generation=old.generation if generation is None else generation,
            revision=old.revision if revision is None else revision,
            known_ns=old.known_ns if known_ns is None else known_ns,
            source_now_us=old.source_now_us if source_now_us is None else source_now_us,
            heard_ns=old.heard_ns if heard_ns is None else heard_ns,
            owner_pid=old.owner_pid,
        )
        self._file.write(self._state)
