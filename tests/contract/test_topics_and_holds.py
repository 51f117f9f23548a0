"""Topics are declared, tightened, loosened with a reason and retired; holds are placed, lifted."""

import pytest

from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    InvalidArgumentError,
    NotFoundError,
)
from heed.judge import operations
from heed.model import ChangeKind, Channel, Hold, Revision, Topic, TopicClass
from tests.support.stores import FakeClock, Shop, declares, lifts, places, retires

RECEIPTS = Topic(
    name="receipts",
    topic_class=TopicClass.MANDATORY,
    mandatory_channels=frozenset({Channel.EMAIL, Channel.POSTAL}),
    title="Receipts",
)
NEWS = Topic(name="news", requires_opt_in=True, suppress_undeclared=True)


async def topics(shop: Shop) -> tuple[Topic, ...]:
    return (await shop.store.standing(shop.tenant_id, [])).topics


async def holds(shop: Shop) -> tuple[Hold, ...]:
    return tuple(one.hold for one in (await shop.store.standing(shop.tenant_id, [])).holds)


async def test_a_declared_topic_stands_as_it_was_declared(shop: Shop) -> None:
    asked = await shop.ask(declares(RECEIPTS))
    await shop.ask(declares(NEWS))

    found = await topics(shop)
    assert [topic.name for topic in found] == ["news", "receipts"]
    assert found[1] == asked.outcome.topic
    assert found[1].mandatory_channels == RECEIPTS.mandatory_channels
    assert (found[1].revision, found[1].title) == (1, "Receipts")
    (change, _) = await shop.store.read_changes(shop.tenant_id, Revision(0), 2)
    assert (change.kind, change.topic) == (ChangeKind.TOPIC, found[1])


async def test_a_topic_is_tightened_by_declaring_it_again(shop: Shop) -> None:
    await shop.ask(declares(Topic(name="news")))

    await shop.ask(declares(NEWS))

    (topic,) = await topics(shop)
    assert (topic.requires_opt_in, topic.suppress_undeclared, topic.revision) == (True, True, 2)


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        (NEWS, Topic(name="news", suppress_undeclared=True), "requires_opt_in"),
        (NEWS, Topic(name="news", requires_opt_in=True), "suppress_undeclared"),
        (Topic(name="a"), Topic(name="a", topic_class=TopicClass.TRANSACTIONAL), "topic_class"),
        (Topic(name="a", topic_class=TopicClass.TRANSACTIONAL), Topic(name="a"), "topic_class"),
    ],
)
async def test_declaring_again_never_loosens_but_loosening_does(
    shop: Shop, before: Topic, after: Topic, field: str
) -> None:
    await shop.ask(declares(before))

    with pytest.raises(ConflictError) as refused:
        await shop.ask(declares(after))
    await shop.ask(declares(after, loosens=True))

    assert refused.value.reason is ErrorReason.TOPIC_WOULD_LOOSEN
    assert refused.value.metadata == {"topic": before.name, "field": field}
    (topic,) = await topics(shop)
    assert topic.topic_class is after.topic_class
    (change,) = await shop.store.read_changes(shop.tenant_id, Revision(1), 1)
    assert change.reason == "asked by legal"


async def test_a_topic_that_was_transactional_undeclared_is_not_promotional_at_first(
    shop: Shop,
) -> None:
    """Promotional opt-outs named there reached its transactional topics, and must go on to."""
    await shop.ask(declares(Topic(name="a", topic_class=TopicClass.TRANSACTIONAL)))

    with pytest.raises(ConflictError) as refused:
        await shop.ask(declares(Topic(name="a.b")))
    await shop.ask(declares(Topic(name="a.b", topic_class=TopicClass.TRANSACTIONAL)))
    await shop.ask(declares(Topic(name="a.b"), loosens=True))

    assert refused.value.reason is ErrorReason.TOPIC_WOULD_LOOSEN


async def test_an_undeclared_topic_cannot_be_loosened_nor_retired(shop: Shop) -> None:
    for act in (declares(NEWS, loosens=True), retires("news")):
        with pytest.raises(NotFoundError) as refused:
            await shop.ask(act)
        assert refused.value.reason is ErrorReason.TOPIC_UNKNOWN
        assert refused.value.metadata == {"topic": "news"}


async def test_a_retired_topic_stays_what_it_is(shop: Shop) -> None:
    await shop.ask(declares(NEWS))
    await shop.ask(retires("news"))

    for act in (declares(NEWS), declares(NEWS, loosens=True)):
        with pytest.raises(ConflictError) as refused:
            await shop.ask(act)
        assert refused.value.reason is ErrorReason.TOPIC_RETIRED
    asked = await shop.ask(retires("news"))

    (topic,) = await topics(shop)
    assert (topic.retired, topic.requires_opt_in, topic.revision) == (True, True, 2)
    assert asked.outcome.topic == topic
    assert asked.appended.revision == 2


async def test_the_root_can_be_declared(shop: Shop) -> None:
    await shop.ask(declares(Topic(name="", requires_opt_in=True)))

    assert [topic.name for topic in await topics(shop)] == [""]


async def test_there_are_only_so_many_topics(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "TOPICS_MAX", 2)
    await shop.ask(declares(Topic(name="a")))
    await shop.ask(declares(Topic(name="b")))
    await shop.ask(retires("b"))

    with pytest.raises(ExhaustedError) as refused:
        await shop.ask(declares(Topic(name="c")))
    await shop.ask(declares(Topic(name="a", requires_opt_in=True)))

    assert refused.value.reason is ErrorReason.LIMIT_REACHED
    assert refused.value.metadata == {"limit": "topics_max", "value": "2"}


async def test_a_hold_stands_until_it_is_lifted(shop: Shop, clock: FakeClock) -> None:
    end = clock.ahead(1000)
    placed = await shop.ask(places("hold-1", end=end, topic="news"))
    await shop.ask(places("hold-2"))

    assert [one.hold_id for one in await holds(shop)] == ["hold-1", "hold-2"]
    first = (await holds(shop))[0]
    assert first == placed.outcome.hold
    assert (first.topic, first.campaign, first.channel, first.end_time, first.revision) == (
        "news",
        "spring",
        Channel.EMAIL,
        end,
        1,
    )
    lifted = await shop.ask(lifts("hold-1"))

    assert [one.hold_id for one in await holds(shop)] == ["hold-2"]
    assert lifted.outcome.hold == first
    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 5)
    assert [change.kind for change in changes] == [
        ChangeKind.HOLD,
        ChangeKind.HOLD,
        ChangeKind.LIFT,
    ]
    assert changes[2].hold == first
    assert changes[2].reason == "fixed"


async def test_a_standing_hold_says_who_placed_it(shop: Shop) -> None:
    placed = await shop.ask(places("hold-1"))

    (one,) = (await shop.store.standing(shop.tenant_id, [])).holds
    assert one.commit_time == placed.outcome.commit_time
    assert one.origin is not None
    assert one.origin.source == "page"


async def test_a_hold_that_is_not_there_cannot_be_lifted(shop: Shop) -> None:
    with pytest.raises(NotFoundError) as refused:
        await shop.ask(lifts("hold-1"))

    assert refused.value.reason is ErrorReason.HOLD_UNKNOWN
    assert refused.value.metadata == {"hold_id": "hold-1"}


async def test_a_hold_ends_after_it_begins_and_has_an_id_of_its_own(
    shop: Shop, clock: FakeClock
) -> None:
    with pytest.raises(InvalidArgumentError) as over:
        await shop.ask(places("hold-1", end=clock.ago(1)))
    await shop.ask(places("hold-1"))
    with pytest.raises(InvalidArgumentError) as taken:
        await shop.ask(places("hold-1"))

    assert over.value.violations[0].field == "hold.end_time"
    assert taken.value.violations[0].field == "hold.hold_id"


async def test_holds_count_until_they_are_lifted_also_when_they_have_ended(
    shop: Shop, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "HOLDS_MAX", 2)
    await shop.ask(places("hold-1", end=clock.ahead(1)))
    await shop.ask(places("hold-2"))

    with pytest.raises(ExhaustedError) as refused:
        await shop.ask(places("hold-3"))
    clock.pass_seconds(2)
    with pytest.raises(ExhaustedError) as refused_again:
        await shop.ask(places("hold-3"))
    await shop.ask(lifts("hold-1"))
    await shop.ask(places("hold-3"))

    assert refused.value.metadata == {"limit": "holds_max", "value": "2"}
    assert "hold-1" not in str(refused.value)
    assert "'hold-1' has ended: lift it" in str(refused_again.value)
    assert [one.hold_id for one in await holds(shop)] == ["hold-2", "hold-3"]
