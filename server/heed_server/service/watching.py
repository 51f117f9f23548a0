"""Following a tenant's log from elsewhere, and saying how far one is.

Laws:
- The lookup key goes out in a stream alone, to principals with the right `watch`. The right is
  judged again while the stream lives, so that a key that was revoked ends it.
- A verifiable stream has what a receipt has of each change, so it needs the right `audit` too.
- While the wall clock is doubted, followers are told the other time, which no one sets, and an
  endless age: they allow nothing by what they know, and ask.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from heed.model import RULE_VERSION, Instant
from heed.wire.asked import AppliedAsked, WatchAsked
from heed_server.auth.policy import Principal, Right, require
from heed_server.service.answering import INDEX_WAIT_SECONDS_MAX
from heed_server.service.node import Node
from heed_server.service.tenants import TenantContext
from heed_server.watch import EVERYTHING, Reader, Stream, WatchFilter


class Watching(Node):
    """Opens streams and takes their reports."""

    @asynccontextmanager
    async def watch_changes(
        self, principal: Principal, asked: WatchAsked, who_now: Callable[[], Principal]
    ) -> AsyncGenerator[Stream]:
        """Open a stream, to be run within the block. `who_now` judges the credential again.

        Raises:
            UnavailableError: STATE_STALE, this node has no index; NODE_BEHIND; DRAINING.
            HeedError: as `Watches.open` and `Node.enter`.
        """
        context = self._enter_watch(principal, asked)

        def require_may_watch() -> None:
            self._enter_watch(who_now(), asked)

        stream = await self.watches.open(
            context.follower,
            Reader(
                principal=principal.identity,
                subscriber=asked.subscriber,
                instance=asked.instance,
                filter=_filter(asked),
                max_staleness_seconds=asked.max_staleness_seconds,
                is_verifiable=asked.verifiable,
                require_may_watch=require_may_watch,
            ),
            asked.token,
            now=self._told_time,
            wait_seconds=INDEX_WAIT_SECONDS_MAX,
        )
        try:
            yield stream
        finally:
            self.watches.close(stream)

    def report_applied(self, principal: Principal, asked: AppliedAsked) -> None:
        """Take what a stream's reader says to have applied, and its probe.

        Raises:
            NotFoundError: STREAM_UNKNOWN.
        """
        context = self.enter("ReportApplied", principal, asked.tenant)
        is_doubted = self.doubted(self.now()) is not None
        self.watches.report(
            context.tenant.tenant_id,
            principal.identity,
            asked.stream_id,
            probe=asked.probe,
            applied=asked.applied_revision,
            source_age_seconds=math.inf if is_doubted else context.follower.source_age_seconds(),
        )

    def _enter_watch(self, principal: Principal, asked: WatchAsked) -> TenantContext:
        context = self.enter("WatchChanges", principal, asked.tenant)
        if asked.verifiable:  # the contents of changes say who said so, and by what evidence
            require(principal, Right.AUDIT)
        return context

    def _told_time(self) -> Instant:
        now = self.now()
        other = self.doubted(now)
        return now if other is None else other


def _filter(asked: WatchAsked) -> WatchFilter:
    # Who decides by no rules (0) is told of everything, and so is who knows later ones than these.
    rule_version = min(asked.rule_version or RULE_VERSION, RULE_VERSION)
    wanted = WatchFilter(channels=asked.channels, topics=asked.topics, rule_version=rule_version)
    return EVERYTHING if wanted.leaves_nothing_out else wanted
