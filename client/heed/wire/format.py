"""Values to messages of answers; whom and by what consent, requests say in the same words.

Laws:
- What an answer says of a time, it says in whole microseconds, UTC.
- An answer that a replay gives again is encoded once, with `replayed` unset; a replay is the same
  bytes with that field appended (protobuf reads fields in any order).
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from heed.hours import Hours
from heed.model import (
    RULE_VERSION,
    Cause,
    Change,
    Channel,
    Decision,
    Effect,
    Evidence,
    Hold,
    Instant,
    Origin,
    Reach,
    Reason,
    Record,
    RecordKind,
    Revision,
    Scope,
    Subject,
    SubjectType,
    Topic,
)
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import types_pb2 as pb

SHAPES_REMEMBERED_MAX = 8_192
"""So many different (kind, cause, reach, channel, topic) of records are remembered. Some 4 MiB."""


def position(
    revision: Revision, token: str, now: Instant, rule_version: int = RULE_VERSION
) -> pb.Position:
    """Return where in the log, and when, an answer is true, and by which rules."""
    return pb.Position(
        revision=revision, now=timestamp(now), rule_version=rule_version, token=token
    )


def timestamp(at: Instant) -> Timestamp:
    """Return an instant."""
    seconds, microseconds = divmod(at, 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1_000)


def scope(value: Scope) -> pb.Scope:
    """Return a scope."""
    return pb.Scope(channel=pb.Channel.ValueType(value.channel), topic=value.topic)


def subject(value: Subject) -> pb.Subject:
    """Return a subject."""
    match value.type:
        case SubjectType.EMAIL:
            return pb.Subject(email=value.value)
        case SubjectType.PHONE:
            return pb.Subject(phone=value.value)
        case SubjectType.USER:
            return pb.Subject(user=value.value)
        case SubjectType.DEVICE:
            return pb.Subject(device=value.value)
        case _:
            assert_never(value.type)


def origin(value: Origin) -> pb.Origin:
    """Return who said so."""
    return pb.Origin(
        source=value.source,
        actor=value.actor,
        method=pb.Method.ValueType(value.method),
        jurisdiction=value.jurisdiction,
        reference=value.reference,
        decided_time=None if value.decided_time is None else timestamp(value.decided_time),
    )


def evidence(value: Evidence) -> pb.Evidence:
    """Return what the person was shown and did."""
    return pb.Evidence(
        notice=value.notice,
        notice_version=value.notice_version,
        act=value.act,
        language=value.language,
        truncated_ip=value.truncated_ip,
    )


def quiet_hours(value: Hours) -> pb.QuietHours:
    """Return when it is quiet."""
    return pb.QuietHours(
        time_zone=value.time_zone,
        periods=[
            pb.QuietPeriod(
                days=[pb.DayOfWeek.ValueType(day) for day in one.days],
                start_minute=one.start_minute,
                end_minute=one.end_minute,
            )
            for one in value.periods
        ],
    )


@lru_cache(maxsize=SHAPES_REMEMBERED_MAX)
def record_shape(
    kind: RecordKind, cause: Cause, reach: Reach, channel: Channel, topic: str
) -> pb.Record:
    """Return what a record is and what it covers. Shared: copy it before you say more."""
    return pb.Record(
        kind=pb.RecordKind.ValueType(kind),
        cause=pb.Cause.ValueType(cause),
        reach=pb.Reach.ValueType(0 if kind is RecordKind.OPT_IN else reach),
        scope=pb.Scope(channel=pb.Channel.ValueType(channel), topic=topic),
    )


def record(value: Record, subject_index: int, now: Instant) -> pb.Record:
    """Return a record as a Check tells it: without who said so."""
    told = pb.Record()
    told.CopyFrom(record_shape(value.kind, value.cause, value.reach, value.channel, value.topic))
    told.decided_time.seconds, microseconds = divmod(value.decided_time, 1_000_000)
    told.decided_time.nanos = microseconds * 1_000
    if value.end_time is not None:
        told.end_time.CopyFrom(timestamp(value.end_time))
    told.revision = value.revision
    told.subject_index = subject_index
    told.active = value.is_active(now)
    if value.quiet_hours is not None:
        told.quiet_hours.CopyFrom(quiet_hours(value.quiet_hours))
    if value.no_ask_until is not None:
        told.no_ask_until.CopyFrom(timestamp(value.no_ask_until))
    return told


def record_in_full(
    value: Record,
    subject_index: int,
    now: Instant,
    *,
    commit_time: Instant,
    said_by: Origin | None,
    shown: Evidence | None,
    reason: str,
    is_erased: bool = False,
) -> pb.Record:
    """Return a record with who said so, when it was committed, and why."""
    told = record(value, subject_index, now)
    told.commit_time.CopyFrom(timestamp(commit_time))
    told.reason = reason
    told.erased = is_erased
    if said_by is not None:
        told.origin.CopyFrom(origin(said_by))
    if shown is not None:
        told.evidence.CopyFrom(evidence(shown))
    return told


def historic_change(value: Change, subject_index: int, now: Instant) -> audit.HistoricChange:
    """Return a change of the log as people read it."""
    asked = value.asked or value.record
    return audit.HistoricChange(
        revision=value.revision,
        commit_time=timestamp(value.commit_time),
        kind=audit.ChangeKind.ValueType(value.kind),
        effect=effect(value.effect),
        subject_index=subject_index,
        asked=None if asked is None else record(asked, subject_index, now),
        stood=None
        if value.asked is None or value.record is None
        else record(value.record, subject_index, now),
        origin=None if value.origin is None else origin(value.origin),
        evidence=None if value.evidence is None else evidence(value.evidence),
        reason=value.reason,
        batch_id=value.batch_id,
        erased=value.is_erased,
        asked_by=value.asked_by,
        approved_by=value.approved_by,
    )


def batch(
    batch_id: str,
    first_revision: Revision,
    last_revision: Revision,
    *,
    first: Change | None,
    last: Change | None,
    undone: Change | None,
) -> admin.Batch:
    """A batch, by the changes that it begins, ends and is undone with."""
    return admin.Batch(
        batch_id=batch_id,
        first_revision=first_revision,
        last_revision=last_revision,
        first_time=None if first is None else timestamp(first.commit_time),
        last_time=None if last is None else timestamp(last.commit_time),
        origin=None if first is None or first.origin is None else origin(first.origin),
        undoing=None
        if undone is None
        else admin.BatchUndoing(
            revision=undone.revision,
            begin_time=timestamp(undone.commit_time),
            reason=undone.reason,
            asked_by=undone.asked_by,
            approved_by=undone.approved_by,
        ),
    )


def hold(value: Hold) -> pb.Hold:
    """Return a hold as a Check tells it: without who placed it."""
    return pb.Hold(
        hold_id=value.hold_id,
        channel=pb.Channel.ValueType(value.channel or 0),
        topic=value.topic,
        campaign=value.campaign,
        end_time=None if value.end_time is None else timestamp(value.end_time),
        reason=value.reason,
        revision=value.revision,
        spares_mandatory=value.spares_mandatory,
    )


def hold_in_full(value: Hold, commit_time: Instant, placed_by: Origin | None) -> pb.Hold:
    """Return a hold with who placed it, and when."""
    told = hold(value)
    told.commit_time.CopyFrom(timestamp(commit_time))
    if placed_by is not None:
        told.origin.CopyFrom(origin(placed_by))
    return told


def known_subject(kept: Subject | None, erase_time: Instant | None) -> admin.KnownSubject:
    """Return what is kept of an identifier beside the log."""
    return admin.KnownSubject(
        subject=None if kept is None else subject(kept),
        erase_time=None if erase_time is None else timestamp(erase_time),
    )


def topic(value: Topic) -> pb.Topic:
    """Return a declared topic."""
    return pb.Topic(
        name=value.name,
        topic_class=pb.TopicClass.ValueType(value.topic_class),
        mandatory_channels=[
            pb.Channel.ValueType(channel) for channel in sorted(value.mandatory_channels)
        ],
        requires_opt_in=value.requires_opt_in,
        suppress_undeclared=value.suppress_undeclared,
        title=value.title,
        retired=value.retired,
        revision=value.revision,
    )


def reason(value: Reason, now: Instant) -> pb.Reason:
    """Return one voice of one rule."""
    told = pb.Reason(rule=pb.Rule.ValueType(value.rule))
    until = value.until
    if value.record is not None:
        told.record.CopyFrom(record(value.record, value.subject or 0, now))
        until = until or value.record.end_time
    if value.hold is not None:
        told.hold.CopyFrom(hold(value.hold))
        until = value.hold.end_time
    if until is not None:
        told.until_time.CopyFrom(timestamp(until))
    return told


def decision(value: Decision, subjects_with_records: Iterable[int], now: Instant) -> pb.Decision:
    """Return the answer to a query."""
    return pb.Decision(
        verdict=pb.Verdict.ValueType(value.verdict),
        reasons=[reason(one, now) for one in value.reasons],
        undeclared_topic=value.undeclared_topic,
        topic_class=pb.TopicClass.ValueType(value.topic_class),
        subjects_with_records=subjects_with_records,
    )


def effect(value: Effect) -> pb.Effect.ValueType:
    """Return what a write did."""
    return pb.Effect.ValueType(value)
