"""What streams are told of a log's changes, and what they share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from heed.model import Channel, Effect, Hold, Topic
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.watch import batch, hub, pages
from tests.support.memory_log import MemoryLog
from tests.support.streams import QUICK, Hearer, Station, assert_same, standing_at, station

NARROW = replace(QUICK, window_bytes_max=1 << 14)
"""A window of some fifty changes."""


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def node(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Station]:
    async with station(log, tmp_path) as running:
        yield running


def changes_of(hearer: Hearer) -> list[pb.Changes]:
    messages = map(pb.WatchChangesResponse.FromString, hearer.messages)
    return [one.changes for one in messages if one.HasField("changes")]


def sent_changes(hearer: Hearer) -> list[bytes]:
    return [
        one
        for one in hearer.messages
        if pb.WatchChangesResponse.FromString(one).HasField("changes")
    ]


async def test_what_is_committed_is_told_in_order(node: Station, log: MemoryLog) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(0)
        for count in (1, 2, 300, 4):
            node.opt_outs(count)
        await hearer.reach(307)

    assert hearer.changes == 307
    assert_same(hearer, log)


async def test_every_kind_of_change_is_told(node: Station, log: MemoryLog) -> None:
    lifted, kept = Hold(hold_id="h1", reason="a test"), Hold(hold_id="h2", reason="a test")
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(0)
        log.suppress("ada")
        log.suppress("bob")
        log.release("ada")
        log.topic(Topic(name="news", requires_opt_in=True))
        log.hold(lifted)
        log.hold(kept)
        log.lift(lifted)
        node.commit(7)
        await hearer.reach(7)

    assert_same(hearer, log)


async def test_a_change_that_did_nothing_moves_the_reader_on(node: Station, log: MemoryLog) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(0)
        log.opt_out("ada", effect=Effect.SUPERSEDED)
        node.commit(1)
        await hearer.reach(1)

    assert (hearer.changes, hearer.standing()) == (0, {})
    assert (hearer.revision, hearer.running_hash) == (1, log.current_head.running_hash)


async def test_a_message_covers_a_thousand_changes_at_most(node: Station) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(0)
        node.opt_outs(3_500)
        await hearer.reach(3_500)

    assert max(one.through - one.after for one in changes_of(hearer)) <= 1_000


async def told_alike(node: Station, topics: tuple[str, ...]) -> bool:
    """Whether five streams are handed the very same bytes."""
    hearers = [Hearer() for _ in range(5)]
    async with AsyncExitStack() as opened:
        for hearer in hearers:
            await opened.enter_async_context(node.streaming(hearer, topics=topics))
            await hearer.reach(0)
        for _ in range(3):
            node.opt_outs(20)
            for hearer in hearers:
                await hearer.reach(node.follower.revision)
    sent = [sent_changes(hearer) for hearer in hearers]
    assert sent[0]
    return all([*map(id, one)] == [*map(id, sent[0])] for one in sent)


@pytest.mark.parametrize("topics", [(), ("t1",)])
async def test_a_batch_is_encoded_once_for_all_who_want_the_same(
    node: Station, topics: tuple[str, ...]
) -> None:
    assert await told_alike(node, topics)


async def test_without_its_memory_a_batch_would_be_encoded_for_each(
    node: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "FILTERS_REMEMBERED_MAX", 0)

    assert not await told_alike(node, ())


async def test_whoever_stands_in_the_middle_of_a_batch_is_told_the_rest(
    node: Station, log: MemoryLog
) -> None:
    first = Hearer()
    async with node.streaming(first):
        await first.reach(0)
        node.opt_outs(5)
        await first.reach(5)
        node.opt_outs(20)
        await first.reach(25)
        second = standing_at(node, 10)
        async with node.streaming(second):
            await second.reach(25)

    assert [one.after for one in changes_of(second)] == [10]
    assert second.changes == 15


async def test_a_filter_of_topics_takes_what_is_beneath_and_what_covers(
    node: Station, log: MemoryLog
) -> None:
    hearer = Hearer()
    for topic in ("", "a", "a.b", "a.b.c", "a.x", "ab", "z"):
        log.opt_out(f"before {topic}", topic)
    node.commit(7)
    async with node.streaming(hearer, topics=("a.b",)):
        await hearer.reach(7)
        for topic in ("", "a", "a.b", "a.b.c", "a.x", "ab", "z"):
            log.opt_out(f"after {topic}", topic)
        node.commit(7)
        await hearer.reach(14)

    topics = sorted(one.topic for some in hearer.standing().values() for one in some)
    assert topics == ["", "", "a", "a", "a.b", "a.b", "a.b.c", "a.b.c"]


async def test_a_filter_of_channels_takes_records_of_every_channel_too(
    node: Station, log: MemoryLog
) -> None:
    hearer = Hearer()
    async with node.streaming(hearer, channels=frozenset({Channel.SMS})):
        await hearer.reach(0)
        log.opt_out("email only")
        log.on_channel(Channel.ANY).opt_out("any")
        log.on_channel(Channel.SMS).opt_out("sms")
        node.commit(3)
        await hearer.reach(3)

    channels = sorted(one.channel for some in hearer.standing().values() for one in some)
    assert channels == [Channel.ANY, Channel.SMS]


async def test_topics_and_holds_pass_every_filter(node: Station, log: MemoryLog) -> None:
    hearer = Hearer()
    async with node.streaming(hearer, topics=("a",), channels=frozenset({Channel.SMS})):
        await hearer.reach(0)
        log.topic(Topic(name="z"))
        log.hold(Hold(hold_id="h1", topic="z", reason="a test"))
        node.commit(2)
        await hearer.reach(2)

    assert (hearer.topics, tuple(hearer.holds.values())) == (log.topics(), log.holds())


async def test_a_reader_whose_filter_matches_nothing_is_moved_on_before_a_heartbeat(
    node: Station,
) -> None:
    """Its token would else stay so far behind that it resumes with a snapshot."""
    hearer = Hearer()
    async with node.streaming(hearer, topics=("nobody",)):
        await hearer.reach(0)
        token = hearer.token
        node.opt_outs(30)
        heartbeat = await hearer.heartbeat_of(hearer.report())

    assert heartbeat.through == hearer.revision == 30
    assert hearer.token != token
    assert [(one.after, one.through, len(one.changes)) for one in changes_of(hearer)] == [
        (0, 30, 0)
    ]


async def test_after_what_was_left_out_a_batch_says_where_its_reader_stands(
    log: MemoryLog, tmp_path: Path
) -> None:
    hearer, others = Hearer(), Hearer()
    async with (
        station(log, tmp_path, limits=replace(QUICK, heartbeat_seconds=60)) as node,
        node.streaming(hearer, topics=("t3",)),
        node.streaming(others),
    ):
        await hearer.reach(0)
        for number in range(1, 6):
            log.opt_out(f"person {number}", f"t{number}")
            node.commit(1)
            await others.reach(number)
        await hearer.until(lambda: hearer.changes == 1)

    assert [(one.after, one.through) for one in changes_of(hearer)] == [(0, 3)]
    assert [one.topic for some in hearer.standing().values() for one in some] == ["t3"]


async def test_a_reader_that_takes_nothing_costs_no_memory_and_misses_nothing(
    log: MemoryLog, tmp_path: Path
) -> None:
    hearer, quick = Hearer(), Hearer()
    async with (
        station(log, tmp_path, limits=NARROW) as node,
        node.streaming(hearer),
        node.streaming(quick),
    ):
        await hearer.reach(0)
        hearer.hold()
        for _ in range(80):
            node.opt_outs(250)
            await quick.reach(node.follower.revision)
        (watched,) = node.watches.hubs
        kept_bytes, lag = watched.window_bytes, watched.lag()
        hearer.go_on()
        await hearer.reach(20_000)

    assert kept_bytes <= NARROW.window_bytes_max + 1_000 * 400
    assert lag > 19_000
    assert hearer.changes == quick.changes == 20_000
    assert_same(hearer, log)


async def pages_read(log: MemoryLog, tmp_path: Path) -> int:
    """How many pages of six are read for thirty streams that stand at thirty places."""
    log.opt_outs(5_500)
    async with station(log, tmp_path) as node, AsyncExitStack() as opened:
        hearers = [standing_at(node, 7 * number) for number in range(30)]
        for hearer in hearers:
            await opened.enter_async_context(node.streaming(hearer))
        for hearer in hearers:
            await hearer.reach(5_500)
        (watched,) = node.watches.hubs
        return watched.pages.reads


async def test_streams_that_are_behind_read_each_page_once(log: MemoryLog, tmp_path: Path) -> None:
    assert await pages_read(log, tmp_path) == 6


async def test_without_the_shared_pages_each_stream_would_read_them(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGES_KEPT_MAX", 0)

    assert await pages_read(log, tmp_path) > 100


async def test_a_log_that_cannot_be_read_holds_up_who_is_behind_and_nobody_else(
    log: MemoryLog, tmp_path: Path
) -> None:
    log.opt_outs(300)
    in_step = Hearer()
    async with station(log, tmp_path) as node, node.streaming(in_step):
        await in_step.reach(300)
        behind = standing_at(node, 5)
        log.go_away()
        async with node.streaming(behind):
            node.opt_outs(3)
            await in_step.reach(303)
            await behind.until(lambda: len(behind.heartbeats) > 3)
            stood_at = behind.revision
            log.come_back()
            await behind.reach(303)

    assert stood_at == 5
    assert behind.changes == 298


async def test_batches_wait_for_one_another_under_load(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first goes out at once; what comes within the pause goes out together."""
    monkeypatch.setattr(hub, "PAUSE_SECONDS_A_STREAM", 0.3)
    hearer = Hearer()
    limits = replace(QUICK, coalesce_seconds_max=0.3)
    async with station(log, tmp_path, limits=limits) as node, node.streaming(hearer):
        await hearer.reach(0)
        node.opt_outs(1)
        await hearer.reach(1)
        for _ in range(5):
            node.opt_outs(1)
        await hearer.reach(6)

    assert [one.through for one in changes_of(hearer)] == [1, 6]


async def test_without_load_every_commit_goes_out_by_itself(node: Station) -> None:
    hearer = Hearer()
    async with node.streaming(hearer):
        await hearer.reach(0)
        for revision in range(1, 11):
            node.opt_outs(1)
            await hearer.reach(revision)

    assert [one.through for one in changes_of(hearer)] == list(range(1, 11))
