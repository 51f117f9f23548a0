"""Messages of AdminService that undo to values, by the laws of `heed.wire.parse`."""

from typing import Final

from heed.model import Cause, Instant
from heed.wire import limits, values
from heed.wire.asked import PageAsked, ReleasesAsked, RevertAsked
from heed.wire.parse import message, write_call
from heed.wire.parse_admin import page, why
from heed.wire.violations import Violations
from heed_proto.v1 import admin_service_pb2 as admin

BULK_CAUSES: Final = values.Closed(
    "CAUSE", [Cause.BOUNCE, Cause.TEMPORARY_FAILURE, Cause.INVALID, Cause.MANUAL]
)
"""What is released of many people at once: never what a person or the law said."""


def list_batches(data: bytes) -> PageAsked:
    """Read a ListBatchesRequest."""
    asked = message(admin.ListBatchesRequest, data)
    return page(asked.tenant, asked.page_size, asked.page_token, "batches")


def revert_batch(data: bytes) -> RevertAsked:
    """Read a RevertBatchRequest."""
    asked = message(admin.RevertBatchRequest, data)
    violations = Violations()
    values.ascii_name(asked.batch_id, "batch_id", violations, limits.BATCH_ID_CHARACTERS_MAX)
    read = RevertAsked(
        call=write_call("RevertBatch", asked, violations, dry_run=asked.dry_run),
        batch_id=asked.batch_id,
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def release_suppressions(data: bytes) -> ReleasesAsked:
    """Read a ReleaseSuppressionsRequest."""
    asked = message(admin.ReleaseSuppressionsRequest, data)
    violations = Violations()
    if asked.batch_id:
        values.ascii_name(asked.batch_id, "batch_id", violations, limits.BATCH_ID_CHARACTERS_MAX)
    from_time = before_time = Instant(0)
    for name in ("from_time", "before_time"):
        if not asked.HasField(name):
            violations.add(name, "is required: which were seen within what time")
    if asked.HasField("from_time"):
        from_time = values.instant(asked.from_time, "from_time", violations)
    if asked.HasField("before_time"):
        before_time = values.instant(asked.before_time, "before_time", violations)
        if asked.HasField("from_time") and before_time <= from_time:
            violations.add("before_time", "must be after from_time")
    read = ReleasesAsked(
        call=write_call("ReleaseSuppressions", asked, violations, dry_run=asked.dry_run),
        cause=BULK_CAUSES.read(asked.cause, "cause", violations, Cause.MANUAL),
        from_time=from_time,
        before_time=before_time,
        batch_id=asked.batch_id,
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read
