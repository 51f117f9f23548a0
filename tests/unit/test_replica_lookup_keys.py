"""A follower holds nothing under a lookup key that it was not given: it would not find it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from heed.keys import Keyer
from heed.model import Cause, Channel, Instant, Reach, Record, RecordKind, Revision, SubjectType
from heed.replica.following import Following, ResyncError, Resyncs
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.replicas import EPOCH, KEY, Held, held

OTHER_KEY = b"o" * 32
ADA = "ada@example.com"
OPT_OUT = Record(
    RecordKind.OPT_OUT, Cause.NONE, Reach.ALL, Channel.EMAIL, "", Instant(1), None, Revision(7)
)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Held]:
    with held(tmp_path) as one:
        one.install({ADA: [OPT_OUT]})
        yield one


def key_of(lookup_key: bytes) -> bytes:
    return Keyer(lookup_key).key_of(SubjectType.EMAIL, ADA)


def opened(*key_ids: int) -> pb.WatchChangesResponse:
    keys = {1: KEY, 2: OTHER_KEY}
    return pb.WatchChangesResponse(
        opened=pb.Opened(
            stream_id="s",
            epoch=EPOCH,
            tenant="t",
            tenant_id=1,
            lookup_keys=[pb.LookupKey(key_id=one, key=keys[one]) for one in key_ids],
        )
    )


def following(replica: Held, *key_ids: int) -> Following:
    one = Following(replica.owned, tenant="t", resumes=True, clock=replica.clock, resyncs=Resyncs())
    one.take(opened(*key_ids))
    return one


def changes(*told: pb.Change) -> pb.WatchChangesResponse:
    return pb.WatchChangesResponse(
        changes=pb.Changes(
            after=7, through=7 + len(told), changes=told, token="next", running_hash=bytes(32)
        )
    )


BEGINS = pb.Change(revision=8, rekey=pb.Rekey(key_id=2))
MOVES = pb.Change(
    revision=9,
    subject_key=key_of(OTHER_KEY),
    rekey=pb.Rekey(key_id=2, previous_subject_key=key_of(KEY)),
)


def test_of_a_lookup_key_that_was_told_everything_is_taken(replica: Held) -> None:
    """The control of what follows."""
    stream = following(replica, 1, 2)

    stream.take(changes(BEGINS, MOVES))

    index = replica.replica.index(replica.owned.state.generation)
    _, found = index.find_all([key_of(KEY), key_of(OTHER_KEY)], None)
    assert [one is not None for one in found] == [False, True]
    place = replica.owned.place
    assert place is not None
    assert place.revision == 9


def test_of_one_that_was_not_told_nothing_is_taken(replica: Held) -> None:
    stream = following(replica, 1)

    with pytest.raises(ResyncError):
        stream.take(changes(BEGINS, MOVES))

    place = replica.owned.place
    assert place is not None
    assert place.revision == 7


def test_no_lookup_key_is_forgotten(replica: Held) -> None:
    following(replica, 1, 2).take(changes(BEGINS, MOVES))

    with pytest.raises(ResyncError):
        following(replica, 1)

    source = replica.owned.source
    assert source is not None
    assert [key_id for key_id, _ in source.lookup_keys] == [1, 2]
