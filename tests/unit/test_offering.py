"""What a follower keeps of an earlier epoch, and how it is offered back until it is taken."""

import logging
import queue
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from heed.errors import (
    ConflictError,
    ErrorReason,
    HeedError,
    InvalidArgumentError,
    UnavailableError,
)
from heed.index.place import Source
from heed.model import (
    Cause,
    Channel,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
)
from heed.replica import kept as kept_module
from heed.replica.kept import Life
from heed.replica.offering import OfferCounts, Offering
from heed.replica.owned import Owned
from heed.wire.limits import OFFERED_RECORDS_MAX
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.caches import wait_until
from tests.support.replicas import EPOCH, KEY, Held, held

NEXT = b"\x02" * 8
THEN = b"\x03" * 8
SOURCE = Source(tenant="t", lookup_keys=((1, KEY),))


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Held]:
    with held(tmp_path / "cache") as one:
        yield one


def record(revision: int = 7, kind: RecordKind = RecordKind.OPT_OUT, topic: str = "news") -> Record:
    cause = Cause.BOUNCE if kind is RecordKind.SUPPRESSION else Cause.NONE
    return Record(
        kind, cause, Reach.PROMOTIONAL, Channel.EMAIL, topic, Instant(1), None, Revision(revision)
    )


def generations(replica: Held) -> int:
    return len([*replica.replica.folder.path.glob("gen-*")])


class Taking:
    """An upstream that takes what it is offered, or refuses it as it is told to."""

    def __init__(self, *refusals: HeedError) -> None:
        self.offered: queue.Queue[pb.OfferRecordsRequest] = queue.Queue()
        self._refusals = [*refusals]

    def offer(self, request: pb.OfferRecordsRequest) -> pb.OfferRecordsResponse:
        if self._refusals:
            raise self._refusals.pop(0)
        self.offered.put(request)
        return pb.OfferRecordsResponse(added=sum(len(one.records) for one in request.subjects))

    @property
    def pages(self) -> list[pb.OfferRecordsRequest]:
        return list(self.offered.queue)


class Answerless(Taking):
    """Takes what it is offered, and nobody hears of it."""

    def offer(self, request: pb.OfferRecordsRequest) -> pb.OfferRecordsResponse:
        super().offer(request)
        raise UnavailableError("away")


class Lives:
    """Of which epoch the stream is said to be."""

    def __init__(
        self,
        epoch: bytes | None = NEXT,
        *,
        earlier: Mapping[bytes, int] | None = None,
        source: Source = SOURCE,
    ) -> None:
        self.epoch = epoch
        self._earlier = earlier or {}
        self._source = source

    def __call__(self) -> Life | None:
        if self.epoch is None:
            return None
        return Life(epoch=self.epoch, source=self._source, earlier=self._earlier)


class Offered:
    """An offering under way."""

    def __init__(
        self, owned: Owned, upstream: Taking, lives: Lives, *, subscriber: str = "mailer"
    ) -> None:
        self.counts = OfferCounts()
        self.offering = Offering(
            owned,
            upstream,  # type: ignore[arg-type] # nothing else is asked of it
            tenant="t",
            subscriber=subscriber,
            life=lives,
            counts=self.counts,
            retry_seconds=0.001,
        )

    def __enter__(self) -> Offering:
        self.offering.start()
        self.offering.wake()
        return self.offering

    def __exit__(self, *_: object) -> None:
        self.offering.end()


def meet_next(replica: Held, epoch: bytes = NEXT) -> None:
    """A snapshot of another epoch takes the place of what is there."""
    replica.install({}, revision=3, epoch=epoch)


def test_an_index_of_another_epoch_is_kept_and_offered(replica: Held) -> None:
    replica.install({"ada@x.com": [record()], "bob@x.com": [record(topic="other")]})

    meet_next(replica)
    before = generations(replica)
    upstream = Taking()
    with Offered(replica.owned, upstream, Lives()):
        wait_until(lambda: not replica.owned.kept)

    (page,) = upstream.pages
    assert before == 2
    assert generations(replica) == 1
    assert (page.tenant, page.subscriber, page.epoch) == ("t", "mailer", EPOCH)
    assert sorted(one.records[0].topic for one in page.subjects) == ["news", "other"]


def test_an_index_of_the_same_epoch_is_not_kept(replica: Held) -> None:
    replica.install({"ada@x.com": [record()]})
    replica.install({"ada@x.com": [record()]}, revision=8)

    assert replica.owned.kept == []
    assert generations(replica) == 1


def test_only_what_protects_and_what_the_log_may_lack_is_offered(replica: Held) -> None:
    kinds = (RecordKind.OPT_OUT, RecordKind.OPT_IN, RecordKind.PAUSE, RecordKind.SUPPRESSION)
    replica.install(
        {"ada@x.com": [record(6, kind) for kind in kinds], "bob@x.com": [record(5)]},
        holds=[
            Hold(hold_id="old", reason="a", revision=Revision(5)),
            Hold(hold_id="new", reason="a", revision=Revision(6)),
            Hold(hold_id="epoch", reason="a", revision=Revision(6), spares_mandatory=True),
        ],
    )
    meet_next(replica)

    upstream = Taking()
    with Offered(replica.owned, upstream, Lives(earlier={EPOCH: 5})):
        wait_until(lambda: not replica.owned.kept)

    records, holds = upstream.pages
    assert [one.hold_id for one in holds.holds] == ["new"]
    assert [[int(one.kind) for one in subject.records] for subject in records.subjects] == [
        [RecordKind.OPT_OUT, RecordKind.PAUSE, RecordKind.SUPPRESSION]
    ]


def test_nothing_is_offered_of_what_the_log_has_whole(replica: Held) -> None:
    replica.install({"ada@x.com": [record()]})
    meet_next(replica)

    upstream = Taking()
    with Offered(replica.owned, upstream, Lives(earlier={EPOCH: 7})):
        wait_until(lambda: not replica.owned.kept)

    assert upstream.pages == []


def test_an_offer_comes_in_pages_that_are_the_same_each_time(replica: Held) -> None:
    many = {
        f"p{at}@x.com": [record(topic=f"t{topic}") for topic in range(3)]
        for at in range(OFFERED_RECORDS_MAX)
    }
    replica.install(many)
    meet_next(replica)
    (kept,) = replica.owned.kept

    pages, again = ([*kept.pages(Revision(0))] for _ in range(2))

    assert pages == again
    assert [sum(len(one.records) for one in page.subjects) for page in pages] == [1_000] * 3


def test_what_is_offered_in_other_words_has_another_key(replica: Held) -> None:
    """A follower that goes on under another name is not told that it said something else before."""
    replica.install({"ada@x.com": [record()], "bob@x.com": [record()]})
    meet_next(replica)
    upstream = Answerless()

    with Offered(replica.owned, upstream, Lives(), subscriber="mailer-7"):
        wait_until(lambda: len(upstream.pages) > 1)
    first = {page.idempotency_key for page in upstream.pages}
    with Offered(replica.owned, upstream, Lives(), subscriber="mailer-8"):
        wait_until(lambda: upstream.pages[-1].subscriber == "mailer-8")

    assert len(first) == 1
    assert upstream.pages[-1].idempotency_key not in first


@pytest.mark.parametrize(
    "refusal",
    [
        UnavailableError("away"),
        ConflictError("a second person", reason=ErrorReason.APPROVAL_REQUIRED),
    ],
)
def test_what_is_not_taken_yet_is_offered_until_it_is(replica: Held, refusal: HeedError) -> None:
    replica.install({"ada@x.com": [record()]})
    meet_next(replica)

    upstream = Taking(*([refusal] * 5))
    with Offered(replica.owned, upstream, Lives()):
        wait_until(lambda: not replica.owned.kept)

    assert len(upstream.pages) == 1


def test_once_offers_are_closed_the_index_is_dropped_and_that_is_an_error(
    replica: Held, caplog: pytest.LogCaptureFixture
) -> None:
    replica.install({"ada@x.com": [record()]})
    meet_next(replica)

    refusal = ConflictError("lifted", reason=ErrorReason.OFFERS_CLOSED)
    with Offered(replica.owned, Taking(refusal), Lives()):
        wait_until(lambda: not replica.owned.kept)

    (said,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "the hold of the restore was lifted before" in said.getMessage()
    assert generations(replica) == 1


def test_a_page_that_cannot_be_read_costs_no_other_page(
    replica: Held, caplog: pytest.LogCaptureFixture
) -> None:
    replica.install(
        {f"p{at}@x.com": [record()] for at in range(OFFERED_RECORDS_MAX + 1)},
    )
    meet_next(replica)

    upstream = Taking(InvalidArgumentError("a later kind"))
    running = Offered(replica.owned, upstream, Lives())
    with running:
        wait_until(lambda: not replica.owned.kept)

    assert (running.counts.refused, running.counts.taken) == (OFFERED_RECORDS_MAX, 1)
    assert "cannot read 1000 records" in caplog.text


def test_what_stands_under_another_key_is_not_offered_and_that_is_an_error(
    replica: Held, caplog: pytest.LogCaptureFixture
) -> None:
    replica.install({"ada@x.com": [record()]})
    meet_next(replica)
    other = Source(tenant="t", lookup_keys=((1, b"k" * 32),))

    upstream = Taking()
    with Offered(replica.owned, upstream, Lives(source=other)):
        wait_until(lambda: not replica.owned.kept)

    assert upstream.pages == []
    assert "under a lookup key that the source does not have" in caplog.text


def test_while_the_epoch_is_the_same_it_waits(replica: Held) -> None:
    """The database was put back, and nobody has said so by a new epoch yet."""
    replica.install({"ada@x.com": [record()]})
    draft = replica.owned.draft([], [])
    place, source = replica.owned.place, replica.owned.source
    assert place is not None
    assert source is not None
    replica.owned.install(draft, place, source, is_other_history=True)

    upstream, lives = Taking(), Lives(EPOCH)
    with Offered(replica.owned, upstream, lives) as offering:
        lives.epoch = NEXT
        offering.wake()
        wait_until(lambda: not replica.owned.kept)

    assert len(upstream.pages) == 1


def test_the_next_owner_of_the_folder_goes_on(replica: Held) -> None:
    replica.install({"ada@x.com": [record()]})
    meet_next(replica)
    replica.owned.kept.clear()
    replica.owned.close()

    owned = Owned(replica.replica)
    upstream = Taking()
    with Offered(owned, upstream, Lives()):
        wait_until(lambda: not owned.kept)

    assert len(upstream.pages) == 1
    owned.close()


def test_a_restore_of_a_restore_is_offered_what_both_lost(replica: Held) -> None:
    replica.install({"ada@x.com": [record()]})
    replica.install({"bob@x.com": [record()]}, revision=3, epoch=NEXT)
    meet_next(replica, THEN)

    upstream = Taking()
    with Offered(replica.owned, upstream, Lives(THEN, earlier={NEXT: 1})):
        wait_until(lambda: not replica.owned.kept)

    assert [page.epoch for page in upstream.pages] == [EPOCH, NEXT]


def test_so_many_are_kept_and_the_oldest_is_given_up_with_an_error(
    replica: Held, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("heed.replica.owned.KEPT_MAX", 2)
    for at in range(4):
        replica.install({"ada@x.com": [record()]}, epoch=bytes([at]) * 8)

    assert [one.place.epoch[0] for one in replica.owned.kept] == [1, 2]
    assert generations(replica) == 3
    assert "too many" in caplog.text
    assert kept_module.KEPT_MAX == 4
