"""What the dashboard shows beside what callers ask for, to whoever may audit or operate."""

from collections.abc import Sequence

from heed.errors import RightRequiredError
from heed_server.auth.policy import EVERY_TENANT, Principal
from heed_server.service.node import Node
from heed_server.service.rights import LOOKING
from heed_server.service.tenants import TenantContext


class Looking(Node):
    """Tells whoever may look what there is to be looked at."""

    def tenants_to_look_at(self, principal: Principal) -> Sequence[str]:
        """Return the tenants that a principal may look at, by name.

        Raises:
            RightRequiredError: it may neither audit nor operate.
        """
        _require_looking(principal)
        names = (context.name for context in self.tenants.all())
        return [name for name in names if principal.tenant in {EVERY_TENANT, name}]

    def look(self, principal: Principal, tenant: str) -> TenantContext:
        """Return a tenant, if the principal may look at it.

        Raises:
            RightRequiredError: it may neither audit nor operate.
            NotFoundError, InvalidArgumentError: as `Tenants.of`.
        """
        _require_looking(principal)
        return self.tenants.of(principal, tenant)


def _require_looking(principal: Principal) -> None:
    if principal.rights & LOOKING:
        return
    words = " or ".join(repr(right.value) for right in sorted(LOOKING))
    raise RightRequiredError(
        f"{principal.name!r} lacks the right {words}; ask for a credential that has one of them",
        metadata={"right": min(LOOKING).value},
    )
