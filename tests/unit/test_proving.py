"""What a cache proves, held against logs that are signed here: forks, gaps, what is kept of them."""

import dataclasses
import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import heed
from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.failing import ProofError
from heed.audit.ranges import CompactRange
from heed.audit.signing import SigningKey, verify
from heed.audit.snapshots import snapshot_line
from heed.audit.tree import Range, consistency_ranges, root_of
from heed.errors import UnavailableError
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
    TenantId,
)
from heed.proof import leaf_hash, running_hash
from heed.replica import contradictions, proving
from heed.replica.proving import LEAVES_KEPT_MAX, Proving, UnprovableError
from heed.wire.watched import LaterVersionError
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import watch_service_pb2 as pb

EPOCH = bytes(range(8))
TENANT = TenantId(1)
ORIGIN = origin_of(EPOCH, TENANT)
KEY = SigningKey(bytes(32), ORIGIN)
FILTER = bytes(32)
SECOND_NS = 1_000_000_000
RECORDS, STOPS, KEYS = (bytes([number]) * 32 for number in (1, 2, 3))


class Log:
    """A log that is signed, and tells what is asked of it."""

    def __init__(self, mark: bytes = b"", key: SigningKey = KEY) -> None:
        self.leaves = [leaf_hash(mark + at.to_bytes(8)) for at in range(64)]
        self.key = key
        self.size = 0
        self.asked = 0
        self.is_away = False

    def note(self, size: int, *extensions: str) -> str:
        root = root_of(self.leaves[:size])
        origin = self.key.verifier.name
        return self.key.sign(Checkpoint(origin=origin, size=size, root=root, extensions=extensions))

    def tree(self, size: int) -> CompactRange:
        tree = CompactRange()
        tree.extend(self.leaves[:size])
        return tree

    def snapshot(self, size: int) -> pb.SnapshotEnd:
        line = snapshot_line(records=RECORDS, stops=STOPS, filter_=FILTER, keys=KEYS)
        return pb.SnapshotEnd(
            checkpoint=self.note(size, line), subtree_hashes=self.tree(size).hashes
        )

    def checkpoint(
        self,
        request: audit.GetCheckpointRequest,
    ) -> audit.GetCheckpointResponse:
        self.asked += 1
        return audit.GetCheckpointResponse(checkpoint=self.note(self.size))

    def consistency(
        self, request: audit.GetConsistencyProofRequest
    ) -> audit.GetConsistencyProofResponse:
        if self.is_away:
            raise UnavailableError("away")

        def hash_of(of: Range) -> bytes:
            return root_of(self.leaves[of.start : of.end])

        ranges = consistency_ranges(request.old_size, request.new_size)
        return audit.GetConsistencyProofResponse(hashes=map(hash_of, ranges))


class Clock:
    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def cache(tmp_path: Path, log: Log, clock: Clock) -> Proving:
    return made(tmp_path, log, clock)


def made(folder: Path, log: Log, clock: Clock) -> Proving:
    return Proving([KEY.verifier], verify, folder, log, tenant="", filter_hash=FILTER, clock=clock)


def snapshot(cache: Proving, log: Log, size: int) -> None:
    assert cache.open(EPOCH, TENANT)
    cache.take_snapshot(
        log.snapshot(size), revision=Revision(size), records=RECORDS, stops=STOPS, keys=KEYS
    )


def apply(cache: Proving, leaves: Sequence[bytes]) -> None:
    cache.applied(cache.grown(leaves), leaves, 0)


def hear(cache: Proving, log: Log, clock: Clock, size: int) -> None:
    log.size = size
    clock.ns += proving.ASK_SECONDS * SECOND_NS
    cache.ask()
    cache.compare()


def kept_contradictions(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("disproved-*.txt")]


def test_a_checkpoint_that_was_passed_proves_what_was_applied(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:9])
    apply(cache, log.leaves[9:20])
    before = cache.counts.proved_revision

    hear(cache, log, clock, 12)

    assert (before, cache.counts.proved_revision) == (5, 12)
    assert contradictions.read_proved(tmp_path) == log.note(12)
    hear(cache, log, clock, 20)
    assert cache.counts.proved_revision == 20


def test_nothing_is_asked_while_all_is_proved(cache: Proving, log: Log, clock: Clock) -> None:
    snapshot(cache, log, 5)
    hear(cache, log, clock, 5)
    assert log.asked == 0

    apply(cache, log.leaves[5:6])
    log.size = 6
    cache.ask()
    cache.ask()
    assert log.asked == 1


def test_a_checkpoint_ahead_is_compared_once_it_is_passed(
    cache: Proving, log: Log, clock: Clock
) -> None:
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:6])
    hear(cache, log, clock, 10)
    assert cache.counts.proved_revision == 5

    apply(cache, log.leaves[6:11])
    cache.compare()
    assert cache.counts.proved_revision == 10


@pytest.mark.parametrize("size", [5, 6, 9])
def test_a_fork_is_found_and_both_notes_are_kept(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path, size: int
) -> None:
    """The same key signed two histories: that is for others to see."""
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:9])
    fork = Log(b"fork")
    cache._upstream = fork

    with pytest.raises(ProofError, match="not what was signed"):
        hear(cache, fork, clock, size)

    (found,) = kept_contradictions(tmp_path)
    assert fork.note(size) in found
    assert log.snapshot(5).checkpoint in found
    cache.disproved(ProofError("told otherwise"))
    assert (cache.counts.disproved, cache.is_fresh) == (1, False)


def test_a_fork_is_found_also_where_the_disk_takes_no_word_of_it(
    cache: Proving,
    log: Log,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    fork = Log(b"fork")
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:9])
    cache._upstream = fork
    monkeypatch.setattr(contradictions, "keep_contradiction", refuse)

    with pytest.raises(ProofError, match="not what was signed"):
        hear(cache, fork, clock, 9)

    assert fork.note(9) in caplog.text


def test_a_snapshot_of_another_history_is_refused_also_by_a_cache_made_anew(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 5)
    for size in (5, 9):
        again = made(tmp_path, Log(b"fork"), clock)
        with pytest.raises(ProofError):
            snapshot(again, Log(b"fork"), size)
    assert len(kept_contradictions(tmp_path)) == 2

    with pytest.raises(ProofError):
        snapshot(made(tmp_path, Log(b"fork"), clock), Log(b"fork"), 9)
    assert len(kept_contradictions(tmp_path)) == 2
    snapshot(made(tmp_path, log, clock), log, 9)


def test_a_snapshot_of_before_the_last_proof_is_young_once_it_came_to_the_same(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 9)
    again = made(tmp_path, log, clock)
    snapshot(again, log, 5)
    early = again.is_fresh
    apply(again, log.leaves[5:9])
    again.compare()

    assert (early, again.is_fresh) == (False, True)
    other = made(tmp_path, log, clock)
    snapshot(other, Log(b"fork"), 5)
    apply(other, Log(b"fork").leaves[5:9])
    with pytest.raises(ProofError):
        other.compare()


def test_without_a_proof_of_consistency_nothing_is_known(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 5)
    log.is_away = True

    with pytest.raises(UnavailableError):
        snapshot(made(tmp_path, log, clock), log, 9)


def test_an_index_of_before_the_last_proof_is_to_come_to_the_same(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 9)
    again = made(tmp_path, log, clock)
    assert again.open(EPOCH, TENANT)
    again.resume(log.tree(7))
    early = again.is_fresh

    apply(again, log.leaves[7:9])
    again.compare()
    assert (early, again.is_fresh, again.counts.proved_revision) == (False, True, 9)


def test_a_cache_that_resumes_beyond_the_last_proof_has_time_to_prove_it(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 5)
    again = made(tmp_path, log, clock)
    assert again.open(EPOCH, TENANT)
    again.resume(log.tree(7))

    fresh = [again.is_fresh]
    clock.ns += proving.UNPROVED_SECONDS_MAX * SECOND_NS + 1
    fresh.append(again.is_fresh)
    hear(again, log, clock, 7)
    assert [*fresh, again.is_fresh] == [True, False, True]


def test_what_is_not_proved_for_a_minute_makes_nothing_young(
    cache: Proving, log: Log, clock: Clock
) -> None:
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:6])
    clock.ns += proving.UNPROVED_SECONDS_MAX * SECOND_NS - 1_000_000
    apply(cache, log.leaves[6:7])
    fresh = [cache.is_fresh]
    clock.ns += 2_000_000
    fresh.append(cache.is_fresh)

    hear(cache, log, clock, 6)
    assert [*fresh, cache.is_fresh] == [True, False, True]
    for at in range(7, 60):
        clock.ns += 500_000_000
        apply(cache, log.leaves[at : at + 1])
    assert len(cache._times) < 53


def test_streams_that_end_before_a_proof_give_no_more_time_for_it(
    cache: Proving, log: Log, clock: Clock
) -> None:
    """An upstream that shows no checkpoint is not believed for longer by hanging up in time."""
    snapshot(cache, log, 5)
    apply(cache, log.leaves[5:6])
    fresh: list[bool] = []
    for _ in range(2):
        clock.ns += proving.UNPROVED_SECONDS_MAX * SECOND_NS // 2 + 1
        assert cache.open(EPOCH, TENANT)
        cache.resume(log.tree(6))
        fresh.append(cache.is_fresh)

    hear(cache, log, clock, 6)

    assert [*fresh, cache.is_fresh] == [True, False, True]


def test_another_epoch_is_another_log(
    cache: Proving, log: Log, clock: Clock, tmp_path: Path
) -> None:
    snapshot(cache, log, 9)
    epoch = bytes(8)
    assert not cache.open(epoch, TENANT)

    key = SigningKey(bytes(32), origin_of(epoch, TENANT))
    restored = Log(b"restored", key)
    again = Proving(
        [KEY.verifier, key.verifier],
        verify,
        tmp_path,
        restored,
        tenant="",
        filter_hash=FILTER,
        clock=clock,
    )
    assert again.open(epoch, TENANT)
    again.take_snapshot(
        restored.snapshot(3), revision=Revision(3), records=RECORDS, stops=STOPS, keys=KEYS
    )
    assert again.counts.proved_revision == 3


def test_a_checkpoint_of_another_log_or_of_before_what_is_kept_is_of_no_use(
    cache: Proving, log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(cache, log, 5)
    monkeypatch.setattr(proving, "LEAVES_KEPT_MAX", 4)
    apply(cache, log.leaves[5:10])
    hear(cache, log, clock, 6)
    assert cache.counts.proved_revision == 5
    hear(cache, log, clock, 10)
    assert cache.counts.proved_revision == 10
    assert LEAVES_KEPT_MAX > 4


@pytest.mark.parametrize(
    "lie",
    [
        lambda end: end.ClearField("checkpoint"),
        lambda end: end.ClearField("subtree_hashes"),
        lambda end: end.subtree_hashes.reverse(),
        lambda end: setattr(end, "checkpoint", Log().note(5)),
        lambda end: setattr(end, "checkpoint", Log().note(6)),
        lambda end: setattr(end, "checkpoint", end.checkpoint.replace("\n5\n", "\n6\n")),
    ],
)
def test_a_snapshot_that_is_not_vouched_for_is_refused(
    cache: Proving, log: Log, lie: Callable[[pb.SnapshotEnd], object]
) -> None:
    end = log.snapshot(5)
    lie(end)
    assert cache.open(EPOCH, TENANT)

    with pytest.raises(ProofError):
        cache.take_snapshot(end, revision=Revision(5), records=RECORDS, stops=STOPS, keys=KEYS)


@pytest.mark.parametrize(
    ("records", "stops", "keys"),
    [(bytes(32), STOPS, KEYS), (RECORDS, bytes(32), KEYS), (RECORDS, STOPS, bytes(32))],
    ids=["records", "stops", "keys"],
)
def test_a_snapshot_of_something_else_is_refused(
    cache: Proving, log: Log, records: bytes, stops: bytes, keys: bytes
) -> None:
    assert cache.open(EPOCH, TENANT)

    with pytest.raises(ProofError, match="another than was signed"):
        cache.take_snapshot(
            log.snapshot(5), revision=Revision(5), records=records, stops=stops, keys=keys
        )


def hashed(log: Log, after: int, through: int) -> pb.Changes:
    """What a filter leaves out."""
    running = bytes(32)
    for leaf in log.leaves[after:through]:
        running = running_hash(running, leaf)
    return pb.Changes(
        after=after,
        through=through,
        running_hash=running,
        leaves=[pb.LoggedLeaf(hash=leaf) for leaf in log.leaves[after:through]],
    )


def test_leaves_that_are_told_by_their_hashes_are_taken_in_their_order(
    cache: Proving, log: Log
) -> None:
    message = hashed(log, 5, 9)

    assert cache.take_changes(message, [], running=bytes(32)) == (log.leaves[5:9], [])
    message.leaves[0].hash, message.leaves[1].hash = message.leaves[1].hash, message.leaves[0].hash
    with pytest.raises(ProofError, match="running hash"):
        cache.take_changes(message, [], running=bytes(32))
    del message.leaves[0]
    with pytest.raises(ProofError, match="lack a leaf"):
        cache.take_changes(message, [], running=bytes(32))


def told_as(kind: ChangeKind, record: Record | None) -> Change:
    return Change(
        revision=Revision(6),
        commit_time=Instant(1),
        kind=kind,
        effect=Effect.APPLIED,
        running_hash=b"",
        subject=SubjectKey(bytes(16)),
        record=record,
    )


def test_of_what_an_erasure_took_only_a_stop_is_taken(cache: Proving, log: Log) -> None:
    message = hashed(log, 5, 6)
    stop = Record(
        RecordKind.OPT_OUT, Cause.NONE, Reach.ALL, Channel.ANY, "", Instant(1), None, Revision(6)
    )
    opt_in = dataclasses.replace(stop, kind=RecordKind.OPT_IN)

    def taken(change: Change) -> list[Change]:
        return cache.take_changes(message, [change], running=bytes(32))[1]

    assert taken(told_as(ChangeKind.CHOICE, stop)) == [told_as(ChangeKind.CHOICE, stop)]
    assert taken(told_as(ChangeKind.CHOICE, opt_in)) == []
    assert taken(told_as(ChangeKind.RELEASE, stop)) == []
    with pytest.raises(UnprovableError):
        taken(told_as(ChangeKind.ERASURE, None))


def test_a_leaf_of_a_later_version_is_not_guessed_at(cache: Proving, log: Log) -> None:
    message = hashed(log, 5, 9)
    message.leaves[2].ClearField("hash")

    with pytest.raises(LaterVersionError):
        cache.take_changes(message, [], running=bytes(32))


def test_so_many_contradictions_are_kept_and_no_more(tmp_path: Path) -> None:
    for at in range(contradictions.CONTRADICTIONS_MAX + 3):
        contradictions.keep_contradiction(tmp_path, str(at), ["", "note"])
        contradictions.keep_contradiction(tmp_path, str(at), ["", "note"])

    found = sorted(tmp_path.iterdir())
    assert len(found) == contradictions.CONTRADICTIONS_MAX
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}


@pytest.mark.parametrize("verify", ["a+b+c", ["no key"]], ids=["text", "none"])
def test_what_is_no_verifier_key_is_refused(tmp_path: Path, verify: list[str]) -> None:
    with pytest.raises(heed.InvalidArgumentError, match="verif"):
        heed.SyncClient(cache=tmp_path, verify=verify)


def test_a_client_without_a_cache_has_nothing_to_verify() -> None:
    with pytest.raises(heed.InvalidArgumentError, match="cache=path"):
        heed.SyncClient(verify=[str(KEY.verifier)])
