"""What messages say in every answer, as the library's values; `heed.wire.read` is made of it.

The laws are those of `heed.wire.read`.
"""

import enum
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from heed.answers import Record
from heed.deadlines import DeadlineStanding
from heed.errors import InvalidArgumentError
from heed.hours import DayOfWeek, Hours, QuietPeriod
from heed.model import (
    SECONDS_MAX,
    ApprovalState,
    Cause,
    ChangeKind,
    Channel,
    Evidence,
    Method,
    Reach,
    RecordKind,
    Rule,
    Scope,
    Subject,
    SubjectType,
    TopicClass,
)
from heed.propagation import SubscriberStatus
from heed.requests import Origin
from heed_proto.v1 import types_pb2 as pb

E = TypeVar("E", bound=enum.IntEnum)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class PositionFields(TypedDict):
    """Where an answer was true, as the fields of `heed.answers.Positioned`."""

    revision: int
    now: datetime
    rule_version: int
    token: str


class WriteFields(PositionFields):
    """The same of a write, as those of `heed.answers.Written`."""

    replayed: bool
    idempotency_key: str


def _known(kind: type[E]) -> Callable[[int], E | None]:
    by_number: Mapping[int, E] = {int(member): member for member in kind}
    return by_number.get


CHANNEL = _known(Channel)
TOPIC_CLASS = _known(TopicClass)
_REACH = _known(Reach)
_KIND = _known(RecordKind)
CHANGE_KIND = _known(ChangeKind)
_CAUSE = _known(Cause)
RULE = _known(Rule)
_METHOD = _known(Method)
STATUS = _known(SubscriberStatus)
DEADLINE_STANDING = _known(DeadlineStanding)
APPROVAL_STATE = _known(ApprovalState)

_SUBJECT_TYPES: Final = {
    "email": SubjectType.EMAIL,
    "phone": SubjectType.PHONE,
    "user": SubjectType.USER,
    "device": SubjectType.DEVICE,
}


def subject(value: pb.Subject) -> Subject | None:
    """Read a subject; None: of a type that is unknown."""
    type_name = value.WhichOneof("identifier")
    if type_name is None:
        return None
    return Subject(type=_SUBJECT_TYPES[type_name], value=getattr(value, type_name))


def record(value: pb.Record) -> Record:
    """Read a record. An opt-in on an unknown channel is told as one that is not active."""
    channel = CHANNEL(value.scope.channel)
    kind = _KIND(value.kind) or RecordKind.SUPPRESSION
    return Record(
        kind=kind,
        cause=_cause(value.cause, kind),
        reach=_REACH(value.reach) or Reach.ALL,
        scope=Scope(channel=channel or Channel.ANY, topic=value.scope.topic),
        decided_time=instant(value.decided_time) if value.HasField("decided_time") else None,
        end_time=instant(value.end_time) if value.HasField("end_time") else None,
        revision=value.revision,
        subject_index=value.subject_index,
        active=value.active and not (kind is RecordKind.OPT_IN and channel is None),
        origin=origin(value.origin) if value.HasField("origin") else None,
        commit_time=instant(value.commit_time) if value.HasField("commit_time") else None,
        reason=value.reason,
        evidence=evidence(value.evidence) if value.HasField("evidence") else None,
        erased=value.erased,
        quiet_hours=quiet_hours(value.quiet_hours) if value.HasField("quiet_hours") else None,
        no_ask_until=instant(value.no_ask_until) if value.HasField("no_ask_until") else None,
    )


def quiet_hours(value: pb.QuietHours) -> Hours | None:
    """Read when it is quiet; None: at hours that this version cannot say, so at every hour."""
    try:
        return Hours(
            time_zone=value.time_zone,
            periods=tuple(
                QuietPeriod(
                    start_minute=one.start_minute,
                    end_minute=one.end_minute,
                    days=tuple(map(DayOfWeek, one.days)),
                )
                for one in value.periods
            ),
        )
    except (InvalidArgumentError, ValueError):
        return None


def _cause(number: int, kind: RecordKind) -> Cause:
    if kind is not RecordKind.SUPPRESSION:
        return Cause.NONE
    return _CAUSE(number) or Cause.MANUAL


def origin(value: pb.Origin) -> Origin:
    """Read who said so."""
    return Origin(
        source=value.source,
        actor=value.actor,
        method=_METHOD(value.method) or Method.UNSPECIFIED,
        jurisdiction=value.jurisdiction,
        reference=value.reference,
        decided_time=instant(value.decided_time) if value.HasField("decided_time") else None,
    )


def evidence(value: pb.Evidence) -> Evidence:
    """Read what the person was shown and did."""
    return Evidence(
        notice=value.notice,
        notice_version=value.notice_version,
        act=value.act,
        language=value.language,
        truncated_ip=value.truncated_ip,
    )


def position(value: pb.Position) -> PositionFields:
    """Read where an answer was true."""
    return PositionFields(
        revision=value.revision,
        now=instant(value.now),
        rule_version=value.rule_version,
        token=value.token,
    )


def write(at: pb.Position, *, replayed: bool, key: str) -> WriteFields:
    """Read where a write was made, and whether it was before."""
    return WriteFields(**position(at), replayed=replayed, idempotency_key=key)


def instant(value: Timestamp) -> datetime:
    """Read a time; one that is none of ours is the nearest that is."""
    seconds = min(max(value.seconds, 0), SECONDS_MAX)
    return _EPOCH + timedelta(seconds=seconds, microseconds=value.nanos // 1000)
