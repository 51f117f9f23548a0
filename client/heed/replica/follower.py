"""The threads that keep a cache in step: one follows the log, one probes and watches for silence,
and one offers back what is held of an earlier life of the store (`heed.replica.offering`).

They are threads, for `heed.Client` and `heed.SyncClient` alike: an event loop that applied a
snapshot would serve nothing meanwhile, and gRPC takes one asyncio loop a process.

Laws:
- Only who holds the folder's lock follows; the others try for it twice a second, so that another
  process takes over within 2 s of the owner's end.
- Streams are opened with full jitter, never in a tight loop, and always on one channel.
- Whatever goes wrong, the cache only ages.

Source: Exponential Backoff and Jitter (AWS Architecture Blog, 2015), for full jitter.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heed.errors import ErrorReason, HeedError
from heed.replica.following import Following, Reason, ResyncError, Resyncs, Subscription
from heed.replica.kept import Life
from heed.replica.offering import RETRY_FIRST_SECONDS, OfferCounts, Offering
from heed.replica.owned import Owned
from heed.replica.proving import Proving
from heed.replica.replica import Replica
from heed.replica.upstream import Stream, Upstream

LOCK_SECONDS: Final = 0.5
"""How often a process that does not own the cache tries to."""
BACKOFF_FIRST_SECONDS: Final = 0.25
BACKOFF_MAX_SECONDS: Final = 30.0
"""The most before the second stream and before any; what is waited is drawn from 0 up to it."""
BACKOFF_RESET_NS: Final = 60_000_000_000
"""A stream that was alive for so long makes the next backoff begin anew."""
PACE_SECONDS_MAX: Final = 1.0
"""The longest between two looks at the stream's silence."""
FOLDER_SECONDS: Final = 5.0
"""How long after a folder could not be taken over it is tried again."""
REPORT_NS: Final = 1_000_000_000
"""What was applied is reported at once, so that a write need not wait long for its propagation, but
no two reports are sent within this time for that."""
READERS_NS: Final = 60_000_000_000
"""How often LMDB is told of readers that died."""

_LOG: Final = logging.getLogger("heed.cache")


@dataclass(slots=True)
class FollowerCounts:
    """What a follower did. Written only by its threads."""

    streams: int = 0
    """Streams opened."""
    probes_failed: int = 0
    last_error: str = ""
    """Why the last stream ended, if it did not end as it should."""
    resyncs: Resyncs = field(default_factory=Resyncs)
    """Snapshots that came, and those that were asked for, by reason."""
    offers: OfferCounts = field(default_factory=OfferCounts)
    """What was offered back of earlier lives of the store."""


class Backoff:
    """How long to wait before another stream."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        """`uniform` draws from a range: `random.uniform`, or what a test draws by."""
        self._uniform = uniform
        self._failures = 0

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0

    def fail_for_long(self) -> None:
        """Wait as after many failures: trying again soon would be the same."""
        self._failures = 32

    def seconds(self) -> float:
        """Return what to wait after one more failure."""
        most = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(self._failures, 32))
        self._failures += 1
        return self._uniform(0.0, most)


class Follower:
    """Follows an upstream into a replica, once started, until closed."""

    def __init__(
        self,
        replica: Replica,
        upstream: Upstream,
        subscription: Subscription,
        *,
        probe_ns: int,
        on_pace: Callable[[Upstream], None] = lambda _: None,
        uniform: Callable[[float, float], float] = random.uniform,
        pace_seconds_max: float = PACE_SECONDS_MAX,
        proving: Proving | None = None,
        offer_retry_seconds: float = RETRY_FIRST_SECONDS,
    ) -> None:
        """`probe_ns` is the longest between two probes; `on_pace` is called between them.

        `proving` holds what is followed against what was signed; None: nothing does.
        """
        self.counts = FollowerCounts()
        self._replica = replica
        self._upstream = upstream
        self._subscription = subscription
        self._probe_ns = probe_ns
        self._on_pace = on_pace
        self._pace_seconds_max = pace_seconds_max
        self._offer_retry_seconds = offer_retry_seconds
        self._backoff = Backoff(uniform)
        self.proving = proving
        self._closing = threading.Event()
        self._paced = threading.Event()
        # Written by the follower's thread; the pacer reads it.
        self._current: tuple[Following, Stream] | None = None
        self._offering: Offering | None = None
        self._owned: Owned | None = None
        self._probe_due_ns = 0
        self._probed_ns = 0
        self._resumes = True
        self._is_owner = False
        self._threads = [
            threading.Thread(target=self._run, name="heed-follow", daemon=True),
            threading.Thread(target=self._pace, name="heed-pace", daemon=True),
        ]

    @property
    def tenant(self) -> str:
        """The tenant that is asked for; empty: the only one there is."""
        return self._subscription.tenant

    @property
    def is_owner(self) -> bool:
        """Whether this process follows, and others may read."""
        return self._is_owner

    @property
    def offers_left(self) -> int:
        """Of how many earlier lives of the store this process has something to offer back."""
        owned = self._owned
        return 0 if owned is None else len(owned.kept)

    def rebuild(self) -> None:
        """Take a snapshot: what is there is damaged. Nothing happens in a process that reads."""
        current = self._current
        if self._resumes and current is not None:
            self._resumes = False
            current[1].cancel()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; another process may own the cache from then on. Closing twice does nothing."""
        self._closing.set()
        self._paced.set()
        current = self._current
        if current is not None:
            current[1].cancel()
        self._upstream.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._replica.own():
                    self._own()
                    seconds = 0.0
                else:
                    self._replica.join()
                    seconds = LOCK_SECONDS
            except (OSError, HeedError) as error:
                self._note("the cache's folder cannot be used", error)
                seconds = FOLDER_SECONDS
            except Exception as error:  # noqa: BLE001 - the root of a thread
                self._note("the follower failed", error)
                _LOG.exception("the follower failed, and begins again")
                seconds = FOLDER_SECONDS
            self._closing.wait(seconds)

    def _own(self) -> None:
        try:
            owned = self._owned = Owned(self._replica)
            self._is_owner = True
            offering = self._offering = Offering(
                owned,
                self._upstream,
                tenant=self._subscription.tenant,
                subscriber=self._subscription.subscriber,
                life=self._life,
                counts=self.counts.offers,
                retry_seconds=self._offer_retry_seconds,
            )
            offering.start()
            try:
                while not self._closing.is_set():
                    self._closing.wait(self._follow(owned))
            finally:
                offering.end()
                owned.close()
        finally:
            self._is_owner = False
            self._owned = self._offering = None
            self._replica.disown()

    def _life(self) -> Life | None:
        current = self._current
        return None if current is None else current[0].life

    def _follow(self, owned: Owned) -> float:
        """Follow one stream to its end; return how long to wait before the next."""
        place = owned.place
        resumes = self._resumes and place is not None
        token = place.token if resumes and place is not None else ""
        following = Following(
            owned,
            tenant=self._subscription.tenant,
            resumes=resumes,
            clock=self._replica.clock,
            resyncs=self.counts.resyncs,
            proving=self.proving,
        )
        self.counts.streams += 1
        try:
            stream = self._upstream.watch(self._subscription.request(token))
            self._current = (following, stream)
            if self._closing.is_set():
                stream.cancel()  # closing saw none to cancel
            self._read(owned, following, stream)
        except ResyncError as error:
            self._resumes = False
            self.counts.resyncs.count(error.reason)
            if error.reason is Reason.UNKNOWN:
                self._backoff.fail_for_long()
            self._note(f"the stream is left ({error.reason})", error)
        except HeedError as error:
            if following.reconnect_ns is None and not self._closing.is_set():
                self._note("the stream ended", error)
        finally:
            current, self._current = self._current, None
            if current is not None:
                current[1].cancel()
        if following.lived_ns() >= BACKOFF_RESET_NS:
            self._backoff.succeeded()
        # Who is sent away at once again and again comes back ever later, as after any other end.
        seconds = self._backoff.seconds()
        if following.reconnect_ns is not None:
            return max((following.reconnect_ns - self._replica.clock()) / 1e9, seconds)
        return seconds

    def _read(self, owned: Owned, following: Following, stream: Stream) -> None:
        readers_ns = self._replica.clock() + READERS_NS
        for message in stream:
            if self._closing.is_set():
                return
            try:
                following.take(message)
            except HeedError as error:
                # What the index could not take, a snapshot beside it may.
                raise ResyncError(Reason.DAMAGED, error.message) from error
            if message.HasField("opened") or message.HasField("snapshot_end"):
                self._resumes = self._resumes or message.HasField("snapshot_end")
                self._probe_due_ns = 0
                self._paced.set()
                if owned.kept and self._offering is not None:
                    self._offering.wake()
            elif message.HasField("changes"):
                # After it was applied: a probe that was taken before lowers nothing here.
                self._probe_due_ns = min(self._probe_due_ns, self._probed_ns + REPORT_NS)
                self._paced.set()
            if self._replica.clock() >= readers_ns:
                readers_ns = self._replica.clock() + READERS_NS
                owned.forget_dead_readers()

    def _pace(self) -> None:
        while not self._closing.is_set():
            self._paced.wait(self._pause_seconds())
            self._paced.clear()
            try:
                self._beat()
                self._on_pace(self._upstream)
                if self.proving is not None:
                    self.proving.ask()
            except HeedError as error:
                self.counts.probes_failed += 1
                # Read once: the other thread may end the stream meanwhile.
                current = self._current
                if error.reason is ErrorReason.STREAM_UNKNOWN and current is not None:
                    current[1].cancel()
            except Exception as error:  # noqa: BLE001 - the root of a thread
                self.counts.probes_failed += 1
                self._note("a probe or a sample failed", error)
                _LOG.exception("a probe or a sample failed")

    def _beat(self) -> None:
        current = self._current
        if current is None:
            return
        following, stream = current
        now = self._replica.clock()
        reconnect_ns = following.reconnect_ns
        if now >= following.silent_ns() or (reconnect_ns is not None and now >= reconnect_ns):
            stream.cancel()
        elif now >= self._probe_due_ns:
            # Moved first: what is applied from here on asks for another one.
            due_before, self._probe_due_ns = self._probe_due_ns, now + self._probe_ns
            probe = following.probe()
            if probe is None:
                self._probe_due_ns = due_before
                return
            self._probed_ns = now
            self._upstream.report(probe)

    def _pause_seconds(self) -> float:
        if self._current is None:
            return self._pace_seconds_max
        until_due = (self._probe_due_ns - self._replica.clock()) / 1e9
        return min(max(until_due, 0.001), self._pace_seconds_max)

    def _note(self, what: str, error: Exception) -> None:
        self.counts.last_error = f"{what}: {error}"
        _LOG.info("%s: %s", what, error)
