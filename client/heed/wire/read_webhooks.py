"""Answers of AdminService about webhooks, by the laws of `heed.wire.read`."""

from heed.webhooks import DeadLetter, WebhookTarget
from heed.wire import heard
from heed_proto.v1 import admin_service_pb2 as admin


def webhook_targets(answer: admin.ListWebhookTargetsResponse) -> tuple[WebhookTarget, ...]:
    """Read where webhooks stand."""
    return tuple(
        WebhookTarget(
            name=one.name,
            revision=one.revision,
            lag=max(0, answer.head_revision - one.revision),
            late_lanes=one.late_lanes,
            dead_letters=one.dead_letters,
            delivered_time=heard.instant(one.delivered_time)
            if one.HasField("delivered_time")
            else None,
            failing_since=heard.instant(one.failing_since)
            if one.HasField("failing_since")
            else None,
            failure=one.failure,
        )
        for one in answer.targets
    )


def dead_letter(value: admin.DeadLetter) -> DeadLetter:
    """Read a dead letter."""
    return DeadLetter(
        letter_id=value.letter_id,
        event=value.event,
        revision=value.revision,
        first_time=heard.instant(value.first_time),
        dead_time=heard.instant(value.dead_time),
        attempts=value.attempts,
        failure=value.failure,
        replays=value.replays,
    )
