"""How a client with a cache checks: here if it may, else at a server, else by the policy."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from heed.answers import CacheState, CheckAnswer
from heed.client.calling import Calling
from heed.connection import methods
from heed.connection.aio import aside, pause
from heed.connection.calls import AsyncCalls
from heed.errors import ErrorReason, UnavailableError
from heed.requests import Query, require_seconds
from heed.wire import ask, read

if TYPE_CHECKING:
    # It brings LMDB, which a client without a cache does not need.
    from heed.replica.cache import Cache

PAUSE_SECONDS = 0.002
"""How often a check that waits for a revision looks whether the cache has it."""
CATCH_UP_SECONDS = 0.05
"""How long a check waits for the revision of its token before it asks a server."""


class CacheUse(Protocol):
    """A use of a cache, which others may use too."""

    cache: "Cache"

    def release(self) -> None:
        """Let go; releasing twice is releasing once."""
        ...


class CachedCalling(Calling):
    """A connection, and beside it a cache, where one was asked for."""

    def __init__(
        self,
        calls: AsyncCalls,
        *,
        tenant: str,
        new_key: Callable[[], str],
        open_cache: Callable[[], CacheUse] | None = None,
    ) -> None:
        """`open_cache` is called once, at the first use; None: there is no cache."""
        super().__init__(calls, tenant=tenant, new_key=new_key)
        # Threads that call first at the same time open one cache.
        self._opening = threading.Lock()
        self._open_cache = open_cache
        self._cache: Cache | None = None
        self._release_cache: Callable[[], object] = bool

    @property
    def cache(self) -> "Cache":
        """The cache: `client.cache.stats()` says how it stands.

        Raises:
            RuntimeError: the client has none, or is closed.
        """
        cache = self._cache or self._opened_cache()
        if cache is None:
            raise RuntimeError("this client has no cache: give it cache=path, and do not close it")
        return cache

    async def wait_live(self, timeout: float = 30.0) -> None:
        """Return once the cache answers every check by itself.

        Raises:
            UnavailableError: STATE_STALE, it does not within `timeout` seconds.
            InvalidArgumentError: `timeout` is no number of seconds.
            RuntimeError: the client has no cache.
        """
        cache = self.cache
        require_seconds(timeout, "timeout")
        waited = 0.0
        while cache.state is not CacheState.LIVE:
            if waited >= timeout:
                stats = cache.stats()
                raise UnavailableError(
                    f"the cache is {stats.state} after {timeout:g} s; {stats.last_error}",
                    reason=ErrorReason.STATE_STALE,
                )
            await pause(PAUSE_SECONDS)
            waited += PAUSE_SECONDS

    def _opened_cache(self) -> "Cache | None":
        if self._open_cache is None:
            return None
        with self._opening:
            if self._open_cache is not None:
                use = self._open_cache()
                self._open_cache = None
                # Also at exit, and where a client is let go without being closed.
                self._release_cache = weakref.finalize(self, use.release)
                self._cache = use.cache
        return self._cache

    async def _close_cache(self) -> None:
        self._open_cache = None
        self._cache = None
        await aside(self._release_cache)

    async def _check_cached(
        self, cache: "Cache", query: Query, token: str, tenant: str | None, timeout: float | None
    ) -> CheckAnswer:
        require_seconds(timeout, "timeout")  # not only once a server must be asked
        found = cache.check(query, token, tenant)
        if not isinstance(found, CheckAnswer) and found.wait_revision:
            await self._catch_up(cache, found.wait_revision)
            found = cache.check(query, token, tenant)
        if isinstance(found, CheckAnswer):
            return found
        request = ask.check(self._tenant_or(tenant), query, token)
        try:
            told = read.check(await self._calls.unary(methods.CHECK, request, timeout=timeout))
        except UnavailableError as error:
            return cache.by_policy(found, error)
        return cache.asked(found, told)

    async def _check_many_cached(
        self,
        cache: "Cache",
        queries: Sequence[Query],
        token: str,
        tenant: str | None,
        timeout: float | None,
    ) -> tuple[CheckAnswer, ...]:
        require_seconds(timeout, "timeout")
        found = cache.check_many(queries, token, tenant)
        waits = max(
            (one.wait_revision for one in found if not isinstance(one, CheckAnswer)), default=0
        )
        if waits:
            await self._catch_up(cache, waits)
            found = cache.check_many(queries, token, tenant)
        here = tuple(one for one in found if isinstance(one, CheckAnswer))
        if queries and len(here) == len(queries):
            return here
        request = ask.check_many(self._tenant_or(tenant), queries, token)
        try:
            answer = await self._calls.unary(methods.CHECK_MANY, request, timeout=timeout)
        except UnavailableError as error:
            return tuple(cache.by_policy(one, error) for one in found)
        told = read.check_many(answer, asked=len(request.queries))
        return tuple(cache.asked(one, by) for one, by in zip(found, told, strict=True))

    async def _catch_up(self, cache: "Cache", revision: int) -> None:
        """Wait a moment for a revision."""
        waited = 0.0
        while not cache.has(revision) and waited < CATCH_UP_SECONDS:
            await pause(PAUSE_SECONDS)
            waited += PAUSE_SECONDS
