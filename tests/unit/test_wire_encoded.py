"""Answers put together from encoded parts are the messages that the contract describes."""

import itertools
from dataclasses import replace

import pytest

from heed.acts import Outcome, StoredRecord
from heed.audit.claims import ReceiptClaim
from heed.hours import NO_HOURS, hours_of
from heed.model import (
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Decision,
    Effect,
    Evidence,
    Hold,
    Instant,
    Method,
    Origin,
    Reach,
    Reason,
    Record,
    RecordKind,
    Revision,
    Rule,
    Scope,
    Subject,
    SubjectType,
    TenantId,
    Topic,
    TopicClass,
    Verdict,
)
from heed.still_sent import plan
from heed.tokens import encode_token
from heed.topics import TopicTable
from heed.wire import encoded, outcomes, values
from heed.wire import format as told
from heed.wire.violations import Violations
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

NOW = Instant(1_800_000_000_123_456)

RECORD = Record(
    kind=RecordKind.OPT_OUT,
    cause=Cause.NONE,
    reach=Reach.PROMOTIONAL,
    channel=Channel.EMAIL,
    topic="news",
    decided_time=Instant(NOW - 5_000_000),
    end_time=None,
    revision=Revision(7),
)
PAUSE = Record(
    kind=RecordKind.PAUSE,
    cause=Cause.NONE,
    reach=Reach.TRANSACTIONAL,
    channel=Channel.ANY,
    topic="",
    decided_time=Instant(1),
    end_time=Instant(NOW + 1),
    revision=Revision(2**40),
)
QUIET = Record(
    kind=RecordKind.QUIET_HOURS,
    cause=Cause.NONE,
    reach=Reach.PROMOTIONAL,
    channel=Channel.ANY,
    topic="news",
    decided_time=Instant(1),
    end_time=None,
    revision=Revision(9),
    quiet_hours=hours_of("Europe/Vienna: 22:00-08:00; sat,sun 23:00-10:00"),
)
OPT_IN = Record(
    kind=RecordKind.OPT_IN,
    cause=Cause.NONE,
    reach=Reach.ALL,
    channel=Channel.PROCESSING,
    topic="a.b",
    decided_time=Instant(0),
    end_time=Instant(NOW),
    revision=Revision(1),
)
BOUNCE = Record(
    kind=RecordKind.SUPPRESSION,
    cause=Cause.BOUNCE,
    reach=Reach.ALL,
    channel=Channel.WHATSAPP,
    topic="",
    decided_time=Instant(NOW),
    end_time=None,
    revision=Revision(3),
)
HOLD = Hold(
    hold_id="hold-1",
    channel=Channel.ANY,
    topic="news",
    campaign="spring",
    end_time=Instant(NOW + 9),
    reason="a template is broken",
    revision=Revision(9),
)


def decision(*reasons: Reason, topic_class: TopicClass = TopicClass.PROMOTIONAL) -> Decision:
    return Decision(Verdict.SUPPRESSED, reasons, topic_class=topic_class)


ANSWERED: dict[str, encoded.Answered] = {
    "default": (Decision(Verdict.ALLOWED, (Reason(Rule.DEFAULT),)), ()),
    "default, with records": (Decision(Verdict.ALLOWED, (Reason(Rule.DEFAULT),)), (1, 3)),
    "undeclared": (
        Decision(
            Verdict.SUPPRESSED, (Reason(Rule.UNDECLARED_TOPIC),), undeclared_topic=True
        ),
        (),
    ),
    "mandatory": (
        Decision(Verdict.ALLOWED, (Reason(Rule.MANDATORY),), topic_class=TopicClass.MANDATORY),
        (),
    ),
    "opt-out": (decision(Reason(Rule.OPT_OUT, 0, RECORD)), (0,)),
    "two voices": (
        decision(Reason(Rule.OPT_OUT, 1, RECORD), Reason(Rule.OPT_OUT, 7, RECORD)),
        (1, 7),
    ),
    "pause": (decision(Reason(Rule.PAUSE, 0, PAUSE)), (0,)),
    "quiet hours": (decision(Reason(Rule.QUIET_HOURS, 0, QUIET, until=Instant(NOW + 5))), (0,)),
    "quiet hours without an end": (
        decision(
            Reason(Rule.QUIET_HOURS, 0, replace(QUIET, quiet_hours=None)),
            Reason(Rule.QUIET_HOURS, 1, replace(QUIET, quiet_hours=NO_HOURS, end_time=NOW)),
        ),
        (0, 1),
    ),
    "opt-out that says until when not to ask": (
        decision(Reason(Rule.OPT_OUT, 0, replace(RECORD, no_ask_until=Instant(NOW + 7)))),
        (0,),
    ),
    "bounce": (decision(Reason(Rule.SUPPRESSION, 2, BOUNCE)), (2,)),
    "opt-in": (
        Decision(Verdict.ALLOWED, (Reason(Rule.OPT_IN, 0, OPT_IN),), topic_class=TopicClass.TRANSACTIONAL),
        (0,),
    ),
    "hold": (decision(Reason(Rule.HOLD, hold=HOLD)), ()),
    "wordy hold": (decision(Reason(Rule.HOLD, hold=Hold(hold_id="h", reason="r" * 500))), ()),
    "open hold": (
        decision(Reason(Rule.HOLD, hold=Hold(hold_id="h", reason="r"))),
        (0, 1, 2, 3, 4, 5, 6, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("now", [NOW, Instant(0), Instant(253_402_300_799_999_999)])
@pytest.mark.parametrize("token", ["", "t" * 39])
@pytest.mark.parametrize("case", ANSWERED)
def test_an_answer_says_what_its_message_would(case: str, token: str, now: Instant) -> None:
    answered = ANSWERED[case]
    expected = preference.CheckSuppressionResponse(
        decision=told.decision(*answered, now),
        position=told.position(Revision(7), token, now),
    )

    for _ in range(2):  # the second time it may be remembered
        data = encoded.answer(answered, encoded.Position(Revision(7), token), now)

        assert preference.CheckSuppressionResponse.FromString(data) == expected


def test_a_batch_says_each_answer_in_order() -> None:
    answered = list(itertools.islice(itertools.cycle(ANSWERED.values()), 1_000))

    data = encoded.batch_answer(answered, encoded.Position(Revision(0), ""), NOW)

    batch = preference.BatchCheckSuppressionResponse.FromString(data)
    assert list(batch.decisions) == [told.decision(*one, NOW) for one in answered]
    assert batch.position == told.position(Revision(0), "", NOW)


def test_one_position_serves_many_instants() -> None:
    position = encoded.Position(Revision(7), "t")
    answered = ANSWERED["default"]

    for now in (NOW, Instant(NOW + 1), Instant(NOW + 10_000_000), NOW):
        data = encoded.answer(answered, position, now)

        answer = preference.CheckSuppressionResponse.FromString(data)
        assert answer.position == told.position(Revision(7), "t", now)


def test_shapes_of_records_are_remembered_within_bounds() -> None:
    for at in range(told.SHAPES_REMEMBERED_MAX + 1):
        record = replace(RECORD, topic=f"t{at}")
        answered: encoded.Answered = (decision(Reason(Rule.OPT_OUT, 0, record)), (0,))
        encoded.answer(answered, encoded.Position(Revision(0), ""), NOW)

    assert len(encoded._shapes) <= told.SHAPES_REMEMBERED_MAX


def test_what_is_remembered_is_only_what_no_record_led_to() -> None:
    encoded._plain.clear()

    for answered in ANSWERED.values():
        encoded.answer(answered, encoded.Position(Revision(0), ""), NOW)

    assert len(encoded._plain) == 3


def test_a_record_in_full_says_who_said_so_when_and_why() -> None:
    origin = Origin(
        source="page",
        actor="person",
        method=Method.ONE_CLICK,
        jurisdiction="DE",
        reference="r",
        decided_time=NOW,
    )
    shown = Evidence(
        notice="n", notice_version="1", act="a", language="de", truncated_ip="192.0.2.0/24"
    )

    record = told.record_in_full(
        OPT_IN, 3, NOW, commit_time=NOW, said_by=origin, shown=shown, reason="why"
    )

    assert (record.subject_index, record.reason, record.active) == (3, "why", False)
    assert record.reach == pb.REACH_UNSPECIFIED
    assert values.origin(record.origin, "", Violations()) == origin
    assert values.evidence(record.evidence, "", Violations()) == shown
    assert record.commit_time == told.timestamp(NOW)


def test_a_record_of_which_nothing_more_is_known_says_nothing_more() -> None:
    record = told.record_in_full(
        BOUNCE, 0, NOW, commit_time=NOW, said_by=None, shown=None, reason=""
    )

    assert not record.HasField("origin")
    assert not record.HasField("evidence")


@pytest.mark.parametrize(
    "subject",
    [
        Subject(type=SubjectType.EMAIL, value="ada@example.com"),
        Subject(type=SubjectType.PHONE, value="+436601234567"),
        Subject(type=SubjectType.USER, value="u-1"),
        Subject(type=SubjectType.DEVICE, value="d-1"),
    ],
    ids=lambda subject: subject.type.name,
)
def test_a_subject_comes_back_as_it_went(subject: Subject) -> None:
    assert values.subject(told.subject(subject), "", Violations()) == subject


def test_a_scope_comes_back_as_it_went() -> None:
    for channel in Channel:
        scope = Scope(channel=channel, topic="a.b")

        assert values.scope(told.scope(scope), "", Violations()) == scope


def test_a_topic_tells_its_channels_in_order() -> None:
    topic = Topic(
        name="login",
        topic_class=TopicClass.MANDATORY,
        mandatory_channels=frozenset({Channel.SMS, Channel.EMAIL}),
        title="Log-in codes",
        retired=True,
        revision=Revision(4),
    )

    message = told.topic(topic)

    assert message == pb.Topic(
        name="login",
        topic_class=pb.TOPIC_CLASS_MANDATORY,
        mandatory_channels=[pb.CHANNEL_EMAIL, pb.CHANNEL_SMS],
        title="Log-in codes",
        retired=True,
        revision=4,
    )


def test_an_effect_is_told_by_its_number() -> None:
    assert [told.effect(effect) for effect in Effect] == [
        pb.EFFECT_APPLIED,
        pb.EFFECT_SUPERSEDED,
    ]


def test_a_hold_in_full_says_who_placed_it() -> None:
    known = told.hold_in_full(HOLD, NOW, Origin(source="console"))
    unknown = told.hold_in_full(HOLD, NOW, None)

    assert known.origin.source == "console"
    assert known.commit_time == told.timestamp(NOW)
    assert not unknown.HasField("origin")
    assert known.channel == pb.CHANNEL_ANY


@pytest.mark.parametrize(
    ("ours", "theirs", "missing"),
    [
        (Channel, pb.Channel, set[str]()),
        (TopicClass, pb.TopicClass, set[str]()),
        (Reach, pb.Reach, set[str]()),
        (Verdict, pb.Verdict, set[str]()),
        (Rule, pb.Rule, set[str]()),
        (RecordKind, pb.RecordKind, set[str]()),
        (Cause, pb.Cause, {"NONE"}),
        (Method, pb.Method, {"UNSPECIFIED"}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_the_numbers_of_the_model_are_those_of_the_contract(
    ours: type, theirs: object, missing: set[str]
) -> None:
    descriptor = theirs.DESCRIPTOR  # type: ignore[attr-defined]  # an enum's wrapper has it
    prefix = descriptor.values[0].name.removesuffix("UNSPECIFIED")
    contract = {value.name.removeprefix(prefix): value.number for value in descriptor.values[1:]}
    members: dict[str, int] = {one.name: one.value for one in ours}  # type: ignore[attr-defined]  # enums

    assert {name: n for name, n in members.items() if name not in missing} == contract


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("is_claimed", [True, False])
def test_the_answer_to_a_write_is_the_message_of_its_parts(
    effect: Effect, *, is_claimed: bool
) -> None:
    claim = ReceiptClaim(
        origin="heed.dev/log/0102/1", first_revision=Revision(2**40), count=3, leaves_hash=b"l" * 32
    )
    mandatory = Topic(
        name="security",
        topic_class=TopicClass.MANDATORY,
        mandatory_channels=frozenset({Channel.EMAIL}),
    )
    at_root = plan(
        TopicTable([mandatory]), [Choice(kind=ChoiceKind.OPT_OUT, scope=Scope(channel=Channel.ANY))]
    )
    outcome = Outcome(
        revision=Revision(2**40 + 2),
        running_hash=b"r" * 32,
        epoch=b"e" * 8,
        commit_time=NOW,
        stored=tuple(
            StoredRecord(item=0, subject_index=index, record=record, effect=effect)
            for index, record in enumerate((RECORD, PAUSE, OPT_IN, QUIET))
        ),
        standing=((0, 0, RECORD), (0, 1, PAUSE), (0, 2, BOUNCE), (0, 3, RECORD)),
        claim=claim if is_claimed else None,
    )
    token = encode_token(
        epoch=outcome.epoch,
        tenant_id=TenantId(1),
        revision=outcome.revision,
        running_hash=outcome.running_hash,
    )

    answer = outcomes.preference_set(TenantId(1), outcome, at_root)

    classes, topics = at_root.within(outcome.standing, NOW)
    assert topics == ["security"]
    assert preference.SetPreferenceResponse.FromString(answer) == preference.SetPreferenceResponse(
        stored=[
            preference.StoredChoice(
                record=told.record(one.record, one.subject_index, NOW),
                effect=told.effect(effect),
            )
            for one in outcome.stored
        ],
        standing=[told.record(record, at, NOW) for _, at, record in outcome.standing],
        still_sent=[pb.TopicClass.ValueType(one) for one in classes],
        still_sent_mandatory_topics=topics,
        position=told.position(outcome.revision, token, NOW),
        receipt_claim=pb.ReceiptClaim(
            origin=claim.origin, first_revision=2**40, count=3, leaves_hash=b"l" * 32
        )
        if is_claimed
        else None,
    )
