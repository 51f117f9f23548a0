"""The files of an index: growing, closing, opening, and what is not opened (heed.index)."""

import stat
from pathlib import Path

import pytest

from heed.index import (
    Fault,
    Index,
    IndexBuilder,
    IndexClaimedError,
    IndexUnusableError,
)
from heed.model import (
    Channel,
    Hold,
    Record,
    TenantId,
    Topic,
    TopicClass,
)
from tests.support.indexes import assert_equals_log, build, fault_of, reopen
from tests.support.memory_log import EPOCH, TENANT, MemoryLog, key_of

NEWS = Topic(name="news", topic_class=TopicClass.TRANSACTIONAL, mandatory_channels=frozenset())


HOLD = Hold(hold_id="hold-1", channel=Channel.EMAIL, topic="news", reason="broken template")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


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
