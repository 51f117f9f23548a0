"""The parts of a cache that compute, and those that are files."""

import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

import heed
from heed.answers import CacheState, CheckAnswer
from heed.decide import Facts
from heed.errors import InvalidArgumentError
from heed.index.faults import Fault, IndexGapError, IndexUnusableError
from heed.index.place import Place, Source, decode_place, decode_source
from heed.index.shared import SharedIndex
from heed.model import (
    Cause,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
    TenantId,
    TopicClass,
    Verdict,
)
from heed.records import encode_records
from heed.replica.clock import boot_clock, boot_identity
from heed.replica.folder import Folder
from heed.replica.follower import Backoff
from heed.replica.freshness import bounds_of, may_allow, state_of
from heed.replica.owned import Owned
from heed.replica.sampler import Sample, Sampler
from heed.replica.shared_state import NEVER, NOTHING, SharedState, StateFile
from heed.replica.upstream import Upstream
from heed.topics import TopicTable
from heed_proto.v1 import preference_service_pb2 as preference
from tests.support.replicas import Held

SECOND = 1_000_000_000
BOOT, IDENTITY = b"b" * 16, b"i" * 16
STATE = SharedState(
    generation=2**47 + 1,
    revision=2**40,
    known_ns=3,
    source_now_us=4,
    heard_ns=5,
    owner_pid=os.getpid(),
)


@pytest.mark.parametrize(
    ("seconds", "state", "allowed"),
    [
        (0, CacheState.LIVE, {1, 2, 3}),
        (5, CacheState.LIVE, {1, 2, 3}),
        (5.001, CacheState.STALE, {2, 3}),
        (60, CacheState.STALE, {2, 3}),
        (60.001, CacheState.STALE, {3}),
        (900, CacheState.STALE, {3}),
        (900.001, CacheState.EXPIRED, set[int]()),
        (None, CacheState.EXPIRED, set[int]()),
    ],
)
def test_the_table_of_the_promise(
    seconds: float | None, state: CacheState, allowed: set[int]
) -> None:
    age = None if seconds is None else round(seconds * SECOND)
    bounds = bounds_of(None)

    assert state_of(age, bounds) is state
    assert {one for one in TopicClass if may_allow(age, one, bounds)} == allowed


def test_a_class_of_a_later_version_is_never_allowed() -> None:
    assert not may_allow(0, cast("TopicClass", 9), bounds_of(None))


def test_the_bounds_are_the_callers_within_limits() -> None:
    bounds = bounds_of(
        {"promotional": timedelta(hours=1), TopicClass.MANDATORY: timedelta(seconds=1)}
    )

    assert (bounds.least, bounds.greatest) == (SECOND, 3_600 * SECOND)
    assert bounds.least_time == timedelta(seconds=1)
    with pytest.raises(InvalidArgumentError):
        bounds_of({"promotional": timedelta(0)})


def opened(path: Path, *, boot: bytes = BOOT, identity: bytes = IDENTITY) -> StateFile:
    return StateFile(path, boot=boot, identity=identity, creates=True)


def test_what_one_process_tells_another_reads(tmp_path: Path) -> None:
    owner, reader = opened(tmp_path / "s"), opened(tmp_path / "s")

    owner.write(STATE)

    assert reader.read() == STATE
    assert reader.read() is reader.read()
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_nothing_is_told_by_a_new_file_another_boot_or_another_cache(tmp_path: Path) -> None:
    owner = opened(tmp_path / "s")
    assert owner.read() == NOTHING

    owner.write(STATE)

    assert opened(tmp_path / "s", boot=b"B" * 16).read() == NOTHING
    assert opened(tmp_path / "s", identity=b"I" * 16).read() == NOTHING


def test_a_reader_finds_no_state_where_there_is_none(tmp_path: Path) -> None:
    assert StateFile.of_reader(tmp_path / "s", boot=BOOT, identity=IDENTITY) is None
    (tmp_path / "s").touch()
    assert StateFile.of_reader(tmp_path / "s", boot=BOOT, identity=IDENTITY) is None


@pytest.mark.parametrize("torn", [0, 1_024])
def test_an_owner_that_is_killed_while_it_writes_leaves_one_copy_whole(
    tmp_path: Path, torn: int
) -> None:
    owner, reader = opened(tmp_path / "s"), opened(tmp_path / "s")
    owner.write(STATE)
    reader.read()

    owner._map[torn + 60 : torn + 64] = b"torn"

    assert reader.read() == STATE


def test_two_torn_copies_say_nothing(tmp_path: Path) -> None:
    owner = opened(tmp_path / "s")
    owner.write(STATE)
    for start in (0, 1_024):
        owner._map[start + 60 : start + 64] = struct.pack("<I", 7)

    assert owner.read() == NOTHING


def test_the_boot_clock_goes_on_and_is_of_this_boot() -> None:
    assert boot_clock() <= boot_clock()
    assert boot_identity() == boot_identity()
    assert len(boot_identity()) == 16


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    one, other = (Folder(tmp_path / "c", identity=IDENTITY) for _ in range(2))

    assert one.try_own()
    assert not other.try_own()
    one.disown()
    one.disown()
    assert other.try_own()


def test_what_was_noted_clean_counts_once_and_for_its_cache_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, identity=IDENTITY)
    assert folder.take_clean() == 0

    folder.note_clean(77)
    assert folder.take_clean() == 77
    assert folder.take_clean() == 0

    folder.note_clean(77)
    assert Folder(tmp_path, identity=b"I" * 16).take_clean() == 0
    (tmp_path / "clean").write_text("no json")
    assert folder.take_clean() == 0


def place(revision: int) -> Place:
    return Place(
        tenant_id=TenantId(3),
        epoch=b"12345678",
        revision=Revision(revision),
        running_hash=bytes(range(32)),
        stops_revision=Revision(1),
        rule_version=1,
        normaliser_version=2,
        token="a-token",
    )


SOURCE = Source(tenant="shop", lookup_keys=((1, bytes(32)), (2, bytes(range(32)))))


def test_a_place_and_a_source_are_read_as_they_were_written() -> None:
    assert decode_place(place(9).encode()) == place(9)
    assert decode_source(SOURCE.encode()) == SOURCE


def test_no_key_is_in_a_repr() -> None:
    assert bytes(range(32)).hex() not in repr(SOURCE)
    assert repr(bytes(range(32))) not in repr(SOURCE)


@pytest.mark.parametrize("damaged", [b"", b"x" * 10, b"{}", b"[1]", b"\xff" * 100])
def test_a_damaged_place_or_source_is_said_to_be(damaged: bytes) -> None:
    with pytest.raises(IndexUnusableError):
        decode_place(damaged)
    with pytest.raises(IndexUnusableError):
        decode_source(damaged)


def test_an_index_moves_only_from_where_it_stands(tmp_path: Path) -> None:
    index = SharedIndex.create(tmp_path / "g")
    index.complete(place(1), SOURCE, (), ())

    index.apply((), before=place(1), after=place(2))

    with pytest.raises(IndexGapError):
        index.apply((), before=place(1), after=place(3))
    assert index.find_all((), None)[0].place == place(2)


def test_a_look_up_is_never_of_a_later_revision_than_its_view(tmp_path: Path) -> None:
    """LMDB takes the number of a transaction first: what is read may be of two commits later."""
    index = SharedIndex.create(tmp_path / "g")
    index.complete(place(1), SOURCE, (), ())
    view, _ = index.find_all((), None)
    assert index.find(b"a" * 16, view) == (True, None)

    index.apply((), before=place(1), after=place(2))
    late = replace(view, transaction_id=view.transaction_id + 1)

    assert index.find(b"a" * 16, late) == (False, None)
    assert index.find_all((), late)[0].place == place(2)


def test_a_snapshots_subjects_come_ascending(tmp_path: Path) -> None:
    index = SharedIndex.create(tmp_path / "g")
    index.append([(SubjectKey(b"b" * 16), encode_records(()))])

    with pytest.raises(IndexUnusableError) as raised:
        index.append([(SubjectKey(b"a" * 16), encode_records(()))])

    assert raised.value.fault is Fault.REFUSED


def test_what_is_not_there_is_missing_and_what_is_no_index_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusableError) as missing:
        SharedIndex.open(tmp_path / "nowhere")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "data.mdb").write_bytes(b"no database" * 1_000)
    with pytest.raises(IndexUnusableError) as damaged:
        SharedIndex.open(tmp_path / "g")

    assert (missing.value.fault, damaged.value.fault) == (Fault.MISSING, Fault.DAMAGED)


@pytest.mark.parametrize(("told", "is_known"), [(7, True), (8, False)])
def test_an_index_behind_what_was_told_of_it_is_of_no_known_age(
    tmp_path: Path, told: int, *, is_known: bool
) -> None:
    """Another hand put an older file there."""
    held = Held(tmp_path / "cache")
    held.install({})
    held.hear()
    heard = held.owned.state
    held.replica.own_state().write(replace(heard, revision=told))

    taken_over = Owned(held.replica)

    assert taken_over.place is not None
    assert taken_over.state.known_ns == (heard.known_ns if is_known else NEVER)


def most(low: float, high: float) -> float:
    assert low == 0.0
    return high


def test_streams_are_opened_with_full_jitter_up_to_half_a_minute() -> None:
    backoff = Backoff(most)

    waits = [backoff.seconds() for _ in range(100)]

    assert waits[:8] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(waits[8:]) == {30.0}
    backoff.succeeded()
    assert backoff.seconds() == 0.25
    backoff.fail_for_long()
    assert backoff.seconds() == 30.0


class Answering:
    """An upstream that gives one answer."""

    def __init__(self, answer: CheckAnswer) -> None:
        self._answer = answer

    def check(self, _request: preference.CheckSuppressionRequest) -> CheckAnswer:
        return self._answer


def answer(verdict: Verdict, revision: int) -> CheckAnswer:
    return CheckAnswer(
        verdict=verdict,
        reasons=(),
        undeclared_topic=False,
        topic_class=TopicClass.PROMOTIONAL,
        subjects_with_records=(),
        revision=revision,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        rule_version=1,
        token="",
    )


@pytest.mark.parametrize(
    ("told", "revision", "counted"),
    [
        (Verdict.ALLOWED, 5, (1, 0, 0)),
        (Verdict.ALLOWED, 6, (1, 0, 0)),
        (Verdict.SUPPRESSED, 5, (1, 1, 0)),
        (Verdict.SUPPRESSED, 6, (1, 0, 1)),
    ],
)
def test_a_difference_counts_only_at_the_same_revision(
    told: Verdict, revision: int, counted: Sequence[int]
) -> None:
    sampler = Sampler(1.0)
    sampler.offer(
        Sample(
            request=preference.CheckSuppressionRequest(),
            facts=Facts(((),), (), TopicTable([])),
            query=Query(channel=heed.Channel.EMAIL),
            verdict=Verdict.ALLOWED,
            revision=5,
        ),
        1,
    )

    sampler.compare(cast("Upstream", Answering(answer(told, revision))))

    counts = sampler.counts
    assert (counts.compared, counts.disagreements, counts.inconclusive) == tuple(counted)


def test_what_ended_between_the_two_instants_is_no_disagreement() -> None:
    pause = Record(
        kind=RecordKind.PAUSE,
        cause=Cause.NONE,
        reach=Reach.PROMOTIONAL,
        channel=heed.Channel.ANY,
        topic="",
        decided_time=Instant(1),
        end_time=Instant(2),
        revision=Revision(5),
    )
    sampler = Sampler(1.0)
    sampler.offer(
        Sample(
            request=preference.CheckSuppressionRequest(),
            facts=Facts(((pause,),), (), TopicTable([])),
            query=Query(channel=heed.Channel.EMAIL),
            verdict=Verdict.SUPPRESSED,
            revision=5,
        ),
        1,
    )

    sampler.compare(cast("Upstream", Answering(answer(Verdict.ALLOWED, 5))))

    assert (sampler.counts.compared, sampler.counts.disagreements) == (1, 0)


def test_a_share_of_nothing_samples_nothing() -> None:
    assert Sampler(0.0).next_at == float("inf")
    assert 1 <= Sampler(0.001).next_at <= 2_000
