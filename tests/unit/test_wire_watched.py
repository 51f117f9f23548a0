"""What a follower is told is read as it was, and a later version's word is never guessed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import ErrorReason, UnavailableError
from heed.hours import hours_of
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
    Topic,
    TopicClass,
)
from heed.wire import format as told
from heed.wire import watched
from heed.wire.watched import (
    LaterVersionError,
    change_from,
    change_part,
    change_to,
    changes_message,
    chunk_message,
    hold_from,
    leaf_content_part,
    leaf_hash_part,
    record_from,
    record_to,
    serialised,
    subjects_from,
    subjects_to,
    topic_from,
)
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support import scenarios
from tests.support.memory_log import MemoryLog, key_of

quick = settings(max_examples=100, deadline=None)
some_record = scenarios.drawn(scenarios.record)


def logged() -> list[Change]:
    """One change of each kind, and one that did nothing."""
    log = MemoryLog()
    log.opt_out("ada", "news")
    log.suppress("ada")
    log.release("ada")
    log.topic(
        Topic(
            name="receipts",
            topic_class=TopicClass.MANDATORY,
            mandatory_channels=frozenset({Channel.EMAIL, Channel.SMS}),
            suppress_undeclared=True,
            title="Receipts",
        )
    )
    log.topic(Topic(name="news", requires_opt_in=True, retired=True))
    hold = Hold(hold_id="hold-1", channel=Channel.ANY, end_time=Instant(5), reason="a test")
    log.hold(hold)
    log.hold(Hold(hold_id="hold-2", topic="news", campaign="autumn", reason="a test"))
    log.lift(hold)
    log.choice("ada", RecordKind.OPT_IN, "news")
    log.erase("ada")
    log.erase("nobody")
    log.opt_out("bob", effect=Effect.SUPERSEDED)
    return log.changes


@quick
@given(some_record)
def test_a_record_is_read_as_it_was_told(record: Record) -> None:
    assert record_from(pb.WatchedRecord.FromString(record_to(record).SerializeToString())) == record


@quick
@given(st.lists(st.lists(some_record, max_size=3), max_size=5))
def test_a_chunk_is_read_as_it_was_told(found: list[list[Record]]) -> None:
    subjects = [(key_of(number), tuple(records)) for number, records in enumerate(found)]

    assert subjects_from(subjects_to(subjects)) == subjects


@quick
@given(some_record, st.integers(-(2**62), 2**62), st.none() | st.integers(-(2**62), 2**62))
def test_a_chunk_put_together_by_hand_is_the_message(
    record: Record, decided: int, end: int | None
) -> None:
    told = replace(
        record,
        decided_time=Instant(decided),
        end_time=None if end is None else Instant(end),
        revision=Revision(abs(decided) >> 15),
    )
    message = pb.SnapshotRecords(
        subjects=[pb.SubjectRecords(subject_key=key_of("ada"), records=[record_to(told)])]
    )

    assert pb.SnapshotRecords.FromString(subjects_to([(key_of("ada"), (told,))])) == message


@pytest.mark.parametrize("change", logged()[:-1], ids=lambda change: change.kind.name.lower())
def test_a_change_is_read_as_it_was_told(change: Change) -> None:
    told = change_to(change)
    assert told is not None

    read = change_from(pb.Change.FromString(told.SerializeToString()), change.running_hash)

    lifted = change.kind is ChangeKind.LIFT
    hold_id = change.hold.hold_id if change.hold else ""
    assert read == (replace(change, hold=Hold(hold_id=hold_id)) if lifted else change)


def test_nothing_is_told_of_a_change_that_did_nothing() -> None:
    assert change_to(logged()[-1]) is None


def test_a_revert_tells_what_stands_in_the_slot_or_that_nothing_does() -> None:
    opt_out = logged()[0]
    restored = replace(opt_out, kind=ChangeKind.REVERT, asked=opt_out.record)
    emptied = replace(restored, record=None)
    closing = replace(emptied, subject=None, asked=None)

    told = [change_to(one) for one in (restored, emptied, closing)]

    assert [one and one.WhichOneof("effect") for one in told] == [
        "set_record",
        "remove_record",
        None,
    ]
    assert [one.slot_record for one in (restored, emptied)] == [opt_out.record, opt_out.record]


def test_a_change_without_what_its_kind_must_carry_is_not_told() -> None:
    with pytest.raises(ValueError, match="lacks"):
        change_to(replace(logged()[0], record=None))


def test_an_erasure_that_leaves_nothing_is_told_all_the_same() -> None:
    (told,) = [one for one in map(change_to, logged()) if one and one.revision == 11]

    assert told.WhichOneof("effect") == "set_records"
    assert not told.set_records.records


def spoilt_record(field: str) -> Callable[[], object]:
    def read() -> Record:
        message = record_to(SOME)
        setattr(message, field, 99)
        return record_from(message)

    return read


def quiet_record(period: types.QuietPeriod) -> pb.WatchedRecord:
    message = record_to(SOME)
    message.kind = types.RECORD_KIND_QUIET_HOURS
    message.quiet_hours.CopyFrom(types.QuietHours(time_zone="UTC", periods=[period]))
    return message


SOME = next(change.record for change in logged() if change.record is not None)
LATER: dict[str, Callable[[], object]] = {
    "kind": spoilt_record("kind"),
    "cause": spoilt_record("cause"),
    "reach": spoilt_record("reach"),
    "channel": spoilt_record("channel"),
    "no channel": lambda: record_from(pb.WatchedRecord(kind=types.RECORD_KIND_OPT_OUT)),
    "effect": lambda: change_from(pb.Change(revision=7, subject_key=bytes(16))),
    "subject's key": lambda: change_from(
        pb.Change(revision=7, subject_key=bytes(32), set_record=record_to(SOME))
    ),
    "no subject's key": lambda: change_from(pb.Change(revision=7, set_record=record_to(SOME))),
    "class of a topic": lambda: topic_from(types.Topic(name="news")),
    "channel of a topic": lambda: topic_from(
        types.Topic(
            topic_class=types.TOPIC_CLASS_MANDATORY,
            mandatory_channels=[types.Channel.ValueType(99)],
        )
    ),
    "channel of a hold": lambda: hold_from(types.Hold(channel=types.Channel.ValueType(99))),
    "record of a chunk": lambda: subjects_from(
        pb.SnapshotRecords(
            subjects=[pb.SubjectRecords(subject_key=bytes(16), records=[pb.WatchedRecord()])]
        ).SerializeToString()
    ),
    "subject of a chunk": lambda: subjects_from(
        pb.SnapshotRecords(subjects=[pb.SubjectRecords(subject_key=b"short")]).SerializeToString()
    ),
    "bytes of a chunk": lambda: subjects_from(b"\xff"),
    "minute of quiet hours": lambda: record_from(
        quiet_record(types.QuietPeriod(start_minute=1440))
    ),
    "day of quiet hours": lambda: record_from(
        quiet_record(types.QuietPeriod(days=[types.DayOfWeek.ValueType(8)]))
    ),
}


@pytest.mark.parametrize("what", LATER)
def test_a_word_of_a_later_version_is_not_guessed(what: str) -> None:
    with pytest.raises(LaterVersionError) as refused:
        LATER[what]()

    assert isinstance(refused.value, UnavailableError)
    assert refused.value.reason is ErrorReason.STATE_STALE


def test_a_subjects_key_and_the_revision_stay_what_they_are() -> None:
    change = logged()[0]
    told = change_to(change)

    assert told is not None
    assert SubjectKey(told.subject_key) == change.subject
    assert Revision(told.revision) == change.revision == told.set_record.revision


def test_changes_are_told_of_in_one_message_whose_parts_are_encoded_once() -> None:
    changes = logged()

    message = pb.WatchChangesResponse.FromString(
        changes_message(
            Revision(0),
            Revision(len(changes)),
            b"".join(map(change_part, changes)),
            token="t",
            running_hash=b"h",
        )
    ).changes

    assert (message.after, message.through, message.token) == (0, len(changes), "t")
    assert message.running_hash == b"h"
    assert list(message.changes) == [one for one in map(change_to, changes) if one is not None]


def test_leaves_are_told_beside_the_changes_by_what_they_are_made_of_or_by_their_hash() -> None:
    parts = leaf_content_part(b"salt", b"{}") + leaf_hash_part(b"hash")

    message = pb.WatchChangesResponse.FromString(
        changes_message(Revision(0), Revision(2), parts, token="t", running_hash=b"h")
    ).changes

    assert [one.WhichOneof("leaf") for one in message.leaves] == ["content", "hash"]
    assert (message.leaves[0].content.salt, message.leaves[0].content.content) == (b"salt", b"{}")
    assert message.leaves[1].hash == b"hash"
    assert not message.changes


def test_a_stop_is_hashed_by_its_fields_in_their_order() -> None:
    topic = types.Topic(name="news", title="News", retired=True)

    assert types.Topic.FromString(serialised(topic)) == topic
    assert serialised(topic) == serialised(types.Topic(retired=True, title="News", name="news"))


def test_a_chunk_of_a_snapshot_is_one_message() -> None:
    message = pb.WatchChangesResponse.FromString(chunk_message(b"chunk"))

    assert message.snapshot_chunk.records == b"chunk"


def test_shapes_of_records_are_remembered_within_bounds() -> None:
    for at in range(told.SHAPES_REMEMBERED_MAX + 1):
        kind, reach = RecordKind.OPT_OUT, Reach.PROMOTIONAL
        opt_out = Record(
            kind, Cause.NONE, reach, Channel.EMAIL, f"t{at}", Instant(1), None, Revision(1)
        )
        subjects_to([(key_of(0), [opt_out])])

    assert len(watched._shapes) <= told.SHAPES_REMEMBERED_MAX


def test_a_change_that_leaves_quiet_hours_names_the_rules_that_decide_by_them() -> None:
    log = MemoryLog()
    plain = log.opt_out("ada", "news")
    assert plain.record is not None

    quiet = replace(
        plain,
        record=replace(
            plain.record,
            kind=RecordKind.QUIET_HOURS,
            quiet_hours=hours_of("UTC: 22:00-08:00"),
        ),
    )

    needed, as_ever = change_to(quiet), change_to(plain)

    assert needed is not None
    assert as_ever is not None
    assert (needed.rule_version, as_ever.rule_version) == (2, 0)
