"""The RPCs about webhooks: parse, act, format."""

from heed.wire import format as told
from heed.wire import parse_webhooks as parse
from heed.wire.parse_admin import page_token
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.auth.policy import Principal
from heed_server.service import Service
from heed_server.webhook_store import DeadLetter, TargetStanding


async def list_webhook_targets(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListWebhookTargets."""
    asked = parse.list_webhook_targets(data)
    found = await service.list_webhook_targets(principal, asked)
    return admin.ListWebhookTargetsResponse(
        targets=map(_target, found.targets), head_revision=found.head_revision
    ).SerializeToString()


async def list_dead_letters(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListDeadLetters."""
    asked = parse.list_dead_letters(data)
    page = await service.list_dead_letters(principal, asked)
    return admin.ListDeadLettersResponse(
        letters=map(_letter, page.letters),
        next_page_token=page_token(parse.letters_list(asked.target), page.next_cursor),
    ).SerializeToString()


async def replay_dead_letters(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ReplayDeadLetters."""
    letters = await service.replay_dead_letters(principal, parse.replay_dead_letters(data))
    return admin.ReplayDeadLettersResponse(letters=letters).SerializeToString()


async def discard_dead_letters(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer DiscardDeadLetters."""
    letters = await service.discard_dead_letters(principal, parse.discard_dead_letters(data))
    return admin.DiscardDeadLettersResponse(letters=letters).SerializeToString()


def _target(one: TargetStanding) -> admin.WebhookTarget:
    delivered, since = one.health.delivered_time, one.health.failing_since
    return admin.WebhookTarget(
        name=one.target,
        revision=one.position.revision,
        late_lanes=one.late_count,
        dead_letters=one.dead_count,
        delivered_time=None if delivered is None else told.timestamp(delivered),
        failing_since=None if since is None else told.timestamp(since),
        failure=one.health.failure,
    )


def _letter(one: DeadLetter) -> admin.DeadLetter:
    return admin.DeadLetter(
        letter_id=one.letter_id,
        event=one.event,
        revision=one.revision,
        first_time=told.timestamp(one.first_time),
        dead_time=told.timestamp(one.dead_time),
        attempts=one.attempts,
        failure=one.failure,
        replays=one.replay,
    )
