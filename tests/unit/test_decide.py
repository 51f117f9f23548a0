"""The laws of the decision, held on random facts."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heed import records
from heed.decide import Facts, decide, explain
from heed.errors import InvalidArgumentError
from heed.model import (
    Cause,
    Channel,
    Decision,
    Hold,
    Instant,
    Query,
    Reach,
    Reason,
    Record,
    RecordKind,
    Revision,
    Rule,
    TopicClass,
)
from heed.topics import TopicTable
from tests.support import naive_decision, scenarios
from tests.support.naive_decision import Scenario

some_scenario = scenarios.drawn(scenarios.scenario)
some_record = scenarios.drawn(scenarios.record)
some_hold = scenarios.drawn(scenarios.hold)
quick = settings(max_examples=150, deadline=None)


def facts_of(scenario: Scenario) -> Facts:
    return Facts(scenario.subjects, scenario.holds, TopicTable(scenario.topics))


def decided(scenario: Scenario) -> Decision:
    return decide(facts_of(scenario), scenario.query, scenario.now)


def explained(scenario: Scenario) -> Decision:
    return explain(facts_of(scenario), scenario.query, scenario.now)


def with_record(scenario: Scenario, subject: int, record: Record) -> Scenario:
    subjects = list(scenario.subjects)
    subjects[subject] = (*subjects[subject], record)
    return replace(scenario, subjects=tuple(subjects))


def opt_outs(decision: Decision) -> set[tuple[int | None, Record | None]]:
    return {
        (reason.subject, reason.record)
        for reason in decision.reasons
        if reason.rule is Rule.OPT_OUT
    }


def said(reasons: tuple[Reason, ...]) -> list[naive_decision.Voice]:
    return [(reason.rule, reason.subject, reason.record or reason.hold) for reason in reasons]


@settings(max_examples=400, deadline=None)
@given(scenario=some_scenario)
def test_decide_and_explain_say_what_the_naive_statement_says(scenario: Scenario) -> None:
    naive = naive_decision.voices(scenario)

    explanation = explained(scenario)
    decision = decided(scenario)

    assert said(explanation.reasons) == naive
    assert said(decision.reasons) == [voice for voice in naive if voice[0] is naive[0][0]]
    assert decision.verdict is explanation.verdict is naive_decision.verdict(scenario)
    assert decision.topic_class is naive_decision.topic_class(
        scenario.topics, scenario.query.channel, scenario.query.topic
    )
    assert decision.undeclared_topic is naive_decision.is_undeclared(
        scenario.topics, scenario.query.topic
    )
    untils = {one.until for one in explanation.reasons if one.rule is Rule.QUIET_HOURS}
    assert untils <= {naive_decision.until(scenario)}


@quick
@given(scenario=some_scenario)
def test_explain_agrees_with_decide_and_only_adds_later_rules(scenario: Scenario) -> None:
    decision = decided(scenario)

    explanation = explained(scenario)

    assert explanation.verdict is decision.verdict
    assert explanation.reasons[: len(decision.reasons)] == decision.reasons
    places = [list(Rule).index(reason.rule) for reason in explanation.reasons]
    assert all(place > places[0] for place in places[len(decision.reasons) :])
    assert places == sorted(places)


@quick
@given(
    scenario=some_scenario,
    writes=st.lists(some_record, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_does_not_matter(
    scenario: Scenario, writes: list[Record], order: Random
) -> None:
    """Decided times being the same, whatever order the writes come in, the same is decided."""
    shuffled = list(writes)
    order.shuffle(shuffled)

    one = decided(replace(scenario, subjects=(arrived(writes),)))
    other = decided(replace(scenario, subjects=(arrived(shuffled),)))

    assert one.verdict is other.verdict
    assert without_revisions(one) == without_revisions(other)


def arrived(writes: list[Record]) -> tuple[Record, ...]:
    standing: tuple[Record, ...] = ()
    for revision, write in enumerate(writes, start=1):
        new = replace(write, revision=Revision(revision))
        current = next((one for one in standing if one.slot == new.slot), None)
        standing = records.replace(standing, records.merge(current, new))
    return standing


def without_revisions(decision: Decision) -> list[tuple[Rule, Record | None]]:
    return [
        (reason.rule, reason.record and replace(reason.record, revision=Revision(0)))
        for reason in decision.reasons
    ]


@quick
@given(scenario=some_scenario, data=st.data())
def test_adding_a_stop_never_allows_more(scenario: Scenario, data: st.DataObject) -> None:
    stop = data.draw(
        scenarios.drawn(
            lambda pick: scenarios.record(pick, (RecordKind.OPT_OUT, RecordKind.SUPPRESSION))
        )
    )
    subject = data.draw(st.sampled_from(range(len(scenario.subjects))))

    after = decided(with_record(scenario, subject, stop))

    assert decided(scenario).is_allowed or not after.is_allowed


@quick
@given(scenario=some_scenario, hold=some_hold)
def test_adding_a_hold_never_allows_more(scenario: Scenario, hold: Hold) -> None:
    after = decided(replace(scenario, holds=(*scenario.holds, hold)))

    assert decided(scenario).is_allowed or not after.is_allowed


@quick
@given(scenario=some_scenario, named=st.lists(some_record, max_size=5))
def test_naming_one_more_subject_never_lifts_an_opt_out(
    scenario: Scenario, named: list[Record]
) -> None:
    more = replace(scenario, subjects=(*scenario.subjects, tuple(named)))

    assert opt_outs(explained(scenario)) <= opt_outs(explained(more))


@settings(max_examples=400, deadline=None)
@given(scenario=some_scenario, record=some_record, data=st.data())
def test_nothing_but_a_later_opt_in_of_the_same_subject_within_its_scope_lifts_an_opt_out(
    scenario: Scenario, record: Record, data: st.DataObject
) -> None:
    subject = data.draw(st.sampled_from(range(len(scenario.subjects))))
    before = opt_outs(explained(scenario))

    lifted = before - opt_outs(explained(with_record(scenario, subject, record)))

    for whose, opt_out in lifted:
        assert opt_out is not None
        assert whose == subject
        assert record.kind is RecordKind.OPT_IN
        assert record.decided_time > opt_out.decided_time
        assert naive_decision.scope_within(record, opt_out)
        assert record.end_time is None or record.end_time > scenario.now


@quick
@given(scenario=some_scenario, later=st.integers(min_value=0, max_value=20))
def test_time_alone_lifts_no_opt_out(scenario: Scenario, later: int) -> None:
    after = replace(scenario, now=Instant(scenario.now + later))

    assert opt_outs(explained(scenario)) <= opt_outs(explained(after))


@quick
@given(scenario=some_scenario, hold=some_hold, campaign=st.sampled_from(["", "spring"]))
def test_neither_a_hold_nor_a_campaign_lifts_an_opt_out(
    scenario: Scenario, hold: Hold, campaign: str
) -> None:
    other = replace(scenario, holds=(hold,), query=replace(scenario.query, campaign=campaign))

    assert opt_outs(explained(scenario)) == opt_outs(explained(other))


@quick
@given(scenario=some_scenario)
def test_mandatory_is_never_inherited(scenario: Scenario) -> None:
    decision = decided(scenario)

    if decision.topic_class is TopicClass.MANDATORY:
        declared = next(one for one in scenario.topics if one.name == scenario.query.topic)
        assert declared.topic_class is TopicClass.MANDATORY
        assert scenario.query.channel in declared.mandatory_channels


@quick
@given(scenario=some_scenario, data=st.data())
def test_pausing_and_un_pausing_is_the_identity(scenario: Scenario, data: st.DataObject) -> None:
    pause = data.draw(scenarios.drawn(lambda pick: scenarios.record(pick, (RecordKind.PAUSE,))))
    subject = data.draw(st.sampled_from(range(len(scenario.subjects))))
    assume(all(one.slot != pause.slot for one in scenario.subjects[subject]))
    ended = replace(pause, decided_time=scenario.now, end_time=scenario.now)
    before = decided(scenario)

    paused = decided(with_record(scenario, subject, pause))
    un_paused = decided(with_record(scenario, subject, records.merge(pause, ended)))

    assert before.is_allowed or not paused.is_allowed
    assert pause.decided_time >= scenario.now or un_paused == before


@pytest.mark.parametrize("channel", [Channel.ANY, 0, 12])
def test_a_query_on_no_channel_that_messages_travel_on_is_refused(channel: Channel) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        decide(Facts(((),), (), TopicTable([])), Query(channel=channel), Instant(1))

    assert [violation.field for violation in raised.value.violations] == ["channel"]


def test_a_query_about_a_malformed_topic_is_refused() -> None:
    query = Query(channel=Channel.EMAIL, topic="Marketing")

    with pytest.raises(InvalidArgumentError):
        explain(Facts(((),), (), TopicTable([])), query, Instant(1))


def test_reasons_carry_the_record_that_spoke_with_its_revision() -> None:
    opt_out = Record(
        RecordKind.OPT_OUT,
        Cause.NONE,
        Reach.PROMOTIONAL,
        Channel.ANY,
        "",
        Instant(5),
        None,
        Revision(77),
    )

    decision = decide(
        Facts(((), (opt_out,)), (), TopicTable([])), Query(channel=Channel.EMAIL), Instant(9)
    )

    assert decision.reasons == (Reason(Rule.OPT_OUT, 1, opt_out),)
