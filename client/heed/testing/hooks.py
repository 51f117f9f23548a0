"""The fake's answers about webhooks: it sends none, so that there is no target."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn

from heed.errors import ErrorReason, NotFoundError
from heed.model import Instant
from heed.testing.memory import Memory
from heed.testing.reading import ReadMethod
from heed.wire import parse_webhooks as parse
from heed.wire.asked import DeadLettersAsked, LettersAsked, WebhookTargetsAsked
from heed_proto.v1 import admin_service_pb2 as admin


def _list_webhook_targets(memory: Memory, _asked: WebhookTargetsAsked, _now: Instant) -> bytes:
    return admin.ListWebhookTargetsResponse(head_revision=memory.revision).SerializeToString()


def _unknown(_memory: Memory, asked: DeadLettersAsked | LettersAsked, _now: Instant) -> NoReturn:
    raise NotFoundError(
        f"there is no target {asked.target!r}; list the targets",
        reason=ErrorReason.WEBHOOK_TARGET_UNKNOWN,
        metadata={"target": asked.target},
    )


HOOKS: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "ListWebhookTargets": ReadMethod(
            read=parse.list_webhook_targets, act=_list_webhook_targets
        ),
        "ListDeadLetters": ReadMethod(read=parse.list_dead_letters, act=_unknown),
        "ReplayDeadLetters": ReadMethod(read=parse.replay_dead_letters, act=_unknown),
        "DiscardDeadLetters": ReadMethod(read=parse.discard_dead_letters, act=_unknown),
    }
)
"""By the method's name."""
