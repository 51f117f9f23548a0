"""What a worker knows of itself, as metrics; the names are those of `heed_server.primary.measures`.

Calls that are handed on are counted where they are answered, at the owner; here are Checks.
"""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

from heed_server.decisions import DecisionLog
from heed_server.primary.deciding import of_decisions
from heed_server.primary.observing import of_admission, of_identities, of_keys
from heed_server.primary.workers.known import Known, KnownKeys
from heed_server.service.admission import Admission
from heed_server.service.tally import of_tallies
from heed_server.telemetry.metrics import ByTenant, Gauges, build_info, single

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities


def register_measures(
    registry: CollectorRegistry,
    known: Known,
    keys: KnownKeys,
    identities: "Identities | None",
    admission: Admission,
    decisions: DecisionLog | None,
    *,
    restarts: int,
) -> None:
    """Add a worker's metrics to its registry."""
    of_tenants = ByTenant(lambda: tuple(known.tenants.values()))
    registry.register(
        Gauges(
            [
                build_info(),
                single(
                    "heed_worker_restarts_total",
                    "How often this worker was started again since the server started.",
                    lambda: restarts,
                    is_counter=True,
                ),
                *of_keys(keys),
                *of_identities(identities),
                *of_admission(admission),
                *of_decisions(decisions),
                of_tenants(
                    "heed_index_revision",
                    "The revision that this node's Checks are answered at.",
                    lambda tenant: tenant.follower.told_revision,
                ),
                of_tenants(
                    "heed_source_age_seconds",
                    "How old what Checks are answered by may be.",
                    lambda tenant: tenant.follower.told_age_seconds(),
                ),
                of_tenants(
                    "heed_index_usable",
                    "1 when there is an index to answer from, 0 while it is made anew.",
                    lambda tenant: tenant.follower.is_usable,
                ),
                *of_tallies(
                    lambda: [
                        (tenant.name, tenant.tally) for tenant in tuple(known.tenants.values())
                    ]
                ),
            ]
        )
    )
    ProcessCollector(registry=registry)
