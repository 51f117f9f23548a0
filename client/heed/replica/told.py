"""A decision as the library's answer: what a server's answer to the same is read as.

`heed.wire.format` and `heed.wire.read` do the same over messages; a test holds the two together.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from heed import answers
from heed.model import SECONDS_MAX, Cause, Hold, Instant, Reach, Reason, Record, RecordKind, Scope

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def reasons_of(reasons: Sequence[Reason], now: Instant) -> tuple[answers.Reason, ...]:
    """Return the voices of a decision."""
    return tuple(_reason(reason, now) for reason in reasons)


def time_of(at: Instant) -> datetime:
    """Return an instant; what no datetime can be is the nearest that can."""
    seconds, microseconds = divmod(at, 1_000_000)
    return _EPOCH + timedelta(seconds=min(max(seconds, 0), SECONDS_MAX), microseconds=microseconds)


def _reason(reason: Reason, now: Instant) -> answers.Reason:
    record, hold = reason.record, reason.hold
    until = record.end_time if record is not None else None
    if hold is not None:
        until = hold.end_time
    return answers.Reason(
        rule=reason.rule,
        record=None if record is None else _record(record, reason.subject or 0, now),
        hold=None if hold is None else _hold(hold),
        until_time=None if until is None else time_of(until),
    )


def _record(record: Record, subject_index: int, now: Instant) -> answers.Record:
    return answers.Record(
        kind=record.kind,
        cause=record.cause if record.kind is RecordKind.SUPPRESSION else Cause.NONE,
        reach=Reach.ALL if record.kind is RecordKind.OPT_IN else record.reach,
        scope=Scope(channel=record.channel, topic=record.topic),
        decided_time=time_of(record.decided_time),
        end_time=None if record.end_time is None else time_of(record.end_time),
        revision=record.revision,
        subject_index=subject_index,
        active=record.is_active(now),
    )


def _hold(hold: Hold) -> answers.Hold:
    return answers.Hold(
        hold_id=hold.hold_id,
        channel=hold.channel,
        topic=hold.topic,
        campaign=hold.campaign,
        end_time=None if hold.end_time is None else time_of(hold.end_time),
        reason=hold.reason,
        revision=hold.revision,
    )
