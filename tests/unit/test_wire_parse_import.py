"""Rows of imports to values: the quick path, and that it is never another than the slow one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import Cause, Channel, Reach, Scope
from heed.wire import limits, parse_import
from heed.wire.asked import RejectedRow
from heed.wire.violations import Violations
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of


def test_rows_become_protections_at_the_channels_of_their_subject() -> None:
    asked = ask.import_records(2)
    asked.rows[1].decided_time.CopyFrom(ask.timestamp())
    asked.rows[1].opt_out.reach = pb.REACH_TRANSACTIONAL

    read = parse_import.import_records(asked.SerializeToString())

    bounce, opt_out = read.protections
    assert (bounce.cause, bounce.reach, bounce.row, bounce.decided_time) == (
        Cause.BOUNCE,
        Reach.ALL,
        0,
        None,
    )
    assert bounce.reason == "550 5.1.1 user unknown"
    assert (opt_out.cause, opt_out.reach, opt_out.row) == (Cause.NONE, Reach.TRANSACTIONAL, 1)
    assert opt_out.scope == Scope(channel=Channel.EMAIL, topic="")
    assert opt_out.decided_time is not None
    assert (read.batch_id, read.call.dry_run, read.has_opt_outs, read.rejected) == (
        "batch",
        False,
        True,
        (),
    )


def test_a_malformed_row_is_set_aside_and_the_others_go_on() -> None:
    asked = ask.import_records(2)
    asked.rows.extend(
        [
            admin.ImportRow(row=3, subject=ask.subject("nobody"), opt_out=pb.OptOut()),
            admin.ImportRow(row=4, subject=ask.subject("d@example.com")),
            admin.ImportRow(row=0, subject=ask.subject("e@example.com"), opt_out=pb.OptOut()),
            admin.ImportRow(
                row=6,
                subject=ask.subject("f@example.com"),
                suppression=ask.suppression(),
                scope=pb.Scope(topic="news"),
            ),
            admin.ImportRow(
                row=7,
                subject=ask.subject("g@example.com"),
                opt_out=pb.OptOut(reach=pb.Reach.ValueType(9)),
            ),
        ]
    )

    read = parse_import.import_records(asked.SerializeToString())

    assert [one.row for one in read.protections] == [0, 1]
    assert [(one.row, one.violation.field) for one in read.rejected] == [
        (3, "subject.email"),
        (4, "protection"),
        (0, "row"),
        (6, "scope"),
        (7, "opt_out.reach"),
    ]


def test_an_import_without_opt_outs_says_so() -> None:
    assert not parse_import.import_records(ask.import_records(1).SerializeToString()).has_opt_outs


def test_what_is_wrong_with_a_chunk_itself_refuses_it() -> None:
    assert violations_of(parse_import.import_records, admin.ImportRecordsRequest()).keys() == {
        "idempotency_key",
        "batch_id",
        "rows",
        "origin",
    }


def test_more_rows_than_a_chunk_may_carry_are_refused() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse_import.import_records(
            ask.import_records(limits.IMPORT_ROWS_MAX + 1).SerializeToString()
        )

    assert refused.value.reason is ErrorReason.BATCH_TOO_LARGE


_CHANNELS = st.sampled_from([0, 1, 2, 3, 9, 77])
_TOPICS = st.sampled_from(["", "news", "news.weekly", "News", "a" * 300, "x..y"])
_REACHES = st.sampled_from([0, 1, 2, 3, 9])
_REASONS = st.sampled_from(["", "550 unknown", "two\nlines", "bell\x07", "\u00a0", "x" * 501])
_SCOPES = st.one_of(st.none(), st.builds(pb.Scope, channel=_CHANNELS, topic=_TOPICS))
_TIMES = st.one_of(
    st.none(),
    st.builds(
        Timestamp,
        seconds=st.sampled_from([-1, 0, 1, 1_700_000_000, limits.SECONDS_MAX, 2**40]),
        nanos=st.sampled_from([-1, 0, 1_999, 999_999_999, 1_000_000_000]),
    ),
)
_SUBJECTS = st.one_of(
    st.none(),
    st.builds(pb.Subject, email=st.sampled_from(["A@Example.COM", "é@x.at", "nobody", "", "@x"])),
    st.builds(pb.Subject, phone=st.sampled_from(["+43 660 123456", "0660", ""])),
    st.builds(pb.Subject, user=st.sampled_from(["ada", "", "\x00"])),
    st.builds(pb.Subject, device=st.sampled_from(["d-1", "x" * 321])),
)
_OPT_OUTS = st.builds(admin.ImportRow, opt_out=st.builds(pb.OptOut, reach=_REACHES))
_SUPPRESSIONS = st.builds(
    admin.ImportRow,
    suppression=st.builds(
        admin.Suppression,
        cause=st.sampled_from([0, 1, 2, 3, 5, 6, 99]),
        scope=_SCOPES,
        reach=_REACHES,
        end_time=_TIMES,
        reason=_REASONS,
    ),
)


@st.composite
def _rows(draw: st.DrawFn) -> admin.ImportRow:
    """A row, right or wrong in any of its parts."""
    made = draw(st.one_of(_OPT_OUTS, _SUPPRESSIONS, st.builds(admin.ImportRow)))
    made.row = draw(st.sampled_from([0, 1, 2**40]))
    subject, scope, decided_time = draw(_SUBJECTS), draw(_SCOPES), draw(_TIMES)
    if subject is not None:
        made.subject.CopyFrom(subject)
    if scope is not None and draw(st.booleans()):
        made.scope.CopyFrom(scope)
    if decided_time is not None:
        made.decided_time.CopyFrom(decided_time)
    return made


@settings(max_examples=400, deadline=None)
@given(st.lists(_rows(), min_size=1, max_size=6))
def test_a_row_is_read_as_the_slow_path_reads_it(rows: list[admin.ImportRow]) -> None:
    asked = ask.import_records(0)
    asked.rows.extend(rows)
    protections, rejected = _read_slowly(rows)

    read = parse_import.import_records(asked.SerializeToString())

    assert list(read.protections) == protections
    assert list(read.rejected) == rejected


def _read_slowly(rows: list[admin.ImportRow]) -> tuple[list[Any], list[RejectedRow]]:
    protections: list[Any] = []
    rejected: list[RejectedRow] = []
    for index, one in enumerate(rows):
        wrong = Violations()
        read = parse_import.row(one, index, wrong)
        if wrong.count:
            rejected.append(RejectedRow(row=one.row, violation=wrong.named[0]))
        else:
            protections += read
    return protections, rejected


def test_what_was_learned_of_a_row_with_an_end_is_not_taken_for_one_without() -> None:
    asked = ask.import_records(0)
    for end_time in (datetime(2030, 1, 1, tzinfo=UTC), None):
        made = asked.rows.add(row=1, subject=ask.subject())
        made.suppression.cause = pb.CAUSE_TEMPORARY_FAILURE
        if end_time is not None:
            made.suppression.end_time.FromDatetime(end_time)

    read = parse_import.import_records(asked.SerializeToString())

    assert [one.row for one in read.protections] == [0]
    assert [one.violation.field for one in read.rejected] == ["suppression.end_time"]


def test_more_kinds_of_rows_than_are_remembered_are_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parse_import, "STOPS_REMEMBERED_MAX", 2)
    asked = ask.import_records(0)
    for number in range(5):
        made = asked.rows.add(row=1, subject=ask.subject(), opt_out=pb.OptOut())
        made.scope.topic = f"topic-{number}"

    read = parse_import.import_records(asked.SerializeToString())

    assert [one.scope.topic for one in read.protections] == [f"topic-{n}" for n in range(5)]
