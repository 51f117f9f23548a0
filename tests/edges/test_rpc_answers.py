"""What checks and choices answer, end to end: a real socket, a real database, a real index."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heed.errors import (
    ConflictError,
    ErrorReason,
)
from heed.model import Channel, Rule
from heed.wire import limits
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import OPEN
from heed_server.service.tally import Volume
from tests.support import requests as ask
from tests.support.servers import Running, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


async def test_nothing_stands_in_the_way_of_a_message_nobody_opted_out_of(server: Running) -> None:
    answer = await server.call("CheckSuppression", ask.check())

    assert answer.decision.verdict == pb.VERDICT_ALLOWED
    assert [reason.rule for reason in answer.decision.reasons] == [pb.RULE_DEFAULT]
    assert answer.decision.topic_class == pb.TOPIC_CLASS_PROMOTIONAL
    assert answer.decision.undeclared_topic
    assert answer.position.revision == 0
    assert answer.position.rule_version == 2
    assert abs(answer.position.now.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_an_opt_out_is_known_once_it_is_answered(server: Running) -> None:
    stored = await server.call("SetPreference", ask.set_preference())

    answer = await server.call(
        "CheckSuppression", ask.check("ADA@example.com", token=stored.position.token)
    )

    assert answer.decision.verdict == pb.VERDICT_SUPPRESSED
    (reason,) = answer.decision.reasons
    assert reason.rule == pb.RULE_OPT_OUT
    assert reason.record.kind == pb.RECORD_KIND_OPT_OUT
    assert reason.record.revision == answer.position.revision == 1
    assert not reason.record.HasField("origin")
    assert answer.position.token == stored.position.token
    assert answer.decision.subjects_with_records == [0]


async def test_a_batch_answers_in_order_at_one_revision(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference(email="user1@example.com"))
    asked = ask.batch_check(3)
    asked.queries[2].subjects.append(ask.subject("user1@example.com"))

    answer = await server.call("BatchCheckSuppression", asked)

    assert [one.verdict for one in answer.decisions] == [
        pb.VERDICT_ALLOWED,
        pb.VERDICT_SUPPRESSED,
        pb.VERDICT_SUPPRESSED,
    ]
    assert [list(one.subjects_with_records) for one in answer.decisions] == [[], [0], [1]]
    assert answer.position.revision == 1


async def test_a_batch_of_ten_thousand_is_answered(server: Running) -> None:
    answer = await server.call("BatchCheckSuppression", ask.batch_check(limits.QUERIES_MAX))

    assert len(answer.decisions) == limits.QUERIES_MAX
    assert {one.verdict for one in answer.decisions} == {pb.VERDICT_ALLOWED}


async def test_checks_about_undeclared_topics_are_counted(server: Running) -> None:
    await server.call("DeclareTopic", ask.declare_topic("marketing.weekly"))
    await server.call("CheckSuppression", ask.check())
    asked = ask.batch_check(3)
    asked.queries[1].topic = "other"

    await server.call("BatchCheckSuppression", asked)

    (context,) = server.tenants.all()
    assert context.tally.undeclared == 1


async def test_answers_are_counted_by_rule_and_mandatory_ones_by_whom_they_override(
    server: Running,
) -> None:
    await server.call("DeclareTopic", ask.declare_topic("login", "t", pb.TOPIC_CLASS_MANDATORY))
    await server.call("SetPreference", ask.set_preference(ask.opt_out()))
    opted_out, anybody = ask.check(), ask.check("nobody@example.com")
    opted_out.query.topic = anybody.query.topic = "login"
    await server.call("CheckSuppression", ask.check())
    await server.call("CheckSuppression", opted_out)
    await server.call(
        "BatchCheckSuppression",
        preference.BatchCheckSuppressionRequest(queries=[anybody.query, opted_out.query]),
    )

    tally = server.service.tally_to_look_at(OPEN, "")

    assert (tally.answers, tally.by_rule[Rule.MANDATORY], tally.by_rule[Rule.OPT_OUT]) == (4, 3, 1)
    assert tally.mandatory == {(Channel.EMAIL, "login"): Volume(messages=3, overriding=2)}


async def test_a_set_answers_with_exactly_what_it_did(server: Running) -> None:
    await server.call("DeclareTopic", ask.declare_topic("login", "t", pb.TOPIC_CLASS_MANDATORY))
    asked = ask.set_preference(ask.opt_out(), ask.pause(topic="news"))
    asked.subjects.append(pb.Subject(user="u-1"))

    answer = await server.call("SetPreference", asked)

    assert [(one.record.subject_index, one.record.kind, one.effect) for one in answer.stored] == [
        (0, pb.RECORD_KIND_OPT_OUT, pb.EFFECT_APPLIED),
        (0, pb.RECORD_KIND_PAUSE, pb.EFFECT_APPLIED),
        (1, pb.RECORD_KIND_OPT_OUT, pb.EFFECT_APPLIED),
        (1, pb.RECORD_KIND_PAUSE, pb.EFFECT_APPLIED),
    ]
    assert len(answer.standing) == 4
    assert answer.still_sent == [pb.TOPIC_CLASS_TRANSACTIONAL, pb.TOPIC_CLASS_MANDATORY]
    assert answer.still_sent_mandatory_topics == ["login"]
    assert answer.position.revision == 5
    assert not answer.replayed


async def test_after_an_opt_in_the_opt_outs_that_still_stand_are_told(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference(ask.opt_out("news"), key="a"))
    decided = datetime.now(UTC) + timedelta(seconds=-1)
    asked = ask.set_preference(ask.opt_in("other"), key="b")
    asked.origin.decided_time.CopyFrom(ask.timestamp(decided))

    answer = await server.call("SetPreference", asked)

    assert [(one.kind, one.scope.topic) for one in answer.standing] == [
        (pb.RECORD_KIND_OPT_OUT, "news"),
        (pb.RECORD_KIND_OPT_IN, "other"),
    ]
    assert answer.still_sent == [
        pb.TOPIC_CLASS_PROMOTIONAL,
        pb.TOPIC_CLASS_TRANSACTIONAL,
        pb.TOPIC_CLASS_MANDATORY,
    ]


async def test_the_same_key_and_payload_gives_the_first_answer(server: Running) -> None:
    first = await server.call("SetPreference", ask.set_preference())
    await server.call("SetPreference", ask.set_preference(ask.opt_out("news"), key="other"))

    again = await server.call("SetPreference", ask.set_preference())

    assert again.replayed
    again.replayed = False
    assert again == first
    assert await server.head() == 2


async def test_the_same_key_with_another_payload_changes_nothing(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference())

    with pytest.raises(ConflictError) as refused:
        await server.call("SetPreference", ask.set_preference(ask.opt_out("news")))

    assert refused.value.reason is ErrorReason.IDEMPOTENCY_KEY_REUSED
    assert refused.value.metadata == {"idempotency_key": "key-1"}
    assert await server.head() == 1


async def test_a_key_is_of_its_method(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference(key="one"))

    answer = await server.call("AddSuppressions", ask.add_suppressions(key="one"))

    assert not answer.replayed
    assert await server.head() == 2


async def test_an_opt_in_by_an_operator_is_no_consent(server: Running) -> None:
    asked = ask.set_preference(ask.opt_in())
    asked.origin.method = pb.METHOD_OPERATOR

    with pytest.raises(ConflictError) as refused:
        await server.call("SetPreference", asked)

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED
    assert await server.head() == 0


async def test_a_batch_of_people_is_stored_in_their_order(server: Running) -> None:
    answer = await server.call("BatchSetPreferences", ask.batch_set_preferences(3))

    assert [[one.record.revision for one in person.stored] for person in answer.people] == [
        [1],
        [2],
        [3],
    ]
    again = await server.call("BatchSetPreferences", ask.batch_set_preferences(3))
    assert again.replayed
    assert again.people == answer.people


async def test_what_stands_is_told_with_who_said_so(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference(ask.opt_in("news")))
    await server.call("AddSuppressions", ask.add_suppressions())

    answer = await server.call(
        "GetPreferences", preference.GetPreferencesRequest(subjects=[ask.subject()])
    )

    opt_in, bounce = answer.records
    assert opt_in.origin.source == "preference-page"
    assert opt_in.origin.decided_time == ask.timestamp()
    assert opt_in.evidence == ask.evidence()
    assert opt_in.HasField("commit_time")
    assert bounce.reason == "550 5.1.1 user unknown"
    assert bounce.cause == pb.CAUSE_BOUNCE
    assert bounce.active
    assert answer.position.revision == 2


async def test_explain_tells_every_rule_that_spoke_and_who_said_so(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference())
    await server.call("AddSuppressions", ask.add_suppressions(cause=pb.CAUSE_COMPLAINT))
    await server.call("PlaceHold", ask.place_hold())
    asked = audit.ExplainRequest(query=ask.query())
    asked.query.subjects.insert(0, ask.subject("nobody@example.com"))

    answer = await server.call("Explain", asked)

    assert [one.rule for one in answer.decision.reasons] == [
        pb.RULE_HOLD,
        pb.RULE_SUPPRESSION,
        pb.RULE_OPT_OUT,
    ]
    hold, complaint, opt_out = answer.decision.reasons
    assert hold.hold.origin.source == "preference-page"
    assert complaint.record.reason == "550 5.1.1 user unknown"
    assert opt_out.record.origin.actor == "person"
    assert opt_out.record.subject_index == 1
    assert answer.decision.subjects_with_records == [1]
    assert answer.decision.verdict == pb.VERDICT_SUPPRESSED
