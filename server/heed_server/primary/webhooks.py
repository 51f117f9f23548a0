"""The webhooks of a node, made of its settings; and what they say of themselves, as metrics.

Law: what sends them is loaded only where there is a file of targets.
"""

import random
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import TYPE_CHECKING

from heed_server.config import Config
from heed_server.primary.limits import limits_of
from heed_server.primary.publishing import holder_of
from heed_server.service import Tenants
from heed_server.storage import Clock, SqlStore
from heed_server.telemetry.metrics import Declaration, Reading, single

if TYPE_CHECKING:
    from heed_server.webhooks import DeadlineNotices, TargetsFile, Webhooks
    from heed_server.webhooks.deliverer import Deliverer
    from heed_server.webhooks.targets import Target
    from heed_server.webhooks.transport import Transport


def targets_of(config: Config) -> "TargetsFile | None":
    """Return the targets that the settings name; None: none.

    Raises:
        InvalidArgumentError: the file of targets cannot be read, or is wrong.
    """
    section = config.webhooks
    if section.targets_file is None:
        return None
    from heed_server.webhooks import TargetsFile

    networks = [ip_network(text) for text in section.private_networks]
    return TargetsFile(section.targets_file, private_networks=networks)


def webhooks_of(
    config: Config,
    store: SqlStore,
    tenants: Tenants,
    clock: Clock,
    targets: "TargetsFile | None",
) -> "Webhooks | None":
    """Return the node's webhooks, to be run; None: there are no targets."""
    if targets is None:
        return None
    from heed_server.webhooks import Means, WebhookLimits, Webhooks

    means = Means(
        log=store,
        store=store.webhooks,
        open_sender=lambda target: sender_of(config, targets, target),
        now=clock.now,
        chance=random.random,
        limits=limits_of(WebhookLimits, config.webhooks),
    )
    return Webhooks(
        store,
        means,
        targets,
        holder=holder_of(config),
        followers=lambda: [context.follower for context in tenants.all()],
        boot_seconds=clock.boot,
    )


def sender_of(config: Config, targets: "TargetsFile", target: "Target") -> "Transport":
    """Return what sends to a target, to be opened.

    Raises:
        OSError: its file of authorities cannot be read.
    """
    from heed_server.webhooks.resolving import Guard
    from heed_server.webhooks.transport import Transport

    return Transport(
        target,
        guard=Guard(targets.private_networks),
        request_seconds_max=config.webhooks.request_seconds_max,
        connections_max=config.webhooks.concurrency_max,
    )


def notices_of(
    store: SqlStore, clock: Clock, targets: "TargetsFile | None"
) -> "DeadlineNotices | None":
    """Return what tells targets of deadlines; None: there are no targets."""
    if targets is None:
        return None
    from heed_server.webhooks import DeadlineNotices

    return DeadlineNotices(store.webhooks, targets, now=clock.now)


def of_webhooks(webhooks: "Webhooks | None") -> list[Declaration]:
    """Return the metrics of webhooks; without any they have no numbers."""

    def by_target(
        name: str, meaning: str, read: "Callable[[Deliverer], float]", *, is_counter: bool = False
    ) -> Declaration:
        def readings() -> Iterable[Reading]:
            deliverers = () if webhooks is None else webhooks.deliverers
            return [
                Reading(value=float(read(one)), labels=(one.tenant.name, one.target.name))
                for one in deliverers
            ]

        return Declaration(
            name=name,
            meaning=meaning,
            labels=("tenant", "target"),
            read=readings,
            is_counter=is_counter,
        )

    return [
        single(
            "heed_webhooks_delivering",
            "1 while this node is the one that delivers.",
            lambda: None if webhooks is None else webhooks.is_delivering,
        ),
        by_target(
            "heed_webhook_delivered_total",
            "Events that this node delivered.",
            lambda one: one.sendings.delivered,
            is_counter=True,
        ),
        by_target(
            "heed_webhook_failures_total",
            "Attempts of this node that failed.",
            lambda one: one.sendings.failures,
            is_counter=True,
        ),
        by_target(
            "heed_webhook_dead_total",
            "Events that this node gave up.",
            lambda one: one.sendings.given_up,
            is_counter=True,
        ),
        by_target(
            "heed_webhook_dead_letters",
            "Dead letters that are kept.",
            lambda one: 0 if one.order is None else one.order.dead_count,
        ),
        by_target(
            "heed_webhook_late_lanes",
            "Subjects, and notices, that are retried.",
            lambda one: 0 if one.order is None else one.order.late_count,
        ),
        by_target(
            "heed_webhook_lag_revisions",
            "How many revisions the target is behind the log, what is retried aside.",
            lambda one: one.lag(),
        ),
        by_target(
            "heed_webhook_away",
            "1 while the target takes nothing.",
            lambda one: one.sendings.pace.is_away,
        ),
        by_target(
            "heed_webhook_waits",
            "1 while nothing more is sent to the target before somebody has looked.",
            lambda one: bool(one.waits),
        ),
    ]
