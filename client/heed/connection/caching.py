"""Opens caches. Within a process, clients that ask for the same folder share one cache.

It is imported where a client is given a cache, because it brings LMDB.
"""

import hashlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from google.protobuf.duration_pb2 import Duration

from heed.audit.failing import ProofError
from heed.audit.notes import VerifierKey, read_verifier_key
from heed.audit.snapshots import filter_hash
from heed.connection.target import Target
from heed.connection.watching import WatchCalls
from heed.errors import invalid_field
from heed.index.place import SHARED_FORMAT_VERSION
from heed.model import Channel, TopicClass
from heed.names import named
from heed.replica.cache import Cache
from heed.replica.clock import boot_clock
from heed.replica.follower import PACE_SECONDS_MAX, Follower
from heed.replica.following import Subscription
from heed.replica.freshness import Bounds, bounds_of
from heed.replica.proving import Proving
from heed.replica.reading import Filter
from heed.replica.replica import BootClock, Replica
from heed.replica.sampler import SHARE, Sampler
from heed.replica.shared_state import IDENTITY_BYTES
from heed.replica.upstream import Upstream
from heed.topics import validate_topic, widest
from heed.wire.limits import SUBSCRIBER_CHARACTERS_MAX, WATCH_TOPICS_MAX
from heed.wire.values import ascii_name
from heed.wire.violations import Violations


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """What a client asks of its cache."""

    path: Path
    target: Target
    tenant: str
    subscriber: str
    covered: Filter
    bounds: Bounds
    verify: tuple[VerifierKey, ...] = ()
    """Of the logs that are believed; empty: the server is."""

    @property
    def identity(self) -> bytes:
        """What names what is cached: another upstream, tenant, filter or format, another cache."""
        said = repr(
            (
                SHARED_FORMAT_VERSION,
                self.target.name,
                self.tenant,
                self.covered.channels,
                self.covered.topics,
            )
        ) + ("verifiable" if self.verify else "")
        return hashlib.blake2b(said.encode(), digest_size=IDENTITY_BYTES).digest()


def cache_spec(
    path: Path | str,
    target: Target,
    *,
    tenant: str,
    subscriber: str,
    channels: Iterable[Channel | str],
    topics: Iterable[str],
    max_staleness: Mapping[TopicClass | str, timedelta] | None,
    verify: Iterable[str] = (),
) -> CacheSpec:
    """Return what is asked, checked.

    Raises:
        InvalidArgumentError: a channel, topic, class, time, key or the subscriber's name is none.
    """
    wanted = tuple(sorted({named(Channel, channel, "channels") for channel in channels}))
    if Channel.ANY in wanted:
        raise invalid_field("channels", "has any; leave it empty for every channel")
    beneath = tuple(sorted(set(topics)))
    if len(beneath) > WATCH_TOPICS_MAX:
        raise invalid_field(
            "topics", f"has {len(beneath)} topics, at most {WATCH_TOPICS_MAX} are taken"
        )
    for topic in beneath:
        validate_topic(topic)
    path = Path(path).expanduser().absolute()
    name = subscriber or f"{socket.gethostname()}:{path.name}"[:SUBSCRIBER_CHARACTERS_MAX]
    violations = Violations()
    ascii_name(name, "subscriber", violations, SUBSCRIBER_CHARACTERS_MAX)
    violations.raise_if_any()
    return CacheSpec(
        path=path,
        target=target,
        tenant=tenant,
        subscriber=name,
        covered=Filter(channels=wanted, topics=beneath),
        bounds=bounds_of(max_staleness),
        verify=_verifier_keys(verify),
    )


def make_cache(
    spec: CacheSpec,
    upstream: Upstream,
    *,
    clock: BootClock = boot_clock,
    sampled_share: float = SHARE,
    pace_seconds_max: float = PACE_SECONDS_MAX,
) -> Cache:
    """Return a cache that is not started."""
    sampler = Sampler(sampled_share)
    replica, follower = make_follower(
        spec, upstream, clock=clock, on_pace=sampler.compare, pace_seconds_max=pace_seconds_max
    )
    return Cache(replica, follower, bounds=spec.bounds, covered=spec.covered, sampler=sampler)


def make_follower(
    spec: CacheSpec,
    upstream: Upstream,
    *,
    clock: BootClock = boot_clock,
    on_pace: Callable[[Upstream], None] = lambda _: None,
    pace_seconds_max: float = PACE_SECONDS_MAX,
) -> tuple[Replica, Follower]:
    """Return a replica and what will follow into it, not started."""
    replica = Replica(spec.path, identity=spec.identity, clock=clock)
    subscription = Subscription(
        tenant=spec.tenant,
        subscriber=spec.subscriber,
        instance=secrets.token_hex(8),
        channels=spec.covered.channels,
        topics=spec.covered.topics,
        max_staleness=_duration(spec.bounds.least_time),
        verifiable=bool(spec.verify),
    )
    follower = Follower(
        replica,
        upstream,
        subscription,
        probe_ns=spec.bounds.least // 3,
        on_pace=on_pace,
        pace_seconds_max=pace_seconds_max,
        proving=_proving(spec, upstream, clock) if spec.verify else None,
    )
    return replica, follower


class CacheUse:
    """A client's use of a cache: the first starts it, the last closes it."""

    __slots__ = ("_is_released", "_key", "cache")

    def __init__(self, key: str, cache: Cache) -> None:
        """Others call `use`."""
        self._key = key
        self.cache = cache
        self._is_released = False

    def release(self) -> None:
        """Let go; releasing twice is releasing once."""
        with _SHARING:
            if self._is_released:
                return
            self._is_released = True
            shared = _SHARED[self._key]
            shared.uses -= 1
            if shared.uses:
                return
            del _SHARED[self._key]
            shared.cache.close()


@dataclass(slots=True)
class _Shared:
    cache: Cache
    spec: CacheSpec
    uses: int


_SHARING: Final = threading.Lock()
_SHARED: Final[dict[str, _Shared]] = {}
"""The caches of this process by their folder. Touched only under `_SHARING`."""


def use(spec: CacheSpec) -> CacheUse:
    """Open and start a cache, or share the one that this process has at the same folder.

    Raises:
        InvalidArgumentError: it has one there that asks for something else.
    """
    key = os.path.realpath(spec.path)
    with _SHARING:
        shared = _SHARED.get(key)
        if shared is None:
            cache = make_cache(spec, WatchCalls(spec.target))
            cache.start()
            shared = _SHARED[key] = _Shared(cache, spec, 0)
        elif shared.spec != spec:
            raise invalid_field(
                "cache",
                f"is at {spec.path}, where this process has one of another server, tenant, "
                "filter, max_staleness or verify; give each a folder of its own",
            )
        shared.uses += 1
        return CacheUse(key, shared.cache)


def _proving(spec: CacheSpec, upstream: Upstream, clock: BootClock) -> Proving:
    from heed.audit.signing import verify  # it brings cryptography

    return Proving(
        spec.verify,
        verify,
        spec.path,
        upstream,
        tenant=spec.tenant,
        filter_hash=filter_hash(spec.covered.channels, widest(spec.covered.topics)),
        clock=clock,
    )


def _verifier_keys(said: Iterable[str]) -> tuple[VerifierKey, ...]:
    if isinstance(said, str):
        raise invalid_field("verify", "is one text; give a list of verifier keys")
    try:
        return tuple(sorted({read_verifier_key(one.strip()) for one in said}))
    except ProofError as error:
        raise invalid_field("verify", f"has what is no verifier key: {error}") from error


def _duration(time: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(time)
    return duration
