"""What a webhook says of each change, to whom, and what it never says."""

import json
from dataclasses import replace
from typing import Any

import pytest

from heed.hours import Hours, quiet_period
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Hold,
    Instant,
    Origin,
    Record,
    RecordKind,
    Revision,
    Topic,
    TopicClass,
)
from heed_server.webhooks.events import (
    EVENT_TYPES,
    EventType,
    event_of,
    event_of_notice,
    notice,
    type_of,
)
from heed_server.webhooks.wanted import Wanted
from tests.support.memory_log import EPOCH, MemoryLog, key_of

HOLD = Hold(hold_id="hold-1", topic="news", reason="ask ada@example.com", channel=Channel.SMS)


def said(change: Change) -> dict[str, Any]:
    event = event_of(change, tenant="shop", epoch=EPOCH)
    told: dict[str, Any] = json.loads(event.body)
    assert told["type"] == event.type == type_of(change)
    assert told["data"]["revision"] == change.revision
    assert "." not in event.event_id
    return told


def test_a_choice_is_told_with_its_record() -> None:
    log = MemoryLog()
    log.opt_out("ada", "news.weekly")

    told = said(log.changes[0])

    assert told == {
        "type": "preference.changed",
        "timestamp": "2023-11-14T22:13:20.000001Z",
        "data": {
            "tenant": "shop",
            "epoch": EPOCH.hex(),
            "revision": 1,
            "subject": key_of("ada").hex(),
            "effect": "set",
            "record": {
                "kind": "opt_out",
                "cause": None,
                "reach": "promotional",
                "channel": "email",
                "topic": "news.weekly",
                "decided_time": "2023-11-14T22:13:20.000001Z",
                "end_time": None,
                "quiet_hours": None,
                "no_ask_until": None,
            },
        },
    }


def test_quiet_hours_and_until_when_nobody_asks_are_told() -> None:
    change = MemoryLog().opt_out("ada")
    assert change.record is not None
    night = Hours(time_zone="Europe/Vienna", periods=(quiet_period("sat,sun 22:00-10:00"),))
    quiet = replace(change.record, kind=RecordKind.QUIET_HOURS, quiet_hours=night)
    unasked = replace(change.record, no_ask_until=Instant(1_800_000_000_000_000))

    told_quiet = said(replace(change, record=quiet))["data"]["record"]
    told_unasked = said(replace(change, record=unasked))["data"]["record"]

    assert told_quiet["kind"] == "quiet_hours"
    assert told_quiet["quiet_hours"] == {
        "time_zone": "Europe/Vienna",
        "periods": ["sat,sun 22:00-10:00"],
    }
    assert told_unasked["no_ask_until"] == "2027-01-15T08:00:00.000000Z"


def test_every_kind_of_change_has_a_type_of_its_own() -> None:
    log = MemoryLog()
    log.choice("ada", RecordKind.OPT_IN)
    log.suppress("ada", Cause.COMPLAINT)
    log.release("ada", Cause.COMPLAINT)
    log.topic(Topic(name="news", topic_class=TopicClass.TRANSACTIONAL, title="News"))
    log.hold(HOLD)
    log.lift(HOLD)
    log.opt_out("ada")
    log.erase("ada")
    log.replace_key()
    log.move("ada", "ada'")
    told = [said(change) for change in log.changes]

    assert [one["type"] for one in told] == [
        "preference.changed",
        "suppression.added",
        "suppression.released",
        "topic.changed",
        "hold.placed",
        "hold.lifted",
        "preference.changed",
        "subject.erased",
        "lookup_key.added",
        "subject.rekeyed",
    ]
    assert told[0]["data"]["record"]["reach"] is None
    assert told[2]["data"]["effect"] == "removed"
    assert told[3]["data"]["topic"]["class"] == "transactional"
    assert "reason" not in told[4]["data"]["hold"]
    assert [one["kind"] for one in told[7]["data"]["records"]] == ["suppression", "opt_out"] or [
        one["kind"] for one in told[7]["data"]["records"]
    ] == ["opt_out"]
    assert told[9]["data"]["previous_subject"] == key_of("ada").hex()


def test_what_did_nothing_is_not_told() -> None:
    change = MemoryLog().opt_out("ada", effect=Effect.SUPERSEDED)

    assert type_of(change) is None
    with pytest.raises(ValueError, match="not told"):
        event_of(change, tenant="shop", epoch=EPOCH)


def test_of_a_batch_that_is_undone_the_records_are_told_and_its_beginning_is_not() -> None:
    log = MemoryLog()
    applied = log.opt_out("ada")
    begin = replace(applied, kind=ChangeKind.REVERT, subject=None, record=None, batch_id="list-7")
    emptied = replace(applied, kind=ChangeKind.REVERT, record=None, asked=applied.record)
    put_back = replace(applied, kind=ChangeKind.REVERT)

    assert type_of(begin) is None
    assert said(emptied)["data"]["effect"] == "removed"
    assert said(put_back)["data"]["effect"] == "set"
    suppressed = log.suppress("ada")
    undone = replace(suppressed, kind=ChangeKind.REVERT, record=None, asked=suppressed.record)
    assert said(undone)["type"] == "suppression.released"


def test_no_origin_reason_or_batch_is_told() -> None:
    change = replace(
        MemoryLog().opt_out("ada"),
        origin=Origin(source="ada@example.com", actor="ada@example.com", reference="ada"),
        reason="ada@example.com",
        batch_id="ada@example.com",
        asked_by="ada@example.com",
    )

    assert b"ada" not in event_of(change, tenant="shop", epoch=EPOCH).body
    assert b"ada" not in event_of(MemoryLog().hold(HOLD), tenant="shop", epoch=EPOCH).body


def test_what_an_erasure_took_is_not_told() -> None:
    stop = MemoryLog().opt_out("ada")
    erased_stop = replace(stop, is_erased=True)
    erased_consent = replace(stop, is_erased=True, record=None)

    assert said(erased_stop)["data"]["erased"] is True
    assert type_of(erased_consent) is None


def test_the_same_number_of_another_history_has_another_id() -> None:
    one, other = MemoryLog(), MemoryLog(salt=b"other")
    one.opt_out("ada")
    other.opt_out("ada")

    ids = {
        event_of(log.changes[0], tenant="shop", epoch=epoch).event_id
        for log in (one, other)
        for epoch in (EPOCH, b"epoch--2")
    }

    assert len(ids) == 4


def test_a_notice_has_one_id_however_often_it_is_made() -> None:
    def made(time: int, subscriber: str = "mailer") -> str:
        late = notice(
            EventType.DEADLINE_NEAR,
            Instant(time),
            {"subscriber": subscriber},
            known_by=(subscriber,),
            about=Revision(7),
        )
        event = event_of_notice(late)
        assert event.type is EventType.DEADLINE_NEAR
        assert json.loads(event.body)["data"] == {"subscriber": subscriber}
        return event.event_id

    assert made(1) == made(2)
    assert made(1) != made(1, "other")


def record(channel: Channel, topic: str = "") -> Change:
    change = MemoryLog().on_channel(channel).opt_out("ada", topic)
    assert isinstance(change.record, Record)
    return change


EVERY = frozenset(EVENT_TYPES)


@pytest.mark.parametrize(
    ("wanted", "change", "is_told"),
    [
        (Wanted(events=EVERY), record(Channel.SMS), True),
        (Wanted(events=frozenset({EventType.HOLD_PLACED})), record(Channel.SMS), False),
        (Wanted(events=EVERY, channels=frozenset({Channel.SMS})), record(Channel.SMS), True),
        (Wanted(events=EVERY, channels=frozenset({Channel.SMS})), record(Channel.EMAIL), False),
        (Wanted(events=EVERY, channels=frozenset({Channel.SMS})), record(Channel.ANY), True),
        (
            Wanted(events=EVERY, channels=frozenset({Channel.PROCESSING})),
            record(Channel.ANY),
            False,
        ),
        (Wanted(events=EVERY, topics=("news",)), record(Channel.SMS, "news"), True),
        (Wanted(events=EVERY, topics=("news",)), record(Channel.SMS, "news.daily"), True),
        (Wanted(events=EVERY, topics=("news.daily",)), record(Channel.SMS, "news"), True),
        (Wanted(events=EVERY, topics=("news",)), record(Channel.SMS), True),
        (Wanted(events=EVERY, topics=("news",)), record(Channel.SMS, "newsletter"), False),
        (Wanted(events=EVERY, topics=("news",)), MemoryLog().topic(Topic(name="sport")), False),
        (Wanted(events=EVERY, topics=("news",)), MemoryLog().hold(HOLD), True),
        (Wanted(events=EVERY, channels=frozenset({Channel.SMS})), MemoryLog().hold(HOLD), True),
        (Wanted(events=EVERY, channels=frozenset({Channel.EMAIL})), MemoryLog().hold(HOLD), False),
        (Wanted(events=EVERY, topics=("news",)), MemoryLog().erase("ada"), True),
        (Wanted(events=EVERY, channels=frozenset({Channel.SMS})), MemoryLog().replace_key(), True),
    ],
)
def test_a_target_is_told_of_what_touches_what_it_names(
    wanted: Wanted, change: Change, *, is_told: bool
) -> None:
    assert wanted.is_told(change) is is_told
