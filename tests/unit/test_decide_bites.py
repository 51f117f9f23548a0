"""Shows that the table and the naive statement bite: each broken `decide` is caught by both.

A mutant is the module's own source with one line changed. It must be caught by a case of the table,
and by the naive statement on random facts.
"""

import inspect
import sys
from functools import cache
from types import ModuleType

import pytest

import heed.decide
import heed.topics
from heed.model import Rule, TopicClass
from tests.support import naive_decision, scenarios
from tests.support.decision_cases import load
from tests.support.naive_decision import Scenario

RANDOM_SCENARIOS = 10_000

MUTANTS: dict[str, dict[str, tuple[str, str]]] = {
    "decide": {
        "a tie goes to the opt-in": (
            "opt_in.decided_time > opt_out.decided_time",
            "opt_in.decided_time >= opt_out.decided_time",
        ),
        "an earlier opt-in lifts": (
            "opt_in.decided_time > opt_out.decided_time",
            "opt_in is not opt_out",
        ),
        "any subject's opt-in lifts": (
            "subject == other and _is_lifted(opt_out, opt_in)",
            "_is_lifted(opt_out, opt_in)",
        ),
        "an opt-in at a broader topic lifts": (
            "and len(opt_in.topic) >= len(opt_out.topic)",
            "",
        ),
        "an opt-in at a broader channel lifts": (
            "and opt_out.channel in (_ANY, opt_in.channel)",
            "",
        ),
        "only an opt-in at the very channel lifts": (
            "opt_out.channel in (_ANY, opt_in.channel)",
            "opt_out.channel == opt_in.channel",
        ),
        "an opt-in at a narrower topic does not lift": (
            "len(opt_in.topic) >= len(opt_out.topic)",
            "len(opt_in.topic) == len(opt_out.topic)",
        ),
        "an expired opt-in lifts and consents": (
            "if is_active and record.channel in topic.channels:",
            "if record.channel in topic.channels:",
        ),
        "an end is still within": (
            "is_active = record.end_time is None or now < record.end_time",
            "is_active = record.end_time is None or now <= record.end_time",
        ),
        "an opt-out ends": (
            "if _reaches(record, topic):\n                    standing.opt_outs",
            "if is_active and _reaches(record, topic):\n                    standing.opt_outs",
        ),
        "an ended pause stops": (
            "if is_active and _reaches(record, topic):\n                    standing.pauses",
            "if _reaches(record, topic):\n                    standing.pauses",
        ),
        "an ended suppression stops": (
            "is_active and (record.cause not in REACH_OF_CAUSE",
            "(record.cause not in REACH_OF_CAUSE",
        ),
        "a record of another topic counts": (
            "if record.topic not in topic.lineage:",
            "if False:",
        ),
        "a stop of another channel counts": (
            "elif record.channel not in topic.channels and record.channel in _KNOWN_CHANNELS:",
            "elif False:",
        ),
        "an opt-in of an unknown channel covers": (
            "if is_active and record.channel in topic.channels:",
            "if is_active and (record.channel in topic.channels or record.channel == 12):",
        ),
        "a stop of an unknown channel covers nothing": (
            "elif record.channel not in topic.channels and record.channel in _KNOWN_CHANNELS:",
            "elif record.channel not in topic.channels:",
        ),
        "an unknown kind of record is ignored": (") or kind not in kinds:", "):"),
        "an unknown cause has the reach it names": (
            "record.cause not in REACH_OF_CAUSE or _reaches(record, topic)",
            "_reaches(record, topic)",
        ),
        "an unknown reach reaches nothing but promotional": (
            "        return topic.topic_class == _TRANSACTIONAL\n    return True",
            "        return topic.topic_class == _TRANSACTIONAL\n    return stop.reach == 3",
        ),
        "a promotional stop reaches every class": (
            "return topic.topic_class == _TRANSACTIONAL and stop.topic in topic.raising",
            "return True",
        ),
        "a stop named at a transactional topic does not reach it": (
            "return topic.topic_class == _TRANSACTIONAL and stop.topic in topic.raising",
            "return False",
        ),
        "a stop named at a transactional topic reaches mandatory ones": (
            "return topic.topic_class == _TRANSACTIONAL and stop.topic in topic.raising",
            "return stop.topic in topic.raising",
        ),
        "a transactional stop reaches mandatory ones": (
            "return topic.topic_class == _TRANSACTIONAL\n",
            "return True\n",
        ),
        "mandatory passes an opt-out": (
            "    _opted_out,\n    _mandatory,\n",
            "    _mandatory,\n    _opted_out,\n",
        ),
        "mandatory passes a hold": (
            "_held,\n    _suppressed,\n    _opted_out,\n    _mandatory,\n",
            "_mandatory,\n    _held,\n    _suppressed,\n    _opted_out,\n",
        ),
        "an opt-in passes a pause": (
            "    _paused,\n    _in_quiet_hours,\n    _undeclared,\n    _without_consent,\n    _opted_in,\n",
            "    _opted_in,\n    _paused,\n    _in_quiet_hours,\n    _undeclared,\n    _without_consent,\n",
        ),
        "an opt-in passes quiet hours": (
            "    _in_quiet_hours,\n    _undeclared,\n    _without_consent,\n    _opted_in,\n",
            "    _opted_in,\n    _in_quiet_hours,\n    _undeclared,\n    _without_consent,\n",
        ),
        "quiet hours stop mandatory messages": (
            "    _mandatory,\n    _paused,\n    _in_quiet_hours,\n",
            "    _in_quiet_hours,\n    _mandatory,\n    _paused,\n",
        ),
        "quiet hours are told before a pause": (
            "    _paused,\n    _in_quiet_hours,\n",
            "    _in_quiet_hours,\n    _paused,\n",
        ),
        "ended quiet hours stop": (
            "if is_active and _reaches(record, topic):\n                    standing.quiet_hours =",
            "if _reaches(record, topic):\n                    standing.quiet_hours =",
        ),
        "quiet hours reach every class": (
            "if is_active and _reaches(record, topic):\n                    standing.quiet_hours =",
            "if is_active:\n                    standing.quiet_hours =",
        ),
        "quiet hours stop at every hour": (
            "if is_quiet(one[1].quiet_hours, now)]",
            "if one]",
        ),
        "quiet ends with that which has quiet now": (
            "quiet_until([record.quiet_hours for _, record in standing.quiet_hours], now)",
            "quiet_until([record.quiet_hours for _, record in speaking], now)",
        ),
        "quiet is told without its end": (
            "subject=subject, record=record, until=until)",
            "subject=subject, record=record)",
        ),
        "an opt-in passes an undeclared topic that is suppressed": (
            "    _undeclared,\n    _without_consent,\n    _opted_in,\n",
            "    _without_consent,\n    _opted_in,\n    _undeclared,\n",
        ),
        "consent is never asked for": (
            "standing.requires_opt_in and not standing.opt_ins",
            "False",
        ),
        "a hold ignores its campaign": (
            "(not hold.campaign or hold.campaign == query.campaign)",
            "True",
        ),
        "a hold never ends": ("and hold.is_active(now)", ""),
        "a hold without a channel covers message channels only": (
            "or hold.channel not in _KNOWN_CHANNELS",
            "or (hold.channel not in _KNOWN_CHANNELS and (hold.channel or _ANY in topic.channels))",
        ),
        "a hold of an unknown channel covers nothing": (
            "or hold.channel not in _KNOWN_CHANNELS",
            "or hold.channel is None",
        ),
        "what stands is not looked at when there is no hold": (
            "if not facts.holds and not any(facts.records):",
            "if not facts.holds:",
        ),
        "what stands is looked at for the first subject only": (
            "enumerate(facts.records)",
            "enumerate(facts.records[:1])",
        ),
    },
    "topics": {
        "any covers processing": (
            "wider == Channel.ANY and channel in MESSAGE_CHANNELS",
            "wider == Channel.ANY",
        ),
        "mandatory is inherited": (
            "case TopicClass.MANDATORY if one == name and channel",
            "case TopicClass.MANDATORY if channel",
        ),
        "mandatory holds on every channel": (
            "if one == name and channel in topic.mandatory_channels",
            "if one == name",
        ),
        "the child of a mandatory topic is promotional": (
            "case TopicClass.MANDATORY | TopicClass.TRANSACTIONAL:",
            "case TopicClass.TRANSACTIONAL:",
        ),
        "the root takes the class it is declared with": (
            "if one == TOPIC_ROOT:",
            "if one == name == '-':",
        ),
        "the opt-in default is not inherited": (
            "requires_opt_in=nearest.requires_opt_in",
            "requires_opt_in=nearest.requires_opt_in and not undeclared",
        ),
        "declared topics are suppressed as undeclared": (
            "suppressed_as_undeclared=undeclared and",
            "suppressed_as_undeclared=",
        ),
        "the root is undeclared": (
            "undeclared = nearest.name != name",
            "undeclared = name not in self._declared",
        ),
    },
}


Answer = tuple[list[naive_decision.Voice], TopicClass, bool, int | None]
"""Every voice, the class, whether the topic is undeclared, and until when it is quiet."""


@cache
def random_scenarios() -> list[tuple[Scenario, Answer]]:
    pick = scenarios.seeded(20261121)
    made = [scenarios.scenario(pick) for _ in range(RANDOM_SCENARIOS)]
    return [(scenario, naive_answer(scenario)) for scenario in made]


def naive_answer(scenario: Scenario) -> Answer:
    channel, topic = scenario.query.channel, scenario.query.topic
    return (
        naive_decision.voices(scenario),
        naive_decision.topic_class(scenario.topics, channel, topic),
        naive_decision.is_undeclared(scenario.topics, topic),
        naive_decision.until(scenario),
    )


def mutated(source: ModuleType, old: str, new: str) -> ModuleType:
    """The module with one place of its source changed."""
    text = inspect.getsource(source)
    assert text.count(old) == 1, f"the source has changed: {old!r} stands {text.count(old)} times"
    module = ModuleType(f"{source.__name__}_mutated")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(text.replace(old, new), module.__name__, "exec"), module.__dict__)  # noqa: S102 - our own source
    finally:
        del sys.modules[module.__name__]
    return module


def answer(decide: ModuleType, topics: ModuleType, scenario: Scenario) -> Answer:
    """What `explain` says, or nothing if `decide` says otherwise."""
    facts = decide.Facts(scenario.subjects, scenario.holds, topics.TopicTable(scenario.topics))
    explanation = decide.explain(facts, scenario.query, scenario.now)
    decision = decide.decide(facts, scenario.query, scenario.now)
    agree = explanation.reasons[: len(decision.reasons)] == decision.reasons
    voices = [
        (reason.rule, reason.subject, reason.record or reason.hold)
        for reason in explanation.reasons
    ]
    return (
        voices if agree else [],
        explanation.topic_class,
        explanation.undeclared_topic,
        next((one.until for one in explanation.reasons if one.rule is Rule.QUIET_HOURS), None),
    )


def is_caught_by_the_table(decide: ModuleType, topics: ModuleType) -> bool:
    for case in load():
        voices, topic_class, undeclared, until = answer(decide, topics, case.scenario)
        explains = tuple(dict.fromkeys(rule for rule, _, _ in voices))
        expected = case.expected
        if (explains, topic_class, undeclared) != (
            expected.explains,
            expected.topic_class,
            expected.undeclared,
        ) or (expected.rule is Rule.QUIET_HOURS and until != expected.until):
            return True
    return False


def is_caught_by_the_naive_statement(decide: ModuleType, topics: ModuleType) -> bool:
    return any(answer(decide, topics, scenario) != naive for scenario, naive in random_scenarios())


def test_the_unbroken_modules_are_caught_by_neither() -> None:
    assert not is_caught_by_the_table(heed.decide, heed.topics)
    assert not is_caught_by_the_naive_statement(heed.decide, heed.topics)


@pytest.mark.parametrize("mutant", MUTANTS["decide"])
def test_a_broken_decide_is_caught(mutant: str) -> None:
    broken = mutated(heed.decide, *MUTANTS["decide"][mutant])

    assert is_caught_by_the_table(broken, heed.topics)
    assert is_caught_by_the_naive_statement(broken, heed.topics)


@pytest.mark.parametrize("mutant", MUTANTS["topics"])
def test_a_broken_topic_table_is_caught(mutant: str) -> None:
    broken = mutated(heed.topics, *MUTANTS["topics"][mutant])

    assert is_caught_by_the_table(heed.decide, broken)
    assert is_caught_by_the_naive_statement(heed.decide, broken)
