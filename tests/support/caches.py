"""Clients with a cache whose clock a test sets, and what waits for such a cache."""

import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import heed
from heed.connection.blocking import GrpcCalls
from heed.connection.caching import cache_spec, make_cache
from heed.connection.target import Target, target_of
from heed.connection.watching import WatchCalls
from heed.replica.cache import Cache
from heed.replica.clock import boot_clock
from heed.replica.upstream import Upstream

WAIT_SECONDS_MAX = 60
_TICK = threading.Event()
"""Never set: a wait for it is a look a moment later."""


class BootClock:
    """The host's clock, moved by the test alone."""

    def __init__(self) -> None:
        self.ns = boot_clock()

    def __call__(self) -> int:
        return self.ns

    def advance(self, by: timedelta) -> None:
        self.ns += by // timedelta(microseconds=1) * 1_000


class GoingClock(BootClock):
    """The host's clock, which goes on by itself, and which a test puts ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.ns = 0

    def __call__(self) -> int:
        return boot_clock() + self.ns


class UsedAlone:
    """A use of a cache that nobody else uses."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def release(self) -> None:
        self.cache.close()


class CachedSyncClient(heed.SyncClient):
    """`heed.SyncClient` with a cache whose clock and sampling are the test's."""

    def __init__(
        self,
        address: str,
        path: Path,
        *,
        clock: BootClock | None = None,
        sampled_share: float = 0.0,
        tenant: str = "",
        channels: Iterable[str] = (),
        topics: Iterable[str] = (),
        timeout: float = 5.0,
        upstream: Callable[[Target], Upstream] = WatchCalls,
        verify: Iterable[str] = (),
        **said: Any,
    ) -> None:
        self.clock = clock or BootClock()
        target = target_of(address, tls=None, insecure=False, api_key=None)
        spec = cache_spec(
            path,
            target,
            tenant=tenant,
            subscriber="tests",
            channels=channels,
            topics=topics,
            max_staleness=said.get("max_staleness"),
            verify=verify,
        )

        def open_cache() -> UsedAlone:
            cache = make_cache(
                spec,
                upstream(target),
                clock=self.clock,
                sampled_share=sampled_share,
                pace_seconds_max=0.01,
            )
            cache.start()
            return UsedAlone(cache)

        super(heed.SyncClient, self).__init__(
            GrpcCalls(target, timeout=timeout),
            tenant=tenant,
            new_key=lambda: str(uuid.uuid4()),
            open_cache=open_cache,
        )

    def wait_for(self, revision: int) -> None:
        wait_until(lambda: self.cache.has(revision))


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once something holds; fails if it does not."""
    end = monotonic() + WAIT_SECONDS_MAX
    while not holds():
        assert monotonic() < end, "waited in vain"
        _TICK.wait(0.002)
