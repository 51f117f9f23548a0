"""The outbox of a node, made of its settings; and what it says of itself, as metrics."""

import secrets
import socket

from heed_server.config import Config
from heed_server.config.places import database_file
from heed_server.follow import Follower
from heed_server.outbox import (
    Outbox,
    OutboxLimits,
    Publisher,
    Target,
    connect,
    require_library,
)
from heed_server.outbox.messages import Naming
from heed_server.primary.limits import limits_of
from heed_server.service import Tenants
from heed_server.storage import Clock, SqlStore
from heed_server.telemetry.metrics import ByTenant, Declaration, single

_ONLY_NODE = "the only node"


def outbox_of(config: Config, store: SqlStore, tenants: Tenants, clock: Clock) -> Outbox | None:
    """Return the node's outbox; None: the settings name no NATS.

    Raises:
        InvalidArgumentError: the library for NATS is not installed.
    """
    section = config.outbox
    if not section.urls:
        return None
    require_library()
    limits = limits_of(OutboxLimits, section)
    target = target_of(config)

    def publisher(follower: Follower) -> Publisher:
        naming = Naming(
            tenant=follower.tenant.name,
            subject_prefix=section.subject_prefix,
            stream_prefix=section.stream_prefix,
        )
        return Publisher(store, follower, naming, limits)

    return Outbox(
        store,
        holder=holder_of(config),
        followers=lambda: [context.follower for context in tenants.all()],
        publisher=publisher,
        connect=lambda: connect(target, limits),
        boot_seconds=clock.boot,
        limits=limits,
    )


def target_of(config: Config) -> Target:
    """Return where NATS is, as the settings say."""
    section = config.outbox
    return Target(
        urls=section.urls,
        tls_ca_file=section.tls_ca_file,
        tls_certificate_file=section.tls_certificate_file,
        tls_private_key_file=section.tls_private_key_file,
    )


def of_outbox(outbox: Outbox | None) -> list[Declaration]:
    """Return the metrics of the outbox; without one they have no numbers."""
    of_publishers = ByTenant(lambda: () if outbox is None else tuple(outbox.publishers.values()))
    return [
        single(
            "heed_outbox_connected",
            "1 while NATS is there.",
            lambda: None if outbox is None else outbox.is_connected,
        ),
        single(
            "heed_outbox_publishing",
            "1 while this node is the one that publishes.",
            lambda: None if outbox is None else outbox.is_publishing,
        ),
        single(
            "heed_outbox_overtaken_total",
            "How often NATS refused what somebody else had published meanwhile.",
            lambda: None if outbox is None else outbox.overtaken,
            is_counter=True,
        ),
        of_publishers(
            "heed_outbox_published_total",
            "Changes that this node published.",
            lambda one: one.published,
            is_counter=True,
        ),
        of_publishers(
            "heed_outbox_lag_revisions",
            "How many revisions the stream is behind the log, as far as this node knows.",
            lambda one: one.lag(),
        ),
        of_publishers(
            "heed_outbox_refused",
            "1 while a stream cannot be published to before somebody has looked at it.",
            lambda one: bool(one.refused),
        ),
    ]


def holder_of(config: Config) -> str:
    """Return who has leases: on SQLite the one process, which finds its own after a crash."""
    if database_file(config) is not None:
        return _ONLY_NODE
    return f"{socket.gethostname()}-{secrets.token_hex(8)}"
