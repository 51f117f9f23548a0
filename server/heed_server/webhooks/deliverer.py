"""Brings one target in step with its tenant's log.

Laws:
- The log is the queue: what is not delivered yet is read from it, where the target stands. Nothing
  here is on the way of a write, and a target that is slow or away holds up itself alone.
- At least once: what was delivered is kept after it was; whatever dies between the two has it
  delivered again, under the same id.
- What is kept is kept by whoever took the target over last; who did before is refused, and looks
  anew (`OvertakenError`).
- A target whose position is of a history that the log has not is left alone, loudly.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from heed.errors import HeedError, UnavailableError
from heed.model import Change, Head, Revision
from heed.proof import EMPTY_LOG_HASH
from heed.task_group import TaskGroup
from heed_server.backoff import doubled_seconds
from heed_server.follow import (
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
    within,
)
from heed_server.follow.log import HashAt
from heed_server.store import LogDamagedError
from heed_server.webhook_store import Place, Position
from heed_server.webhooks.events import EventType, notice
from heed_server.webhooks.order import Order
from heed_server.webhooks.sendings import Means, Sender, Sendings
from heed_server.webhooks.tail import Tail
from heed_server.webhooks.targets import Target

READ_CHANGES: Final = 100
"""Changes of the log that are read at a time."""
NOTE_SECONDS: Final = 1.0
"""How often at most it is kept what was delivered. Higher: more is delivered again after a crash.
Lower: more small writes."""
IDLE_NOTE_SECONDS: Final = 60.0
"""The same where nothing was delivered, since nothing that came is told."""
END_SECONDS_MAX: Final = 2.0
"""How long keeping it may hold up the end."""
RETRY_SECONDS_MAX: Final = 10.0
"""The longest pause before what the database refused is tried again."""

_RETRY_SECONDS_MIN = 0.1
_MICROSECONDS = 1_000_000
_TO_LOOK_AT = (LogForkedError, LogDamagedError)
"""What an operator has to look at; trying again is for when they have."""

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class OvertakenError(UnavailableError):
    """Another node has taken the target over."""


class _TurnedError(UnavailableError):
    """The log may be another one since."""


class Deliverer:
    """That of one target. Use: `run()` in a task group. All state is the event loop's."""

    def __init__(self, target: Target, tail: Tail, means: Means) -> None:
        self.target = target
        self.tail = tail
        """What its tenant's follower took last."""
        self.tenant = tail.follower.tenant
        self.place = Place(self.tenant.tenant_id, target.name)
        self.waits = ""
        """Why nothing more is taken from the log; empty: it is."""
        self.order: Order | None = None
        """What may be sent now; None: it is not known yet."""
        self.sendings = Sendings(target, self.tenant, means, self.wake)
        self._means = means
        self._limits = means.limits
        self._version = 0
        self._ahead: deque[Change] = deque()
        self._is_compared = False
        self._is_asked = False
        self._noted_at = -IDLE_NOTE_SECONDS
        self._noted_delivered = 0
        self._woken = asyncio.Event()

    def lag(self) -> int:
        """Return how many revisions the target is behind the log, its late lanes aside."""
        if self.order is None:
            return 0
        return max(0, self.tail.follower.head_revision - self.order.position.revision)

    def wake(self) -> None:
        """Look now: there may be more, or time has passed."""
        self._woken.set()

    def look_at_asked(self) -> None:
        """Look what others have asked for."""
        self._is_asked = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled; outlives what the database and the receiver do."""
        failures = 0
        while True:
            pause_seconds = RETRY_SECONDS_MAX
            try:
                await self._deliver()
            except _TurnedError:
                pause_seconds, failures = 0.0, 0
            except _TO_LOOK_AT as error:
                self._say_waits(error.message)
            except OSError as error:
                self._say_waits(f"it cannot be sent to: {error}")
            except HeedError as error:
                failures += 1
                pause_seconds = doubled_seconds(_RETRY_SECONDS_MIN, failures, pause_seconds)
                if failures == 1:
                    _log.warning("webhook_interrupted", **self._names(), why=error.message)
            await asyncio.sleep(pause_seconds)

    async def _deliver(self) -> None:
        turns = self.tail.turns
        self._ahead.clear()
        self._is_compared = False
        self._is_asked = True
        ended: Exception | None = None
        self.tail.tell(self.wake)
        try:
            self.order = order = await self._stand()
            async with self._means.open_sender(self.target) as sender:
                try:
                    async with TaskGroup() as group:
                        await self._go_on(group, sender, order, turns)
                except* (HeedError, OSError) as failed:
                    # Raised below: Python before 3.11.4 would put it in a group.
                    ended = failed.exceptions[0]
                finally:
                    if not isinstance(ended, OvertakenError):
                        await self._note_at_the_end(order)
        finally:
            self.tail.forget(self.wake)
        if ended is not None:
            raise ended

    async def _stand(self) -> Order:
        """Take the target over, and return where it stands in the log as it is."""
        head = await self._head()
        begin = Position(head.epoch, head.revision, head.running_hash)
        if self.target.begins_first:
            begin = Position(head.epoch, Revision(0), EMPTY_LOG_HASH)
        standing = await within(
            self._limits.read_seconds_max, self._means.store.open_target(self.place, begin)
        )
        # The head after the position: what another node noted meanwhile must not look as if the
        # log had lost it.
        head = await self._head()
        stood = standing.position
        position = stood._replace(epoch=head.epoch)
        require_same_log(
            head, epoch=head.epoch, revision=position.revision, hash_at=_hash_of(position)
        )
        self._version = standing.version
        self.sendings.begin(standing.health)
        self._noted_delivered = self.sendings.delivered
        self._say_waits("")
        order = Order(self.target.wanted, replace(standing, position=position))
        if stood.epoch != head.epoch:
            self._tell_of_epoch(order, stood, head)
        return order

    async def _head(self) -> Head:
        return await within(
            self._limits.read_seconds_max, self._means.log.head(self.place.tenant_id)
        )

    def _tell_of_epoch(self, order: Order, stood: Position, head: Head) -> None:
        if EventType.EPOCH_BEGAN not in self.target.wanted.events:
            return
        told = {
            "tenant": self.tenant.name,
            "epoch": head.epoch.hex(),
            "previous_epoch": stood.epoch.hex(),
            "revision": stood.revision,
        }
        order.add_notice(
            notice(
                EventType.EPOCH_BEGAN,
                head.commit_time,
                told,
                known_by=(self.tenant.name, head.epoch.hex()),
                about=stood.revision,
            )
        )

    async def _go_on(self, group: TaskGroup, sender: Sender, order: Order, turns: int) -> None:
        while True:
            self._woken.clear()
            if self.tail.turns != turns:
                raise _TurnedError("the log may be another one since")
            await self._take_asked(order)
            await self._read_on(order)
            self.sendings.start(group, sender, order)
            if self._note_due_in(order) <= 0:
                await self._note(order)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds(order)):
                    await self._woken.wait()

    async def _take_asked(self, order: Order) -> None:
        """Begin what others have asked for, as far as there is room for it."""
        room = self._limits.late_lanes_max - order.late_count
        if not self._is_asked or room <= 0:
            return
        self._is_asked = False
        await self._note(order)  # or what was begun, and not noted, would be told again
        asked = await within(
            self._limits.read_seconds_max, self._means.store.asked(self.place, room)
        )
        for one in asked.notices:
            order.add_notice(one)
        for letter in asked.replays:
            order.replay(letter, asked.moved.get(letter.lane, ()))
            _log.info("webhook_replayed", **self._names(), id=letter.letter_id)
        order.count_dead(asked.dead_count)
        self._is_asked = self._is_asked or len(asked.replays) == room

    async def _read_on(self, order: Order) -> None:
        """Take more of the log, as far as there is room."""
        self._say_waits(self._no_room(order))
        if self.waits:
            return
        taken = 0
        while taken < READ_CHANGES and order.room > 0:
            if not self._ahead:
                self._ahead.extend(await self._next_changes(order.read))
            if not self._ahead or not order.take(self._ahead[0]):
                return
            self._ahead.popleft()
            taken += 1
        if taken == READ_CHANGES:
            self._woken.set()  # there may be more, after what is due

    def _no_room(self, order: Order) -> str:
        limits = self._limits
        if order.dead_count >= limits.dead_letters_max:
            return (
                f"it has {order.dead_count} dead letters (webhooks.dead_letters_max); replay or "
                "discard some"
            )
        if order.late_count >= limits.late_lanes_max:
            return f"{order.late_count} subjects are late there (webhooks.late_lanes_max)"
        return ""

    async def _next_changes(self, read: Position) -> Sequence[Change]:
        """Return what follows in the log, if there is any; from memory where that is compared."""
        if self.tail.follower.head_revision <= read.revision:
            return ()
        found = self.tail.after(read.revision, READ_CHANGES) if self._is_compared else ()
        if found:
            return found
        changes = await within(
            self._limits.read_seconds_max,
            read_after(self._means.log, self.place.tenant_id, read.revision, READ_CHANGES),
        )
        self._is_compared = True
        return continuation(changes, revision=read.revision, hash_at=_hash_of(read))

    def _note_due_in(self, order: Order) -> float:
        """Return how soon something is to be kept, in seconds; infinite: nothing is."""
        since = asyncio.get_running_loop().time() - self._noted_at
        has_delivered = self.sendings.delivered != self._noted_delivered
        if order.has_news or (has_delivered and order.has_moved):
            return NOTE_SECONDS - since
        return IDLE_NOTE_SECONDS - since if order.has_moved else float("inf")

    async def _note(self, order: Order) -> None:
        """Keep what became of events.

        Raises:
            OvertakenError: another node has taken the target over.
        """
        if not (order.has_news or order.has_moved):
            return
        self._noted_at = asyncio.get_running_loop().time()
        self._noted_delivered = self.sendings.delivered
        health = self.sendings.health
        if self.waits:
            health = health._replace(failure=self.waits)
        version = self._version
        if not await self._means.store.note(self.place, version, order.note(health)):
            raise OvertakenError("another node has taken the target over")
        self._version = version + 1
        if order.kept():
            self._woken.set()

    async def _note_at_the_end(self, order: Order) -> None:
        with suppress(HeedError, TimeoutError):
            async with asyncio.timeout(END_SECONDS_MAX):
                await self._note(order)

    def _pause_seconds(self, order: Order) -> float | None:
        """Return how long there is nothing to do, unless somebody wakes it; None: for ever."""
        pauses: list[float] = []
        next_time = self.sendings.next_time(order)
        if next_time is not None:
            pauses.append((next_time - self._means.now()) / _MICROSECONDS)
        note_due = self._note_due_in(order)
        if note_due != float("inf"):
            pauses.append(note_due)
        return max(0.0, min(pauses)) if pauses else None

    def _say_waits(self, why: str) -> None:
        if why and why != self.waits:
            _log.error("webhook_waits", **self._names(), why=why)
        self.waits = why

    def _names(self) -> dict[str, str]:
        return {"tenant": self.tenant.name, "target": self.target.name}


def _hash_of(position: Position) -> HashAt:
    """The running hash that a target's position names."""
    return lambda revision: position.running_hash if revision == position.revision else None
