"""A cache decides as the server does: the decision table, and 10,000 drawn cases."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import heed
from heed.answers import AnswerSource, CacheState, CheckAnswer
from heed.connection.caching import cache_spec, make_cache
from heed.connection.target import target_of
from heed.decide import Facts, decide
from heed.index.place import Place, Source
from heed.keys import LOOKUP_KEY_BYTES, Keyer
from heed.model import (
    Hold,
    Instant,
    Record,
    RecordKind,
    Revision,
    SubjectType,
    TenantId,
    Topic,
)
from heed.records import encode_records
from heed.replica.cache import Cache
from heed.replica.owned import Owned
from heed.requests import Query
from heed.topics import TopicTable
from heed.wire import format as told
from heed.wire import read
from heed_proto.v1 import preference_service_pb2 as preference
from tests.support import scenarios
from tests.support.decision_cases import DecisionCase, load
from tests.support.naive_decision import Scenario, verdict

KEY = bytes(LOOKUP_KEY_BYTES)
REVISION = Revision(7)
CLOCK_NS = 10**15
WORLDS = 50
_KNOWN_CLASSES = set(heed.TopicClass)
_KNOWN_CHANNELS = {None, *heed.Channel}
CASES_A_WORLD = 200


class UnusedUpstream:
    """Nothing is asked of it: the follower is not started."""

    def close(self) -> None:
        pass


class World:
    """A cache with these topics, holds and people, at a time that the test sets."""

    def __init__(self, cache: Cache, owned: Owned) -> None:
        self.cache = cache
        self._owned = owned

    def ask(self, names: Sequence[str], scenario: Scenario) -> CheckAnswer:
        self._owned.heard(known_ns=CLOCK_NS, source_now_us=max(scenario.now, 1), heard_ns=CLOCK_NS)
        query = scenario.query
        found = self.cache.check(
            Query(
                channel=query.channel, topic=query.topic, campaign=query.campaign, user=list(names)
            ),
            "",
            None,
        )
        assert isinstance(found, CheckAnswer)
        return found


@contextmanager
def world(
    folder: Path,
    topics: Sequence[Topic],
    holds: Sequence[Hold],
    people: Sequence[tuple[str, tuple[Record, ...]]],
) -> Generator[World]:
    target = target_of("127.0.0.1:1", tls=None, insecure=False, api_key=None)
    spec = cache_spec(
        folder, target, tenant="", subscriber="t", channels=(), topics=(), max_staleness=None
    )
    cache = make_cache(spec, UnusedUpstream(), clock=lambda: CLOCK_NS, sampled_share=0)  # type: ignore[arg-type]
    replica = cache._replica
    assert replica.own()
    owned = Owned(replica)
    draft = owned.draft(topics, holds)
    keyer = Keyer(KEY)
    entries = [
        (keyer.key_of(SubjectType.USER, name), encode_records(records))
        for name, records in people
        if records
    ]
    draft.index.append(sorted(entries))
    owned.install(draft, _place(), Source(tenant="t", lookup_keys=((1, KEY),)))
    yield World(cache, owned)
    cache.close()


def _place() -> Place:
    return Place(
        tenant_id=TenantId(1),
        epoch=b"12345678",
        revision=REVISION,
        running_hash=bytes(32),
        stops_revision=REVISION,
        rule_version=1,
        normaliser_version=1,
        token="token",
    )


def of_the_wire(scenario: Scenario) -> CheckAnswer:
    """What a client reads of a server's answer."""
    facts = Facts(scenario.subjects, scenario.holds, TopicTable(scenario.topics))
    now = Instant(max(scenario.now, 1))
    decision = decide(facts, scenario.query, now)
    with_records = [at for at, records in enumerate(scenario.subjects) if records]
    return read.check(
        preference.CheckSuppressionResponse(
            decision=told.decision(decision, with_records, now),
            position=told.position(REVISION, "token", now),
        )
    )


def known(case: DecisionCase) -> bool:
    """Whether a stream can tell of it: a later version's words never come into a cache."""
    scenario = case.scenario
    return (
        all(
            isinstance(part, heed.Channel | RecordKind | heed.Cause | heed.Reach)
            for records in scenario.subjects
            for record in records
            for part in (record.kind, record.cause, record.reach, record.channel)
        )
        and all(isinstance(topic.topic_class, heed.TopicClass) for topic in scenario.topics)
        and all(isinstance(hold.channel, heed.Channel | None) for hold in scenario.holds)
    )


@pytest.mark.parametrize(
    "case", [case for case in load() if known(case)], ids=lambda case: f"{case.source}: {case.name}"
)
def test_every_case_of_the_table_is_answered_as_over_the_wire(
    case: DecisionCase, tmp_path: Path
) -> None:
    scenario = case.scenario
    names = [f"u-{at}" for at in range(len(scenario.subjects))]

    people = list(zip(names, scenario.subjects, strict=True))
    with world(tmp_path / "c", scenario.topics, scenario.holds, people) as asked:
        answers = [asked.ask(names, scenario) for _ in range(2)]

    for answer in answers:
        assert (answer.verdict, answer.rule) == (case.expected.verdict, case.expected.rule)
        assert answer.source is AnswerSource.CACHE
        assert answer.state is CacheState.LIVE
        assert answer.age is not None
        plain = replace(answer, source=AnswerSource.SERVER, age=None, state=None)
        assert plain == of_the_wire(scenario)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_drawn_cases_are_decided_as_the_design_says(seed: int, tmp_path: Path) -> None:
    pick = scenarios.seeded(seed)
    declared = [scenarios.topic(pick, name) for name in scenarios.TOPICS if pick((False, True))]
    topics = [topic for topic in declared if topic.topic_class in _KNOWN_CLASSES]
    holds = {
        hold.hold_id: hold
        for hold in scenarios.some(pick, scenarios.hold, 1)
        if hold.channel in _KNOWN_CHANNELS
    }
    people = [(f"u-{at}", scenarios.some(pick, scenarios.record, 4)) for at in range(CASES_A_WORLD)]

    with world(tmp_path / "c", topics, list(holds.values()), people) as asked:
        for at in range(CASES_A_WORLD):
            whom = sorted({at, pick(range(CASES_A_WORLD))})
            drawn = scenarios.scenario(pick)
            scenario = Scenario(
                topics=tuple(topics),
                holds=tuple(holds.values()),
                subjects=tuple(people[one][1] for one in whom),
                query=drawn.query,
                now=Instant(max(drawn.now, 1)),
            )

            answer = asked.ask([people[one][0] for one in whom], scenario)

            assert answer.verdict is verdict(scenario), scenario


def test_the_quickest_way_gives_the_very_answer_of_the_other(tmp_path: Path) -> None:
    """`recall` answers of an email that has no records, once `check` was asked the same."""
    with world(tmp_path / "c", [Topic(name="news")], [], []) as asked:
        asked._owned.heard(known_ns=CLOCK_NS, source_now_us=77, heard_ns=CLOCK_NS)
        query = Query(channel="email", topic="news.x", email="a@example.com")
        slow = asked.cache.check(query, "", None)

        quick = asked.cache.recall(
            "email", "news.x", "", "b@example.com", None, None, None, (), "", None
        )

    assert quick == slow
    assert repr(quick) == repr(slow)
