"""The watch on deadlines of a node, made of its settings; and what it says, as metrics."""

from heed_server.config import Config
from heed_server.deadlines import (
    DeadlineRules,
    DeadlineWatch,
    DeadlineWatchLimits,
    policies_of,
)
from heed_server.deadlines.watch import Told
from heed_server.primary.limits import limits_of
from heed_server.primary.publishing import holder_of
from heed_server.propagation import Registry
from heed_server.service import Tenants
from heed_server.storage import Clock, SqlStore
from heed_server.telemetry.metrics import ByTenant, Declaration, Reading, single

_HOUR_SECONDS = 3_600
_MICROSECONDS = 1_000_000


def rules_of(config: Config) -> DeadlineRules:
    """Return by what deadlines are counted.

    Raises:
        InvalidArgumentError: the file of policies cannot be read, or says what cannot be.
    """
    section = config.deadlines
    return DeadlineRules(
        policies=policies_of(section.policies_file),
        margin_seconds=section.margin_hours * _HOUR_SECONDS,
        grace_seconds=section.grace_seconds,
    )


def watch_of(
    config: Config,
    store: SqlStore,
    tenants: Tenants,
    registry: Registry,
    rules: DeadlineRules,
    clock: Clock,
    told: Told | None,
) -> DeadlineWatch:
    """Return what warns of deadlines, to be run; it tells `told` too."""
    return DeadlineWatch(
        store,
        store,
        store,
        store.deadlines,
        registry,
        rules=rules,
        holder=holder_of(config),
        followers=lambda: [context.follower for context in tenants.all()],
        now=clock.now,
        limits=limits_of(DeadlineWatchLimits, config.deadlines),
        told=told,
    )


def of_deadlines(watch: DeadlineWatch) -> list[Declaration]:
    """Return the metrics of deadlines; a node that does not look has no numbers by tenant."""
    of_tenants = ByTenant(lambda: tuple(watch.tenants.values()))
    return [
        of_tenants(
            "heed_deadline_near_opt_outs",
            "Opt-outs that somebody who counts has not applied, and that are warned of.",
            lambda one: one.near,
        ),
        of_tenants(
            "heed_deadline_over_opt_outs",
            "Those of them whose earliest deadline has passed.",
            lambda one: one.over,
        ),
        of_tenants(
            "heed_deadline_unread_revisions",
            "Revisions that somebody has not applied and that were not looked at yet.",
            lambda one: one.unread,
        ),
        Declaration(
            name="heed_deadline_left_seconds",
            meaning="How long until the earliest deadline of what somebody has not applied; "
            "negative once it has passed, no number while there is none.",
            labels=("tenant",),
            read=lambda: [
                Reading(
                    value=(one.earliest - watch.now()) / _MICROSECONDS, labels=(one.tenant.name,)
                )
                for one in tuple(watch.tenants.values())
                if one.earliest is not None
            ],
        ),
        single(
            "heed_deadline_warnings_total",
            "Warnings of this node: an opt-out and a subscriber that has not applied it.",
            lambda: watch.warned,
            is_counter=True,
        ),
    ]
