"""What a topic is, declared or not, and what a scope covers."""

from typing import cast

import pytest
from hypothesis import given, settings

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import TOPIC_ROOT, Channel, Scope, Topic, TopicClass
from heed.topics import (
    TOPICS_RESOLVED_MAX,
    TopicTable,
    covers,
    covers_channel,
    covers_topic,
    lineage_of,
    loosened_fields,
    validate_topic,
)
from tests.support import naive_decision, scenarios
from tests.support.naive_decision import Scenario

PROMOTIONAL = TopicClass.PROMOTIONAL
TRANSACTIONAL = TopicClass.TRANSACTIONAL
MANDATORY = TopicClass.MANDATORY

TABLE = TopicTable(
    [
        Topic(name="orders", topic_class=TRANSACTIONAL),
        Topic(name="orders.offers", requires_opt_in=True),
        Topic(
            name="security",
            topic_class=MANDATORY,
            mandatory_channels=frozenset({Channel.EMAIL, Channel.PROCESSING}),
        ),
        Topic(name="quiet", suppress_undeclared=True, retired=True),
    ]
)


def test_a_declared_topic_resolves_to_what_was_declared() -> None:
    resolved = TABLE.resolve(Channel.EMAIL, "orders.offers")

    assert resolved.name == "orders.offers"
    assert resolved.channel is Channel.EMAIL
    assert resolved.topic_class is PROMOTIONAL
    assert resolved.requires_opt_in
    assert not resolved.undeclared
    assert not resolved.retired


def test_a_topic_knows_its_lineage_and_where_it_is_more_than_promotional() -> None:
    resolved = TABLE.resolve(Channel.EMAIL, "orders.offers.weekly")

    assert resolved.lineage == {"", "orders", "orders.offers", "orders.offers.weekly"}
    assert resolved.raising == {"orders"}


def test_a_mandatory_topic_raises_what_is_named_there_on_every_channel() -> None:
    assert TABLE.resolve(Channel.EMAIL, "security").raising == {"security"}
    assert TABLE.resolve(Channel.SMS, "security").raising == {"security"}


def test_a_message_channel_is_covered_by_itself_and_any_and_processing_only_by_itself() -> None:
    assert TABLE.resolve(Channel.SMS, "orders").channels == {Channel.SMS, Channel.ANY}
    assert TABLE.resolve(Channel.PROCESSING, "orders").channels == {Channel.PROCESSING}


def test_retired_is_a_topics_own_and_what_it_lends_is_not() -> None:
    beneath = TABLE.resolve(Channel.EMAIL, "quiet.child")

    assert TABLE.resolve(Channel.EMAIL, "quiet").retired
    assert not beneath.retired
    assert beneath.undeclared
    assert beneath.suppressed_as_undeclared


def test_the_root_is_there_without_being_declared() -> None:
    root = TopicTable([]).resolve(Channel.EMAIL, TOPIC_ROOT)

    assert root.topic_class is PROMOTIONAL
    assert not root.undeclared
    assert not root.requires_opt_in
    assert root.lineage == {""}


@settings(max_examples=100, deadline=None)
@given(scenario=scenarios.drawn(scenarios.scenario))
def test_a_topic_resolves_alike_whatever_was_resolved_before(scenario: Scenario) -> None:
    query, table = scenario.query, TopicTable(scenario.topics)
    for name in scenarios.TOPICS:
        table.resolve(query.channel, name)

    resolved = table.resolve(query.channel, query.topic)

    assert resolved == TopicTable(scenario.topics).resolve(query.channel, query.topic)
    assert resolved.topic_class is naive_decision.topic_class(
        scenario.topics, query.channel, query.topic
    )


def test_a_table_remembers_a_bounded_number_of_topics() -> None:
    table = TopicTable([])

    for number in range(TOPICS_RESOLVED_MAX + 10):
        table.resolve(Channel.EMAIL, f"t{number}")

    assert len(table._resolved) <= TOPICS_RESOLVED_MAX
    assert table.resolve(Channel.EMAIL, "t3").undeclared


def test_the_declared_topics_come_by_name() -> None:
    names = [topic.name for topic in TABLE.declared]

    assert names == sorted(names)
    assert TABLE.get("quiet") == Topic(name="quiet", suppress_undeclared=True, retired=True)
    assert TABLE.get("orders.receipt") is None


@pytest.mark.parametrize("channel", [Channel.ANY, cast("Channel", 0), cast("Channel", 12)])
def test_a_channel_on_which_nothing_travels_is_refused(channel: Channel) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        TABLE.resolve(channel, "orders")

    assert raised.value.violations[0].field == "channel"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "marketing.weekly",
        "a-b_c.0",
        "-.-",
        "x" * 63,
        ".".join("abcdefghij"),
        ".".join(["x" * 49] * 4),
    ],
)
def test_a_topics_name_is_accepted(name: str) -> None:
    assert TABLE.resolve(Channel.EMAIL, name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "Marketing",
        "a b",
        "a..b",
        ".a",
        "a.",
        ".",
        "ä",
        "a\n",
        "a\x00",
        "x" * 64,
        ".".join("abcdefghijk"),
        ".".join(["x" * 50] * 4),
        "\ud800",
    ],
)
def test_a_malformed_topics_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        validate_topic(name)

    assert raised.value.reason is ErrorReason.INVALID_FIELD
    assert raised.value.violations[0].field == "topic"


def test_a_lineage_begins_with_the_topic_and_ends_with_the_root() -> None:
    assert lineage_of("a.b.c") == ("a.b.c", "a.b", "a", "")
    assert lineage_of("") == ("",)


@pytest.mark.parametrize("wider", scenarios.TOPICS)
@pytest.mark.parametrize("topic", scenarios.TOPICS)
def test_a_topic_covers_itself_and_what_is_beneath_it(wider: str, topic: str) -> None:
    assert covers_topic(wider, topic) is naive_decision.topic_within(topic, wider)


@pytest.mark.parametrize("channel", Channel)
def test_any_covers_itself_and_every_message_channel_but_not_processing(channel: Channel) -> None:
    assert covers_channel(Channel.ANY, channel) is (channel is not Channel.PROCESSING)
    assert covers_channel(channel, channel)
    assert covers_channel(channel, Channel.ANY) is (channel is Channel.ANY)


def test_a_scope_covers_another_in_both_channel_and_topic() -> None:
    root = Scope(channel=Channel.ANY)
    email = Scope(channel=Channel.EMAIL, topic="a")

    assert covers(root, email)
    assert covers(email, Scope(channel=Channel.EMAIL, topic="a.b"))
    assert not covers(email, Scope(channel=Channel.ANY, topic="a.b"))
    assert not covers(email, Scope(channel=Channel.EMAIL))
    assert not covers(root, Scope(channel=Channel.PROCESSING, topic="a"))


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        (Scope(channel=Channel.EMAIL), ["security"]),
        (Scope(channel=Channel.ANY), ["security"]),
        (Scope(channel=Channel.PROCESSING, topic="security"), ["security"]),
        (Scope(channel=Channel.SMS), []),
        (Scope(channel=Channel.EMAIL, topic="security.reset"), []),
        (Scope(channel=Channel.EMAIL, topic="orders"), []),
    ],
)
def test_a_scope_names_what_is_mandatory_within_it(scope: Scope, names: list[str]) -> None:
    assert TABLE.mandatory_within(scope) == names


def test_a_topic_mandatory_for_processing_alone_is_not_within_any() -> None:
    table = TopicTable(
        [
            Topic(
                name="legal",
                topic_class=MANDATORY,
                mandatory_channels=frozenset({Channel.PROCESSING}),
            )
        ]
    )

    assert table.mandatory_within(Scope(channel=Channel.ANY)) == []


def test_a_root_declared_mandatory_is_not_within_any_scope() -> None:
    table = TopicTable(
        [Topic(name="", topic_class=MANDATORY, mandatory_channels=frozenset({Channel.EMAIL}))]
    )

    assert table.mandatory_within(Scope(channel=Channel.EMAIL)) == []


EMAIL = frozenset({Channel.EMAIL})
BOTH = frozenset({Channel.EMAIL, Channel.SMS})
A = "a"


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (None, Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL), ()),
        (Topic(name=A), Topic(name=A), ()),
        (Topic(name=A), Topic(name=A, topic_class=TRANSACTIONAL), ("topic_class",)),
        (
            Topic(name=A),
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL),
            ("topic_class", "mandatory_channels"),
        ),
        (Topic(name=A, topic_class=TRANSACTIONAL), Topic(name=A), ("topic_class",)),
        (
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL),
            Topic(name=A, topic_class=TRANSACTIONAL),
            (),
        ),
        (
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL),
            Topic(name=A),
            ("topic_class",),
        ),
        (
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL),
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=BOTH),
            ("mandatory_channels",),
        ),
        (
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=BOTH),
            Topic(name=A, topic_class=MANDATORY, mandatory_channels=EMAIL),
            (),
        ),
        (Topic(name=A, requires_opt_in=True), Topic(name=A), ("requires_opt_in",)),
        (Topic(name=A), Topic(name=A, requires_opt_in=True), ()),
        (Topic(name=A, suppress_undeclared=True), Topic(name=A), ("suppress_undeclared",)),
        (Topic(name=A), Topic(name=A, suppress_undeclared=True), ()),
        (
            Topic(name=A, requires_opt_in=True, suppress_undeclared=True),
            Topic(name=A, topic_class=TRANSACTIONAL),
            ("topic_class", "requires_opt_in", "suppress_undeclared"),
        ),
        (Topic(name=A, title="old"), Topic(name=A, title="new"), ()),
    ],
)
def test_a_declaration_names_the_fields_that_it_loosens(
    before: Topic | None, after: Topic, fields: tuple[str, ...]
) -> None:
    declared = {} if before is None else {before.name: before}

    assert loosened_fields(declared, after) == fields
