"""The owner's side: what it knows, told to the workers as it changes.

Law: an answer that says "done" (a key revoked, a tenant made, a write taken) goes out after the
workers were told: each of them looks before it answers.
"""

import math
from collections.abc import Sequence

from heed.errors import UnavailableError
from heed.model import Change, TenantId
from heed_server.auth.credentials import Authenticator
from heed_server.follow import Follower
from heed_server.key_store import ApiKey
from heed_server.primary.workers.board import NodeBoard, TenantBoard
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.state import State, write_state
from heed_server.service.answering import Began
from heed_server.store import Tenant

DEAD_READERS_SECONDS = 10.0
"""How often it is looked for workers that died in the middle of a look-up. Higher: the old pages
that they held on to make the index's file larger. Lower: more is looked for in vain."""


class Teller:
    """Writes the boards and the state. Used on the owner's event loop alone.

    Make it only where the database is this process's: another owner may be writing else.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._board = NodeBoard(folder.node_board, run=folder.run, is_owner=True)
        self._tenants: dict[TenantId, Tenant] = {}
        self._keys: tuple[Sequence[ApiKey], bool] = ((), False)
        self._began: Began | None = None

    def begin(self, began: Began, authenticator: Authenticator) -> None:
        """Tell all that is known by now; from here on every change is told at once."""
        self._began = began
        authenticator.tell(lambda: self._take_keys(authenticator))
        self._take_keys(authenticator)
        self._write()

    def close(self) -> None:
        """Tell nothing more: what holds keys goes."""
        self._folder.state.unlink(missing_ok=True)

    def follow(self, tenant: Tenant, follower: Follower) -> None:
        """Tell of a tenant, whose follower has just started, and of its index from now on."""
        board = TenantBoard(
            self._folder.tenant_board(tenant.tenant_id), run=self._folder.run, is_owner=True
        )

        def take_lookup_keys(told: Tenant) -> None:
            # First: until a worker has read the keys it allows nothing by those before.
            board.tell_lookup_key(told.lookup_key.key_id)
            self._tenants[told.tenant_id] = told
            try:
                self._write()
            except OSError as error:
                raise UnavailableError(f"workers cannot be told of keys: {error}") from error

        follower.tell_lookup_keys(take_lookup_keys)
        _TenantTeller(board, follower)

    def _take_keys(self, authenticator: Authenticator) -> None:
        """Tell of the keys, which were just read."""
        keys = (authenticator.keys, authenticator.is_required)
        if keys != self._keys:
            self._keys = keys
            self._write()
        self._board.tell_keys_read(authenticator.read_at)

    def _write(self) -> None:
        if self._began is None:
            return
        keys, keys_required = self._keys
        version = self._board.version + 1
        write_state(
            self._folder.state,
            State(
                version=version,
                keys=tuple(keys),
                keys_required=keys_required,
                tenants=tuple(self._tenants.values()),
                began=self._began.at,
                began_boot=self._began.boot,
            ),
        )
        self._board.tell_version(version)


class _TenantTeller:
    """Tells of one tenant's index, as a listener of its follower."""

    def __init__(self, board: TenantBoard, follower: Follower) -> None:
        self._board = board
        self._follower = follower
        self._looked_at = -math.inf
        follower.listen(self)
        follower.tell_age(self._be_in_step)
        self.made_anew()

    def took(self, changes: Sequence[Change]) -> None:
        """Tell the hashes of what the index took; its revision it tells by itself."""
        for change in changes:
            self._board.push(change.revision, change.running_hash)

    def made_anew(self) -> None:
        """Tell which index is to be read, if any."""
        self._board.take_away()
        if self._follower.is_usable:
            index = self._follower.index
            self._board.begin(index.revision, index.dump_hashes())
            self._board.tell_in_step(self._follower.in_step_at)

    def _be_in_step(self, at: float) -> None:
        self._board.tell_in_step(at)
        if at - self._looked_at >= DEAD_READERS_SECONDS:
            self._looked_at = at
            self._follower.index.forget_dead_readers()
        if self._board.is_damaged:
            self._follower.give_up("a worker met damage")
