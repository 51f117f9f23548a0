"""What an index holds, how it moves, and what it refuses (heed.index)."""

import stat
from collections.abc import Sequence
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
    Index,
    IndexBuilder,
    IndexClaimedError,
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
    Record,
    RecordKind,
    Revision,
    SubjectKey,
    TenantId,
    Topic,
    TopicClass,
    Verdict,
)
from tests.support.memory_log import EPOCH, START, TENANT, MemoryLog, key_of

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


def build(path: Path, log: MemoryLog, **arguments: int) -> Index:
    """Build the index of all that a log holds."""
    builder = IndexBuilder(
        path,
        tenant_id=TENANT.tenant_id,
        head=log.current_head,
        topics=log.topics().values(),
        holds=log.holds(),
        **arguments,
    )
    standing = log.standing()
    builder.add([(key, record) for key in sorted(standing) for record in standing[key]])
    return builder.finish()


def reopen(path: Path, **arguments: int) -> Index:
    return Index.open(path, tenant_id=TENANT.tenant_id, epoch=EPOCH, **arguments)


def assert_equals_log(index: Index, log: MemoryLog, people: Sequence[object] = ()) -> None:
    """The index answers what the log says, of each subject in it and of some that are not."""
    standing = log.standing()
    keys = [*standing, *map(key_of, people), key_of("nobody")]
    assert index.records_many(keys) == [standing.get(key, ()) for key in keys]
    assert index.stats().subjects == len(standing)
    assert index.topics.declared == tuple(sorted(log.topics().values(), key=lambda one: one.name))
    assert index.holds == log.holds()
    assert index.revision == log.current_head.revision
    assert index.running_hash == log.current_head.running_hash


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


class TestGrowth:
    def test_the_map_grows_with_the_index(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        map_bytes = index.stats().map_bytes
        for number in range(90_000):
            log.opt_out(number, f"a-topic-with-a-name-of-some-length-{'x' * 100}")

        index.apply(log.changes)

        assert index.stats().map_bytes > map_bytes
        index.close()
        again = reopen(path)
        assert again.revision == 90_000
        assert again.records_many([key_of(89_999)]) == [log.standing()[key_of(89_999)]]

    def test_a_map_at_its_cap_makes_it_unusable_and_changes_nothing(
        self, path: Path, log: MemoryLog
    ) -> None:
        index = build(path, log, map_bytes_max=100_000)
        index.apply(log.opt_outs(5))

        with pytest.raises(IndexUnusableError) as refused:
            index.apply(log.opt_outs(10_000, people=10_000))

        assert refused.value.fault is Fault.REFUSED
        assert "map_bytes_max 100000" in refused.value.message
        assert index.is_unusable
        assert index.revision == 5

    def test_a_build_that_does_not_fit_leaves_what_was_there(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_out("ada")
        build(path, log).close()
        log.opt_outs(10_000, people=10_000)

        builder = IndexBuilder(
            path,
            tenant_id=TENANT.tenant_id,
            head=log.current_head,
            topics=(),
            holds=(),
            map_bytes_max=100_000,
        )
        standing = log.standing()
        with pytest.raises(IndexUnusableError):
            builder.add([(key, record) for key in sorted(standing) for record in standing[key]])
        builder.abandon()

        assert reopen(path).revision == 1
        assert not list(path.parent.glob("*.building"))

    def test_an_index_larger_than_the_cap_is_not_opened(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()

        with pytest.raises(IndexUnusableError) as refused:
            reopen(path, map_bytes_max=4096)

        assert refused.value.fault is Fault.REFUSED


class TestClosingAndOpening:
    def test_what_was_closed_is_found_again(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(100)
        log.topic(NEWS)
        log.hold(HOLD)
        index = build(path, log)
        index.apply(log.opt_outs(300))
        index.close()

        again = reopen(path)

        assert_equals_log(again, log)
        again.apply([log.opt_out("ada")])
        assert_equals_log(again, log, ["ada"])

    def test_opening_and_closing_without_a_write_keeps_the_seal(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_outs(100)
        build(path, log).close()
        files = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock.mdb"}

        index = reopen(path)
        index.records_many([key_of("person 1")])
        index.close()

        assert files == {
            file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock.mdb"
        }
        assert_equals_log(reopen(path), log)

    def test_the_first_write_breaks_the_seal_before_it_is_made(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_outs(100)
        build(path, log).close()
        index = reopen(path)
        assert (path / "seal").exists()

        index.apply([log.opt_out("ada")])

        assert not (path / "seal").exists()

    def test_all_its_files_are_for_their_owner_alone(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}

        assert modes == {"data.mdb": 0o600, "lock.mdb": 0o600, "seal": 0o600}
        assert stat.S_IMODE(path.stat().st_mode) == 0o700

    def test_one_index_is_opened_once(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)

        with pytest.raises(IndexClaimedError):
            build(path, log)
        index.close()

        again = reopen(path)
        with pytest.raises(IndexClaimedError):
            reopen(path)
        again.close()

    def test_an_unusable_index_is_never_sealed(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()
        index = reopen(path)
        with pytest.raises(IndexUnusableError):
            index.apply([log.release("ada")])

        index.close()

        assert fault_of(path) is Fault.UNCLEAN

    def test_an_abandoned_index_is_not_opened_again(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()

        reopen(path).abandon()

        assert fault_of(path) is Fault.UNCLEAN

    def test_a_closed_index_answers_nothing(self, path: Path, log: MemoryLog) -> None:
        log.opt_out("ada")
        index = build(path, log)
        index.close()

        with pytest.raises(IndexUnusableError):
            index.facts([key_of("ada")])


class TestWhatIsNotOpened:
    def test_none_is_there(self, path: Path) -> None:
        assert fault_of(path) is Fault.MISSING

    def test_one_that_was_not_closed(self, path: Path, log: MemoryLog) -> None:
        index = build(path, log)
        index._env.close()
        index._claim.release()

        assert fault_of(path) is Fault.UNCLEAN

    def test_one_of_another_tenant(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()

        with pytest.raises(IndexUnusableError) as refused:
            Index.open(path, tenant_id=TenantId(8), epoch=EPOCH)

        assert refused.value.fault is Fault.FOREIGN

    def test_one_of_another_epoch(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()

        with pytest.raises(IndexUnusableError) as refused:
            Index.open(path, tenant_id=TENANT.tenant_id, epoch=b"epoch--2")

        assert refused.value.fault is Fault.FOREIGN

    @pytest.mark.parametrize("version", ["FORMAT_VERSION", "RULE_VERSION", "NORMALISER_VERSION"])
    def test_one_of_another_version(
        self, path: Path, log: MemoryLog, version: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build(path, log).close()

        monkeypatch.setattr(f"heed.index.meta.{version}", 999)

        assert fault_of(path) is Fault.VERSION

    def test_one_with_any_byte_changed(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(200, people=200)
        build(path, log).close()
        whole = (path / "data.mdb").read_bytes()

        for at in [0, 20, *range(24, len(whole), 397), len(whole) - 1]:
            damaged = bytearray(whole)
            damaged[at] ^= 1
            (path / "data.mdb").write_bytes(damaged)
            assert fault_of(path) is Fault.DAMAGED, at

        (path / "data.mdb").write_bytes(whole)
        assert_equals_log(reopen(path), log)

    @pytest.mark.parametrize("left", [0, 1, 4096, 8192, 12_000])
    def test_one_that_was_cut(self, path: Path, log: MemoryLog, left: int) -> None:
        log.opt_outs(200, people=200)
        build(path, log).close()
        with (path / "data.mdb").open("r+b") as file:
            file.truncate(left)

        assert fault_of(path) is Fault.DAMAGED

    def test_one_with_bytes_added(self, path: Path, log: MemoryLog) -> None:
        build(path, log).close()
        with (path / "data.mdb").open("ab") as file:
            file.write(bytes(4096))

        assert fault_of(path) is Fault.DAMAGED

    @pytest.mark.parametrize("garbage", [b"", b"x", b"\xff" * 4096, b"{}\n" * 4000])
    @pytest.mark.parametrize("name", ["data.mdb", "seal"])
    def test_one_with_garbage_for_a_file(
        self, path: Path, log: MemoryLog, name: str, garbage: bytes
    ) -> None:
        build(path, log).close()
        (path / name).write_bytes(garbage)

        assert fault_of(path) is Fault.DAMAGED

    def test_one_with_any_byte_of_the_seal_changed(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(5)
        build(path, log).close()
        whole = (path / "seal").read_bytes()

        for at in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            (path / "seal").write_bytes(damaged)
            assert fault_of(path) is Fault.DAMAGED, at

    def test_one_under_the_seal_of_another_closing(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(5)
        build(path, log).close()
        seal = (path / "seal").read_bytes()
        index = reopen(path)
        index.apply(log.opt_outs(5))
        index.close()

        (path / "seal").write_bytes(seal)

        assert fault_of(path) is Fault.DAMAGED

    def test_garbage_in_the_lock_file_harms_nothing(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(5)
        build(path, log).close()
        (path / "lock.mdb").write_bytes(b"\xff" * 100)

        assert_equals_log(reopen(path), log)


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


class TestBuilding:
    def test_records_of_a_subject_may_come_in_several_batches(
        self, path: Path, log: MemoryLog
    ) -> None:
        for topic in "abcdef":
            log.opt_out("ada", topic)
        builder = IndexBuilder(
            path, tenant_id=TENANT.tenant_id, head=log.current_head, topics=(), holds=()
        )

        for record in log.standing()[key_of("ada")]:
            builder.add([(key_of("ada"), record)])

        assert_equals_log(builder.finish(), log)

    def test_records_out_of_order_are_refused(self, path: Path, log: MemoryLog) -> None:
        log.opt_outs(2)
        one, other = sorted(log.standing())
        record: Record = log.standing()[one][0]
        builder = IndexBuilder(
            path, tenant_id=TENANT.tenant_id, head=log.current_head, topics=(), holds=()
        )

        with pytest.raises(ValueError, match="ascending"):
            builder.add([(other, record), (one, record)])
        builder.abandon()

    def test_a_new_one_takes_the_place_of_an_unusable_one(self, path: Path, log: MemoryLog) -> None:
        path.mkdir()
        (path / "data.mdb").write_bytes(b"garbage")
        (path.parent / "index.building").mkdir()
        (path.parent / "index.building" / "data.mdb").write_bytes(b"left by a crash")
        log.opt_outs(10)

        build(path, log).close()

        assert_equals_log(reopen(path), log)

    def test_one_made_at_once_is_smaller_than_100_bytes_a_record(
        self, path: Path, log: MemoryLog
    ) -> None:
        log.opt_outs(20_000, people=20_000)

        index = build(path, log)

        assert index.stats().data_bytes / 20_000 < 100


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


def fault_of(path: Path) -> Fault:
    with pytest.raises(IndexUnusableError) as refused:
        reopen(path)
    return refused.value.fault


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
