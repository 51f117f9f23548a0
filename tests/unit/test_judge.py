"""Judging is pure, and nothing but the closed list of acts lets a message through that was stopped."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.acts import (
    Act,
    AddProtections,
    EraseSubjects,
    LiftHold,
    PersonChoices,
    PlaceHold,
    Protection,
    ReleaseSuppression,
    SetPreferences,
)
from heed.decide import Facts, decide
from heed.errors import HeedError
from heed.judge import History, Ledger, Ruling, judge
from heed.model import (
    ACTS_OF_THE_PERSON,
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Hold,
    Instant,
    Method,
    Origin,
    Query,
    Reach,
    Revision,
    Scope,
    Topic,
    TopicClass,
    Verdict,
)
from heed.topics import TopicTable
from tests.support.stores import EVIDENCE, chooses, keyed, opt_in, opt_out, origin, pause

NOW = 1_000
NAMES = ("ada", "bob")
TOPICS = TopicTable(
    [
        Topic(name="news", requires_opt_in=True),
        Topic(name="receipts", topic_class=TopicClass.TRANSACTIONAL),
        Topic(
            name="alarms",
            topic_class=TopicClass.MANDATORY,
            mandatory_channels=frozenset({Channel.EMAIL}),
        ),
    ]
)
SCOPES = [
    Scope(channel=channel, topic=topic)
    for channel in (Channel.ANY, Channel.EMAIL)
    for topic in ("", "news", "news.weekly", "receipts", "alarms")
]
QUERIES = [
    Query(channel=channel, topic=topic)
    for channel in (Channel.EMAIL, Channel.SMS)
    for topic in ("other", "news", "news.weekly", "receipts", "alarms")
]


SOMETHING = History(changes_count=1, residues_hash=b"", is_readable=True)


def some_choice(chance: random.Random, now: int) -> Choice:
    kind = chance.choice(list(ChoiceKind))
    ends = {ChoiceKind.PAUSE: [now + 5, now + 50], ChoiceKind.OPT_IN: [None, now + 20]}
    return Choice(
        kind=kind,
        scope=chance.choice(SCOPES),
        reach=chance.choice([Reach.PROMOTIONAL, Reach.TRANSACTIONAL]),
        end_time=chance.choice(ends.get(kind, [None])),  # type: ignore[arg-type] # whole numbers
        evidence=EVIDENCE if kind is ChoiceKind.OPT_IN else None,
    )


def some_act(chance: random.Random, now: int, number: int) -> Act:
    by = Origin(
        source="test",
        method=chance.choice(list(Method)),
        decided_time=Instant(now - chance.randrange(40)),
    )
    match chance.randrange(11):
        case 0 | 1 | 2 | 3 | 4:
            person = PersonChoices(
                subjects=tuple(keyed(name) for name in chance.sample(NAMES, chance.randint(1, 2))),
                choices=tuple(some_choice(chance, now) for _ in range(chance.randint(1, 2))),
                origin=by,
            )
            return SetPreferences(people=(person,))
        case 5 | 6 | 7:
            cause = chance.choice(list(Cause))
            added = Protection(
                subject=keyed(chance.choice(NAMES)),
                cause=cause,
                reach=REACH_OF_CAUSE.get(cause, Reach.PROMOTIONAL),
                scope=chance.choice(SCOPES),
                decided_time=Instant(now - chance.randrange(-5, 60)),
                end_time=chance.choice([None, Instant(now + 30)]),
            )
            return AddProtections(
                protections=(added,), origin=by, skips_unchanged=chance.random() < 0.5
            )
        case 8:
            return ReleaseSuppression(
                subject=keyed(chance.choice(NAMES)),
                cause=chance.choice(list(REACH_OF_CAUSE)),
                scopes=tuple(SCOPES),
                reason="test",
                origin=by,
            )
        case 9:
            names = chance.sample(NAMES, chance.randint(1, 2))
            return EraseSubjects(keys=tuple(keyed(name).key for name in names), origin=by)
        case _:
            if chance.random() < 0.5:
                return LiftHold(hold_id=f"hold-{number // 2}", reason="test", origin=by)
            return PlaceHold(hold=Hold(hold_id=f"hold-{number}", topic="news"), origin=by)


def verdicts(ledger: Ledger, now: int) -> list[Verdict]:
    """Every answer there is, now and later, when one thing after another ends."""
    found: list[Verdict] = []
    for names in (*[(name,) for name in NAMES], NAMES):
        records = tuple(
            tuple(
                held.record
                for held in ledger.records.get(keyed(name).key, {}).values()
                if held.standing
            )
            for name in names
        )
        facts = Facts(records, tuple(ledger.holds.values()), TOPICS)
        found += [
            decide(facts, query, Instant(time)).verdict
            for time in (now, now + 25, now + 90)
            for query in QUERIES
        ]
    return found


def may_weaken(act: Act) -> bool:
    """The closed list of design.md, section 3."""
    if isinstance(act, ReleaseSuppression | LiftHold):
        return True
    return isinstance(act, SetPreferences) and any(
        person.origin.method in ACTS_OF_THE_PERSON
        and any(choice.kind is not ChoiceKind.OPT_OUT for choice in person.choices)
        for person in act.people
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_but_the_closed_list_ever_lets_through_what_was_stopped(seed: int) -> None:
    chance = random.Random(seed)
    ledger, revision, time = Ledger(), 0, NOW
    for number in range(24):
        time += chance.randrange(1, 8)
        act = some_act(chance, time, number)
        before = verdicts(ledger, time)
        if isinstance(act, EraseSubjects):
            ledger.histories = dict.fromkeys(act.keys, SOMETHING)
        try:
            ruling = judge(act, ledger, after=Revision(revision), commit_time=Instant(time))
        except HeedError:
            continue
        ledger.accept(ruling)
        revision += len(ruling.drafts)
        after = verdicts(ledger, time)
        if not may_weaken(act):
            let_through = [
                (was, now)
                for was, now in zip(before, after, strict=True)
                if was is Verdict.SUPPRESSED and now is Verdict.ALLOWED
            ]
            assert let_through == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_choices_leave_the_same_standing_in_whatever_order_they_arrive(seed: int) -> None:
    chance = random.Random(seed)
    acts = [
        chooses(
            "ada",
            choices=[chance.choice([opt_out(), opt_in(), opt_in(end=2_000), pause(1_500)])],
            by=origin(decided=chance.randrange(1, 6)),
        )
        for _ in range(4)
    ]

    ends: set[tuple[object, ...]] = set()
    for order in itertools.permutations(acts):
        ledger = Ledger()
        for revision, act in enumerate(order):
            ledger.accept(
                judge(act, ledger, after=Revision(revision), commit_time=Instant(NOW + revision))
            )
        held = ledger.records[keyed("ada").key]
        ends.add(
            tuple(
                (slot, one.record.decided_time, one.record.end_time, one.record.reach)
                for slot, one in sorted(held.items())
            )
        )

    assert len(ends) == 1


def test_a_ruling_numbers_its_changes_from_the_head_on() -> None:
    ruling = judge(
        chooses("ada", "bob", choices=[opt_out(), pause(5_000)]),
        Ledger(),
        after=Revision(41),
        commit_time=Instant(NOW),
    )

    assert [one.record.revision for one in ruling.stored] == [42, 43, 44, 45]
    assert [draft.commit_time for draft in ruling.drafts] == [NOW, NOW + 1, NOW + 2, NOW + 3]


@pytest.mark.parametrize("first", ["accepted", "refused"])
def test_a_ruling_changes_the_ledger_only_when_it_is_accepted(first: str) -> None:
    ledger = Ledger()
    ruling: Ruling = judge(chooses("ada"), ledger, after=Revision(0), commit_time=Instant(NOW))
    assert ledger.records == {}

    if first == "accepted":
        ledger.accept(ruling)

    assert bool(ledger.records) is (first == "accepted")
