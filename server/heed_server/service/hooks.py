"""Webhooks, as an operator sees them: where targets stand, and what is to become of dead letters.

What is asked here is done by the node that delivers (`heed_server.webhooks`), by way of the store.
"""

from collections.abc import Sequence
from typing import NamedTuple

import structlog

from heed.errors import ErrorReason, NotFoundError
from heed.model import Revision
from heed.wire.asked import DeadLettersAsked, LettersAsked, WebhookTargetsAsked
from heed_server.auth.policy import Principal
from heed_server.service.node import Node
from heed_server.webhook_store import DeadLetterPage, Place, TargetStanding

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class TargetsFound(NamedTuple):
    """Where a tenant's targets stand."""

    targets: Sequence[TargetStanding]
    head_revision: Revision


class Hooks(Node):
    """Tells of webhooks, and has dead letters replayed."""

    async def list_webhook_targets(
        self, principal: Principal, asked: WebhookTargetsAsked
    ) -> TargetsFound:
        """Return every target that the tenant has had.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("ListWebhookTargets", principal, asked.tenant)
        found = await self.store.webhooks.targets(context.tenant.tenant_id)
        return TargetsFound(found, context.follower.head_revision)

    async def list_dead_letters(
        self, principal: Principal, asked: DeadLettersAsked
    ) -> DeadLetterPage:
        """Return a page of the events that were given up for a target, by age.

        Raises:
            NotFoundError: WEBHOOK_TARGET_UNKNOWN.
            UnavailableError: the database does not answer.
        """
        context = self.enter("ListDeadLetters", principal, asked.tenant)
        place = Place(context.tenant.tenant_id, asked.target)
        page = await self.store.webhooks.dead_letters(place, asked.cursor, asked.page_size)
        if page is None:
            raise _unknown(asked.target)
        return page

    async def replay_dead_letters(self, principal: Principal, asked: LettersAsked) -> int:
        """Have events sent anew, and return how many there were.

        Raises:
            NotFoundError: WEBHOOK_TARGET_UNKNOWN.
            UnavailableError: the database does not answer, and nothing was asked.
            OutcomeUnknownError: the commit's answer was lost; asking again is safe.
        """
        context = self.enter("ReplayDeadLetters", principal, asked.tenant)
        place = Place(context.tenant.tenant_id, asked.target)
        letters = await self.store.webhooks.replay(place, asked.letter_ids)
        if letters is None:
            raise _unknown(asked.target)
        _log.info(
            "webhook_replay_asked",
            tenant=context.tenant.name,
            target=asked.target,
            letters=letters,
            by=principal.name,
        )
        return letters

    async def discard_dead_letters(self, principal: Principal, asked: LettersAsked) -> int:
        """Delete events that were given up, and return how many there were.

        Raises: as `replay_dead_letters`.
        """
        context = self.enter("DiscardDeadLetters", principal, asked.tenant)
        place = Place(context.tenant.tenant_id, asked.target)
        letters = await self.store.webhooks.discard(place, asked.letter_ids)
        if letters is None:
            raise _unknown(asked.target)
        _log.warning(
            "webhook_discarded",
            tenant=context.tenant.name,
            target=asked.target,
            letters=letters,
            by=principal.name,
        )
        return letters


def _unknown(target: str) -> NotFoundError:
    return NotFoundError(
        f"there is no target {target!r} here, or nothing was sent to it yet; list the targets",
        reason=ErrorReason.WEBHOOK_TARGET_UNKNOWN,
        metadata={"target": target},
    )
