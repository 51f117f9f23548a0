"""What the owner tells the workers now and then: who may call, and which tenants there are.

Laws:
- The file is replaced as a whole, then its version is told on the node's board: a worker that
  reads a version there finds it, or a later one, in the file.
- It holds what the database holds of keys (hashes) and of tenants (lookup keys), and is like it
  this user's alone.
"""

from pathlib import Path

import msgspec

from heed.model import Instant
from heed_server.key_store import ApiKey
from heed_server.primary.workers.folder import put
from heed_server.store import Tenant


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    version: int
    keys: tuple[ApiKey, ...]
    keys_required: bool
    tenants: tuple[Tenant, ...]
    began: Instant
    """The owner's time when it began, by the database's last commit or its wall clock."""
    began_boot: float
    """The same instant by the boot clock."""


_decoder = msgspec.json.Decoder(State)


def write_state(path: Path, state: State) -> None:
    """Put a state in the place of the last one.

    Raises:
        OSError: the disk is full.
    """
    put(path, msgspec.json.encode(state))


def read_state(path: Path) -> State:
    """Return the last state that was written.

    Raises:
        OSError: there is none.
    """
    return _decoder.decode(path.read_bytes())
