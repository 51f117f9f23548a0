"""Which tenant a call is about, and what this node has of it.

Laws:
- A tenant's name may only narrow what the principal is bound to. Another's tenant and one that
  does not exist get one and the same answer.
- One tenant in use is never named: an empty name means the only one there is.
- Nothing here asks the store on the path of a call; tenants made on other nodes are learned by
  `learn`, which the composition root calls every `LEARN_SECONDS`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from heed.errors import (
    ErrorReason,
    FieldViolation,
    HeedError,
    InvalidArgumentError,
    NotFoundError,
)
from heed.keys import LookupKeys
from heed.model import Revision, Subject, SubjectKey, TenantId
from heed_server.auth.policy import Principal
from heed_server.follow import Follower
from heed_server.service.answering import AnsweringFollower
from heed_server.service.tally import Tally
from heed_server.store import Tenant

LEARN_SECONDS = 2.0
"""How long after its creation on another node a tenant is known here, at most."""


F = TypeVar("F", bound=AnsweringFollower)
T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class KnownTenant(Generic[F]):
    """One tenant, as this process answers its Checks."""

    tenant: Tenant
    follower: F
    lookup: LookupKeys
    """What makes the keys of its subjects; another one once a lookup key was replaced."""
    link_keyset: bytes = field(default=b"", repr=False)
    """What its links are sealed under, as it was last read; empty: there is nothing yet, or this
    process makes none."""
    tally: Tally = field(default_factory=Tally)
    """What was answered about it here; written only by the service's checks."""

    moved_in: tuple[bytes, int] = (b"", 0)
    """The epoch and the lookup key under which everybody readable was found to stand; written only
    by the service's offers."""

    @property
    def tenant_id(self) -> TenantId:
        """The tenant's number."""
        return self.tenant.tenant_id

    @property
    def name(self) -> str:
        """What callers call it."""
        return self.tenant.name

    def take_lookup_keys(self, tenant: Tenant) -> None:
        """Look up under these keys from now on."""
        if tenant.lookup_keys != self.lookup.keys:
            self.tenant, self.lookup = tenant, LookupKeys(tenant.lookup_keys)

    def keys_of(self, subjects: Iterable[Subject]) -> list[tuple[SubjectKey, ...]]:
        """Return every key that each normalised subject may stand under, by position."""
        return [self.lookup.all_of(subject) for subject in subjects]


TenantContext: TypeAlias = KnownTenant[Follower]
"""One tenant, as this node serves it."""


class Tenants:
    """The tenants that this node serves. Written only on the event loop."""

    def __init__(self, follow: Callable[[Tenant], Awaitable[Follower]]) -> None:
        """`follow` starts the follower of a tenant and returns once it can answer."""
        self.link_keysets_taken = 0
        """How often a keyset of links was new: whoever keeps them looks again when it is more."""
        self._follow = follow
        self._by_name: dict[str, TenantContext] = {}
        self._only: TenantContext | None = None
        self._serving = asyncio.Lock()
        self._told: list[Callable[[TenantContext], None]] = []

    def of(self, principal: Principal, name: str) -> TenantContext:
        """Return the tenant that a call is about.

        Raises:
            NotFoundError: TENANT_UNKNOWN, there is none of that name for this principal.
            InvalidArgumentError: TENANT_REQUIRED, there are several and none is named.
        """
        if self._only is not None and not (name or principal.tenant):
            return self._only
        return tenant_of(self._by_name, principal, name)

    def all(self) -> Sequence[TenantContext]:
        """Return every tenant that this node serves, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def tell(self, told: Callable[[TenantContext], None]) -> None:
        """Call this for each tenant that is served, and for each that will be."""
        self._told.append(told)
        for context in self.all():
            told(context)

    def standing(self) -> Sequence[tuple[TenantId, Revision]]:
        """Return where this node's index of each tenant stands."""
        return [
            (context.tenant.tenant_id, context.follower.revision)
            for context in self._by_name.values()
        ]

    async def serve(self, tenant: Tenant) -> TenantContext:
        """Serve a tenant from now on; serving it again takes its keyset of links if that is new."""
        # One at a time: two followers of one tenant would claim one index.
        async with self._serving:
            found = self._by_name.get(tenant.name)
            if found is None:
                follower = await self._follow(tenant)
                found = TenantContext(
                    tenant=tenant, follower=follower, lookup=LookupKeys(tenant.lookup_keys)
                )
                follower.tell_lookup_keys(found.take_lookup_keys)
                self._by_name[tenant.name] = found
                self._only = found if len(self._by_name) == 1 else None
                for told in self._told:
                    told(found)
            # An earlier heed makes a tenant without; the next node that starts adds it.
            if tenant.link_keyset and tenant.link_keyset != found.link_keyset:
                found.link_keyset = tenant.link_keyset
                self.link_keysets_taken += 1
            return found

    async def learn(self, tenants: Sequence[Tenant]) -> None:
        """Serve every tenant that the store knows; one that cannot be keeps no other from it.

        Raises:
            HeedError: the first of those of tenants that cannot be served.
        """
        failures: list[HeedError] = []
        for tenant in tenants:
            try:
                await self.serve(tenant)
            except HeedError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def tenant_of(by_name: Mapping[str, T], principal: Principal, name: str) -> T:
    """Return the one of these tenants that a call is about. Raises: as `Tenants.of`."""
    bound = principal.tenant
    if bound and name and name != bound:
        raise _unknown(name)
    wanted = name or bound
    found = by_name.get(wanted)
    if found is not None:
        return found
    if wanted or not by_name:
        raise _unknown(wanted)
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    raise InvalidArgumentError(
        "there are several tenants; name one in `tenant`",
        reason=ErrorReason.TENANT_REQUIRED,
        violations=[FieldViolation("tenant", "is required: there are several tenants")],
        metadata={"field": "tenant"},
    )


def _unknown(name: str) -> NotFoundError:
    said = (
        f"there is no tenant {name[:63]!r}, or it is not yours to see"
        if name
        else ("there is no tenant yet; create one")
    )
    return NotFoundError(said, metadata={"tenant": name})
