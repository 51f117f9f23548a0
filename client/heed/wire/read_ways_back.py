"""Answers of AdminService about undoing, by the laws of `heed.wire.read`."""

from heed.answers import Approval, ReleasesAnswer, RevertAnswer
from heed.batches import Batch, BatchUndoing
from heed.model import ApprovalState
from heed.wire import heard
from heed_proto.v1 import admin_service_pb2 as admin


def reverted(answer: admin.RevertBatchResponse, key: str) -> RevertAnswer:
    """Read what undoing a batch did."""
    return RevertAnswer(
        records=answer.records,
        released=answer.released,
        restored=answer.restored,
        unchanged=answer.unchanged,
        people=answer.people,
        newly_allowed=answer.newly_allowed,
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def batch(value: admin.Batch) -> Batch:
    """Read a batch."""
    undoing = value.undoing
    return Batch(
        batch_id=value.batch_id,
        first_revision=value.first_revision,
        last_revision=value.last_revision,
        first_time=heard.instant(value.first_time) if value.HasField("first_time") else None,
        last_time=heard.instant(value.last_time) if value.HasField("last_time") else None,
        origin=heard.origin(value.origin) if value.HasField("origin") else None,
        undoing=BatchUndoing(
            revision=undoing.revision,
            begin_time=heard.instant(undoing.begin_time),
            reason=undoing.reason,
            asked_by=undoing.asked_by,
            approved_by=undoing.approved_by,
        )
        if value.HasField("undoing")
        else None,
    )


def releases(answer: admin.ReleaseSuppressionsResponse, key: str) -> ReleasesAnswer:
    """Read how many suppressions were released."""
    return ReleasesAnswer(
        released=answer.released,
        people=answer.people,
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def approval(value: admin.Approval) -> Approval:
    """Read an approval. In a state that is not known it is told as rejected."""
    return Approval(
        approval_id=value.approval_id,
        method=value.method,
        idempotency_key=value.idempotency_key,
        state=heard.APPROVAL_STATE(value.state) or ApprovalState.REJECTED,
        about=value.about,
        reason=value.reason,
        shown=dict(value.shown),
        asked_by=value.asked_by,
        ask_time=heard.instant(value.ask_time),
        expire_time=heard.instant(value.expire_time),
        decided_by=value.decided_by,
        decide_time=heard.instant(value.decide_time) if value.HasField("decide_time") else None,
    )
