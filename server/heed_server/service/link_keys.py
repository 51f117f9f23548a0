"""The keysets by which this node seals and opens links, each read once.

Law: a link of any tenant that this node serves is opened without asking the database, so that an
invalid one costs it nothing.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from heed.model import TenantId
from heed_server.seals import SealOpener
from heed_server.secrets.sealing import SealingKeyset
from heed_server.service.tenants import TenantContext, Tenants


class _OfTenant(Protocol):
    @property
    def tenant_id(self) -> TenantId: ...


L = TypeVar("L", bound=_OfTenant)


class LinkKeys:
    """The keysets of all tenants. Written on the event loop alone."""

    def __init__(self, tenants: Tenants) -> None:
        """Reads each keyset when it is first needed."""
        self._tenants = tenants
        self._keysets: dict[TenantId, tuple[bytes, SealingKeyset]] = {}
        self._contexts: dict[TenantId, TenantContext] = {}
        self._opener = SealOpener(())
        self._taken = 0
        """How many of the tenants' keysets the opener was made after."""

    def keyset(self, context: TenantContext) -> SealingKeyset | None:
        """Return what seals a tenant's links; None: an earlier heed made the tenant meanwhile."""
        serialized = context.link_keyset
        if not serialized:
            return None
        known = self._keysets.get(context.tenant_id)
        if known is None or known[0] != serialized:
            known = self._keysets[context.tenant_id] = (serialized, SealingKeyset(serialized))
        return known[1]

    def open(
        self, token: str, read: Callable[[SealOpener, str], L | None]
    ) -> tuple[TenantContext, L] | None:
        """Return whose link of a kind this is, and what it says; None: it is none of this store's.

        `read` opens that kind: `open_link`.
        """
        if self._taken != self._tenants.link_keysets_taken:
            self._learn()
        link = read(self._opener, token)
        return None if link is None else (self._contexts[link.tenant_id], link)

    def _learn(self) -> None:
        """Take the keysets as they are: by a new key an older one may seal no more."""
        self._taken = self._tenants.link_keysets_taken
        contexts = self._tenants.all()
        self._contexts = {one.tenant_id: one for one in contexts}
        keysets = ((one.tenant_id, self.keyset(one)) for one in contexts)
        self._opener = SealOpener([(number, one) for number, one in keysets if one is not None])
