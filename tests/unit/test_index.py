"""What an index holds, how it moves, and what it makes of damage (heed.index)."""

from dataclasses import replace
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.decide import decide
from heed.index import (
    HASHES_KEPT_MAX,
    Fault,
    HashRing,
    IndexGapError,
    IndexUnusableError,
)
from heed.model import (
    Cause,
    Change,
    Channel,
    Effect,
    Hold,
    Instant,
    Query,
    RecordKind,
    Revision,
    SubjectKey,
    Topic,
    TopicClass,
    Verdict,
)
from tests.support.indexes import assert_equals_log, build, fault_of, reopen
from tests.support.memory_log import START, MemoryLog, key_of

NOW = Instant(START + 10_000_000)


MESSAGE = Query(channel=Channel.EMAIL, topic="news.weekly")


NEWS = Topic(name="news", topic_class=TopicClass.TRANSACTIONAL, mandatory_channels=frozenset())


HOLD = Hold(hold_id="hold-1", channel=Channel.EMAIL, topic="news", reason="broken template")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


class TestWhatItHolds:
    def test_a_subject_without_records_has_none(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)

        facts = index.facts([key_of("ada"), key_of("ben")])

        assert facts.records == ((), ())
        assert decide(facts, MESSAGE, NOW).is_allowed

    def test_an_opt_out_suppresses_from_the_change_that_made_it(
        self, path: Path, log: MemoryLog
    ) -> None:
        index = build(path, log)

        index.apply([log.opt_out("ada", "news")])

        facts = index.facts([key_of("ada")])
        assert decide(facts, MESSAGE, NOW).verdict is Verdict.SUPPRESSED
        assert index.revision == 1

    def test_every_kind_of_change_does_what_the_log_says(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        log.opt_out("ada")
        log.suppress("ada")
        log.suppress("ada", Cause.COMPLAINT)
        log.choice("ben", RecordKind.OPT_IN, "news", end_time=Instant(NOW + 5))
        log.topic(NEWS)
        log.hold(HOLD)
        log.hold(replace(HOLD, hold_id="hold-2", channel=None, end_time=NOW, campaign="spring"))
        log.release("ada")
        log.lift(HOLD)
        log.topic(replace(NEWS, retired=True, title="Neues für alle"))
        log.opt_out("ada", effect=Effect.SUPERSEDED)

        index.apply(log.changes)

        assert_equals_log(index, log, ["ada", "ben"])

    def test_a_superseded_change_only_moves_the_revision(self, path: Path, log: MemoryLog) -> None:
        log.opt_out("ada")
        index = build(path, log)
        before = index.records_many([key_of("ada")])

        index.apply([log.opt_out("ada", effect=Effect.SUPERSEDED)])

        assert index.records_many([key_of("ada")]) == before
        assert index.revision == 2

    def test_the_last_released_record_leaves_nothing_behind(
        self, path: Path, log: MemoryLog
    ) -> None:
        index = build(path, log)
        index.apply([log.suppress("ada"), log.release("ada")])

        assert index.records_many([key_of("ada")]) == [()]
        assert index.stats().subjects == 0

    def test_a_hold_placed_by_a_change_speaks_at_once(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)

        index.apply([log.hold(HOLD)])

        assert not decide(index.facts([key_of("ada")]), MESSAGE, NOW).is_allowed

    def test_records_of_a_subject_may_be_many(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        for number in range(500):
            log.opt_out("ada", f"t{number}")

        index.apply(log.changes)

        assert_equals_log(index, log)

    def test_the_same_subject_twice_is_answered_twice(self, path: Path, log: MemoryLog) -> None:
        log.opt_out("ada")
        index = build(path, log)

        twice = index.records_many([key_of("ada"), key_of("ben"), key_of("ada")])

        assert twice[0] == twice[2] == log.standing()[key_of("ada")]


class TestHowItMoves:
    def test_changes_must_begin_right_after_the_index(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        changes = [log.opt_out("ada"), log.opt_out("ben")]

        with pytest.raises(IndexGapError) as refused:
            index.apply(changes[1:])

        assert refused.value.metadata == {"applied": "0"}
        assert index.revision == 0
        index.apply(changes)
        assert_equals_log(index, log)

    def test_changes_are_not_applied_twice(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        index.apply([log.opt_out("ada")])

        with pytest.raises(IndexGapError):
            index.apply(log.changes)

        assert_equals_log(index, log)

    def test_a_gap_among_the_changes_applies_none(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        log.opt_outs(5)

        with pytest.raises(IndexGapError):
            index.apply([*log.changes[:2], *log.changes[3:]])

        assert index.revision == 0
        assert index.records_many([key_of("person 0")]) == [()]
        index.apply(log.changes)
        assert_equals_log(index, log)

    def test_nothing_to_apply_is_no_step(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)

        index.apply([])

        assert index.revision == 0

    @pytest.mark.parametrize("part", ["subject", "record", "topic", "hold"])
    def test_a_change_without_what_its_kind_must_carry_makes_it_unusable(
        self, path: Path, log: MemoryLog, part: str
    ) -> None:
        index = build(path, log)
        whole = {
            "subject": lambda: log.opt_out("ada"),
            "record": lambda: log.suppress("ada"),
            "topic": lambda: log.topic(NEWS),
            "hold": lambda: log.hold(HOLD),
        }[part]()
        cut = _without(whole, part)

        with pytest.raises(IndexUnusableError) as refused:
            index.apply([cut])

        assert refused.value.fault is Fault.REFUSED
        assert index.is_unusable
        assert index.revision == 0

    @pytest.mark.parametrize("act", ["release", "lift"])
    def test_ending_what_is_not_there_shows_that_index_and_log_are_out_of_step(
        self, path: Path, log: MemoryLog, act: str
    ) -> None:
        index = build(path, log)
        good = log.opt_out("ada")
        odd = log.release("ada") if act == "release" else log.lift(HOLD)

        with pytest.raises(IndexUnusableError):
            index.apply([good, odd])

        assert index.is_unusable
        assert index.records_many([key_of("ada")]) == [()]

    def test_an_index_that_somebody_else_wrote_is_not_written(
        self, path: Path, log: MemoryLog
    ) -> None:
        index = build(path, log)
        index._env.write(lambda txn: _put(txn, b"meta", b"other", index._env.meta))

        with pytest.raises(IndexUnusableError):
            index.apply([log.opt_out("ada")])

        assert index.is_unusable

    @settings(max_examples=30, deadline=None)
    @given(
        acts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=40),
        slices=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    )
    def test_in_whatever_slices_changes_come_it_equals_one_made_anew(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        acts: list[tuple[int, int, bool]],
        slices: list[int],
    ) -> None:
        folder = tmp_path_factory.mktemp("slices")
        log = MemoryLog()
        index = build(folder / "moved", log)
        for act, person, flag in acts:
            _act(log, act, person, flag)

        start = 0
        for size in (slices * 40)[: len(log.changes)]:
            index.apply(log.changes[start : start + size])
            start += size

        assert_equals_log(index, log, range(4))
        anew = build(folder / "anew", log)
        assert_equals_log(anew, log, range(4))
        index.close()
        anew.close()


class TestDamageMetLater:
    @pytest.mark.parametrize("garbage", [b"", b"\x01", b"\xff" * 40])
    def test_records_that_cannot_be_decoded_are_never_no_records(
        self, path: Path, log: MemoryLog, garbage: bytes
    ) -> None:
        log.opt_out("ada")
        index = build(path, log)
        index._env.write(lambda txn: _put(txn, key_of("ada"), garbage, index._env.records))

        with pytest.raises(IndexUnusableError) as refused:
            index.facts([key_of("ben"), key_of("ada")])

        assert refused.value.fault is Fault.DAMAGED
        assert index.is_unusable

    def test_a_change_that_meets_such_records_is_not_applied(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_out("ada")
        index = build(path, log)
        index._env.write(lambda txn: _put(txn, key_of("ada"), b"\xff" * 40, index._env.records))

        with pytest.raises(IndexUnusableError):
            index.apply([log.opt_out("ada")])

        assert index.is_unusable
        assert index.revision == 1

    @pytest.mark.parametrize("database", ["topics", "holds"])
    @pytest.mark.parametrize("entry", [b"", b"[]", b'{"name": "x"}', b"\xff"])
    def test_topics_and_holds_that_cannot_be_decoded_are_not_left_out(
        self, path: Path, log: MemoryLog, database: str, entry: bytes
    ) -> None:
        log.topic(NEWS)
        log.hold(HOLD)
        index = build(path, log)
        index._env.write(lambda txn: _put(txn, b"/x", entry, getattr(index._env, database)))
        index._is_sealed = False
        index.close()

        assert fault_of(path) is Fault.DAMAGED


class TestHashes:
    def test_they_are_kept_of_every_revision_since_it_was_made(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_outs(3)
        index = build(path, log)
        index.apply(log.opt_outs(4))

        hashes = [index.hash_at(Revision(revision)) for revision in range(9)]

        known = [change.running_hash[:8] for change in log.changes]
        assert hashes == [None, None, None, *known[2:], None]

    def test_they_outlive_closing(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        index.apply(log.opt_outs(9))
        index.close()

        again = reopen(path)

        assert again.hash_at(Revision(0)) == bytes(8)
        for change in log.changes:
            assert again.hash_at(change.revision) == change.running_hash[:8]

    def test_earlier_ones_can_be_given(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(9)
        index = build(path, log)
        ring = HashRing(Revision(1), log.changes[0].running_hash)
        for change in log.changes[1:]:
            ring.push(change.running_hash)

        index.seed_hashes(ring)

        assert index.hash_at(Revision(1)) == log.changes[0].running_hash[:8]
        assert index.hash_at(Revision(9)) == log.changes[8].running_hash[:8]

    def test_those_of_another_log_are_refused(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(9)
        index = build(path, log)

        with pytest.raises(ValueError, match="do not end where the index is"):
            index.seed_hashes(HashRing(Revision(9), b"another-log" * 3))
        with pytest.raises(ValueError, match="do not end where the index is"):
            index.seed_hashes(HashRing(Revision(8), log.changes[7].running_hash))

    def test_only_the_newest_are_kept(self) -> None:
        ring = HashRing(Revision(1), bytes(8), kept_max=4)
        for revision in range(2, 12):
            ring.push(revision.to_bytes(8))

        assert [ring.get(Revision(revision)) for revision in range(6, 13)] == [
            None,
            None,
            *(revision.to_bytes(8) for revision in range(8, 12)),
            None,
        ]
        assert HASHES_KEPT_MAX == 65_536


def _put(txn: "lmdb.Transaction[bytes]", key: bytes, value: bytes, database: object) -> None:
    txn.put(key, value, db=database)  # type: ignore[arg-type]  # lmdb's type of it is private


def _without(change: Change, part: str) -> Change:
    if part == "subject":
        return replace(change, subject=None)
    if part == "record":
        return replace(change, record=None)
    return replace(change, topic=None, hold=None)


def _act(log: MemoryLog, act: int, person: int, flag: bool) -> None:
    key = SubjectKey(key_of(person))
    stands = any(record.kind is RecordKind.SUPPRESSION for record in log.standing().get(key, ()))
    match act:
        case 0:
            log.opt_out(person, "news" if flag else "")
        case 1:
            log.choice(person, RecordKind.OPT_IN, effect=Effect(1 + flag))
        case 2:
            log.suppress(person)
        case 3 if stands:
            log.release(person)
        case 4:
            log.topic(replace(NEWS, name=f"t{person}", requires_opt_in=flag))
        case 5 if log.holds() and flag:
            log.lift(log.holds()[0])
        case _:
            log.hold(replace(HOLD, hold_id=f"hold-{len(log.changes)}"))
