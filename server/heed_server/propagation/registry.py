"""The subscribers of this node, and what it has seen of those of the others.

Laws:
- What the streams of this node report is known here at once; it is written for the other nodes at
  most once a second, and not at all while only the time of the reports moves, until a third of the
  reader's max_staleness has passed.
- The node itself counts as a subscriber of every tenant: its own checks are answered by its index.
  One that stopped in order answers none, and takes its word back: nobody waits for it. One that
  was killed counts until its max_staleness is over, like any other.
- What other nodes wrote is read while somebody asks, at most every `READ_SECONDS_MIN`, and in any
  case every `READ_SECONDS_MAX`, so that a subscriber is seen to move from when it did.
- All state is written on the event loop. A registry that cannot be written or read fails no stream;
  what was not read again keeps counting: the rows of others age while they are read, and no longer.
- Of the streams of a name that count no more the last one is kept, to be told of: readers that come
  back again and again add no rows.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from heed.errors import HeedError
from heed.model import Instant, Revision, TenantId
from heed_server.propagation.progress import (
    Progress,
    Seen,
    is_heard,
    is_propagated,
    latest,
    progress_of,
)
from heed_server.propagation.spread import Spread, spread_of
from heed_server.propagation.trails import Trails
from heed_server.store import Subscriber, SubscriberStore

WRITE_SECONDS = 1.0
"""How often the registry is written, at most."""
READ_SECONDS_MIN = 0.1
"""How often the rows of other nodes are read, at most, while somebody asks."""
READ_SECONDS_MAX = 5.0
"""How often they are read in any case."""
LATE_SECONDS = 2.0
"""How long after it was made another node's report may be read: it is written once a second, and a
max_staleness may be as short. For so much longer a row of another node counts."""
LEAVE_SECONDS_MAX = 2.0
"""How long a node that stops may take to say that it answers no more."""
GONE_KEPT_SECONDS = 3_600
"""For so long a subscriber that counts no more is still told of as gone."""
_WRITES_A_STALENESS = 3

_log = structlog.stdlib.get_logger("heed_server.propagation")

_Key = tuple[TenantId, str, str]


class Registry:
    """Knows how far each subscriber of each tenant is."""

    def __init__(
        self,
        store: SubscriberStore,
        *,
        node: str,
        run: str,
        standing: Callable[[], Iterable[tuple[TenantId, Revision]]],
        now: Callable[[], Instant],
        boot_seconds: Callable[[], float],
        max_staleness_seconds: float,
    ) -> None:
        """`node` names this node among all, `run` this run of it; `boot_seconds` also counts sleep.

        `standing` tells where the node's own index of each tenant stands, and
        `max_staleness_seconds` how long the node may allow by it.
        """
        self._store = store
        self._run_name = run
        self._own_name = f"node/{node}"
        self._standing = standing
        self._max_staleness_seconds = max_staleness_seconds
        self._node = node
        self._now = now
        self._boot_seconds = boot_seconds
        self._mine: dict[str, Seen] = {}
        """The streams of this node by their id, those that ended too."""
        self._written: dict[str, Subscriber] = {}
        self._others: dict[_Key, Seen] = {}
        self._tenants: set[TenantId] = set()
        self._read_at: dict[TenantId, float] = {}
        self._aged_at: dict[TenantId, float] = {}
        """When a tenant's rows were last read; so far those of others have aged."""
        self._moved = asyncio.Event()
        self._trails = Trails()

    def open(
        self,
        tenant_id: TenantId,
        name: str,
        stream_id: str,
        *,
        instance: str,
        max_staleness_seconds: float,
        applied: Revision,
    ) -> None:
        """Count a stream of this node from now on; its reader stands at `applied`."""
        now = self._now()
        self._tenants.add(tenant_id)
        self._keep(
            Subscriber(
                tenant_id=tenant_id,
                name=name,
                stream_id=stream_id,
                instance=instance,
                node=self._node,
                open_time=now,
                close_time=None,
                probe_time=now,
                max_staleness=round(max_staleness_seconds * 1_000_000),
                applied_revision=applied,
                applied_time=now,
            )
        )

    def report(self, stream_id: str, applied: Revision) -> None:
        """Note that a stream's reader said how far it is; an unknown stream is passed over."""
        known = self._mine.get(stream_id)
        if known is None:
            return
        stream, now = known.subscriber, self._now()
        has_moved = applied != stream.applied_revision
        self._keep(
            replace(
                stream,
                probe_time=now,
                applied_revision=applied,
                applied_time=now if has_moved else stream.applied_time,
            )
        )
        if has_moved:
            self._moved.set()

    def close(self, stream_id: str) -> None:
        """Note that a stream ended. It counts until its reader's max_staleness is over."""
        known = self._mine.get(stream_id)
        if known is not None and known.subscriber.close_time is None:
            ended = replace(known.subscriber, close_time=self._now())
            self._mine[stream_id] = Seen(ended, known.seen_boot_seconds)

    def applied_here(self, tenant_id: TenantId, revision: Revision) -> None:
        """Note that this node's own index has just taken a revision; `stand` says so to others."""
        own = tenant_id, self._own_name, self._run_name
        self._trails.add(own, revision, self._now())

    def stand(self) -> None:
        """Note where this node's own indexes stand."""
        for tenant_id, revision in self._standing():
            stream_id = f"{self._run_name}-{tenant_id}"
            if stream_id in self._mine:
                self.report(stream_id, revision)
            else:
                self.open(
                    tenant_id,
                    self._own_name,
                    stream_id,
                    instance=self._run_name,
                    max_staleness_seconds=self._max_staleness_seconds,
                    applied=revision,
                )

    def outdate(self, tenant_id: TenantId) -> None:
        """Read a tenant's rows again before they are told of: one of them was written."""
        self._read_at.pop(tenant_id, None)

    async def progress(self, tenant_id: TenantId, revision: Revision) -> tuple[Progress, ...]:
        """Return how far each subscriber of a tenant is towards a revision, by name.

        Raises:
            UnavailableError: the database does not answer.
        """
        self.stand()
        await self._read(tenant_id)
        return self._progress(tenant_id, revision)

    async def spread(self, tenant_id: TenantId, revisions: Sequence[Revision]) -> list[Spread]:
        """Return how far each of these revisions has spread, in their order.

        Raises:
            UnavailableError: the database does not answer.
        """
        self.stand()
        await self._read(tenant_id)
        boot_seconds = self._boot_seconds()
        seen = self._seen(tenant_id, boot_seconds)
        return spread_of(seen, revisions, boot_seconds, self._trails.at)

    async def propagated(
        self, tenant_id: TenantId, revision: Revision, limit_seconds: float
    ) -> tuple[Progress, ...]:
        """Wait until everybody who counts has applied a revision, or for so long; never raises.

        Whoever is then not APPLIED or GONE has not been heard to have applied it.
        """
        deadline = self._boot_seconds() + limit_seconds
        while True:
            self._moved.clear()
            self.stand()
            try:
                await self._read(tenant_id)
            except HeedError as error:
                # What other nodes' subscribers last said keeps counting: none is left out.
                _log.warning("subscribers_not_read", why=error.message)
            progress = self._progress(tenant_id, revision)
            left_seconds = deadline - self._boot_seconds()
            if is_propagated(progress) or left_seconds <= 0:
                return progress
            await self._pause(min(left_seconds, READ_SECONDS_MIN))

    async def run(self) -> None:
        """Write for the others, and see them move, until cancelled."""
        is_away = False
        while True:
            self.stand()
            try:
                await self._write()
                for tenant_id in tuple(self._tenants):
                    await self._read(tenant_id, at_least_every=READ_SECONDS_MAX)
                is_away = False
            except HeedError as error:
                if not is_away:
                    _log.warning("subscribers_not_kept", why=error.message)
                is_away = True
            await asyncio.sleep(WRITE_SECONDS)

    async def leave(self) -> None:
        """Count as a subscriber no more: no Check is answered here, and `run` has ended."""
        mine = [one for one in self._written.values() if one.instance == self._run_name]
        try:
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                await self._store.forget_subscribers(mine)
        except (HeedError, TimeoutError) as error:
            _log.warning("subscribers_not_kept", why=str(error) or type(error).__name__)

    def _keep(self, stream: Subscriber) -> None:
        self._mine[stream.stream_id] = Seen(stream, self._boot_seconds())
        self._step(stream)

    def _step(self, stream: Subscriber) -> None:
        reader = stream.tenant_id, stream.name, stream.instance
        self._trails.add(reader, stream.applied_revision, stream.applied_time)

    def _progress(self, tenant_id: TenantId, revision: Revision) -> tuple[Progress, ...]:
        boot_seconds = self._boot_seconds()
        return progress_of(self._seen(tenant_id, boot_seconds), revision, boot_seconds)

    def _seen(self, tenant_id: TenantId, boot_seconds: float) -> tuple[Seen, ...]:
        """The rows of a tenant; those of others are as old as they were when they were read."""
        unread_seconds = boot_seconds - self._aged_at.get(tenant_id, boot_seconds)
        mine = [one for one in self._mine.values() if one.subscriber.tenant_id == tenant_id]
        others = [
            one._replace(seen_boot_seconds=one.seen_boot_seconds + unread_seconds)
            for one in self._others.values()
            if one.subscriber.tenant_id == tenant_id
        ]
        return (*mine, *others)

    async def _read(self, tenant_id: TenantId, *, at_least_every: float = READ_SECONDS_MIN) -> None:
        """Read what the other nodes wrote, unless that was done a moment ago."""
        asked_at = self._boot_seconds()
        self._tenants.add(tenant_id)
        if asked_at - self._read_at.get(tenant_id, -at_least_every) < at_least_every:
            return
        rows = await self._store.subscribers(tenant_id)
        self._read_at[tenant_id] = self._aged_at[tenant_id] = asked_at
        others: dict[_Key, Seen] = {}
        for row in rows:
            key = (row.tenant_id, row.name, row.stream_id)
            if row.stream_id in self._mine:
                continue
            if row.stream_id:
                self._step(row)
            known = self._others.get(key)
            is_same = known is not None and known.subscriber.probe_time == row.probe_time
            others[key] = (
                known._replace(subscriber=row)
                if known is not None and is_same
                else Seen(row, asked_at, LATE_SECONDS)
            )
        kept = {key: one for key, one in self._others.items() if key[0] != tenant_id}
        self._others = kept | others
        await self._forget_gone(asked_at)

    async def _forget_gone(self, boot_seconds: float) -> None:
        """Forget who is gone for long, and of each name all that are gone but the last."""
        last: dict[tuple[TenantId, str], Seen] = {}
        for one in (*self._mine.values(), *self._others.values()):
            name = one.subscriber.tenant_id, one.subscriber.name
            last[name] = max(last.setdefault(name, one), one, key=latest)
        gone = [
            one.subscriber
            for one in self._others.values()
            if one.subscriber.stream_id
            and not is_heard(one, boot_seconds)
            and (
                last[one.subscriber.tenant_id, one.subscriber.name] is not one
                or not is_heard(one, boot_seconds - GONE_KEPT_SECONDS)
            )
        ]
        await self._store.forget_subscribers(gone)
        for stream in gone:
            self._others.pop((stream.tenant_id, stream.name, stream.stream_id), None)

    async def _write(self) -> None:
        boot_seconds, now = self._boot_seconds(), self._now()
        due = [
            one.subscriber
            for one in self._mine.values()
            if _is_due(one.subscriber, self._written.get(one.subscriber.stream_id), now)
        ]
        await self._store.put_subscribers(due)
        self._written |= {one.stream_id: one for one in due}
        for stream_id, one in list(self._mine.items()):
            stream = one.subscriber
            age_seconds = boot_seconds - one.seen_boot_seconds
            if stream.close_time is not None and self._written.get(stream_id) == stream:
                if age_seconds * 1_000_000 <= stream.max_staleness:
                    continue
                # From here on it is a row like another node's: gone, and forgotten after a while.
                del self._mine[stream_id], self._written[stream_id]
                key = (stream.tenant_id, stream.name, stream_id)
                self._others[key] = one

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return


def _is_due(stream: Subscriber, written: Subscriber | None, now: Instant) -> bool:
    """Whether the other nodes have to be told: of what moved, or that it still reports."""
    if written is None:
        return True
    if replace(written, probe_time=stream.probe_time) != stream:
        return True
    return (
        stream.probe_time != written.probe_time
        # A clock that was set back is no reason to be silent, and so to be forgotten by the others.
        and abs(now - written.probe_time) * _WRITES_A_STALENESS >= stream.max_staleness
    )


def unheard(progress: Sequence[Progress], most: int) -> tuple[str, ...]:
    """Return the names, at most so many, of those who have not been heard to have applied it."""
    return tuple(one.name for one in progress if not is_propagated((one,)))[:most]
