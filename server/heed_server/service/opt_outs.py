"""The opt-outs of a log that are told of again and again: the last ones, and those waited for.

Laws:
- Each change of a log is read once for each of the two: what was found is kept, bounded, and what
  came since is read, so much at a time.
- What is kept names nobody (`heed_server.deadlines.OptOut`).
- Written on one event loop, by one call at a time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from heed.model import Revision, TenantId
from heed_server.deadlines import Clocked, DeadlineRules
from heed_server.service.tenants import TenantContext
from heed_server.store import LogReader

RECENT_OPT_OUTS_MAX: Final = 100
"""Opt-outs that are told of with how far they have spread. Higher: each look holds every one of
them against every subscriber."""
WAITING_OPT_OUTS_MAX: Final = 10_000
"""Opt-outs of a tenant that are kept because somebody has not applied them, the oldest, some 2 MB;
what comes after them is read once they are applied."""
OPT_OUT_TENANTS_MAX: Final = 100
"""Tenants of which this is kept; one more, and the one that came first is read anew."""
CHANGES_A_CALL_MAX: Final = 10_000
"""Changes of a log that one call reads; the next one goes on."""
_CHANGES_READ: Final = 1_000


@dataclass(slots=True)
class _Kept:
    """Some opt-outs of one tenant, ascending."""

    after: Revision
    """The log was looked at from here,"""
    read: Revision
    """up to here."""
    opt_outs: deque[Clocked] = field(default_factory=deque)


class OptOuts:
    """Finds opt-outs in the logs of tenants."""

    def __init__(self, log: LogReader, rules: DeadlineRules) -> None:
        self._log = log
        self._rules = rules
        self._recent: dict[TenantId, _Kept] = {}
        self._waiting: dict[TenantId, _Kept] = {}
        self._reading = asyncio.Lock()

    async def recent(self, context: TenantContext) -> Sequence[Clocked]:
        """Return the last opt-outs among the last changes of a log, the newest first.

        Raises:
            UnavailableError: the database does not answer.
        """
        head = context.follower.head_revision
        begin = Revision(max(0, head - CHANGES_A_CALL_MAX))
        async with self._reading:
            kept = self._recent.get(context.tenant_id)
            if kept is None or not begin <= kept.read <= head:
                kept = _begin(self._recent, context.tenant_id, begin)
            async for clocked in self._read_on(context, kept, head):
                if len(kept.opt_outs) == RECENT_OPT_OUTS_MAX:
                    kept.opt_outs.popleft()
                kept.opt_outs.append(clocked)
            return tuple(reversed(kept.opt_outs))

    async def after(
        self, context: TenantContext, least: Revision
    ) -> tuple[Sequence[Clocked], Revision]:
        """Return the opt-outs after a revision, ascending, and up to where the log was looked at.

        Raises:
            UnavailableError: the database does not answer.
        """
        head = context.follower.head_revision
        async with self._reading:
            kept = self._waiting.get(context.tenant_id)
            if kept is None or not kept.after <= least <= kept.read <= head:
                kept = _begin(self._waiting, context.tenant_id, least)
            while kept.opt_outs and kept.opt_outs[0].opt_out.revision <= least:
                kept.opt_outs.popleft()
            if len(kept.opt_outs) < WAITING_OPT_OUTS_MAX:
                async for clocked in self._read_on(context, kept, head):
                    kept.opt_outs.append(clocked)
            return tuple(kept.opt_outs), kept.read

    async def _read_on(
        self, context: TenantContext, kept: _Kept, head: Revision
    ) -> AsyncIterator[Clocked]:
        """Yield the opt-outs of what comes next in a log."""
        last = min(head, kept.read + CHANGES_A_CALL_MAX)
        while kept.read < last:
            limit = min(_CHANGES_READ, last - kept.read)
            changes = await self._log.read_changes(context.tenant_id, kept.read, limit)
            if not changes:
                return
            for change in changes:
                clocked = self._rules.clocked(change, context.name)
                if clocked is not None:
                    yield clocked
            kept.read = changes[-1].revision


def _begin(all_: dict[TenantId, _Kept], tenant_id: TenantId, after: Revision) -> _Kept:
    """Begin to keep what comes after a revision of a tenant's log."""
    all_.pop(tenant_id, None)
    if len(all_) >= OPT_OUT_TENANTS_MAX:
        del all_[next(iter(all_))]
    kept = all_[tenant_id] = _Kept(after, after)
    return kept
