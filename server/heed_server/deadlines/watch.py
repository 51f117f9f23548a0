"""Warns, before its earliest deadline, of each opt-out that a subscriber has not applied.

Laws:
- Of the nodes that share a database the one with the lease looks. Nothing here is on the way of a
  Check or of a write; a look reads the log from the least applied revision on, so much at most.
- A subscriber is warned of once for an opt-out: what it was warned of is kept in the database. It
  is told first, to the log and to whoever else is told (`Told`), and kept then, so that a crash
  between them tells again, and none is left out.
- Of very many at once the first are told one by one, and of the others how many there are.
- A warning names revision, subscriber, deadline and policy, and never whom it is about.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import structlog

from heed.errors import HeedError
from heed.model import Instant, Revision, TenantId
from heed.propagation import SubscriberStatus
from heed_server.deadline_marks import (
    AppliedByAll,
    DeadlineMark,
    DeadlineStore,
    DeadlineWarning,
)
from heed_server.deadlines.clock import Deadline
from heed_server.deadlines.rules import DeadlineRules
from heed_server.propagation import Progress, Registry
from heed_server.store import LeaseStore, LogReader, PastReader, Tenant

LEASE = "deadlines"
"""The name of the lease, one for all tenants."""

CHANGES_READ = 1_000
"""Changes of the log that are read at a time."""

CHANGES_A_LOOK_MAX = 50_000
"""Changes of a tenant that one look reads; the next one goes on. Higher: a look behind a subscriber
that is far behind takes longer. Lower: it takes more looks until all is known."""

OPT_OUTS_KEPT_MAX = 100_000
"""Opt-outs of a tenant that are kept in memory because somebody has not applied them, some 20 MB;
the oldest are, and what comes after them is read once they are applied."""

WARNINGS_A_LOOK_MAX = 100
"""Warnings of one subscriber that one look tells one by one."""

NO_REVISION = Revision(0)
_LEASE_LOOKS = 3
_BEHIND = {SubscriberStatus.PENDING, SubscriberStatus.MISSING}
_DAY = 86_400 * 1_000_000
_MICROSECONDS = 1_000_000

_log = structlog.stdlib.get_logger("heed_server.deadlines")


class Followed(Protocol):
    """A tenant whose log this node follows."""

    @property
    def tenant(self) -> Tenant:
        """Which."""
        ...

    @property
    def head_revision(self) -> Revision:
        """The newest revision that this node has heard of."""
        ...


class Told(Protocol):
    """Whoever is told of warnings beside the log."""

    async def tell(self, tenant: Tenant, warnings: Sequence[DeadlineWarning]) -> None:
        """Take note of some, durably. It MUST take the same ones again.

        Raises:
            UnavailableError: it cannot now; they are told again.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineWatchLimits:
    """The bounds of a watch; `heed_server.config` says what each costs."""

    look_seconds: float = 60.0
    watched_days: int = 90


class Pending(NamedTuple):
    """An opt-out that somebody has not applied, and its earliest deadline."""

    revision: Revision
    near_time: Instant
    deadline: Deadline


@dataclass(slots=True)
class OfTenant:
    """What is known of one tenant's opt-outs that somebody has not applied; of the watch's task."""

    tenant: Tenant
    pending: deque[Pending] = field(default_factory=deque)
    """Ascending by revision."""
    least_revision: Revision = NO_REVISION
    """What everybody has applied; from there on the log was looked at,"""
    read_revision: Revision = NO_REVISION
    """and up to here."""
    unread: int = 0
    """Revisions after it that the log had at the last look."""
    near: int = 0
    over: int = 0
    earliest: Instant | None = None


class DeadlineWatch:
    """Looks at all tenants' opt-outs. Use: `run()` in a task group, or `look()`."""

    def __init__(
        self,
        store: LogReader,
        past: PastReader,
        leases: LeaseStore,
        kept: DeadlineStore,
        registry: Registry,
        *,
        rules: DeadlineRules,
        holder: str,
        followers: Callable[[], Iterable[Followed]],
        now: Callable[[], Instant],
        limits: DeadlineWatchLimits,
        told: Told | None = None,
    ) -> None:
        """`holder` names this node among those that share the database."""
        self.warned = 0
        """Warnings of this node, those too that were only counted."""
        self.tenants: dict[TenantId, OfTenant] = {}
        """What this node knows while it is the one that looks."""
        self.now = now
        self._log_reader = store
        self._past = past
        self._leases = leases
        self._kept = kept
        self._registry = registry
        self._rules = rules
        self._digest = rules.digest
        self._holder = holder
        self._followers = followers
        self._limits = limits
        self._told = told

    async def run(self) -> None:
        """Look until cancelled."""
        is_away = False
        while True:
            await asyncio.sleep(self._limits.look_seconds)
            try:
                await self.look()
            except HeedError as error:
                if not is_away:
                    _log.warning("deadlines_not_looked_at", why=error.message)
                is_away = True
            else:
                is_away = False

    async def look(self) -> None:
        """Look once at every tenant, if this node has the lease.

        Raises:
            UnavailableError: the database does not answer.
        """
        seconds = self._limits.look_seconds * _LEASE_LOOKS
        if not await self._leases.take_lease(LEASE, self._holder, seconds):
            self.tenants = {}
            return
        failed: HeedError | None = None
        for follower in self._followers():
            tenant = follower.tenant
            known = self.tenants.setdefault(tenant.tenant_id, OfTenant(tenant))
            try:
                await self._look_at(known, follower.head_revision)
            except HeedError as error:
                failed = failed or error  # the other tenants are looked at all the same
        if failed is not None:
            raise failed

    async def _look_at(self, known: OfTenant, head: Revision) -> None:
        tenant_id, now = known.tenant.tenant_id, self.now()
        progress = await self._registry.progress(tenant_id, head)
        behind = [one for one in progress if one.status in _BEHIND]
        least = min((one.applied_revision for one in behind), default=head)
        watched_from = Instant(max(0, now - self._limits.watched_days * _DAY))
        if least:
            seen = AppliedByAll(least, now)
            await self._kept.note_applied_by_all(tenant_id, seen, watched_from)
        if least < head:
            least = max(least, await self._past.revision_at(tenant_id, watched_from))
        await self._read_on(known, least, head)
        marks = {one.subscriber: one for one in await self._kept.marks(tenant_id)}
        warnings: list[DeadlineWarning] = []
        for one in behind:
            warnings += self._warn(known, one, marks.get(one.name), now)
            await asyncio.sleep(0)  # Checks go first
        if warnings and self._told is not None:
            await self._told.tell(known.tenant, warnings)
        kept = [DeadlineMark(one.name, now, known.read_revision, self._digest) for one in behind]
        if kept or marks:
            await self._kept.put_marks(tenant_id, kept)
        _count(known, now)

    async def _read_on(self, known: OfTenant, least: Revision, head: Revision) -> None:
        """Know the opt-outs after the least applied revision, as far as one look may read."""
        if least < known.least_revision:
            # Somebody has come that is further behind than all were: what was dropped is read anew.
            known.pending.clear()
            known.read_revision = least
        known.least_revision = least
        while known.pending and known.pending[0].revision <= least:
            known.pending.popleft()
        known.read_revision = max(known.read_revision, least)
        read = 0
        while known.read_revision < head and read < CHANGES_A_LOOK_MAX:
            if len(known.pending) >= OPT_OUTS_KEPT_MAX:
                break
            changes = await self._log_reader.read_changes(
                known.tenant.tenant_id, known.read_revision, CHANGES_READ
            )
            if not changes:
                break
            read += len(changes)
            for change in changes:
                clocked = self._rules.clocked(change, known.tenant.name)
                near = None if clocked is None else self._rules.near_time(clocked)
                if clocked is not None and near is not None:
                    known.pending.append(Pending(change.revision, near, clocked.deadlines[0]))
            known.read_revision = changes[-1].revision
        known.unread = max(0, head - known.read_revision)

    def _warn(
        self, known: OfTenant, one: Progress, mark: DeadlineMark | None, now: Instant
    ) -> list[DeadlineWarning]:
        """Tell of what a subscriber has not applied, is near, and was not told before."""
        told = mark if mark is not None and mark.rules == self._digest else None
        due = sorted(
            (
                pending
                for pending in known.pending
                if pending.revision > one.applied_revision
                and pending.near_time <= now
                and not _was_told(pending, told)
            ),
            key=lambda pending: (pending.deadline.time, pending.revision),
        )
        self.warned += len(due)
        warnings = [_warning(pending, one, now) for pending in due[:WARNINGS_A_LOOK_MAX]]
        for warning in warnings:
            _say(known.tenant, warning)
        rest: Sequence[Pending] = due[WARNINGS_A_LOOK_MAX:]
        if rest:
            _log.error(
                "deadlines_near_too",
                tenant=known.tenant.name,
                subscriber=one.name,
                count=len(rest),
                first_deadline=_text_of(rest[0].deadline.time),
            )
            warnings.append(_warning(rest[0], one, now)._replace(opt_outs=len(rest)))
        return warnings


def _warning(pending: Pending, one: Progress, now: Instant) -> DeadlineWarning:
    return DeadlineWarning(
        subscriber=one.name,
        status=one.status.name.lower(),
        revision=pending.revision,
        applied_revision=one.applied_revision,
        deadline=pending.deadline.time,
        policy=pending.deadline.policy,
        calendar=pending.deadline.calendar,
        is_over=pending.deadline.time <= now,
    )


def _say(tenant: Tenant, warning: DeadlineWarning) -> None:
    said = {
        "tenant": tenant.name,
        "subscriber": warning.subscriber,
        "status": warning.status,
        "revision": warning.revision,
        "applied": warning.applied_revision,
        "deadline": _text_of(warning.deadline),
        "policy": warning.policy,
        "calendar": warning.calendar,
    }
    if warning.is_over:
        _log.error("deadline_over", **said)
    else:
        _log.warning("deadline_near", **said)


def _was_told(pending: Pending, mark: DeadlineMark | None) -> bool:
    return (
        mark is not None
        and pending.revision <= mark.read_revision
        and pending.near_time <= mark.look_time
    )


def _count(known: OfTenant, now: Instant) -> None:
    """Set what the metrics read: plain numbers."""
    known.near = sum(one.near_time <= now for one in known.pending)
    known.over = sum(one.deadline.time <= now for one in known.pending)
    known.earliest = min((one.deadline.time for one in known.pending), default=None)


def _text_of(instant: Instant) -> str:
    return datetime.fromtimestamp(instant / _MICROSECONDS, UTC).isoformat(timespec="seconds")
