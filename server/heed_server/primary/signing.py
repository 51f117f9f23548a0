"""The verifiable log of a node, made of its settings; and what it says of itself, as metrics."""

import secrets

from heed.audit.signing import SEED_BYTES
from heed_server.audit import AuditLimits, KeyOf, Prover, Signer
from heed_server.config import Config
from heed_server.primary.limits import limits_of
from heed_server.primary.publishing import holder_of
from heed_server.secrets.names import SECRETS
from heed_server.service import TenantContext, Tenants
from heed_server.storage import Clock, SqlStore
from heed_server.telemetry.metrics import ByTenant, Declaration, single

CHECKPOINT_KEY = f"{SECRETS}/checkpoint-key"
"""The name of the key that signs checkpoints, one a store."""


async def checkpoint_key(store: SqlStore) -> KeyOf:
    """Return the key that signs a store's checkpoints, made when there is none.

    Raises:
        SecretsError: the root keys are not those that wrapped it.
        UnavailableError: the database does not answer.
    """
    made = secrets.token_bytes(SEED_BYTES)
    return KeyOf(await store.ensure_secret(CHECKPOINT_KEY, made))


def prover_of(store: SqlStore, key: KeyOf, clock: Clock) -> Prover:
    """Return what proves what is in the logs."""
    return Prover(store, key, boot_seconds=clock.boot)


def signer_of(
    config: Config, store: SqlStore, tenants: Tenants, key: KeyOf, clock: Clock
) -> Signer:
    """Return what signs the logs' checkpoints, to be run."""
    return Signer(
        store,
        store,
        key,
        epoch=lambda: store.epoch,
        holder=holder_of(config),
        standing=tenants.standing,
        boot_seconds=clock.boot,
        limits=limits_of(AuditLimits, config.audit),
    )


def of_signer(signer: Signer, tenants: Tenants) -> list[Declaration]:
    """Return the metrics of the verifiable log."""
    of_tenant: ByTenant[TenantContext] = ByTenant(tenants.all)
    return [
        single(
            "heed_audit_checkpoints_total",
            "Checkpoints that this node signed.",
            lambda: signer.signed,
            is_counter=True,
        ),
        of_tenant(
            "heed_audit_unsigned_revisions",
            "Revisions that no checkpoint has yet, as far as this node knows.",
            lambda one: max(0, one.follower.revision - signer.sizes.get(one.tenant_id, 0)),
        ),
        of_tenant(
            "heed_audit_refused",
            "1 while a log is not signed, because it is not what was signed before.",
            lambda one: one.tenant_id in signer.refused,
        ),
    ]
