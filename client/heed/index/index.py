"""What a node knows of one tenant: each subject's records, the holds and the topics.

Laws:
- It moves only from revision n to n + 1, in one write transaction that checks where it stands.
- It never answers from damage: what cannot be read or decoded raises, and is never "no records".
- It is written only by the follower that owns it, and read on the same thread (the event loop's).
- It is derived from the log and may be thrown away at any time (ADR 0007).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from heed.decide import Facts
from heed.index.changes import write_changes
from heed.index.claim import Claim
from heed.index.environment import Environment
from heed.index.faults import Fault, IndexGapError, IndexUnusableError, os_errors_as
from heed.index.hashes import HashRing, load
from heed.index.meta import META_KEY, IndexMeta, decode_meta
from heed.index.seal import Seal, break_seal, read_seal, write_seal
from heed.index.stops import in_order, read_stops
from heed.model import (
    Change,
    ChangeKind,
    Effect,
    Hold,
    Record,
    Revision,
    SubjectKey,
    TenantId,
    Topic,
)
from heed.records import DamagedRecordError, decode_each, rules_needed_after
from heed.topics import TopicTable

if TYPE_CHECKING:
    import lmdb

MAP_BYTES_MAX = 64 << 30
"""The default cap of the map: room for some 600 million records. Address space only; higher costs
nothing but lets a runaway index fill the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStats:
    """How large an index is."""

    subjects: int
    data_bytes: int
    map_bytes: int


class Index:
    """The index of one tenant. `open` it, or make it anew with `IndexBuilder`."""

    __slots__ = (
        "_claim",
        "_env",
        "_holds",
        "_is_sealed",
        "_meta",
        "_ring",
        "_stops_revision",
        "_topics",
        "epoch",
        "holds",
        "is_unusable",
        "revision",
        "rule_version",
        "running_hash",
        "tenant_id",
        "topics",
    )

    def __init__(self, env: Environment, claim: Claim, *, seal: Seal | None) -> None:
        """Take a whole environment, and the seal it was opened by. Others call `open`."""
        self._env = env
        self._claim = claim
        self._is_sealed = seal is not None
        self._topics: dict[str, Topic] = {}
        self._holds: dict[str, Hold] = {}
        self._meta = b""
        env.read(self._load)
        if seal is not None and seal.meta != self._meta:
            raise IndexUnusableError(Fault.DAMAGED, "the index and its seal are of two closings")
        meta = decode_meta(self._meta)
        self.tenant_id = meta.tenant_id
        self.epoch = meta.epoch
        self.revision = meta.revision
        self.running_hash = meta.running_hash
        self._stops_revision = meta.stops_revision
        self.rule_version = meta.rule_version
        """The least version of the rules that decides by all that was ever in it."""
        self.topics = TopicTable(self._topics.values())
        self.holds = in_order(self._holds.values())
        self.is_unusable = False
        """Whether it met damage or a change that it could not take. It stays so."""
        self._ring = _ring_of(meta, seal)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        tenant_id: TenantId,
        epoch: bytes,
        map_bytes_max: int = MAP_BYTES_MAX,
    ) -> Self:
        """Open an index that was closed, after comparing each of its bytes with its seal.

        Raises:
            IndexUnusableError: it must be rebuilt; `fault` says why.
            IndexClaimedError: another process uses it.
        """
        with ExitStack() as undo:
            claim = Claim(path)
            undo.callback(claim.release)
            with os_errors_as(Fault.DAMAGED, "be read"):
                seal = read_seal(path)
            _require_own(seal, tenant_id, epoch)
            env = Environment(path, data_bytes=seal.data_bytes, map_bytes_max=map_bytes_max)
            undo.callback(env.close)
            index = cls(env, claim, seal=seal)
            undo.pop_all()
        return index

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return all that `decide` needs of these subjects, of one revision.

        Raises:
            IndexUnusableError: damage.
        """
        return Facts(records=tuple(self.records_many(keys)), holds=self.holds, topics=self.topics)

    def records_many(self, keys: Sequence[SubjectKey]) -> list[tuple[Record, ...]]:
        """Return the records of each subject, by position, of one revision.

        Raises:
            IndexUnusableError: damage.
        """
        try:
            return decode_each(self._env.get_records(keys))
        except DamagedRecordError as error:
            self.is_unusable = True
            raise IndexUnusableError(Fault.DAMAGED, error.message) from error
        except IndexUnusableError:
            self.is_unusable = True
            raise

    def apply(self, changes: Sequence[Change]) -> None:
        """Take the next changes, all or none. They must begin at `revision` + 1 and be dense.

        Raises:
            IndexGapError: they do not; nothing changed, and the index is as good as before.
            IndexUnusableError: they cannot be taken; nothing changed, and nothing more will.
        """
        if not changes:
            return
        self._require_next(changes)
        last = changes[-1]
        stops_revision = _stops_revision(changes, self._stops_revision)
        rule_version = max(self.rule_version, *map(rules_needed_after, changes))
        meta = IndexMeta(
            tenant_id=self.tenant_id,
            epoch=self.epoch,
            revision=last.revision,
            running_hash=last.running_hash,
            stops_revision=stops_revision,
            rule_version=rule_version,
        ).encode()

        def write(txn: "lmdb.Transaction[bytes]") -> None:
            if txn.get(META_KEY, db=self._env.meta) != self._meta:
                raise IndexUnusableError(
                    Fault.REFUSED, f"the index does not stand at revision {self.revision} any more"
                )
            write_changes(self._env, txn, changes)
            txn.put(META_KEY, meta, db=self._env.meta)

        try:
            # A crash from here on leaves an index without a seal; the next start rebuilds it.
            self._break_seal()
            self._env.write(write)
        except IndexUnusableError:
            self.is_unusable = True
            raise
        self._meta = meta
        self._stops_revision, self.rule_version = stops_revision, rule_version
        self._move_to(changes)

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first 8 bytes of the running hash at a revision.

        None: the revision is ahead of the index, or older than the hashes kept (65,536).
        """
        return self._ring.get(revision)

    def seed_hashes(self, ring: HashRing) -> None:
        """Take hashes of earlier revisions, read from the log.

        Raises:
            ValueError: the ring's newest hash is not that of the index.
        """
        if ring.newest != self.revision or ring.get(self.revision) != self.hash_at(self.revision):
            raise ValueError(f"the hashes given do not end where the index is, at {self.revision}")
        self._ring = ring

    def stats(self) -> IndexStats:
        """Return how large the index is."""
        return IndexStats(
            subjects=self._env.count_subjects(),
            data_bytes=self._env.data_bytes(),
            map_bytes=self._env.map_bytes,
        )

    def forget_dead_readers(self) -> int:
        """Let go of the pages that processes read which are gone; return how many those were."""
        return self._env.forget_dead_readers()

    def close(self) -> None:
        """Flush, close and seal, so that the next `open` finds it. Takes a second for 1 GB.

        An unusable index is abandoned instead. A crash before the end leaves no seal.
        """
        if self.is_unusable:
            self.abandon()
            return
        try:
            if not self._is_sealed:
                self._env.sync()
            self._env.close()
            if not self._is_sealed:
                write_seal(self._env.directory, meta=self._meta, hashes=self._ring.dump())
        finally:
            self._claim.release()

    def abandon(self) -> None:
        """Close without a seal: what is on the disk will not be opened again."""
        self.is_unusable = True
        self._env.close()
        self._break_seal()
        self._claim.release()

    def dump_hashes(self) -> bytes:
        """Return the hashes kept, oldest first; the last is that of `revision`."""
        return self._ring.dump()

    def _load(self, txn: "lmdb.Transaction[bytes]") -> None:
        self._meta = txn.get(META_KEY, b"", db=self._env.meta)
        topics, holds = read_stops(
            txn.cursor(db=self._env.topics).iternext(), txn.cursor(db=self._env.holds).iternext()
        )
        self._topics = {topic.name: topic for topic in topics}
        self._holds = {hold.hold_id: hold for hold in holds}

    def _require_next(self, changes: Sequence[Change]) -> None:
        for revision, change in enumerate(changes, self.revision + 1):
            if change.revision != revision:
                raise IndexGapError(
                    f"the index is to take revision {revision} next, not {change.revision}",
                    metadata={"applied": str(self.revision)},
                )

    def _break_seal(self) -> None:
        if self._is_sealed:
            with os_errors_as(Fault.REFUSED, "break its seal"):
                break_seal(self._env.directory)
            self._is_sealed = False

    def _move_to(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._ring.push(change.running_hash)
            if change.effect is not Effect.APPLIED:
                continue
            if change.kind is ChangeKind.TOPIC and change.topic is not None:
                self._topics[change.topic.name] = change.topic
                self.topics = TopicTable(self._topics.values())
            elif change.kind is ChangeKind.HOLD and change.hold is not None:
                self._holds[change.hold.hold_id] = change.hold
                self.holds = in_order(self._holds.values())
            elif change.kind is ChangeKind.LIFT and change.hold is not None:
                del self._holds[change.hold.hold_id]
                self.holds = in_order(self._holds.values())
        self.revision = changes[-1].revision
        self.running_hash = changes[-1].running_hash


def _require_own(seal: Seal, tenant_id: TenantId, epoch: bytes) -> None:
    meta = decode_meta(seal.meta)
    if meta.tenant_id != tenant_id:
        raise IndexUnusableError(Fault.FOREIGN, f"the index is of tenant {meta.tenant_id}")
    if meta.epoch != epoch:
        raise IndexUnusableError(Fault.FOREIGN, f"the index is of epoch {meta.epoch.hex()}")


def _ring_of(meta: IndexMeta, seal: Seal | None) -> HashRing:
    if seal is None:
        return HashRing(meta.revision, meta.running_hash)
    try:
        return load(meta.revision, seal.hashes)
    except ValueError as error:
        raise IndexUnusableError(Fault.DAMAGED, f"the seal's hashes: {error}") from error


def _stops_revision(changes: Sequence[Change], before: Revision) -> Revision:
    """The last revision that changed a topic or a hold."""
    for change in reversed(changes):
        if change.kind in _OF_STOPS and change.effect is Effect.APPLIED:
            return change.revision
    return before


_OF_STOPS = frozenset({ChangeKind.TOPIC, ChangeKind.HOLD, ChangeKind.LIFT})
