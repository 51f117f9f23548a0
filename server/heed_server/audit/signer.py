"""Signs the checkpoints of a store's logs, off the path of every write.

Laws:
- A checkpoint is signed only of a tree that was grown from the last one stored, and takes its place
  in the transaction that finds it still there. So no two checkpoints of a log contradict each
  other, even where two nodes sign; the lease only spares them the same work.
- Damage and a fork stop the signing of that log, loudly, and of no other.
- Signing outlives what the database does, and holds up no write.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable

import structlog

from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.tiles import FullTile
from heed.errors import HeedError
from heed.model import Revision, TenantId
from heed_server.audit.grown import Grown, KeyOf, load, require_extends, take
from heed_server.audit.limits import (
    EDGES_KEPT_MAX,
    LEAVES_A_PAGE,
    PAGES_A_CHECKPOINT,
    AuditLimits,
)
from heed_server.store import LeaseStore, LogDamagedError
from heed_server.tree_store import Signed, TreeStore

LEASE = "audit"
"""The name of the lease, one for all tenants."""

_RENEWALS_A_LEASE = 3

_log = structlog.stdlib.get_logger("heed_server.audit")


class Signer:
    """Signs every tenant's checkpoints, or stands by. Use: `run()` in a task group."""

    def __init__(
        self,
        store: TreeStore,
        leases: LeaseStore,
        key: KeyOf,
        *,
        epoch: Callable[[], bytes],
        holder: str,
        standing: Callable[[], Iterable[tuple[TenantId, Revision]]],
        boot_seconds: Callable[[], float],
        limits: AuditLimits,
    ) -> None:
        """`standing` says where this node's index of each tenant stands; `epoch` the one in force,
        which an operator may change while nodes run.
        """
        self.refused: dict[TenantId, str] = {}
        """The logs that are not signed, and why."""
        self.sizes: dict[TenantId, int] = {}
        """The size that is known to be signed, of each log that this node has looked at."""
        self.signed = 0
        """Checkpoints that this node signed since it started."""
        self._store = store
        self._leases = leases
        self._key = key
        self._epoch_in_force = epoch
        self._epoch = epoch()
        self._holder = holder
        self._standing = standing
        self._boot_seconds = boot_seconds
        self._limits = limits
        self._ask_at = -1.0
        self._is_mine = False
        self._last: dict[TenantId, Signed] = {}
        self._grown: OrderedDict[TenantId, Grown] = OrderedDict()
        self._left_alone_until: dict[TenantId, float] = {}

    async def run(self) -> None:
        """Sign until cancelled."""
        is_away = False
        while True:
            await asyncio.sleep(self._limits.checkpoint_seconds)
            try:
                await self.sign_all()
                is_away = False
            except HeedError as error:
                if not is_away:
                    _log.warning("audit_not_signed", why=error.message)
                is_away = True

    async def sign_all(self) -> None:
        """Sign every log that has grown, once, if this node is the one to do it.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._follow_epoch()
        for tenant_id, revision in list(self._standing()):
            if self.sizes.get(tenant_id, 0) >= revision or self._is_left_alone(tenant_id):
                continue
            if await self._has_lease():
                await self._sign_or_refuse(tenant_id)
            else:
                signed = await self._store.signed(tenant_id)
                self.sizes[tenant_id] = 0 if signed is None else signed.size

    async def sign(self, tenant_id: TenantId) -> Signed:
        """Sign one log as far as it has grown, and return its last checkpoint. It has changes.

        Raises:
            LogNotSignedError: it is damaged, or not the log that was signed.
            UnavailableError: the database does not answer.
        """
        self._follow_epoch()
        while True:
            before = await self._known(tenant_id)
            grown, full = await self._grow(before.copy(), tenant_id)
            origin = origin_of(self._epoch, tenant_id)
            last = before.signed
            if last is not None and last.size == grown.edge.size and before.origin == origin:
                return self._keep(tenant_id, before, last)
            checkpoint = Checkpoint(origin=origin, size=grown.edge.size, root=grown.edge.root())
            signed = Signed(
                tenant_id=tenant_id,
                size=grown.edge.size,
                running_hash=grown.running_hash,
                note=self._key(origin).sign(checkpoint),
            )
            # A crash before the commit leaves the last one; after it, this one: both were signed
            # of one history.
            if await self._store.put_signed(signed, full, last):
                self.signed += 1
                grown.signed, grown.origin = signed, origin
                return self._keep(tenant_id, grown, signed)
            self._grown.pop(tenant_id, None)  # another node was quicker

    def _follow_epoch(self) -> None:
        """Forget what was signed in a life of the store that is over: this one may lack it."""
        epoch = self._epoch_in_force()
        if epoch != self._epoch:
            self._epoch = epoch
            for known in (
                self.refused,
                self.sizes,
                self._last,
                self._grown,
                self._left_alone_until,
            ):
                known.clear()

    async def _sign_or_refuse(self, tenant_id: TenantId) -> None:
        try:
            await self.sign(tenant_id)
        except LogDamagedError as error:
            self._grown.pop(tenant_id, None)
            if self.refused.get(tenant_id) != error.message:
                _log.critical("audit_refused", tenant_id=tenant_id, why=error.message)
            self.refused[tenant_id] = error.message
            self._left_alone_until[tenant_id] = self._boot_seconds() + self._limits.retry_seconds
        else:
            self.refused.pop(tenant_id, None)

    async def _known(self, tenant_id: TenantId) -> Grown:
        """The tree at the last signed size, which continues whatever this process saw signed."""
        stored = await self._store.signed(tenant_id)
        found = self._grown.get(tenant_id)
        if found is not None and found.signed == stored:
            return found
        last = self._last.get(tenant_id)
        if last is not None and last != stored:
            await require_extends(self._store, last, stored, self._key)
        return await load(self._store, stored, self._key, tenant_id)

    async def _grow(self, grown: Grown, tenant_id: TenantId) -> tuple[Grown, list[FullTile]]:
        full: list[FullTile] = []
        for _ in range(PAGES_A_CHECKPOINT):
            leaves = await self._store.leaves(tenant_id, Revision(grown.edge.size), LEAVES_A_PAGE)
            # Calls are answered meanwhile: a page is some 10 ms of hashing.
            full += await asyncio.to_thread(take, grown, tenant_id, leaves)
            if len(leaves) < LEAVES_A_PAGE:
                break
        return grown, full

    def _keep(self, tenant_id: TenantId, grown: Grown, signed: Signed) -> Signed:
        self._last[tenant_id] = signed
        self.sizes[tenant_id] = signed.size
        self._grown[tenant_id] = grown
        self._grown.move_to_end(tenant_id)
        while len(self._grown) > EDGES_KEPT_MAX:
            self._grown.popitem(last=False)
        return signed

    def _is_left_alone(self, tenant_id: TenantId) -> bool:
        return self._boot_seconds() < self._left_alone_until.get(tenant_id, -1.0)

    async def _has_lease(self) -> bool:
        """Whether this node signs; the database is asked while there is something to sign."""
        now = self._boot_seconds()
        if now >= self._ask_at:
            seconds = self._limits.lease_seconds
            self._is_mine = await self._leases.take_lease(LEASE, self._holder, seconds)
            self._ask_at = now + seconds / _RENEWALS_A_LEASE
        return self._is_mine
