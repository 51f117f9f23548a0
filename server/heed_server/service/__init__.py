"""What heed does, apart from how it is asked: one method an RPC, which authorises and acts."""

from heed_server.service.answering import MaxStaleness
from heed_server.service.approvals import Approvals
from heed_server.service.audits import Audits
from heed_server.service.checks import Checks
from heed_server.service.clocks import Clocks
from heed_server.service.hooks import Hooks
from heed_server.service.looking import Looking
from heed_server.service.offers import Offers
from heed_server.service.operations import Operations
from heed_server.service.pages import Pages
from heed_server.service.people import People
from heed_server.service.proofs import Proofs
from heed_server.service.propagations import Propagations
from heed_server.service.protections import Protections
from heed_server.service.reports import Reports
from heed_server.service.tenants import LEARN_SECONDS, KnownTenant, TenantContext, Tenants
from heed_server.service.watching import Watching
from heed_server.service.ways_back import WaysBack

__all__ = [
    "LEARN_SECONDS",
    "Approvals",
    "Checks",
    "KnownTenant",
    "MaxStaleness",
    "Service",
    "TenantContext",
    "Tenants",
]


class Service(
    Checks,
    Pages,
    Protections,
    Reports,
    People,
    Operations,
    Offers,
    WaysBack,
    Audits,
    Proofs,
    Watching,
    Propagations,
    Clocks,
    Looking,
    Hooks,
):
    """Everything that heed does, for one node. See each part, and `Node` for how it is made."""
