"""The decision table, tests/cases/decision, answered by `decide`, `explain` and the naive statement."""

from itertools import combinations

import pytest

from heed.decide import Facts, decide, explain
from heed.model import SUPPRESSING_RULES, Decision, Reason, Rule, Verdict
from heed.topics import TopicTable
from tests.support import naive_decision
from tests.support.decision_cases import DecisionCase, load
from tests.support.naive_decision import Scenario

CASES = load()

NEVER_MEET = {
    (Rule.MANDATORY, Rule.UNDECLARED_TOPIC): "mandatory is never inherited",
    (Rule.NO_CONSENT, Rule.OPT_IN): "the one says that the other is missing",
}


def facts_of(scenario: Scenario) -> Facts:
    return Facts(scenario.subjects, scenario.holds, TopicTable(scenario.topics))


def ends(reason: Reason) -> int | None:
    if reason.until is not None:
        return reason.until
    stop = reason.record or reason.hold
    return None if stop is None else stop.end_time


def positions(decision: Decision, scenario: Scenario) -> tuple[tuple[int, int], ...]:
    return tuple(
        (reason.subject, scenario.subjects[reason.subject].index(reason.record))
        for reason in decision.reasons
        if reason.subject is not None and reason.record is not None
    )


each_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.source}: {case.name}" for case in CASES]
)


@each_case
def test_a_case_is_decided_as_the_table_says(case: DecisionCase) -> None:
    expected, scenario = case.expected, case.scenario

    decision = decide(facts_of(scenario), scenario.query, scenario.now)

    assert decision.verdict is expected.verdict
    assert {reason.rule for reason in decision.reasons} == {expected.rule}
    assert decision.undeclared_topic is expected.undeclared
    assert decision.topic_class is expected.topic_class
    assert ends(decision.reasons[0]) == expected.until
    if expected.voices is not None:
        assert positions(decision, scenario) == expected.voices


@each_case
def test_a_case_is_explained_as_the_table_says(case: DecisionCase) -> None:
    scenario = case.scenario

    decision = explain(facts_of(scenario), scenario.query, scenario.now)

    assert decision.verdict is case.expected.verdict
    assert (
        tuple(dict.fromkeys(reason.rule for reason in decision.reasons)) == case.expected.explains
    )


@each_case
def test_the_naive_statement_reads_a_case_as_the_table_does(case: DecisionCase) -> None:
    voices = naive_decision.voices(case.scenario)

    assert naive_decision.verdict(case.scenario) is case.expected.verdict
    assert tuple(dict.fromkeys(rule for rule, _, _ in voices)) == case.expected.explains


def test_the_table_has_every_rule_as_winner_and_every_pair_of_rules_that_can_meet() -> None:
    pairs = set(combinations((rule for rule in Rule if rule is not Rule.DEFAULT), 2))

    met = {pair for case in CASES for pair in combinations(case.expected.explains, 2)}

    assert {case.expected.rule for case in CASES} == set(Rule)
    assert met == pairs - set(NEVER_MEET)


def test_the_table_has_at_least_170_cases_with_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 170


def test_the_table_agrees_with_the_model_on_which_rules_suppress() -> None:
    for case in CASES:
        suppresses = case.expected.rule in SUPPRESSING_RULES
        assert suppresses is (case.expected.verdict is Verdict.SUPPRESSED)
