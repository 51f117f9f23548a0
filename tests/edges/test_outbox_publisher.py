"""A tenant's stream is brought in step with its log, exactly, whatever stands in the way."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import RetentionPolicy, StreamConfig

from heed.model import Channel, Effect, Hold, Instant, RecordKind, Topic, TopicClass
from heed_server.follow import Follower
from heed_server.outbox import JetStream, OutboxLimits, Publisher, Target, connect
from heed_server.outbox.errors import NatsAwayError, OvertakenError
from heed_server.outbox.messages import Naming, following
from tests.support.followers import running, started
from tests.support.memory_log import MemoryLog
from tests.support.nats_server import NatsServer
from tests.support.outbox_reader import Mirror, connected, last_sequence, read_to, until
from tests.support.served import Authority

LIMITS = OutboxLimits(
    batch_changes_max=16, retry_seconds_max=0.05, ack_seconds_max=2, connect_seconds_max=2
)
STREAM = "HEED_shop"
NAMING = Naming(tenant="shop", subject_prefix="heed", stream_prefix="HEED")
HOLD = Hold(hold_id="hold-1", topic="news", reason="ask ada@example.com")


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
async def nats_url(server: NatsServer) -> AsyncGenerator[str]:
    """An empty NATS."""
    yield server.url
    async with connected(server.url) as (_, context):
        for info in await context.streams_info():
            await context.delete_stream(str(info.config.name))


def full_log() -> MemoryLog:
    """A log with every kind of change."""
    log = MemoryLog()
    log.topic(Topic(name="news", topic_class=TopicClass.PROMOTIONAL, title="News"))
    log.opt_outs(60)
    log.opt_out("late", effect=Effect.SUPERSEDED)
    log.hold(HOLD)
    log.suppress("bounced")
    log.on_channel(Channel.SMS).choice("bounced", RecordKind.OPT_IN, "news")
    log.suppress("other")
    log.release("other")
    log.choice("paused", RecordKind.PAUSE, end_time=Instant(1_900_000_000_000_000))
    log.hold(replace(HOLD, hold_id="hold-2"))
    log.lift(HOLD)
    return log


def publisher_of(log: MemoryLog, follower: Follower) -> Publisher:
    return Publisher(log, follower, NAMING, LIMITS)


@asynccontextmanager
async def publishing(publisher: Publisher, url: str) -> AsyncGenerator[JetStream]:
    """The publisher runs within the block."""
    async with connect(Target(urls=(url,)), LIMITS) as jetstream:
        task = asyncio.create_task(publisher.run(jetstream))
        try:
            yield jetstream
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def assert_equal(mirror: Mirror, log: MemoryLog) -> None:
    """The consumer knows all that the log says."""
    assert mirror.standing() == {key: frozenset(one) for key, one in log.standing().items()}
    assert mirror.topics == log.topics()
    assert mirror.holds == {hold.hold_id: replace(hold, reason="") for hold in log.holds()}
    head = log.current_head
    assert (mirror.revision, mirror.running_hash) == (head.revision, head.running_hash.hex())
    assert mirror.epoch == head.epoch.hex()


async def test_a_consumer_knows_all_that_the_log_says(nats_url: str, tmp_path: Path) -> None:
    log, mirror = full_log(), Mirror()
    async with running(log, tmp_path) as follower:
        publisher = publisher_of(log, follower)
        async with publishing(publisher, nats_url):
            await read_to(mirror, nats_url, log.current_head.revision, STREAM)
            log.opt_outs(40)
            follower.wake()
            await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert_equal(mirror, log)
    assert mirror.begins == 1
    assert publisher.published == log.current_head.revision
    assert publisher.lag() == 0
    assert set(mirror.subjects) == {
        f"heed.shop.{kind}"
        for kind in ("begin", "topic", "record.email", "record.sms", "hold", "none")
    }


async def test_what_the_follower_took_is_published_without_reading_it_again(
    nats_url: str, tmp_path: Path
) -> None:
    """Until there is more of it than is kept; then it is read from the log."""
    log, mirror = full_log(), Mirror()
    first = log.current_head.revision
    async with started(log, tmp_path) as follower:
        publisher = publisher_of(log, follower)
        async with publishing(publisher, nats_url):
            await read_to(mirror, nats_url, first, STREAM)
            reads = log.reads
            for _ in range(3):
                follower.offer(log.committed(len(log.opt_outs(40))))
                await read_to(mirror, nats_url, log.current_head.revision, STREAM)
            read_for_few = log.reads - reads
            for _ in range(30):
                follower.offer(log.committed(len(log.opt_outs(100))))
            await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert read_for_few == 0
    assert log.reads > reads
    assert_equal(mirror, log)


async def test_publishing_again_adds_nothing(nats_url: str, tmp_path: Path) -> None:
    log, mirror = full_log(), Mirror()
    async with running(log, tmp_path) as follower:
        for _ in range(3):
            publisher = publisher_of(log, follower)
            async with publishing(publisher, nats_url):
                log.opt_outs(5)
                follower.wake()
                await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert await last_sequence(nats_url, STREAM) == 1 + log.current_head.revision
    assert_equal(mirror, log)


async def test_two_that_publish_at_once_publish_every_change_once(
    nats_url: str, tmp_path: Path
) -> None:
    """Without any lease: each goes on where the stream stands whenever the other was quicker."""
    log, mirror = MemoryLog(), Mirror()
    log.opt_outs(400)
    met = await _race(log, nats_url, tmp_path, JetStream)

    await read_to(mirror, nats_url, 400, STREAM)
    assert await last_sequence(nats_url, STREAM) == 401
    assert_equal(mirror, log)
    assert met > 0


async def test_what_comes_late_or_twice_adds_nothing(nats_url: str, tmp_path: Path) -> None:
    """A node that was stopped between its reading and its publishing, and sends it then."""
    log, mirror = MemoryLog(), Mirror()
    log.opt_outs(30)
    async with (
        running(log, tmp_path) as follower,
        publishing(publisher_of(log, follower), nats_url) as jetstream,
    ):
        await read_to(mirror, nats_url, 30, STREAM)
        standing = await jetstream.open_stream(NAMING)
        assert standing.place is not None
        late = following(NAMING, standing.place, log.opt_out("late"))
        log.opt_out("later")
        follower.wake()
        await read_to(mirror, nats_url, 32, STREAM)

        with suppress(OvertakenError):  # a server that looks at ids first takes it for stored
            await jetstream.publish(STREAM, [late])
        unknown = replace(late[1], epoch=b"epoch--0")  # as if NATS had forgotten its id
        with pytest.raises(OvertakenError, match="wrong last sequence: 33"):
            await jetstream.publish(STREAM, [(late[0], unknown)])

    assert await last_sequence(nats_url, STREAM) == 33


async def test_control_without_the_condition_two_publish_changes_twice(
    nats_url: str, tmp_path: Path
) -> None:
    """What the test above would miss if the condition were not there."""
    log = MemoryLog()
    log.opt_outs(400)
    await _race(log, nats_url, tmp_path, Unconditioned)

    assert await last_sequence(nats_url, STREAM) > 401


class Unconditioned(JetStream):
    """Publishes without saying after what."""

    async def _publish(self, stream: str, message: Any, place: Any) -> None:
        await self._context.publish(
            message.subject, message.body, stream=stream, headers=dict(message.headers)
        )


async def _race(log: MemoryLog, url: str, tmp_path: Path, kind: type[JetStream]) -> int:
    """Let two publish until both know that all is published; how often they met."""
    overtaken = published = 0

    async def publish(follower: Follower) -> None:
        nonlocal overtaken, published
        publisher = publisher_of(log, follower)
        while publisher.lag():
            async with connect(Target(urls=(url,)), LIMITS) as opened:
                jetstream = kind(opened.client, asyncio.Event(), LIMITS)
                task = asyncio.create_task(publisher.run(jetstream))
                done = asyncio.create_task(until(lambda: not publisher.lag()))
                await asyncio.wait((task, done), return_when=asyncio.FIRST_COMPLETED)
                done.cancel()
                task.cancel()
                ended, _ = await asyncio.gather(task, done, return_exceptions=True)
                overtaken += isinstance(ended, OvertakenError)
        published += publisher.published

    async with (
        running(log, tmp_path / "a") as first,
        running(log, tmp_path / "b") as second,
        asyncio.timeout(60),
        asyncio.TaskGroup() as both,
    ):
        both.create_task(publish(first))
        both.create_task(publish(second))
    return overtaken + published - len(log.changes)


async def test_a_purged_stream_is_published_anew_and_says_so(nats_url: str, tmp_path: Path) -> None:
    """At once, too, while NATS still knows the ids of what was purged."""
    log, mirror = full_log(), Mirror()
    async with running(log, tmp_path) as follower:
        for _ in range(2):
            async with publishing(publisher_of(log, follower), nats_url):
                await read_to(mirror, nats_url, log.current_head.revision, STREAM)
            async with connected(nats_url) as (_, context):
                await context.purge_stream(STREAM)
            mirror.revision = -1

    assert mirror.begins == 2
    assert mirror.began == 2 + log.current_head.revision
    assert mirror.head_revision == log.current_head.revision


async def test_a_stream_of_another_life_of_the_store_is_left_alone_until_it_is_purged(
    nats_url: str, tmp_path: Path
) -> None:
    log, mirror = full_log(), Mirror()
    async with (
        running(log, tmp_path / "a") as follower,
        publishing(publisher_of(log, follower), nats_url),
    ):
        await read_to(mirror, nats_url, log.current_head.revision, STREAM)
    stood_at = await last_sequence(nats_url, STREAM)
    restored = MemoryLog(epoch=b"epoch--2")
    restored.opt_outs(3)

    async with running(restored, tmp_path / "b") as follower:
        publisher = publisher_of(restored, follower)
        async with publishing(publisher, nats_url):
            await until(lambda: bool(publisher.refused))
            said = publisher.refused
            assert await last_sequence(nats_url, STREAM) == stood_at
            async with connected(nats_url) as (_, context):
                await context.purge_stream(STREAM)
            mirror.revision = -1
            await read_to(mirror, nats_url, 3, STREAM)
            await until(lambda: not publisher.refused)

    assert "the store was restored, or is another" in said
    assert_equal(mirror, restored)
    assert mirror.begins == 2


async def test_a_log_that_lost_what_was_published_is_not_published(
    nats_url: str, tmp_path: Path
) -> None:
    log, mirror = full_log(), Mirror()
    async with (
        running(log, tmp_path / "a") as follower,
        publishing(publisher_of(log, follower), nats_url),
    ):
        await read_to(mirror, nats_url, log.current_head.revision, STREAM)
    stood_at = await last_sequence(nats_url, STREAM)
    log.put_back(50)
    log.salt = b"other"
    log.opt_outs(100)

    async with running(log, tmp_path / "b") as follower:
        publisher = publisher_of(log, follower)
        async with publishing(publisher, nats_url):
            await until(lambda: bool(publisher.refused))

    assert "the database was put back" in publisher.refused
    assert await last_sequence(nats_url, STREAM) == stood_at


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (StreamConfig(subjects=["heed.shop.>"], max_age=3600), "by age"),
        (StreamConfig(subjects=["heed.shop.>"], retention=RetentionPolicy.INTEREST), "retention"),
        (StreamConfig(subjects=["heed.shop.>", "others"]), "subjects"),
        (StreamConfig(subjects=["heed.shop.>"], no_ack=True), "acknowledges nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_stream_that_could_lose_its_place_is_refused_until_it_is_put_right(
    nats_url: str, tmp_path: Path, config: StreamConfig, said: str
) -> None:
    log, mirror = full_log(), Mirror()
    async with connected(nats_url) as (_, context):
        await context.add_stream(config, name=STREAM)
        async with running(log, tmp_path) as follower:
            publisher = publisher_of(log, follower)
            async with publishing(publisher, nats_url):
                await until(lambda: said in publisher.refused)
                await context.delete_stream(STREAM)
                await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert_equal(mirror, log)


async def test_a_stream_with_a_foreign_message_is_refused(nats_url: str, tmp_path: Path) -> None:
    log, mirror = full_log(), Mirror()
    async with running(log, tmp_path) as follower:
        async with publishing(publisher_of(log, follower), nats_url):
            await read_to(mirror, nats_url, log.current_head.revision, STREAM)
        async with connected(nats_url) as (_, context):
            await context.publish("heed.shop.topic", b"forged")
        publisher = publisher_of(log, follower)
        async with publishing(publisher, nats_url):
            await until(lambda: bool(publisher.refused))

    assert "has no header" in publisher.refused
    assert await last_sequence(nats_url, STREAM) == log.current_head.revision + 2


async def test_a_log_that_cannot_be_read_is_published_once_it_can(
    nats_url: str, tmp_path: Path
) -> None:
    log, mirror = full_log(), Mirror()
    async with running(log, tmp_path) as follower:
        log.go_away()
        async with publishing(publisher_of(log, follower), nats_url):
            await log.asked(4)
            log.come_back()
            await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert_equal(mirror, log)


async def test_no_reason_that_an_operator_typed_and_no_address_leaves(
    server: NatsServer, nats_url: str, tmp_path: Path
) -> None:
    log, mirror = full_log(), Mirror()
    async with (
        running(log, tmp_path) as follower,
        publishing(publisher_of(log, follower), nats_url),
    ):
        await read_to(mirror, nats_url, log.current_head.revision, STREAM)

    assert b"ada@example.com" not in server.stored
    assert log.changes[-1].running_hash.hex().encode() in server.stored, "it is not compressed"


async def test_what_nats_lost_is_published_again_the_same_at_the_same_sequences(
    tmp_path: Path,
) -> None:
    """As after a power cut, by which a server loses what it had acknowledged."""
    log, mirror = full_log(), Mirror()
    half, full = log.current_head.revision, log.current_head.revision + 40
    with NatsServer() as server:
        async with running(log, tmp_path / "index") as follower:
            async with publishing(publisher_of(log, follower), server.url):
                await read_to(mirror, server.url, half, STREAM)
            server.kill()
            shutil.copytree(server.store, tmp_path / "kept")
            server.start()
            log.opt_outs(40)
            follower.wake()
            async with publishing(publisher_of(log, follower), server.url):
                await read_to(mirror, server.url, full, STREAM)
            before = await _messages(server.url, half + 2, full + 1)
            server.kill()
            shutil.rmtree(server.store)
            shutil.copytree(tmp_path / "kept", server.store)
            server.start()
            lost = await last_sequence(server.url, STREAM)
            async with publishing(publisher_of(log, follower), server.url):
                await read_to(Mirror(), server.url, full, STREAM)
            after = await _messages(server.url, half + 2, full + 1)

    assert lost == half + 1
    assert len(before) == 40
    assert after == before


async def _messages(url: str, first: int, last: int) -> list[tuple[Any, ...]]:
    async with connected(url) as (_, context):
        found = [await context.get_msg(STREAM, number) for number in range(first, last + 1)]
    return [(one.subject, one.headers, one.data) for one in found]


async def test_nats_is_spoken_to_by_tls_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (certificate, key), (ours, our_key) = authority.issue("nats"), authority.issue("heed")
    flags = (
        *("--tls", "--tlsverify", "--tlscert", str(certificate), "--tlskey", str(key)),
        *("--tlscacert", str(authority.file), "--user", "heed", "--pass", "hunter2"),
    )
    with NatsServer(*flags) as server:
        url = server.url.replace("nats://", "tls://heed:hunter2@")
        good = Target(
            urls=(url,),
            tls_ca_file=authority.file,
            tls_certificate_file=ours,
            tls_private_key_file=our_key,
        )
        async with connect(good, LIMITS) as jetstream:
            assert (await jetstream.open_stream(NAMING)).last_sequence == 0
        for bad in (
            replace(good, tls_ca_file=None),
            replace(good, tls_certificate_file=None, tls_private_key_file=None),
            replace(good, urls=(url.replace("hunter2", "hunter3"),)),
        ):
            with pytest.raises(NatsAwayError) as refused:
                async with connect(bad, LIMITS):
                    pass
            assert "hunter" not in refused.value.message


async def test_a_nats_that_is_not_there_is_said_to_be_away() -> None:
    with pytest.raises(NatsAwayError, match="cannot be had"):
        async with connect(Target(urls=("nats://127.0.0.1:1",)), LIMITS):
            pass
