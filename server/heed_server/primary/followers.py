"""The followers of this node: one a tenant, each with its index and its loop."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from heed.model import Revision, TenantId
from heed_server.background import Background
from heed_server.follow import Follower, FollowLimits
from heed_server.store import LogReader, Tenant
from heed_server.writes import Committed


class Followers:
    """Starts followers, tells them what this node commits, and closes them all."""

    def __init__(
        self,
        reader: LogReader,
        directory: Path,
        *,
        boot_seconds: Callable[[], float],
        limits: FollowLimits,
    ) -> None:
        """`directory` is for the indexes of this node alone."""
        self._reader = reader
        self._directory = directory
        self._boot_seconds = boot_seconds
        self._limits = limits
        self._by_tenant: dict[TenantId, Follower] = {}
        self.commits = 0
        """Commits to a tenant's log by this node since it started."""
        self.changes = 0
        """The changes that they held."""

    async def follow(self, tenant: Tenant, background: Background) -> Follower:
        """Return a tenant's follower once its index is in step with the log.

        Raises:
            HeedError: as `Follower.start`; nothing is followed.
        """
        follower = Follower(
            self._reader,
            tenant,
            self._directory,
            boot_seconds=self._boot_seconds,
            limits=self._limits,
        )
        try:
            await follower.start()
        except BaseException:
            await follower.close()
            raise
        self._by_tenant[tenant.tenant_id] = follower
        background.keep(f"follow-{tenant.name}", follower.run())
        return follower

    def publish(self, committed: Committed) -> None:
        """Tell the tenant's follower of a commit of this node; it must not raise."""
        self.commits += 1
        self.changes += len(committed.changes)
        follower = self._by_tenant.get(committed.tenant_id)
        if follower is not None:
            follower.offer(committed)

    def wake(self, tenant_id: TenantId, revision: Revision) -> None:
        """Have a tenant's follower ask for the head, unless it has heard of this revision."""
        follower = self._by_tenant.get(tenant_id)
        if follower is not None and follower.head_revision < revision:
            follower.wake()

    def wake_all(self) -> None:
        """Have every follower ask for the head: what others said meanwhile was not heard."""
        for follower in self._by_tenant.values():
            follower.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for follower in self._by_tenant.values():
            await follower.close()
