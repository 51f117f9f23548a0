"""What a worker knows of itself, as metrics; the names are those of `heed_server.primary.measures`.

Calls that are handed on are counted where they are answered, at the owner; here are Checks.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector

from heed_server.primary.measures import build_info
from heed_server.primary.workers.known import BoardFollower, Known, KnownKeys
from heed_server.service import KnownTenant
from heed_server.telemetry.metrics import Declaration, Gauges, Reading

_Read = Callable[[KnownTenant[BoardFollower]], float]


def register_measures(
    registry: CollectorRegistry, known: Known, keys: KnownKeys, *, restarts: int
) -> None:
    """Add a worker's metrics to its registry."""
    registry.register(
        Gauges(
            [
                build_info(),
                Declaration(
                    name="heed_worker_restarts_total",
                    meaning="How often this worker was started again since the server started.",
                    read=lambda: [Reading(value=restarts)],
                    is_counter=True,
                ),
                Declaration(
                    name="heed_api_keys",
                    meaning="API keys known to this node, revoked and expired ones too.",
                    read=lambda: [Reading(value=keys.key_count)],
                ),
                Declaration(
                    name="heed_credentials_refused_total",
                    meaning="Calls refused for want of a good API key.",
                    read=lambda: [Reading(value=keys.refused)],
                    is_counter=True,
                ),
                _of_tenants(
                    known,
                    "heed_index_revision",
                    "The revision that this node's Checks are answered at.",
                    lambda tenant: tenant.follower.told_revision,
                ),
                _of_tenants(
                    known,
                    "heed_source_age_seconds",
                    "How old what Checks are answered by may be.",
                    lambda tenant: tenant.follower.told_age_seconds(),
                ),
                _of_tenants(
                    known,
                    "heed_index_usable",
                    "1 when there is an index to answer from, 0 while it is made anew.",
                    lambda tenant: tenant.follower.is_usable,
                ),
                _of_tenants(
                    known,
                    "heed_undeclared_topics_total",
                    "Checks answered about a topic that nobody declared.",
                    lambda tenant: tenant.undeclared_checks,
                    is_counter=True,
                ),
            ]
        )
    )
    ProcessCollector(registry=registry)


def _of_tenants(
    known: Known, name: str, meaning: str, read: _Read, *, is_counter: bool = False
) -> Declaration:
    return Declaration(
        name=name,
        meaning=meaning,
        labels=("tenant",),
        read=lambda: [
            Reading(value=float(read(tenant)), labels=(tenant.tenant.name,))
            for tenant in tuple(known.tenants.values())
        ],
        is_counter=is_counter,
    )
