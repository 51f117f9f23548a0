"""Brings one tenant's stream in step with its log.

Laws:
- What comes next is read from the log after where the stream's last message stands, and the first
  read begins with that change, so that both are of one history. From there on it is what the
  follower's index took, which continues the same log; where some of that is missing, the log again.
- A stream of another epoch, or of changes that the log has not, is not published to: consumers
  would be told of one history after another. An operator says which it is to be, by purging it.
- Nothing here is on the way of a write: the follower says that there is more, and no more.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from heed.errors import HeedError, UnavailableError
from heed.model import Change, Revision
from heed_server.backoff import doubled_seconds
from heed_server.follow import (
    Follower,
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
    within,
)
from heed_server.follow.log import HashAt
from heed_server.outbox.errors import NatsAwayError, OvertakenError, StreamRefusedError
from heed_server.outbox.jetstream import JetStream
from heed_server.outbox.limits import OutboxLimits
from heed_server.outbox.messages import Naming, Place, begin, following
from heed_server.store import LogDamagedError, LogReader

TAKEN_CHANGES_MAX = 2_000
"""So many changes that the follower took are kept for the next batches; beyond it all are dropped
and read from the log. Some 2 MB."""

_RETRY_SECONDS_MIN = 0.1
_TO_LOOK_AT = (StreamRefusedError, LogForkedError, LogDamagedError)
"""What an operator has to look at; trying again is for when they have."""

_log = structlog.stdlib.get_logger("heed_server.outbox")


class Publisher:
    """One tenant's; told by its follower of what is new. All state is the event loop's."""

    def __init__(
        self, reader: LogReader, follower: Follower, naming: Naming, limits: OutboxLimits
    ) -> None:
        """Listens to the follower from now on."""
        self.tenant = follower.tenant
        self.published = 0
        """Changes that this node stored in the stream since it started."""
        self.revision = Revision(0)
        """Where the stream is known to stand; 0 until this node has seen it."""
        self.refused = ""
        """Why the stream cannot be published to; empty: it can, as far as is known."""
        self._reader = reader
        self._follower = follower
        self._naming = naming
        self._limits = limits
        self._moved = asyncio.Event()
        # Consecutive; what the follower took since the stream was compared with the log.
        self._taken: deque[Change] = deque()
        self._is_compared = False
        follower.listen(self)

    def took(self, changes: Sequence[Change]) -> None:
        """Note that there is more (see `Listener`)."""
        if self._is_compared:
            self._taken.extend(changes)
            if len(self._taken) > TAKEN_CHANGES_MAX:
                self._taken.clear()
        self._moved.set()

    def made_anew(self) -> None:
        """Note that there may be more, and of another log (see `Listener`)."""
        self._compare_again()
        self._moved.set()

    def lag(self) -> int:
        """Return how many revisions the stream is behind the log, as this node knows both."""
        return max(0, self._follower.head_revision - self.revision)

    async def run(self, jetstream: JetStream) -> None:
        """Publish until cancelled; outlives what the database does, and what a stream is.

        Raises:
            NatsAwayError: NATS is gone.
            OvertakenError: somebody else publishes to the stream.
        """
        failures = 0
        while True:
            pause_seconds = self._limits.retry_seconds_max
            try:
                await self._publish_on(jetstream)
            except (NatsAwayError, OvertakenError):
                raise
            except _TO_LOOK_AT as error:
                if self.refused != error.message:
                    _log.error("outbox_refused", tenant=self.tenant.name, why=error.message)
                self.refused = error.message
            except HeedError as error:
                failures += 1
                pause_seconds = doubled_seconds(_RETRY_SECONDS_MIN, failures, pause_seconds)
                if failures == 1:
                    _log.warning("outbox_log_not_read", tenant=self.tenant.name, why=error.message)
            finally:
                self._compare_again()
            await asyncio.sleep(pause_seconds)

    def _compare_again(self) -> None:
        self._is_compared = False
        self._taken.clear()

    async def _publish_on(self, jetstream: JetStream) -> None:
        place = await self._stand(jetstream)
        self.refused = ""
        while True:
            self.revision = place.revision
            await self._until_behind(place.revision)
            messages = []
            for change in self._next_taken(place) or await self._read(place):
                message, place = following(self._naming, place, change)
                messages.append((message, place))
            await jetstream.publish(self._naming.stream, messages)
            self.published += len(messages)

    async def _stand(self, jetstream: JetStream) -> Place:
        """Return where the stream stands, begun if it is empty."""
        # The head after the stream: what another node published meanwhile must not look as if
        # the log had lost it.
        standing = await jetstream.open_stream(self._naming)
        head = await within(self._limits.read_seconds_max, self._reader.head(self.tenant.tenant_id))
        if standing.place is None:
            first, place = begin(self._naming, head, standing.last_sequence)
            await jetstream.publish(self._naming.stream, [(first, place)])
            _log.info(
                "outbox_begun",
                tenant=self.tenant.name,
                stream=self._naming.stream,
                sequence=place.sequence,
            )
            return place
        place = standing.place
        if place.epoch != head.epoch:
            raise StreamRefusedError(
                f"the stream {self._naming.stream} holds the changes of the store's life "
                f"{place.epoch.hex()}, and this is {head.epoch.hex()}: the store was restored, or "
                "is another; purge the stream to have all published anew, or give the outbox "
                "another outbox.stream_prefix"
            )
        require_same_log(head, epoch=place.epoch, revision=place.revision, hash_at=_hash_of(place))
        return place

    async def _until_behind(self, revision: Revision) -> None:
        while self._follower.head_revision <= revision:
            self._moved.clear()
            await self._moved.wait()

    def _next_taken(self, place: Place) -> Sequence[Change]:
        """Return what the follower took after a place, if it has just that; empty: read the log."""
        taken = self._taken
        while taken and taken[0].revision <= place.revision:
            taken.popleft()
        if not taken or taken[0].revision != place.revision + 1:
            return ()
        return [taken.popleft() for _ in range(min(len(taken), self._limits.batch_changes_max))]

    async def _read(self, place: Place) -> Sequence[Change]:
        changes = await within(
            self._limits.read_seconds_max,
            read_after(
                self._reader,
                self.tenant.tenant_id,
                place.revision,
                self._limits.batch_changes_max,
            ),
        )
        changes = continuation(changes, revision=place.revision, hash_at=_hash_of(place))
        if not changes:
            raise UnavailableError(f"the log has no change after {place.revision} yet")
        self._is_compared = True
        return changes[: self._limits.batch_changes_max]


def _hash_of(place: Place) -> HashAt:
    """The running hash that a stream's last message names."""
    return lambda revision: place.running_hash if revision == place.revision else None
