"""Sending one target's events as its order and its pace let them, and what becomes of each.

Laws:
- An event counts as delivered when the receiver says so, and not before.
- At most half of what is under way is of late lanes, so that the others go on.
- An event is given up when the receiver says that it will never take it, or a time after it was
  tried first; it is a dead letter then, unless there are as many as are kept: then it is tried on.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import structlog

from heed.errors import HeedError
from heed.model import Change, Instant, Revision, SubjectKey
from heed.task_group import TaskGroup
from heed_server.follow import within
from heed_server.store import LogReader, PastReader, Tenant
from heed_server.webhook_store import (
    TENANT_LANE,
    DeadLetter,
    Health,
    Lane,
    LateLane,
    WebhookStore,
)
from heed_server.webhooks.events import Event, event_of, event_of_notice
from heed_server.webhooks.limits import WebhookLimits
from heed_server.webhooks.order import Order, Sending
from heed_server.webhooks.pace import Pace
from heed_server.webhooks.targets import Target

LATE_CHANGES_READ: Final = 20
"""Changes of a late lane that are read at a time, to find the next that is told."""

_HOUR = 3_600 * 1_000_000
_NEVER: Final = Instant(2**62)

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class Failed(Protocol):
    """Why an event was not taken (see `transport.Failure`)."""

    @property
    def why(self) -> str:
        """In words of ours."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether it is never taken."""
        ...

    @property
    def retry_after_seconds(self) -> float:
        """For how long the receiver asks to be left alone."""
        ...


class Sender(Protocol):
    """Sends to one target."""

    async def post(self, event_id: str, body: bytes, now: Instant, /) -> Failed | None:
        """Send an event once; None: it was taken."""
        ...


class LogAndPast(LogReader, PastReader, Protocol):
    """Where changes are read."""


class Means(NamedTuple):
    """What all targets of a node have in common."""

    log: LogAndPast
    store: WebhookStore
    open_sender: Callable[[Target], AbstractAsyncContextManager[Sender]]
    now: Callable[[], Instant]
    chance: Callable[[], float]
    limits: WebhookLimits


class Sendings:
    """Those of one target. All state is the event loop's."""

    def __init__(
        self, target: Target, tenant: Tenant, means: Means, told: Callable[[], None]
    ) -> None:
        """`told` is called whenever one has ended."""
        self.delivered = 0
        """Events that this node delivered."""
        self.failures = 0
        """Attempts of this node that failed."""
        self.given_up = 0
        """Events that this node made dead letters of."""
        self.health = Health()
        self.pace = Pace(means.limits, means.chance)
        self._target = target
        self._tenant = tenant
        self._means = means
        self._limits = means.limits
        self._told = told
        self._under_way = 0
        self._late_under_way = 0
        # Whether `start` began nothing because the target is left alone.
        self._is_quiet = False

    def begin(self, health: Health) -> None:
        """Begin anew: nothing is under way."""
        self.health = health
        self._under_way = self._late_under_way = 0

    def start(self, group: TaskGroup, sender: Sender, order: Order) -> None:
        """Begin to send what may be sent now."""
        self._is_quiet = False
        while self._under_way < self.pace.in_flight_max:
            now = self._means.now()
            if now < self.pace.quiet_until:
                self._is_quiet = True
                return
            sending = self._next(order, now)
            if sending is None:
                return
            self._under_way += 1
            self._late_under_way += sending.late is not None
            group.create_task(self._send(sender, order, sending))

    def next_time(self, order: Order) -> Instant | None:
        """Return when `start` may have something to begin; None: not by itself.

        Whatever was due when it was last called was begun, or waits for something to end; so it is
        judged by what it found then, however late it is by now.
        """
        if self._is_quiet:
            return self.pace.quiet_until
        may_start = self._under_way < self.pace.in_flight_max and self._may_start_late()
        return order.next_due() if may_start and not self.pace.is_away else None

    def _next(self, order: Order, now: Instant) -> Sending | None:
        if self.pace.is_away and order.late_count:
            # One that failed already, due or not, so that no other fails too.
            return order.next_late(_NEVER)
        late = order.next_late(now) if self._may_start_late() else None
        return late or order.next_in_time()

    def _may_start_late(self) -> bool:
        return self._late_under_way < max(1, self.pace.in_flight_max // 2)

    async def _send(self, sender: Sender, order: Order, sending: Sending) -> None:
        try:
            found = await self._event_of(order, sending)
            if found is not None:
                event, revision = found
                replay = 0 if sending.late is None else sending.late.replay
                event_id = f"{event.event_id}-r{replay}" if replay else event.event_id
                failure = await sender.post(event_id, event.body, self._means.now())
                self._settle(order, sending, event, revision, failure)
        finally:
            self._under_way -= 1
            self._late_under_way -= sending.late is not None
            self._told()

    async def _event_of(self, order: Order, sending: Sending) -> tuple[Event, Revision] | None:
        """Return the event that is to be sent; None: there is none, or it cannot be read now."""
        late, change = sending.late, sending.change
        if late is not None and late.notice:
            return event_of_notice(late), late.revision
        if late is not None:
            through = order.read.revision
            try:
                change = await within(
                    self._limits.read_seconds_max, self._next_of_lane(order, late, through)
                )
            except HeedError as error:
                _log.debug("webhook_not_read", **self._names(), why=error.message)
                order.put_off(sending, self.pace.next_time(self._means.now(), 1))
                return None
            if change is None:
                order.caught_up(sending, through)
        if change is None:
            return None
        event = event_of(change, tenant=self._tenant.name, epoch=order.read.epoch)
        return event, change.revision

    async def _next_of_lane(self, order: Order, late: LateLane, through: Revision) -> Change | None:
        """Return the next change of a late lane that is told, up to a revision."""
        after = Revision(late.revision - 1)
        while True:
            changes = await self._changes_of(late.lane, after, through)
            for change in changes:
                if order.is_told(change, replay=late.replay):
                    return change
            if len(changes) < LATE_CHANGES_READ:
                return None
            after = changes[-1].revision

    async def _changes_of(self, lane: Lane, after: Revision, through: Revision) -> Sequence[Change]:
        log, tenant_id, limit = self._means.log, self._tenant.tenant_id, LATE_CHANGES_READ
        if lane == TENANT_LANE:
            return await log.changes_of_tenant(tenant_id, after=after, through=through, limit=limit)
        return await log.changes_of(
            tenant_id, [SubjectKey(lane)], after=after, through=through, limit=limit
        )

    def _settle(
        self,
        order: Order,
        sending: Sending,
        event: Event,
        revision: Revision,
        failure: Failed | None,
    ) -> None:
        """Keep what became of an event that was sent."""
        now, was_away = self._means.now(), self.pace.is_away
        if failure is None:
            self.pace.succeeded()
            self.delivered += 1
            self.health = Health(delivered_time=now)
            order.delivered(sending, revision)
            if was_away:
                _log.info("webhook_again", **self._names())
            return
        self.pace.failed(now, failure.retry_after_seconds)
        self.failures += 1
        since = self.health.failing_since or now
        self.health = self.health._replace(failing_since=since, failure=failure.why)
        if self.pace.is_away and not was_away:
            _log.warning("webhook_away", **self._names(), why=failure.why)
        self._keep_failed(order, sending, event, revision, failure, now)

    def _keep_failed(
        self,
        order: Order,
        sending: Sending,
        event: Event,
        revision: Revision,
        failure: Failed,
        now: Instant,
    ) -> None:
        before = sending.late or LateLane(lane=sending.lane, revision=revision)
        first_time, attempts = before.first_time or now, before.attempts + 1
        is_over = failure.is_final or now >= first_time + self._limits.give_up_hours * _HOUR
        if not is_over or order.dead_count >= self._limits.dead_letters_max:
            late = replace(
                before,
                revision=revision,
                attempts=attempts,
                first_time=first_time,
                next_time=self.pace.next_time(now, attempts),
                failure=failure.why,
            )
            order.failed(sending, late)
            return
        letter = DeadLetter(
            letter_id=event.event_id,
            lane=sending.lane,
            revision=revision,
            event=event.type.value,
            dead_time=now,
            first_time=first_time,
            attempts=attempts,
            failure=failure.why,
            replay=before.replay,
            notice=before.notice,
        )
        order.given_up(sending, letter)
        self.given_up += 1
        _log.error(
            "webhook_dead",
            **self._names(),
            id=letter.letter_id,
            type=letter.event,
            attempts=attempts,
            why=failure.why,
        )

    def _names(self) -> dict[str, str]:
        return {"tenant": self._tenant.name, "target": self._target.name}
