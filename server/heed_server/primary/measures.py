"""What this node knows of itself, as metrics; docs/operations.md says what each is good for.

Law: numbers are read off the event loop, so that each is a plain one that a single assignment sets;
what can only be read on the loop (the size of an index) is sampled there.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector

from heed.errors import HeedError
from heed_server.audit import Signer
from heed_server.auth.credentials import Authenticator
from heed_server.deadlines import DeadlineWatch
from heed_server.decisions import DecisionLog
from heed_server.outbox import Outbox
from heed_server.primary.deadlines import of_deadlines
from heed_server.primary.deciding import of_decisions
from heed_server.primary.followers import Followers
from heed_server.primary.observing import of_admission, of_identities, of_keys
from heed_server.primary.publishing import of_outbox
from heed_server.primary.signing import of_signer
from heed_server.primary.watch_measures import of_watches
from heed_server.primary.webhooks import of_webhooks
from heed_server.service import Tenants
from heed_server.service.admission import Admission
from heed_server.service.caps import Caps
from heed_server.service.tally import of_tallies
from heed_server.telemetry.metrics import (
    ByTenant,
    Declaration,
    Gauges,
    Reading,
    build_info,
    single,
)
from heed_server.watch import Watches

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities
    from heed_server.storage.wakeups import WakeUps
    from heed_server.webhooks import Webhooks

SAMPLE_SECONDS = 5.0
"""How often the size of the indexes is read."""


@dataclass(frozen=True, slots=True)
class _Size:
    """How large a tenant's index is."""

    subjects: int
    data_bytes: int


class Measures:
    """The node's own metrics."""

    def __init__(
        self,
        *,
        tenants: Tenants,
        followers: Followers,
        authenticator: Authenticator,
        identities: "Identities | None",
        wake_ups: "WakeUps | None",
        watches: Watches,
        outbox: Outbox | None,
        signer: Signer,
        admission: Admission,
        caps: Caps,
        decisions: DecisionLog | None,
        deadlines: DeadlineWatch,
        webhooks: "Webhooks | None",
        registry: CollectorRegistry,
    ) -> None:
        """Adds them to the registry; of a part that is not there they have no numbers."""
        self._tenants = tenants
        self._followers = followers
        # Replaced as a whole by `sample`, on the loop; read by scrapes.
        self._sizes: dict[str, _Size] = {}
        registry.register(
            Gauges(
                [
                    *self._of_the_node(),
                    *of_keys(authenticator),
                    *of_identities(identities),
                    *of_admission(admission),
                    *_of_caps(caps),
                    *self._of_each_tenant(),
                    *self._of_sizes(),
                    *_of_wake_ups(wake_ups),
                    *of_watches(watches),
                    *of_outbox(outbox),
                    *of_decisions(decisions),
                    *of_signer(signer, tenants),
                    *of_deadlines(deadlines),
                    *of_webhooks(webhooks),
                ]
            )
        )
        ProcessCollector(registry=registry)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Read what can only be read on the loop."""
        sizes: dict[str, _Size] = {}
        for context in self._tenants.all():
            try:
                stats = context.follower.index.stats()
            except HeedError:
                continue  # it is being made anew; `heed_index_usable` says so
            sizes[context.tenant.name] = _Size(stats.subjects, stats.data_bytes)
        self._sizes = sizes

    def _of_the_node(self) -> list[Declaration]:
        return [
            build_info(),
            single(
                "heed_commits_total",
                "Commits of this node to a tenant's log.",
                lambda: self._followers.commits,
                is_counter=True,
            ),
            single(
                "heed_changes_total",
                "Changes in these commits; how many share one is their ratio.",
                lambda: self._followers.changes,
                is_counter=True,
            ),
        ]

    def _of_each_tenant(self) -> list[Declaration]:
        of_tenants = ByTenant(self._tenants.all)
        return [
            of_tenants(
                "heed_head_revision",
                "The newest revision of the tenant's log that this node has heard of.",
                lambda context: context.follower.head_revision,
            ),
            of_tenants(
                "heed_index_revision",
                "The revision that this node's Checks are answered at.",
                lambda context: context.follower.revision,
            ),
            of_tenants(
                "heed_source_age_seconds",
                "How old what Checks are answered by may be.",
                lambda context: context.follower.source_age_seconds(),
            ),
            of_tenants(
                "heed_index_usable",
                "1 when there is an index to answer from, 0 while it is made anew.",
                lambda context: context.follower.is_usable,
            ),
            of_tenants(
                "heed_index_rebuilds_total",
                "How often the index was made anew since the start.",
                lambda context: context.follower.rebuilds,
                is_counter=True,
            ),
            *of_tallies(
                lambda: [(context.tenant.name, context.tally) for context in self._tenants.all()]
            ),
        ]

    def _of_sizes(self) -> list[Declaration]:
        return [
            Declaration(
                name="heed_index_subjects",
                meaning="Subjects with records in the index.",
                labels=("tenant",),
                read=lambda: [
                    Reading(value=size.subjects, labels=(tenant,))
                    for tenant, size in self._sizes.items()
                ],
            ),
            Declaration(
                name="heed_index_bytes",
                meaning="The size of the index's file in use.",
                labels=("tenant",),
                read=lambda: [
                    Reading(value=size.data_bytes, labels=(tenant,))
                    for tenant, size in self._sizes.items()
                ],
            ),
        ]


def _of_wake_ups(wake_ups: "WakeUps | None") -> list[Declaration]:
    return [
        single(
            "heed_wake_ups_connected",
            "1 while this node hears of other nodes' commits, 0 while it only polls.",
            lambda: None if wake_ups is None else wake_ups.is_connected,
        ),
        single(
            "heed_wake_ups_told_total",
            "Notifications of this node's commits.",
            lambda: None if wake_ups is None else wake_ups.told,
            is_counter=True,
        ),
        single(
            "heed_wake_ups_heard_total",
            "Notifications heard, this node's own too.",
            lambda: None if wake_ups is None else wake_ups.heard,
            is_counter=True,
        ),
        single(
            "heed_wake_ups_lost_total",
            "How often the connection for wake-ups broke or could not be opened.",
            lambda: None if wake_ups is None else wake_ups.lost,
            is_counter=True,
        ),
    ]


def _of_caps(caps: Caps) -> list[Declaration]:
    return [
        Declaration(
            name="heed_caps_met_total",
            meaning="Writes that met a cap of their principal.",
            labels=("cap",),
            read=lambda: [Reading(value=count, labels=(cap,)) for cap, count in caps.met.items()],
            is_counter=True,
        )
    ]
