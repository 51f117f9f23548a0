"""Requests about webhooks."""

from collections.abc import Sequence

from heed.wire import said
from heed.wire.limits import PAGE_SIZE_MAX
from heed_proto.v1 import admin_service_pb2 as admin


@said.of_unicode
def list_webhook_targets(tenant: str) -> admin.ListWebhookTargetsRequest:
    """Ask where webhooks stand."""
    return admin.ListWebhookTargetsRequest(tenant=tenant)


@said.of_unicode
def list_dead_letters(tenant: str, target: str, page_token: str) -> admin.ListDeadLettersRequest:
    """Ask for the dead letters of a target."""
    return admin.ListDeadLettersRequest(
        tenant=tenant, target=target, page_size=PAGE_SIZE_MAX, page_token=page_token
    )


@said.of_unicode
def replay_dead_letters(
    tenant: str, target: str, letter_ids: Sequence[str] | None
) -> admin.ReplayDeadLettersRequest:
    """Have dead letters sent anew; None: all."""
    if letter_ids is None:
        return admin.ReplayDeadLettersRequest(
            tenant=tenant, target=target, every=admin.EveryDeadLetter()
        )
    letters = admin.DeadLetterIds(letter_ids=letter_ids)
    return admin.ReplayDeadLettersRequest(tenant=tenant, target=target, letters=letters)


@said.of_unicode
def discard_dead_letters(
    tenant: str, target: str, letter_ids: Sequence[str] | None
) -> admin.DiscardDeadLettersRequest:
    """Delete dead letters; None: all."""
    if letter_ids is None:
        return admin.DiscardDeadLettersRequest(
            tenant=tenant, target=target, every=admin.EveryDeadLetter()
        )
    letters = admin.DeadLetterIds(letter_ids=letter_ids)
    return admin.DiscardDeadLettersRequest(tenant=tenant, target=target, letters=letters)
