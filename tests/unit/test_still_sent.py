"""What an answer of SetPreference says is still let through is what a Check would let through."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.decide import Facts, decide
from heed.model import (
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Revision,
    Scope,
    Topic,
    TopicClass,
    Verdict,
)
from heed.still_sent import plan
from heed.topics import MESSAGE_CHANNELS, TopicTable, covers
from heed.wire.limits import STILL_SENT_TOPICS_MAX

NOW = Instant(100)
P, T, M = TopicClass.PROMOTIONAL, TopicClass.TRANSACTIONAL, TopicClass.MANDATORY
EMAIL, SMS, ANY = Channel.EMAIL, Channel.SMS, Channel.ANY

TOPICS = TopicTable(
    [
        Topic(name="news"),
        Topic(name="club", requires_opt_in=True),
        Topic(name="orders", topic_class=T),
        Topic(name="login", topic_class=M, mandatory_channels=frozenset({EMAIL, SMS})),
        Topic(name="orders.legal", topic_class=M, mandatory_channels=frozenset({EMAIL})),
    ]
)


def record(
    kind: RecordKind,
    channel: Channel = ANY,
    topic: str = "",
    reach: Reach = Reach.PROMOTIONAL,
    decided: int = 1,
    cause: Cause = Cause.NONE,
) -> Record:
    end = Instant(NOW + 1) if kind is RecordKind.PAUSE else None
    return Record(kind, cause, reach, channel, topic, Instant(decided), end, Revision(1))


def opt_out(channel: Channel = ANY, topic: str = "", reach: Reach = Reach.PROMOTIONAL) -> Record:
    return record(RecordKind.OPT_OUT, channel, topic, reach)


def bounce(channel: Channel) -> Record:
    return record(
        RecordKind.SUPPRESSION, channel, "", REACH_OF_CAUSE[Cause.BOUNCE], cause=Cause.BOUNCE
    )


def still_sent(
    scope: Scope, *standing: Record, topics: TopicTable = TOPICS
) -> tuple[list[TopicClass], list[str]]:
    """What one person with these records, who chose at this scope, is told."""
    asked = plan(topics, [Choice(kind=ChoiceKind.OPT_OUT, scope=scope)])
    return asked.within([(0, 0, one) for one in standing], NOW)


CASES = [
    ("stop all promotional", Scope(channel=ANY), [opt_out()], [T, M], ["login", "orders.legal"]),
    ("and transactional", Scope(channel=ANY), [opt_out(reach=Reach.TRANSACTIONAL)], [M], ["login", "orders.legal"]),
    ("STOP", Scope(channel=ANY), [opt_out(reach=Reach.ALL)], [], []),
    ("STOP on one channel only", Scope(channel=ANY), [opt_out(EMAIL, reach=Reach.ALL)], [P, T, M], ["login"]),
    ("STOP there", Scope(channel=EMAIL), [opt_out(EMAIL, reach=Reach.ALL)], [], []),
    ("at a transactional topic", Scope(channel=EMAIL, topic="orders"), [opt_out(EMAIL, "orders")], [M], ["orders.legal"]),
    ("a bounce stops all", Scope(channel=EMAIL), [opt_out(EMAIL), bounce(EMAIL)], [], []),
    ("a bounce elsewhere stops nothing", Scope(channel=EMAIL), [bounce(SMS)], [P, T, M], ["login", "orders.legal"]),
    ("a pause", Scope(channel=EMAIL), [record(RecordKind.PAUSE, EMAIL)], [T, M], ["login", "orders.legal"]),
    ("no consent to what needs it", Scope(channel=EMAIL, topic="club"), [], [M], []),
    ("consent to it", Scope(channel=EMAIL, topic="club"), [record(RecordKind.OPT_IN, EMAIL, "club")], [P, T, M], []),
    (
        "a part is let through again",
        Scope(channel=ANY),
        [opt_out(), record(RecordKind.OPT_IN, EMAIL, "news", Reach.ALL, decided=2)],
        [P, T, M],
        ["login", "orders.legal"],
    ),
    ("no room beneath", Scope(channel=EMAIL, topic=".".join("abcdefghij")), [opt_out(SMS)], [P], []),
    ("processing", Scope(channel=Channel.PROCESSING), [opt_out()], [P, T, M], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "standing", "classes", "topics"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_is_still_sent(
    scope: Scope, standing: list[Record], classes: list[TopicClass], topics: list[str]
) -> None:
    assert still_sent(scope, *standing) == (classes, topics)


def test_stops_of_every_identifier_count() -> None:
    asked = plan(TOPICS, [Choice(kind=ChoiceKind.OPT_OUT, scope=Scope(channel=EMAIL))])

    classes, _ = asked.within([(0, 0, opt_out()), (0, 3, bounce(EMAIL))], NOW)

    assert classes == []


def test_at_most_100_mandatory_topics_are_named() -> None:
    many = TopicTable(
        Topic(name=f"t{at:03}", topic_class=M, mandatory_channels=frozenset({EMAIL}))
        for at in range(150)
    )
    lifted = record(RecordKind.OPT_OUT, SMS, "", Reach.ALL)

    for standing in ([], [lifted]):
        _, topics = still_sent(Scope(channel=ANY), *standing, topics=many)

        assert topics == [f"t{at:03}" for at in range(STILL_SENT_TOPICS_MAX)]


RECORDS = st.builds(
    record,
    kind=st.sampled_from([RecordKind.OPT_OUT, RecordKind.OPT_IN, RecordKind.PAUSE]),
    channel=st.sampled_from([ANY, EMAIL, SMS]),
    topic=st.sampled_from(["", "news", "orders", "orders.x", "login"]),
    reach=st.sampled_from([Reach.PROMOTIONAL, Reach.TRANSACTIONAL, Reach.ALL]),
    decided=st.integers(1, 4),
)
SCOPES = st.builds(
    Scope,
    channel=st.sampled_from([ANY, EMAIL, SMS]),
    topic=st.sampled_from(["", "news", "orders", "login"]),
)


@given(SCOPES, st.lists(RECORDS, max_size=4))
def test_nothing_that_a_check_would_let_through_is_left_unsaid(
    scope: Scope, standing: list[Record]
) -> None:
    classes, mandatory = still_sent(scope, *standing)
    facts = Facts(records=(tuple(standing),), holds=(), topics=TOPICS)
    names = ["news", "orders", "orders.legal", "login", "news.child", "orders.child", "child"]
    let_through: set[tuple[TopicClass, str]] = set()
    for channel, name in itertools.product(sorted(MESSAGE_CHANNELS), names):
        if covers(scope, Scope(channel=channel, topic=name)):
            decision = decide(facts, Query(channel=channel, topic=name), NOW)
            if decision.verdict is Verdict.ALLOWED:
                let_through.add((decision.topic_class, name))

    assert {topic_class for topic_class, _ in let_through} <= set(classes)
    assert {name for topic_class, name in let_through if topic_class is M} == set(mandatory)
