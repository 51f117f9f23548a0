"""How a cache holds what it was told against what the log's key signed.

Laws:
- Every revision from the snapshot's on is a leaf of a tree of the cache's own, made of what the
  cache applies where the stream says what that was made of. A signed checkpoint of a size that was
  passed must have the root that this tree had there; one of a size ahead is kept until it is
  passed.
- What is told by its hash alone proves nothing of what it says, so by that only a stop is taken.
- What was proved once stays so: the last checkpoint outlives the index, and whatever follows, a
  snapshot too, must begin with its tree.
- What is not proved in time makes nothing look young (`is_fresh`): the cache ages, and asks.

All but `ask` is the follower's thread's.
Source: ADR 0039; RFC 6962 for the tree.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from heed.audit.checkpoints import Checkpoint, open_checkpoint, origin_of
from heed.audit.effects import read_content, require_told
from heed.audit.failing import ProofError
from heed.audit.notes import VerifierKey, Verify
from heed.audit.ranges import CompactRange
from heed.audit.snapshots import snapshot_line
from heed.audit.tree import verify_consistency
from heed.model import Change, ChangeKind, RecordKind, Revision, TenantId
from heed.proof import (
    HASH_BYTES,
    NO_SUBJECT,
    SALT_BYTES,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    running_hash,
)
from heed.replica import contradictions
from heed.wire import ask_proofs
from heed.wire.watched import LaterVersionError
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import watch_service_pb2 as pb

ASK_SECONDS: Final = 5
"""How often a checkpoint is asked for, while something was applied that none has proved."""
UNPROVED_SECONDS_MAX: Final = 60
"""So long after a change was applied a checkpoint must have proved it; else the cache ages."""
LEAVES_KEPT_MAX: Final = 1 << 18
"""Leaf hashes after the last proof, 32 bytes each; a checkpoint from before them is of no use."""

_TIMES_MAX: Final = 128
_SECOND_NS: Final = 1_000_000_000

_LOG: Final = logging.getLogger("heed.cache")


class Asking(Protocol):
    """Where checkpoints come from."""

    def checkpoint(self, request: audit.GetCheckpointRequest) -> audit.GetCheckpointResponse:
        """Ask for the last one; waits a second at most. Raises HeedError."""
        ...

    def consistency(
        self, request: audit.GetConsistencyProofRequest
    ) -> audit.GetConsistencyProofResponse:
        """Ask for the proof that it begins with an earlier one; five at most. Raises HeedError."""
        ...


class UnprovableError(Exception):
    """Something cannot be proved, and nobody lied: a snapshot helps."""


@dataclass(slots=True)
class ProofCounts:
    """What a cache proved. Written by the follower's thread."""

    proved_revision: int = 0
    """All that was applied up to here is what the log's key signed."""
    told_by_hash: int = 0
    """Revisions since the start that were told by their hash alone."""
    disproved: int = 0
    """How often something did not fit."""


class SignedCheckpoint(NamedTuple):
    """A checkpoint, and how it was signed."""

    checkpoint: Checkpoint
    note: str


class Proving:
    """What one cache proves."""

    def __init__(
        self,
        keys: Sequence[VerifierKey],
        verify: Verify,
        folder: Path,
        upstream: Asking,
        *,
        tenant: str,
        filter_hash: bytes,
        clock: Callable[[], int],
    ) -> None:
        """`keys` are those whose logs are believed; `filter_hash` is of what is asked for."""
        self.counts = ProofCounts()
        self._keys = tuple(keys)
        self._verify = verify
        self._folder = folder
        self._upstream = upstream
        self._tenant = tenant
        self._filter_hash = filter_hash
        self._clock = clock
        self._ask_at = 0
        # A checkpoint that was heard: set by who asks, taken by the follower's thread.
        self._heard = ""
        self._origin = ""
        self._tenant_id = TenantId(0)
        self._proved: SignedCheckpoint | None = None
        """The last one that was proved, of this origin."""
        self._ahead: SignedCheckpoint | None = None
        """One that is compared once it is passed."""
        self._base: CompactRange | None = None
        """The tree where it was proved last, or at the begin of the stream; None: there is none."""
        self._leaves: list[bytes] = []
        """From there to where the index stands."""
        self._tree = CompactRange()
        """The tree where the index stands."""
        self._times: deque[tuple[int, int]] = deque()
        """Through which revision, and when the first of those was applied; of what is unproved."""

    def ask(self) -> None:
        """Ask for a checkpoint, if one is due. Raises HeedError."""
        now = self._clock()
        if self._is_proved or self._ahead is not None or self._heard or now < self._ask_at:
            return
        self._ask_at = now + ASK_SECONDS * _SECOND_NS
        answer = self._upstream.checkpoint(ask_proofs.get_checkpoint(self._tenant))
        self._heard = answer.checkpoint

    @property
    def is_fresh(self) -> bool:
        """Whether what was applied is proved, or young enough to be proved yet."""
        times, proved = self._times, self._proved
        if self._base is None or (proved and self._tree.size < proved.checkpoint.size):
            return False
        return not times or self._clock() - times[0][1] <= UNPROVED_SECONDS_MAX * _SECOND_NS

    def open(self, epoch: bytes, tenant_id: TenantId) -> bool:
        """Begin with a stream; False: no key was given of its log.

        Raises:
            OSError: what was proved cannot be read.
        """
        self._origin, self._tenant_id = origin_of(epoch, tenant_id), tenant_id
        self._base, self._ahead, self._heard = None, None, ""
        self._proved = self._read_proved()
        self.counts.proved_revision = 0 if self._proved is None else self._proved.checkpoint.size
        return any(key.name == self._origin for key in self._keys)

    def resume(self, tree: CompactRange) -> None:
        """Go on from where the index stands; what is unproved has waited since it was applied."""
        proved = self._proved
        since = self._times[0][1] if self._times else self._clock()
        self._begin(tree)
        if proved is not None and proved.checkpoint.size > tree.size:
            self._ahead = proved  # an index of before that proof: it is to come to the same
        elif proved is None or proved.checkpoint.size < tree.size:
            self._times.append((tree.size, since))

    def take_snapshot(
        self,
        end: pb.SnapshotEnd,
        *,
        revision: Revision,
        records: bytes,
        stops: bytes,
        keys: bytes,
    ) -> CompactRange:
        """Return the tree that a snapshot stands at, by the hashes of what came of it.

        Raises:
            ProofError: nobody vouches for it, or it is not of the log that was proved before.
            HeedError: there is no telling whether it is.
        """
        found = SignedCheckpoint(
            open_checkpoint(end.checkpoint, self._keys, self._verify), end.checkpoint
        )
        checkpoint = found.checkpoint
        line = snapshot_line(records=records, stops=stops, filter_=self._filter_hash, keys=keys)
        if (checkpoint.origin, checkpoint.size) != (self._origin, revision):
            raise ProofError(
                f"a snapshot of revision {revision} comes with a checkpoint of "
                f"{checkpoint.origin} at {checkpoint.size}"
            )
        if line not in checkpoint.extensions:
            raise ProofError(f"the snapshot of revision {revision} is another than was signed")
        tree = CompactRange(checkpoint.size, end.subtree_hashes)
        if tree.root() != checkpoint.root:
            raise ProofError("the tree that comes with a snapshot has not the signed root")
        proved = self._proved
        self._begin(tree)
        if proved is not None and proved.checkpoint.size > checkpoint.size:
            self._ahead = proved
        else:
            self._require_extends(found)
            self._keep(found)
        return tree

    def take_changes(
        self, message: pb.Changes, changes: Sequence[Change], *, running: bytes
    ) -> tuple[list[bytes], list[Change]]:
        """Return the leaves of a message, and of its changes those that may be applied.

        `running` is the running hash before them.

        Raises:
            ProofError: one was told otherwise than the log has it, or is missing.
            UnprovableError: one can be neither taken nor left by its hash alone.
            LaterVersionError: a leaf is told as this version does not know.
        """
        if len(message.leaves) != message.through - message.after:
            raise ProofError(f"the changes after {message.after} lack a leaf")
        told = {int(change.revision): change for change in changes}
        leaves: list[bytes] = []
        taken: list[Change] = []
        for at, leaf in enumerate(message.leaves, message.after + 1):
            change = told.get(at)
            if leaf.HasField("content"):
                if change is None:
                    raise ProofError(f"change {at} came without what it does")
                leaves.append(self._bound(leaf.content, change))
                taken.append(change)
                continue
            if not leaf.HasField("hash") or len(leaf.hash) != HASH_BYTES:
                raise LaterVersionError(f"the leaf of change {at} is of a later version")
            leaves.append(leaf.hash)
            if change is not None and _may_be_taken(change):
                taken.append(change)
        for one in leaves:
            running = running_hash(running, one)
        if running != message.running_hash:
            raise ProofError(f"the leaves up to {message.through} do not give its running hash")
        return leaves, taken

    def grown(self, leaves: Sequence[bytes]) -> CompactRange:
        """Return the tree after these leaves, without going there."""
        tree = self._tree.copy()
        tree.extend(leaves)
        return tree

    def applied(self, tree: CompactRange, leaves: Sequence[bytes], by_hash: int) -> None:
        """Go to where the index stands since. `by_hash` of the leaves were told by that alone."""
        self._tree = tree
        self._leaves += leaves
        self.counts.told_by_hash += by_hash
        now, times = self._clock(), self._times
        if times and (now - times[-1][1] < _SECOND_NS or len(times) >= _TIMES_MAX):
            times[-1] = (tree.size, times[-1][1])
        else:
            times.append((tree.size, now))
        if len(self._leaves) > LEAVES_KEPT_MAX and self._base is not None:
            half = LEAVES_KEPT_MAX // 2
            self._base.extend(self._leaves[:half])
            del self._leaves[:half]

    def compare(self) -> None:
        """Hold a checkpoint that was heard, if there is one that was passed, against the tree.

        Raises:
            ProofError: they differ, or it was signed by no key that was given.
        """
        base = self._base
        if base is None:
            return
        if self._heard and self._ahead is None:
            note, self._heard = self._heard, ""
            found = SignedCheckpoint(open_checkpoint(note, self._keys, self._verify), note)
            if found.checkpoint.origin == self._origin:  # else it is asked for again
                self._ahead = found
        ahead = self._ahead
        if ahead is None or ahead.checkpoint.size > self._tree.size:
            return
        self._ahead = None
        size = ahead.checkpoint.size
        if size < base.size:
            return  # of before what is kept
        tree = base.copy()
        tree.extend(self._leaves[: size - base.size])
        if tree.root() != ahead.checkpoint.root:
            self._keep_contradiction(
                f"the changes up to revision {size} of {self._origin} were told so that their tree "
                f"has the root {tree.root().hex()}, and this was signed:",
                ahead,
            )
            raise ProofError(f"what was told up to revision {size} is not what was signed")
        del self._leaves[: size - base.size]
        self._base = tree
        self._keep(ahead)

    def disproved(self, error: ProofError) -> None:
        """Count, and say loudly, that something did not fit."""
        self._base = None
        self.counts.disproved += 1
        _LOG.error("what was told is not what the log's key signed: %s", error)

    @property
    def _is_proved(self) -> bool:
        proved = self._proved
        return self._base is None or (
            proved is not None and proved.checkpoint.size >= self._tree.size
        )

    def _begin(self, tree: CompactRange) -> None:
        self._base, self._tree, self._leaves = tree.copy(), tree.copy(), []
        self._ahead, self._ask_at = None, 0
        self._times.clear()

    def _bound(self, leaf: pb.LeafContent, change: Change) -> bytes:
        """The leaf that a change was made from, if it is what was told."""
        logged = read_content(leaf.content, change.revision)
        require_told(logged, change)
        if len(leaf.salt) != SALT_BYTES:
            raise ProofError(f"the salt of change {change.revision} has {len(leaf.salt)} bytes")
        subject = change.subject
        return leaf_hash(
            canonical_entry(
                kind=logged.kind,
                tenant_id=self._tenant_id,
                revision=change.revision,
                commit_time=change.commit_time,
                subject_commitment=NO_SUBJECT
                if subject is None
                else commit_subject(leaf.salt, subject),
                content_commitment=commit_content(leaf.salt, leaf.content),
            )
        )

    def _require_extends(self, found: SignedCheckpoint) -> None:
        """Return if a checkpoint begins with the last one that was proved."""
        proved = self._proved
        if proved is None or not proved.checkpoint.size:
            return
        before, after = proved.checkpoint, found.checkpoint
        hashes: Sequence[bytes] = ()
        if before.size < after.size:
            request = ask_proofs.get_consistency_proof(self._tenant, before.size, after.size)
            hashes = self._upstream.consistency(request).hashes
        try:
            verify_consistency(
                old_size=before.size,
                old_root=before.root,
                new_size=after.size,
                new_root=after.root,
                proof=hashes,
            )
        except ProofError:
            self._keep_contradiction(
                "these were signed of one log, and no proof was given that the one begins with "
                "the other:",
                found,
            )
            raise

    def _keep(self, found: SignedCheckpoint) -> None:
        """Note what was proved."""
        size = found.checkpoint.size
        self._proved = found
        while self._times and self._times[0][0] <= size:
            self._times.popleft()
        self.counts.proved_revision = size
        contradictions.keep_proved(self._folder, found.note)

    def _keep_contradiction(self, what: str, found: SignedCheckpoint) -> None:
        """Keep what convicts; a disk that takes none of it makes nothing of it true."""
        proved = self._proved
        parts = [found.note, "" if proved is None else proved.note]
        try:
            contradictions.keep_contradiction(self._folder, what, parts)
        except OSError as error:
            _LOG.error(
                "what contradicts cannot be kept (%s): %s\n%s", error, what, "\n".join(parts)
            )

    def _read_proved(self) -> SignedCheckpoint | None:
        note = contradictions.read_proved(self._folder)
        try:
            checkpoint = open_checkpoint(note, self._keys, self._verify) if note else None
        except ProofError:
            return None  # of a log of which no key is given any more
        if checkpoint is None or checkpoint.origin != self._origin:
            return None
        return SignedCheckpoint(checkpoint, note)


def _may_be_taken(change: Change) -> bool:
    """Whether a change that is told by its hash alone is applied: of what an erasure took, a stop.

    An opt-in or a release of then is left, which only protects: the erasure after it, which is told
    whole, says what stands.

    Raises:
        UnprovableError: it is neither, so that both taking and leaving it might weaken.
    """
    record = change.record
    if change.kind not in _ERASABLE or record is None:
        raise UnprovableError(f"change {change.revision} cannot be taken by its hash alone")
    return change.kind is not ChangeKind.RELEASE and record.kind is not RecordKind.OPT_IN


_ERASABLE: Final = frozenset({ChangeKind.CHOICE, ChangeKind.SUPPRESSION, ChangeKind.RELEASE})
"""What a change of an erased subject may be told as."""
