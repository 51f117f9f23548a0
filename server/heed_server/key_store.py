"""The contract between keys and their database: API keys, and what an operator does to the others.

None of it is of a log, save that another lookup key begins by a change.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heed.model import Instant
from heed_server.secrets.states import LinkKeyState, LookupState, RootState


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as the store keeps it."""

    key_id: str
    """Public: it stands in the key itself and in logs."""
    secret_hash: bytes = field(repr=False)
    """SHA-256 of the 256-bit secret."""
    name: str
    rights: frozenset[str]
    tenant: str
    """The tenant's name; empty: every tenant."""
    create_time: Instant
    expire_time: Instant | None = None
    revoke_time: Instant | None = None


class KeyStore(Protocol):
    """Where API keys live. Only hashes are kept."""

    async def put_api_key(self, key: ApiKey) -> None:
        """Add a key. Raises NotFoundError TENANT_UNKNOWN if its tenant is not there."""
        ...

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return every key, revoked ones too, by creation."""
        ...

    async def api_key(self, key_id: str) -> ApiKey | None:
        """Return one key."""
        ...

    async def revoke_api_key(self, key_id: str, at: Instant) -> bool:
        """Revoke a key; False if there is no such key. Revoking twice keeps the first time."""
        ...


class KeyRotations(Protocol):
    """What an operator does to keys. Each may be asked again after it was cut off."""

    async def stage_root(self) -> None:
        """Add root keys to the file that open and do not wrap yet."""
        ...

    async def rotate_root(self) -> int:
        """Wrap every secret by the next root keys; return how many were wrapped again."""
        ...

    async def destroy_old_root(self, purposes: Collection[str]) -> None:
        """Take the root keys that wrap nothing any more out of the file, for ever."""
        ...

    async def root_state(self) -> Sequence[RootState]:
        """Return which root keys there are, and what each wraps."""
        ...

    async def replace_lookup(self, tenant: str, reason: str) -> int:
        """Begin another lookup key of a tenant, empty: of the only one, and return its id.

        Raises NotFoundError TENANT_UNKNOWN, also where there are several and none is named.
        """
        ...

    async def lookup_state(self) -> Sequence[LookupState]:
        """Return the lookup keys of every tenant, and how many subjects stand under each."""
        ...

    async def rotate_links(self, tenant: str) -> Sequence[str]:
        """Seal a tenant's links, empty: every tenant's, under a new key; return which tenants.

        Every node opens what the key seals before any seals by it. Old keys go on opening.

        Raises NotFoundError TENANT_UNKNOWN.
        """
        ...

    async def link_key_state(self) -> Sequence[LinkKeyState]:
        """Return the keys of links of every tenant."""
        ...

    async def rotate_addresses(self, tenant: str) -> Sequence[str]:
        """Put a tenant's addresses, empty: every tenant's, under a new key; return which tenants.

        Raises NotFoundError TENANT_UNKNOWN.
        """
        ...
