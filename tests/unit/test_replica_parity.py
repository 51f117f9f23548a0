"""A cache decides as the server does: the decision table, and 10,000 drawn cases."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
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
    RULE_VERSION,
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
from heed.replica.freshness import MAX_STALENESS
from heed.replica.moment import Unanswered
from heed.replica.owned import Owned
from heed.replica.told import time_of as told_time
from heed.requests import Query
from heed.topics import TopicTable
from heed.wire import format as told
from heed.wire import read
from heed_proto.v1 import preference_service_pb2 as preference
from tests.support import scenarios
from tests.support.caches import BootClock
from tests.support.decision_cases import DecisionCase, load
from tests.support.naive_decision import Scenario, verdict

KEY = bytes(LOOKUP_KEY_BYTES)
REVISION = Revision(7)
CLOCK_NS = 10**15
NEWS = Query(channel="email", topic="news.x", email="nobody@example.com")
OPTED_OUT = (
    Record(
        kind=RecordKind.OPT_OUT,
        cause=heed.Cause.NONE,
        reach=heed.Reach.PROMOTIONAL,
        channel=heed.Channel.EMAIL,
        topic="news",
        decided_time=Instant(5),
        end_time=None,
        revision=Revision(3),
    ),
)
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
        found = self.found(names, scenario)
        assert isinstance(found, CheckAnswer)
        return found

    def found(self, names: Sequence[str], scenario: Scenario) -> CheckAnswer | Unanswered:
        self._owned.heard(known_ns=CLOCK_NS, source_now_us=max(scenario.now, 1), heard_ns=CLOCK_NS)
        query = scenario.query
        return self.cache.check(
            Query(
                channel=query.channel, topic=query.topic, campaign=query.campaign, user=list(names)
            ),
            "",
            None,
        )


@contextmanager
def world(
    folder: Path,
    topics: Sequence[Topic],
    holds: Sequence[Hold],
    people: Sequence[tuple[str, tuple[Record, ...]]],
    *,
    clock: Callable[[], int] = lambda: CLOCK_NS,
    rule_version: int = RULE_VERSION,
) -> Generator[World]:
    """People whose names have an @ are known by email."""
    target = target_of("127.0.0.1:1", tls=None, insecure=False, api_key=None)
    spec = cache_spec(
        folder, target, tenant="", subscriber="t", channels=(), topics=(), max_staleness=None
    )
    cache = make_cache(spec, UnusedUpstream(), clock=clock, sampled_share=0)  # type: ignore[arg-type]
    replica = cache._replica
    assert replica.own()
    owned = Owned(replica)
    draft = owned.draft(topics, holds)
    keyer = Keyer(KEY)
    entries = [
        (
            keyer.key_of(SubjectType.EMAIL if "@" in name else SubjectType.USER, name),
            encode_records(records),
        )
        for name, records in people
        if records
    ]
    draft.index.append(sorted(entries))
    owned.install(draft, _place(rule_version), Source(tenant="t", lookup_keys=((1, KEY),)))
    yield World(cache, owned)
    cache.close()


def _place(rule_version: int) -> Place:
    return Place(
        tenant_id=TenantId(1),
        epoch=b"12345678",
        revision=REVISION,
        running_hash=bytes(32),
        stops_revision=REVISION,
        rule_version=rule_version,
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
    topics, holds, people, asks = drawn(seed)

    with world(tmp_path / "c", topics, holds, people) as asked:
        for names, scenario in asks:
            answer = asked.ask(names, scenario)

            assert answer.verdict is verdict(scenario), scenario


@pytest.mark.parametrize("seed", range(WORLDS // 5))
def test_a_follower_of_an_older_rule_version_allows_nothing_and_stops_what_it_can(
    seed: int, tmp_path: Path
) -> None:
    """Whatever the later rules are, what it does not answer is the server's to answer."""
    topics, holds, people, asks = drawn(seed)
    stopped = 0

    with world(tmp_path / "c", topics, holds, people, rule_version=RULE_VERSION + 1) as asked:
        for names, scenario in asks:
            found = asked.found(names, scenario)

            if isinstance(found, CheckAnswer):
                assert found.verdict is heed.Verdict.SUPPRESSED
                stopped += 1
            else:
                assert found.last_known is None, "by the policy neither"

    with world(tmp_path / "control", topics, holds, people) as asked:
        verdicts = [asked.ask(names, scenario).verdict for names, scenario in asks]
    assert stopped == verdicts.count(heed.Verdict.SUPPRESSED)
    assert heed.Verdict.ALLOWED in verdicts


Person = tuple[str, tuple[Record, ...]]


def drawn(
    seed: int,
) -> tuple[list[Topic], list[Hold], list[Person], list[tuple[list[str], Scenario]]]:
    """A world, and what is asked of one or two people of it."""
    pick = scenarios.seeded(seed)
    declared = [scenarios.topic(pick, name) for name in scenarios.TOPICS if pick((False, True))]
    topics = [topic for topic in declared if topic.topic_class in _KNOWN_CLASSES]
    holds = {
        hold.hold_id: hold
        for hold in scenarios.some(pick, scenarios.hold, 1)
        if hold.channel in _KNOWN_CHANNELS
    }
    people = [(f"u-{at}", scenarios.some(pick, scenarios.record, 4)) for at in range(CASES_A_WORLD)]
    asks: list[tuple[list[str], Scenario]] = []
    for at in range(CASES_A_WORLD):
        whom = sorted({at, pick(range(CASES_A_WORLD))})
        made = scenarios.scenario(pick)
        scenario = Scenario(
            topics=tuple(topics),
            holds=tuple(holds.values()),
            subjects=tuple(people[one][1] for one in whom),
            query=made.query,
            now=Instant(max(made.now, 1)),
        )
        asks.append(([people[one][0] for one in whom], scenario))
    return topics, list(holds.values()), people, asks


def _recalled(cache: Cache, email: str) -> CheckAnswer | None:
    return cache.recall("email", "news.x", "", email, None, None, None, (), "", None)


@pytest.mark.parametrize("email", ["nobody@example.com", "ada@example.com"])
@pytest.mark.parametrize("is_held", [False, True])
def test_the_quickest_way_gives_the_very_answer_of_the_other(
    email: str, tmp_path: Path, *, is_held: bool
) -> None:
    """`recall` answers of one email, once `check` was asked the same of anybody."""
    holds = [Hold(hold_id="h", end_time=Instant(78), revision=REVISION)] if is_held else []
    with world(tmp_path / "c", [Topic(name="news")], holds, [("ada@example.com", OPTED_OUT)]) as it:
        it._owned.heard(known_ns=CLOCK_NS, source_now_us=77, heard_ns=CLOCK_NS)
        slow = it.cache.check(Query(channel="email", topic="news.x", email=email), "", None)

        quick = _recalled(it.cache, email)

    assert quick == slow
    assert repr(quick) == repr(slow)
    assert isinstance(quick, CheckAnswer)
    assert quick.allowed == (email.startswith("nobody") and not is_held)


def test_an_age_is_told_and_judged_rounded_up_to_the_millisecond(tmp_path: Path) -> None:
    clock = BootClock()
    with world(tmp_path / "c", [], [], [], clock=clock) as it:
        it._owned.heard(known_ns=clock.ns, source_now_us=77, heard_ns=clock.ns)
        assert isinstance(it.cache.check(NEWS, "", None), CheckAnswer)
        told: list[timedelta | None] = []
        for later in (timedelta(0), timedelta(microseconds=1), timedelta(milliseconds=1)):
            clock.advance(later)
            answer = _recalled(it.cache, "nobody@example.com")
            told.append(None if answer is None else answer.age)
        clock.advance(MAX_STALENESS[heed.TopicClass.PROMOTIONAL])
        past = _recalled(it.cache, "nobody@example.com")

    assert told == [timedelta(milliseconds=at) for at in (0, 1, 2)]
    assert past is None


def test_what_is_asked_alike_of_nobody_within_a_millisecond_is_answered_by_one_value(
    tmp_path: Path,
) -> None:
    clock = BootClock()
    with world(tmp_path / "c", [], [], [("ada@example.com", OPTED_OUT)], clock=clock) as it:
        it._owned.heard(known_ns=clock.ns, source_now_us=77, heard_ns=clock.ns)
        it.cache.check(NEWS, "", None)

        first, second = _recalled(it.cache, "a@example.com"), _recalled(it.cache, "b@example.com")
        ada = _recalled(it.cache, "ada@example.com")
        clock.advance(timedelta(milliseconds=1))
        later = _recalled(it.cache, "a@example.com")
        it._owned.heard(known_ns=clock.ns, source_now_us=99, heard_ns=clock.ns)
        heard = _recalled(it.cache, "a@example.com")

    assert first is second
    assert ada is not None
    assert not ada.allowed
    assert later is not None
    assert heard is not None
    assert first is not None
    assert (first.now, later.now) == (told_time(Instant(77)), told_time(Instant(1_077)))
    assert (heard.now, heard.age) == (told_time(Instant(99)), timedelta(0))
