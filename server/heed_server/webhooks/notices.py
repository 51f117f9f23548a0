"""What is told to targets that is no change of the log: a deadline that comes, or has passed.

Law: a notice is kept in the database before the watch on deadlines keeps that it warned; a crash
between the two tells it again, under the same id.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from heed.model import Instant
from heed_server.deadline_marks import DeadlineWarning
from heed_server.store import Tenant
from heed_server.webhook_store import LateLane, Place, WebhookStore
from heed_server.webhooks.events import EventType, notice, text_of
from heed_server.webhooks.targets_file import TargetsFile

NOTICES_MAX: Final = 1_000
"""Notices of a target that wait to be delivered; more are left out, loudly: the log and the metrics
tell of each all the same."""

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class DeadlineNotices:
    """Tells targets of deadlines."""

    def __init__(
        self, store: WebhookStore, targets: TargetsFile, *, now: Callable[[], Instant]
    ) -> None:
        self._store = store
        self._targets = targets
        self._now = now

    async def tell(self, tenant: Tenant, warnings: Sequence[DeadlineWarning]) -> None:
        """Have warnings sent to each target of a tenant that wants them.

        Raises:
            UnavailableError: the database does not answer.
        """
        now = self._now()
        for target in self._targets.of_tenant(tenant.name):
            found = [
                _notice(tenant.name, warning, now)
                for warning in warnings
                if _type_of(warning) in target.wanted.events
            ]
            if found:
                await self._put(Place(tenant.tenant_id, target.name), tenant.name, found)

    async def _put(self, place: Place, tenant: str, notices: Sequence[LateLane]) -> None:
        left_out = await self._store.add_notices(place, notices, NOTICES_MAX)
        if left_out:
            _log.error(
                "webhook_notices_left_out", tenant=tenant, target=place.target, count=left_out
            )


def _type_of(warning: DeadlineWarning) -> EventType:
    if warning.opt_outs > 1:
        return EventType.DEADLINES_NEAR_TOO
    return EventType.DEADLINE_OVER if warning.is_over else EventType.DEADLINE_NEAR


def _notice(tenant: str, warning: DeadlineWarning, now: Instant) -> LateLane:
    type_ = _type_of(warning)
    told: dict[str, object] = {
        "tenant": tenant,
        "subscriber": warning.subscriber,
        "status": warning.status,
        "revision": warning.revision,
        "applied_revision": warning.applied_revision,
        "deadline": text_of(warning.deadline),
        "policy": warning.policy,
        "calendar": warning.calendar,
        "opt_outs": warning.opt_outs,
    }
    known_by = (tenant, *told.values())
    return notice(type_, now, told, known_by=known_by, about=warning.revision)
