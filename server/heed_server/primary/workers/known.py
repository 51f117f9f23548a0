"""A worker's side: what the owner told, and what is read of its indexes by it.

Laws:
- Each call looks at the board before it is judged: a key revoked, a tenant made or an index made
  anew counts from the owner's telling on.
- How fresh an index is is read before the index is: an answer is never by older knowledge than
  its age says. An owner that is gone tells nothing more, so what it knew grows old, and past its
  class's bound allows nothing.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from heed.errors import ErrorReason, UnavailableError
from heed.index import IndexReader, IndexUnusableError
from heed.keys import LookupKeys
from heed.model import Instant, Revision, TenantId
from heed_server.auth.credentials import Authenticator, Connection, Metadata
from heed_server.auth.policy import Principal, require
from heed_server.key_store import ApiKey
from heed_server.primary.workers.board import NodeBoard, TenantBoard
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.state import State, read_state
from heed_server.service import Checks, KnownTenant, MaxStaleness
from heed_server.service.admission import Admission
from heed_server.service.answering import Began, other_time
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.service.tally import Tally
from heed_server.service.tenants import tenant_of
from heed_server.store import Tenant

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities

LOOK_SECONDS = 0.002
"""How often a Check that waits for a token's revision looks for it. Higher: it waits longer than it
need. Lower: more look-ups while it waits."""


class BoardFollower:
    """Reads the index that the owner keeps in step for one tenant."""

    def __init__(
        self,
        board: TenantBoard,
        folder: RunFolder,
        tenant: Tenant,
        boot_seconds: Callable[[], float],
    ) -> None:
        self._board = board
        self._lookup_key_id = tenant.lookup_key.key_id
        self._path = folder.index(tenant.tenant_id)
        self._boot_seconds = boot_seconds
        self._reader: IndexReader | None = None
        self._generation = 0
        self._in_step_at = -math.inf

    @property
    def index(self) -> IndexReader:
        """The index that the owner says is to be read.

        Raises:
            UnavailableError: STATE_STALE: there is none.
        """
        in_step_at = self._board.in_step_at  # before the generation, and that before any record
        generation = self._board.generation
        reader = self._reader
        if reader is None or generation != self._generation:
            reader = self._open(generation)
        elif reader.is_damaged:
            self._board.report_damage(generation)
            raise _no_index()
        self._in_step_at = in_step_at
        return reader

    @property
    def revision(self) -> Revision:
        """Where the index stands now."""
        index = self.index
        index.refresh()
        return index.revision

    @property
    def is_usable(self) -> bool:
        """Whether the owner says that there is an index."""
        return self._board.generation > 0

    @property
    def told_revision(self) -> Revision:
        """Where the owner says that the index stands; may be read by any thread."""
        return self._board.revision

    def source_age_seconds(self) -> float:
        """Return how old what was last read of `index` may be.

        Infinite where the owner had told of another lookup key by then: what stands under it was
        not looked up.
        """
        if self._board.lookup_key_id != self._lookup_key_id:
            return math.inf
        return _age(self._boot_seconds(), self._in_step_at)

    def take_tenant(self, tenant: Tenant) -> None:
        """Take note that look-ups are under these lookup keys from now on."""
        self._lookup_key_id = tenant.lookup_key.key_id

    def told_age_seconds(self) -> float:
        """Return how old what could be read now may be; may be asked by any thread."""
        return _age(self._boot_seconds(), self._board.in_step_at)

    async def reached(self, revision: Revision, timeout_seconds: float) -> bool:
        """Wait until the index knows a revision; False if it does not in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._board.revision < revision or self.revision < revision:  # noqa: ASYNC110 - the owner wakes nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Let go of the index."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self, generation: int) -> IndexReader:
        self.close()
        if generation <= 0:
            raise _no_index()
        try:
            self._reader = IndexReader(self._path, hash_at=self._board.hash_at)
        except IndexUnusableError as error:
            raise _no_index() from error  # the owner is putting the next one in its place
        self._generation = generation
        return self._reader


class Known:
    """All that the owner told. Its keys and tenants are as the board's version has them."""

    def __init__(self, folder: RunFolder, *, boot_seconds: Callable[[], float]) -> None:
        """Read what is there.

        Raises:
            OSError: the owner of this run has told nothing yet.
        """
        self.board = NodeBoard(folder.node_board, run=folder.run)
        self.tenants: dict[str, KnownTenant[BoardFollower]] = {}
        """By name. Written only by `look`."""
        self._folder = folder
        self._boot_seconds = boot_seconds
        self._version = 0
        self.state = read_state(folder.state)
        self._take(self.state)

    def look(self) -> bool:
        """Take up what the owner told since; whether that was anything.

        Raises:
            OSError: it cannot be read; the next look tries again.
        """
        if self.board.version == self._version:
            return False
        self._take(read_state(self._folder.state))
        return True

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return the keys that the owner read."""
        return self.state.keys

    def tallies(self) -> dict[TenantId, Tally]:
        """Return what was answered here, by tenant."""
        return {one.tenant_id: one.tally for one in self.tenants.values()}

    def now_by_boot(self) -> Instant:
        """Return the time as the boot clock has it."""
        return self._began.now_by_boot()

    def close(self) -> None:
        """Let go of every index."""
        for tenant in self.tenants.values():
            tenant.follower.close()

    def _take(self, state: State) -> None:
        for tenant in state.tenants:
            known = self.tenants.get(tenant.name)
            if known is not None:
                known.take_lookup_keys(tenant)
                known.follower.take_tenant(tenant)
            else:
                board = TenantBoard(
                    self._folder.tenant_board(tenant.tenant_id), run=self._folder.run
                )
                self.tenants[tenant.name] = KnownTenant(
                    tenant=tenant,
                    follower=BoardFollower(board, self._folder, tenant, self._boot_seconds),
                    lookup=LookupKeys(tenant.lookup_keys),
                )
        self.state = state
        self._began = Began(at=state.began, boot=state.began_boot, boot_seconds=self._boot_seconds)
        self._version = state.version


class KnownKeys(Authenticator):
    """Tells who calls by the keys that the owner read."""

    def __init__(
        self,
        known: Known,
        *,
        keys_kept_seconds: float,
        now: Callable[[], Instant],
        boot_seconds: Callable[[], float],
        identities: "Identities | None" = None,
    ) -> None:
        super().__init__(
            known,
            is_required=False,
            keys_kept_seconds=keys_kept_seconds,
            now=now,
            boot_seconds=boot_seconds,
            identities=identities,
        )
        self._known = known
        self._take_known()

    def principal(self, metadata: Metadata, connection: Connection | None = None) -> Principal:
        """Return who calls, by the keys of this moment. Raises: as `Authenticator.principal`."""
        try:
            is_new = self._known.look()
        except OSError as error:
            raise UnavailableError(
                f"what the owner of the log told cannot be read ({error.strerror}); "
                "ask again, or do not send"
            ) from error
        if is_new:
            self._take_known()
        self._read_at = self._known.board.keys_read_at
        return super().principal(metadata, connection)

    def _take_known(self) -> None:
        state = self._known.state
        self.take(state.keys, read_at=self._known.board.keys_read_at)
        self._is_required = state.keys_required


class WorkerChecks(Checks):
    """Answers Checks by what the owner keeps in step."""

    def __init__(
        self,
        known: Known,
        *,
        now: Callable[[], Instant],
        max_staleness: MaxStaleness,
        admission: Admission,
    ) -> None:
        super().__init__(now=now, max_staleness=max_staleness, admission=admission)
        self._known = known

    def enter(self, method: str, principal: Principal, tenant: str) -> KnownTenant[BoardFollower]:
        """Return the tenant that a call is about. Raises: as `Answering.enter`."""
        require(principal, RIGHT_OF_METHOD[method])
        return tenant_of(self._known.tenants, principal, tenant)

    def doubted(self, now: Instant) -> Instant | None:
        """Return what time it may be instead of `now`; None while the wall clock is believed."""
        return other_time(now, self._known.now_by_boot())


def _age(now: float, at: float) -> float:
    """Of an instant before now; one ahead of it is of another boot."""
    return now - at if at <= now else math.inf


def _no_index() -> UnavailableError:
    return UnavailableError(
        "this node has no index that it may answer by; ask another node, or do not send",
        reason=ErrorReason.STATE_STALE,
    )
