"""By when opt-outs must have reached everyone: the question and the answer, as a client has them."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

import heed
from heed.deadlines import DeadlineStanding
from heed.wire import ask, read
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch

DECIDED = datetime(2026, 3, 1, 9, tzinfo=UTC)
DUE = datetime(2026, 3, 3, 9, tzinfo=UTC)


def at(instant: datetime) -> Timestamp:
    told = Timestamp()
    told.FromDatetime(instant)
    return told


def answer(standing: watch.DeadlineStanding.ValueType) -> watch.GetDeadlinesResponse:
    return watch.GetDeadlinesResponse(
        opt_outs=[
            watch.OptOutDeadlines(
                revision=7,
                commit_time=at(DECIDED),
                decided_time=at(DECIDED),
                scope=pb.Scope(channel=pb.CHANNEL_EMAIL, topic="news"),
                jurisdiction="US-CA",
                deadlines=[watch.Deadline(time=at(DUE), policy="two-days", title="Two days")],
                standing=standing,
                waiting_for=["mailer-7"],
            )
        ],
        next_before_revision=7,
        now=at(DUE),
        policies_version="2026-11-27",
    )


def test_a_page_of_deadlines_is_asked_for_from_where_the_last_one_ended() -> None:
    asked = ask.get_deadlines("shop", 7, 20)

    assert (asked.tenant, asked.before_revision, asked.page_size) == ("shop", 7, 20)


def test_a_page_of_deadlines_is_read_as_it_was_told() -> None:
    page = read.deadlines(answer(watch.DEADLINE_STANDING_NEAR))

    (told,) = page.opt_outs
    assert (page.next_before_revision, page.now, page.policies_version) == (7, DUE, "2026-11-27")
    assert (told.revision, told.commit_time, told.decided_time) == (7, DECIDED, DECIDED)
    assert told.scope == heed.Scope(channel=heed.Channel.EMAIL, topic="news")
    assert [(one.policy, one.time) for one in told.deadlines] == [("two-days", DUE)]
    assert told.standing is DeadlineStanding.NEAR
    assert (told.applied_time, told.waiting_for) == (None, ("mailer-7",))


def test_a_standing_of_a_later_version_is_told_as_over() -> None:
    (told,) = read.deadlines(answer(watch.DeadlineStanding.ValueType(99))).opt_outs

    assert told.standing is DeadlineStanding.OVER
