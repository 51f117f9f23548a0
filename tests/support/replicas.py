"""A replica whose owner is the test: it says what stands, what time it is, and who the source is."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from heed.connection.caching import cache_spec, make_follower
from heed.connection.target import target_of
from heed.index.place import Place, Source
from heed.keys import LOOKUP_KEY_BYTES, Keyer
from heed.model import Hold, Record, Revision, SubjectType, TenantId, Topic
from heed.records import encode_records
from heed.replica.owned import Owned
from heed_server.agent.following import ReplicaFollower
from tests.support.caches import BootClock

KEY = bytes(LOOKUP_KEY_BYTES)
EPOCH = b"12345678"
SOURCE_NOW_US = 1_800_000_000_000_000


class UnusedUpstream:
    """Nothing is asked of it: the follower is not started."""

    def close(self) -> None:
        pass


class Held:
    """A replica, and all that is ever said to it."""

    def __init__(self, folder: Path) -> None:
        self.clock = BootClock()
        target = target_of("127.0.0.1:1", tls=None, insecure=False, api_key=None)
        spec = cache_spec(
            folder, target, tenant="", subscriber="t", channels=(), topics=(), max_staleness=None
        )
        upstream = cast("Any", UnusedUpstream())
        self.replica, follower = make_follower(spec, upstream, clock=self.clock)
        assert self.replica.own()
        self.owned = Owned(self.replica)
        self.known = ReplicaFollower(self.replica, follower)

    def install(
        self,
        people: Mapping[str, Sequence[Record]],
        *,
        revision: int = 7,
        keys: Sequence[tuple[int, bytes]] = ((1, KEY),),
        epoch: bytes = EPOCH,
        topics: Sequence[Topic] = (),
        holds: Sequence[Hold] = (),
        rule_version: int = 1,
    ) -> None:
        """Let this stand, as a snapshot brings it."""
        draft = self.owned.draft(topics, holds)
        keyer = Keyer(keys[0][1])
        entries = [
            (keyer.key_of(SubjectType.EMAIL, email), encode_records(records))
            for email, records in people.items()
        ]
        draft.index.append(sorted(entries))
        place = Place(
            tenant_id=TenantId(1),
            epoch=epoch,
            revision=Revision(revision),
            running_hash=revision.to_bytes(32, "big"),
            stops_revision=Revision(revision),
            rule_version=rule_version,
            normaliser_version=1,
            token="token",
        )
        self.owned.install(draft, place, Source(tenant="t", lookup_keys=tuple(keys)))

    def hear(self, *, age_seconds: float = 0.0) -> None:
        """Let the source be heard now, and all that it had so long ago be in the replica."""
        now = self.clock()
        self.owned.heard(
            known_ns=now - round(age_seconds * 1e9), source_now_us=SOURCE_NOW_US, heard_ns=now
        )


@contextmanager
def held(folder: Path) -> Generator[Held]:
    """A replica in a folder, with nothing in it."""
    one = Held(folder)
    try:
        yield one
    finally:
        one.replica.close()
