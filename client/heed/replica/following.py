"""How one stream is followed: what is asked, and what each message does. No I/O but the index's.

Laws:
- Nothing is applied but what begins where the index stands; whatever does not fit, or is not
  understood, means a snapshot (`ResyncError`), never a guess.
- A heartbeat counts only where it says that the reader stands where the index does: so it cannot
  overtake changes, and what it echoes was all applied before it.
- A stream of another epoch, tenant or history makes nothing of what is there look young.

The messages are those of `protos/heed/v1/watch_service.proto`.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.duration_pb2 import Duration

from heed.audit.checkpoints import origin_of
from heed.audit.failing import ProofError
from heed.audit.ranges import decode_range
from heed.audit.snapshots import keys_hash, stops_hash
from heed.errors import HeedError
from heed.index.place import Place, Source
from heed.keys import LOOKUP_KEY_BYTES
from heed.model import NORMALISER_VERSION, RULE_VERSION, Change, Channel, Revision, TenantId
from heed.proof import HASH_BYTES
from heed.replica.kept import Life
from heed.replica.owned import Draft, Owned
from heed.replica.proving import Proving, UnprovableError
from heed.replica.shared_state import NEVER
from heed.tokens import EPOCH_BYTES
from heed.wire import watched
from heed.wire.limits import TOKEN_CHARACTERS_MAX
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb

SILENT_INTERVALS: Final = 3
"""So many heartbeat intervals without a message, and the stream is dead."""
OPENING_NS: Final = 10_000_000_000
"""So long a stream may take until its first message."""
HEARTBEAT_NS: Final = 1_000_000_000
"""The interval where the server names none."""
HEARTBEAT_NS_MAX: Final = 60_000_000_000
"""The longest interval that is believed: a stream that is silent for longer tells nothing new."""
RECONNECT_NS_MAX: Final = 30_000_000_000
"""The longest that a server can keep a cache from opening another stream."""
NOW_US_MAX: Final = 221_845_392_000_000_000
"""The year 9000: a source's time after it is no time."""
PROBES_MAX: Final = 1_024
"""Probes that are remembered until one of them comes back; older ones are forgotten."""


class Reason(enum.StrEnum):
    """Why a snapshot is asked for, or was sent."""

    NEW = "new"
    EPOCH_CHANGED = "epoch_changed"
    HISTORY_CHANGED = "history_changed"
    BEHIND = "behind"
    UNSPECIFIED = "unspecified"
    GAP = "gap"
    """What came does not begin where the index stands."""
    UNKNOWN = "unknown"
    """What came is of a later version."""
    DAMAGED = "damaged"
    """A snapshot that is not what it says, or an index that could not take a change."""
    DISPROVED = "disproved"
    """What came is not what the log's key signed."""
    UNPROVED = "unproved"
    """Nothing was told by which it could be: no key of this log was given, or no proof came."""


class ResyncError(Exception):
    """The stream cannot be followed; another one is to be opened, for a snapshot."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a cache asks its upstream for."""

    tenant: str
    subscriber: str
    instance: str
    channels: tuple[Channel, ...]
    topics: tuple[str, ...]
    max_staleness: Duration
    verifiable: bool = False

    def request(self, token: str) -> pb.WatchChangesRequest:
        """Return what opens a stream after a token; empty: with a snapshot."""
        return pb.WatchChangesRequest(
            tenant=self.tenant,
            subscriber=self.subscriber,
            instance=self.instance,
            token=token,
            channels=[types.Channel.ValueType(channel) for channel in self.channels],
            topics=self.topics,
            max_staleness=self.max_staleness,
            rule_version=RULE_VERSION,
            normaliser_version=NORMALISER_VERSION,
            verifiable=self.verifiable,
        )


@dataclass(slots=True)
class Resyncs:
    """How often a snapshot came, by its reason. Written only by the follower."""

    by_reason: dict[Reason, int] = field(default_factory=dict)

    def count(self, reason: Reason) -> None:
        """Count one."""
        self.by_reason[reason] = self.by_reason.get(reason, 0) + 1


class Following:
    """One stream. `take` is the follower thread's, `probe` the pacer's."""

    def __init__(
        self,
        owned: Owned,
        *,
        tenant: str,
        resumes: bool,
        clock: Callable[[], int],
        resyncs: Resyncs,
        proving: Proving | None = None,
    ) -> None:
        """Begin before the stream is opened; `resumes` says whether a token was given.

        `proving` holds what comes against what was signed; None: nothing does.
        """
        self._owned = owned
        self._resumes = resumes
        self._tenant = tenant
        self._clock = clock
        self._resyncs = resyncs
        self._proving = proving
        self._opened: pb.Opened | None = None
        self._source = Source(tenant="", lookup_keys=())
        self._needs_snapshot = True
        self._draft: Draft | None = None
        self._begin: pb.SnapshotBegin | None = None
        self._is_other_history = False
        self._probe = 0
        self._sent: dict[int, int] = {}
        self._interval_ns = 0
        self._last_ns = clock()
        self._heard_ns = 0
        self.reconnect_ns: int | None = None
        """When to open another stream, once the server asked for that."""

    @property
    def life(self) -> Life | None:
        """The life of the store that the stream is of, once what is there is of it."""
        opened = self._opened
        if opened is None or self._needs_snapshot:
            return None
        return Life(
            epoch=opened.epoch,
            source=self._source,
            earlier={one.epoch: one.revision for one in opened.offers_taken.earlier},
        )

    def lived_ns(self) -> int:
        """For how long heartbeats came that counted."""
        return self._last_ns - self._heard_ns if self._heard_ns else 0

    def silent_ns(self) -> int:
        """When the stream is dead, if nothing more comes; on the boot clock."""
        wait = SILENT_INTERVALS * self._interval_ns if self._interval_ns else OPENING_NS
        return self._last_ns + wait

    def probe(self) -> pb.ReportAppliedRequest | None:
        """Return the next probe, which counts as sent now; None before the stream is opened."""
        opened = self._opened
        if opened is None:
            return None
        place = self._owned.place
        applied = 0 if place is None or self._needs_snapshot else place.revision
        probe = self._probe + 1
        # Noted before it is counted: the other thread may hear of it at once.
        self._sent[probe] = self._clock()
        self._sent.pop(probe - PROBES_MAX, None)
        self._probe = probe
        return pb.ReportAppliedRequest(
            tenant=self._tenant,
            stream_id=opened.stream_id,
            applied_revision=applied,
            probe=probe,
        )

    def take(self, message: pb.WatchChangesResponse) -> None:
        """Do what the next message says.

        Raises:
            ResyncError: it does not fit, or is not understood.
            IndexUnusableError: the index cannot take it.
        """
        self._last_ns = self._clock()
        event = message.WhichOneof("event")
        if self._opened is None and event != "opened":
            raise ResyncError(Reason.GAP, f"a stream began with {event}")
        try:
            match event:
                case "opened":
                    self._open(message.opened)
                case "snapshot_begin":
                    self._begin_snapshot(message.snapshot_begin)
                case "snapshot_chunk":
                    self._required_draft().add(message.snapshot_chunk.records)
                case "snapshot_end":
                    self._end_snapshot(message.snapshot_end)
                case "changes":
                    self._apply(message.changes)
                case "heartbeat":
                    self._hear(message.heartbeat)
                case "draining":
                    wait = message.draining.reconnect_after
                    asked_ns = min(max(wait.ToNanoseconds(), 0), RECONNECT_NS_MAX)
                    self.reconnect_ns = self._last_ns + asked_ns
                case _:
                    raise ResyncError(Reason.UNKNOWN, "an event is of a later version")
            if self._proving is not None:
                self._proving.compare()
        except watched.LaterVersionError as error:
            raise ResyncError(Reason.UNKNOWN, error.message) from error
        except UnprovableError as error:
            raise ResyncError(Reason.UNPROVED, str(error)) from error
        except ProofError as error:
            raise self._disproved(error) from error

    def _disproved(self, error: ProofError) -> ResyncError:
        """Allow nothing by what is there, and have it made anew, also after a restart."""
        if self._proving is not None:
            self._proving.disproved(error)
        self._owned.distrust()
        self._owned.forget_tree()
        return ResyncError(Reason.DISPROVED, str(error))

    def _open(self, opened: pb.Opened) -> None:
        if self._opened is not None:
            raise ResyncError(Reason.GAP, "a stream was opened twice")
        keys = tuple((key.key_id, key.key) for key in opened.lookup_keys)
        if (
            len(opened.epoch) != EPOCH_BYTES
            or not keys
            or any(len(key) != LOOKUP_KEY_BYTES for _, key in keys)
        ):
            raise ResyncError(Reason.UNKNOWN, "a stream's epoch or keys are of a later version")
        self._source = Source(tenant=opened.tenant, lookup_keys=keys)
        interval_ns = opened.heartbeat_interval.ToNanoseconds()
        self._interval_ns = min(interval_ns, HEARTBEAT_NS_MAX) if interval_ns > 0 else HEARTBEAT_NS
        self._begin_proving(opened)
        place = self._owned.place
        if place is None or (place.epoch, place.tenant_id) != (opened.epoch, opened.tenant_id):
            self._owned.distrust()
        else:
            self._needs_snapshot = not self._resumes
            self._require_no_key_less()
            self._resume_proving(place)
            self._owned.amend(
                self._source,
                rule_version=max(place.rule_version, opened.rule_version),
                normaliser_version=max(place.normaliser_version, opened.normaliser_version),
            )
        self._opened = opened

    def _require_no_key_less(self) -> None:
        """Forget no lookup key under which subjects may stand here."""
        source = self._owned.source
        if source is not None and not set(source.lookup_keys) <= set(self._source.lookup_keys):
            raise ResyncError(
                Reason.UNKNOWN, "a stream told less lookup keys than there are, or others"
            )

    def _begin_proving(self, opened: pb.Opened) -> None:
        if self._proving is None:
            return
        if not self._proving.open(opened.epoch, TenantId(opened.tenant_id)):
            self._owned.distrust()
            log = origin_of(opened.epoch, TenantId(opened.tenant_id))
            raise ResyncError(Reason.UNPROVED, f"no key was given of the log {log}")

    def _resume_proving(self, place: Place) -> None:
        if self._proving is None or self._needs_snapshot:
            return
        source = self._owned.source
        if source is None or source.lookup_keys != self._source.lookup_keys:
            # By the wrong one nobody would be found; a snapshot vouches for them.
            raise ResyncError(
                Reason.UNPROVED, "the stream told a lookup key that is not vouched for"
            )
        kept = self._owned.tree()
        tree = None if kept is None else decode_range(kept)
        if tree is None or tree.size != place.revision:
            raise ResyncError(Reason.UNPROVED, "the index has no tree of where it stands")
        self._proving.resume(tree)

    def _begin_snapshot(self, begin: pb.SnapshotBegin) -> None:
        reason = _REASONS.get(begin.reason, Reason.UNSPECIFIED)
        self._resyncs.count(reason)
        self._is_other_history = reason not in {Reason.NEW, Reason.BEHIND}
        if self._is_other_history:
            self._owned.distrust()
        self._needs_snapshot = True
        self._begin = begin
        self._draft = self._owned.draft(
            [watched.topic_from(topic) for topic in begin.topics],
            [watched.hold_from(hold) for hold in begin.holds],
        )

    def _end_snapshot(self, end: pb.SnapshotEnd) -> None:
        draft, begin, opened = self._required_draft(), self._begin, self._opened
        self._draft = None
        if (draft.record_count, draft.checksum) != (end.record_count, end.checksum):
            raise ResyncError(
                Reason.DAMAGED,
                f"a snapshot of {end.record_count} records came as {draft.record_count}, "
                "or with another checksum",
            )
        if begin is None or opened is None or len(end.running_hash) != HASH_BYTES:
            raise ResyncError(Reason.DAMAGED, "a snapshot does not say where it stands")
        _require_short(end.token)
        tree = self._proved_snapshot(end, begin, draft)
        place = Place(
            tenant_id=TenantId(opened.tenant_id),
            epoch=opened.epoch,
            revision=Revision(begin.revision),
            running_hash=end.running_hash,
            stops_revision=Revision(begin.revision),
            rule_version=opened.rule_version,
            normaliser_version=opened.normaliser_version,
            token=end.token,
        )
        self._owned.install(
            draft, place, self._source, tree, is_other_history=self._is_other_history
        )
        self._needs_snapshot = False

    def _proved_snapshot(
        self, end: pb.SnapshotEnd, begin: pb.SnapshotBegin, draft: Draft
    ) -> bytes | None:
        """The tree that a snapshot stands at, once its log vouches for it."""
        if self._proving is None:
            return None
        stops = [watched.serialised(one) for group in (begin.topics, begin.holds) for one in group]
        try:
            tree = self._proving.take_snapshot(
                end,
                revision=Revision(begin.revision),
                records=draft.checksum,
                stops=stops_hash(stops),
                keys=keys_hash(self._source.lookup_keys),
            )
        except HeedError as error:
            raise ResyncError(Reason.UNPROVED, error.message) from error
        return tree.encode()

    def _apply(self, message: pb.Changes) -> None:
        place = self._owned.place
        if place is None or self._needs_snapshot:
            raise ResyncError(Reason.GAP, "changes came where a snapshot was due")
        if (
            message.after != place.revision
            or message.through < message.after
            or len(message.running_hash) != HASH_BYTES
            or not _is_ascending(message)
        ):
            raise ResyncError(
                Reason.GAP,
                f"changes after {message.after} came where {place.revision} was applied",
            )
        if message.through == place.revision:
            return
        _require_short(message.token)
        changes = [watched.change_from(change) for change in message.changes]
        self._require_known_keys(changes)
        self._take(
            message,
            changes,
            place,
            Place(
                tenant_id=place.tenant_id,
                epoch=place.epoch,
                revision=Revision(message.through),
                running_hash=message.running_hash,
                stops_revision=place.stops_revision,
                rule_version=_needed(place.rule_version, message.changes, _rule_version),
                normaliser_version=_needed(
                    place.normaliser_version, message.changes, _normaliser_version
                ),
                token=message.token,
            ),
        )

    def _require_known_keys(self, changes: Sequence[Change]) -> None:
        """Take nothing under a lookup key that was not told: it would not be found."""
        known = {key_id for key_id, _ in self._source.lookup_keys}
        for change in changes:
            if change.rekey is not None and change.rekey.key_id not in known:
                raise ResyncError(
                    Reason.UNKNOWN,
                    f"change {change.revision} is of lookup key {change.rekey.key_id}, which the "
                    "stream did not tell",
                )

    def _take(
        self, message: pb.Changes, changes: Sequence[Change], before: Place, after: Place
    ) -> None:
        proving = self._proving
        if proving is None:
            self._owned.apply(changes, after)
            return
        leaves, taken = proving.take_changes(message, changes, running=before.running_hash)
        tree = proving.grown(leaves)
        self._owned.apply(taken, after, tree.encode())
        by_hash = sum(1 for leaf in message.leaves if leaf.HasField("hash"))
        proving.applied(tree, leaves, by_hash)

    def _hear(self, heartbeat: pb.Heartbeat) -> None:
        place = self._owned.place
        if place is None or self._needs_snapshot:
            return  # the stream is alive; of what is there it says nothing
        if heartbeat.through != place.revision:
            raise ResyncError(
                Reason.GAP,
                f"a heartbeat says {heartbeat.through} where {place.revision} was applied",
            )
        if not 0 < heartbeat.now_us <= NOW_US_MAX:
            return  # no time that a decision could be made by: the cache ages
        self._heard_ns = self._heard_ns or self._last_ns
        sent_ns = self._sent.get(heartbeat.probe)
        known_ns = NEVER
        is_fresh = self._proving is None or self._proving.is_fresh
        if sent_ns is not None and heartbeat.source_age_ms >= 0 and is_fresh:
            known_ns = sent_ns - heartbeat.source_age_ms * 1_000_000
            for probe in [one for one in self._sent if one < heartbeat.probe]:
                self._sent.pop(probe, None)
        self._owned.heard(
            known_ns=max(known_ns, NEVER),
            source_now_us=heartbeat.now_us,
            heard_ns=self._last_ns,
        )

    def _required_draft(self) -> Draft:
        if self._draft is None:
            raise ResyncError(Reason.GAP, "a part of a snapshot came before its begin")
        return self._draft


def _require_short(token: str) -> None:
    """Take no token that is none: it stands in every place, and every look-up compares that."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise ResyncError(
            Reason.UNKNOWN,
            f"a token has {len(token)} characters, at most {TOKEN_CHARACTERS_MAX} are taken",
        )


def _is_ascending(message: pb.Changes) -> bool:
    last = message.after
    for change in message.changes:
        if not last < change.revision <= message.through:
            return False
        last = change.revision
    return True


def _needed(before: int, changes: Sequence[pb.Change], version: Callable[[pb.Change], int]) -> int:
    """The version that is needed after these changes; 0 in a change is that of before."""
    return max((before, *map(version, changes)))


def _rule_version(change: pb.Change) -> int:
    return change.rule_version


def _normaliser_version(change: pb.Change) -> int:
    return change.normaliser_version


_REASONS: Final = {
    pb.RESYNC_REASON_NEW: Reason.NEW,
    pb.RESYNC_REASON_EPOCH_CHANGED: Reason.EPOCH_CHANGED,
    pb.RESYNC_REASON_HISTORY_CHANGED: Reason.HISTORY_CHANGED,
    pb.RESYNC_REASON_BEHIND: Reason.BEHIND,
}
