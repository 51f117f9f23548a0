"""OfferRecordsRequest to values: what is taken, what is refused, and that all of it is named."""

from collections.abc import Callable

import pytest

from heed.acts import Outcome, Tally
from heed.errors import ErrorReason, InvalidArgumentError
from heed.hours import hours_of
from heed.model import (
    Cause,
    Channel,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
    TenantId,
)
from heed.wire import format as told
from heed.wire import limits, outcomes, watched
from heed.wire.parse_offers import offer_records
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.requests import offer_records as valid
from tests.support.requests import violations_of

KEY = (1).to_bytes(16)
RECORDS = (
    Record(
        RecordKind.OPT_OUT, Cause.NONE, Reach.ALL, Channel.ANY, "", Instant(0), None, Revision(0)
    ),
    Record(
        RecordKind.PAUSE,
        Cause.NONE,
        Reach.TRANSACTIONAL,
        Channel.SMS,
        "news.weekly",
        Instant(5),
        Instant(9),
        Revision(0),
    ),
    Record(
        RecordKind.SUPPRESSION,
        Cause.COMPLAINT,
        Reach.TRANSACTIONAL,
        Channel.EMAIL,
        "",
        Instant(7),
        None,
        Revision(0),
    ),
    Record(
        RecordKind.QUIET_HOURS,
        Cause.NONE,
        Reach.TRANSACTIONAL,
        Channel.ANY,
        "news",
        Instant(8),
        None,
        Revision(0),
        quiet_hours=hours_of("Europe/Vienna: mon 22:00-08:00"),
    ),
    Record(
        RecordKind.OPT_OUT,
        Cause.NONE,
        Reach.PROMOTIONAL,
        Channel.EMAIL,
        "news",
        Instant(8),
        None,
        Revision(0),
        no_ask_until=Instant(99),
    ),
)


def test_what_a_follower_holds_is_read_as_it_is() -> None:
    hold = Hold(
        hold_id="hold-7",
        channel=Channel.EMAIL,
        topic="news",
        campaign="spring",
        end_time=Instant(9_000_000),
        reason="a leak",
    )
    asked = pb.OfferRecordsRequest(
        tenant="shop",
        idempotency_key="offer-1",
        subscriber="mailer-1",
        epoch=b"12345678",
        subjects=[
            pb.SubjectRecords(subject_key=KEY, records=[watched.record_to(one) for one in RECORDS])
        ],
        holds=[told.hold(hold), told.hold(Hold(hold_id="hold-8", reason="all"))],
    )

    read = offer_records(asked.SerializeToString())

    assert (read.call.tenant, read.call.idempotency_key) == ("shop", "offer-1")
    assert (read.subscriber, read.epoch) == ("mailer-1", b"12345678")
    assert [one.key for one in read.offered] == [SubjectKey(KEY)] * len(RECORDS)
    assert tuple(one.record for one in read.offered) == RECORDS
    assert read.holds == (hold, Hold(hold_id="hold-8", reason="all"))


def test_every_wrong_field_is_named() -> None:
    asked = pb.OfferRecordsRequest(
        epoch=b"short",
        subjects=[
            pb.SubjectRecords(
                subject_key=b"short",
                records=[
                    pb.WatchedRecord(kind=types.RECORD_KIND_OPT_IN, topic="NO!"),
                    pb.WatchedRecord(
                        kind=types.RECORD_KIND_OPT_OUT,
                        cause=types.CAUSE_BOUNCE,
                        reach=types.REACH_PROMOTIONAL,
                        channel=types.CHANNEL_EMAIL,
                        decided_time_us=-1,
                        end_time_us=2**62,
                    ),
                    pb.WatchedRecord(
                        kind=types.RECORD_KIND_PAUSE,
                        reach=types.REACH_ALL,
                        channel=types.CHANNEL_EMAIL,
                    ),
                    pb.WatchedRecord(
                        kind=types.RECORD_KIND_SUPPRESSION,
                        reach=types.REACH_ALL,
                        channel=types.CHANNEL_EMAIL,
                    ),
                    pb.WatchedRecord(
                        kind=types.RECORD_KIND_QUIET_HOURS,
                        reach=types.REACH_ALL,
                        channel=types.CHANNEL_EMAIL,
                        quiet_hours=types.QuietHours(time_zone="half past"),
                        no_ask_until_us=-1,
                    ),
                    pb.WatchedRecord(
                        kind=types.RECORD_KIND_PAUSE,
                        reach=types.REACH_PROMOTIONAL,
                        channel=types.CHANNEL_EMAIL,
                        quiet_hours=types.QuietHours(time_zone="UTC"),
                    ),
                ],
            )
        ],
        holds=[
            types.Hold(hold_id="hold-7", reason="a", spares_mandatory=True),
            types.Hold(hold_id="hold-7"),
        ],
    )

    assert violations_of(offer_records, asked).keys() == {
        "idempotency_key",
        "subscriber",
        "epoch",
        "subjects[0].subject_key",
        "subjects[0].records[0].kind",
        "subjects[0].records[0].reach",
        "subjects[0].records[0].channel",
        "subjects[0].records[0].topic",
        "subjects[0].records[1].cause",
        "subjects[0].records[1].decided_time_us",
        "subjects[0].records[1].end_time_us",
        "subjects[0].records[2].reach",
        "subjects[0].records[3].cause",
        "subjects[0].records[4].reach",
        "subjects[0].records[4].quiet_hours",
        "subjects[0].records[4].no_ask_until_us",
        "subjects[0].records[5].quiet_hours",
        "holds[0].spares_mandatory",
        "holds[1].reason",
        "holds",
    }


def test_an_offer_of_nothing_is_refused() -> None:
    assert violations_of(offer_records, valid()).keys() == {"subjects"}


def too_many_records() -> pb.OfferRecordsRequest:
    asked = valid(1)
    asked.subjects[0].records.extend([asked.subjects[0].records[0]] * limits.OFFERED_RECORDS_MAX)
    return asked


def too_many_subjects() -> pb.OfferRecordsRequest:
    asked = valid()
    for _ in range(limits.OFFERED_RECORDS_MAX + 1):
        asked.subjects.add(subject_key=KEY)
    return asked


def too_many_holds() -> pb.OfferRecordsRequest:
    return valid(1, holds=[types.Hold(hold_id="h", reason="a")] * (limits.OFFERED_HOLDS_MAX + 1))


@pytest.mark.parametrize("make", [too_many_records, too_many_subjects, too_many_holds])
def test_more_than_an_offer_may_hold_is_refused_unread(
    make: Callable[[], pb.OfferRecordsRequest],
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        offer_records(make().SerializeToString())

    assert refused.value.reason is ErrorReason.BATCH_TOO_LARGE


def test_what_was_found_to_stand_already_is_told_as_unchanged() -> None:
    outcome = Outcome(
        revision=Revision(7),
        running_hash=bytes(32),
        epoch=bytes(8),
        commit_time=Instant(1),
        tally=Tally(added=2, strengthened=1, unchanged=3),
        holds_placed=1,
    )

    message = pb.OfferRecordsResponse.FromString(
        outcomes.records_offered(TenantId(1), outcome, skipped=4)
    )

    assert (message.added, message.strengthened, message.unchanged) == (2, 1, 7)
    assert (message.holds_placed, message.position.revision) == (1, 7)
