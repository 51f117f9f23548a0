"""The library's values (`heed.requests`, `heed.model`) in the words of the contract.

They are what the messages of `heed.wire.ask` and its like are made of.
"""

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, ParamSpec, TypeVar, assert_never

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from heed.errors import FieldViolation, InvalidArgumentError, invalid_field
from heed.model import TOPIC_ROOT, Cause, Channel, Reach
from heed.names import named
from heed.requests import (
    Choice,
    EndPause,
    EndQuietHours,
    OptIn,
    OptOut,
    Origin,
    Pause,
    Query,
    QuietHours,
    Suppression,
    require_seconds,
)
from heed.wire import format as told
from heed.wire.limits import WAIT_PROPAGATED_SECONDS_MAX
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb

P = ParamSpec("P")
M = TypeVar("M", bound=Message)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def of_unicode(ask: Callable[P, M]) -> Callable[P, M]:
    """Refuse what no message can hold, without repeating it: it may be an address."""

    @functools.wraps(ask)
    def asked(*args: P.args, **kwargs: P.kwargs) -> M:
        try:
            return ask(*args, **kwargs)
        except UnicodeError:
            description = "holds half a surrogate pair, which is no Unicode; leave it out"
            raise InvalidArgumentError(
                f"a string {description}", violations=[FieldViolation("", description)]
            ) from None

    return asked


def query(value: Query) -> pb.Query:
    """Say what is asked."""
    return pb.Query(
        subjects=[told.subject(one) for one in value.named_subjects()],
        channel=channel(value.channel),
        topic=value.topic,
        campaign=value.campaign,
        reference=value.reference,
    )


def choice(value: Choice) -> pb.Choice:
    """Say what was chosen, and where."""
    where = pb.Scope(channel=channel(value.channel), topic=value.topic)
    match value:
        case OptOut():
            opt_out = pb.OptOut(
                reach=reach(value.reach), no_ask_until=timestamp(value.no_ask_until)
            )
            return pb.Choice(scope=where, opt_out=opt_out)
        case OptIn():
            opt_in = pb.OptIn(
                evidence=told.evidence(value.evidence), end_time=timestamp(value.end_time)
            )
            return pb.Choice(scope=where, opt_in=opt_in)
        case Pause():
            pause = pb.Pause(end_time=timestamp(value.end_time), reach=reach(value.reach))
            return pb.Choice(scope=where, pause=pause)
        case EndPause():
            return pb.Choice(scope=where, end_pause=pb.EndPause())
        case QuietHours():
            hours = told.quiet_hours(value.hours())
            hours.reach = reach(value.reach)
            return pb.Choice(scope=where, quiet_hours=hours)
        case EndQuietHours():
            return pb.Choice(scope=where, end_quiet_hours=pb.EndQuietHours())
        case _:
            assert_never(value)


def suppression(value: Suppression) -> admin.Suppression:
    """Say what is suppressed, and why."""
    return admin.Suppression(
        cause=pb.Cause.ValueType(named(Cause, value.cause, "cause")),
        scope=scope(value.channel, value.topic),
        reach=reach(value.reach),
        end_time=timestamp(value.end_time),
        reason=value.reason,
    )


def scope(named_channel: Channel | str | None, topic: str) -> pb.Scope | None:
    """A scope; None, which is said as its absence, when it names nothing."""
    if named_channel is None and topic == TOPIC_ROOT:
        return None
    return pb.Scope(channel=channel(named_channel), topic=topic)


def origin(value: Origin) -> pb.Origin:
    """Say from where a choice came."""
    return pb.Origin(
        source=value.source,
        actor=value.actor,
        method=pb.Method.ValueType(value.method),
        jurisdiction=value.jurisdiction,
        reference=value.reference,
        decided_time=timestamp(value.decided_time),
    )


def channel(value: Channel | str | None) -> pb.Channel.ValueType:
    """Say by which channel; 0: by any."""
    return pb.Channel.ValueType(named(Channel, value, "channel") if value is not None else 0)


def reach(value: Reach | str | None) -> pb.Reach.ValueType:
    """Say how far it reaches; 0: as by default."""
    return pb.Reach.ValueType(named(Reach, value, "reach") if value is not None else 0)


def duration(seconds: float | None, field: str) -> Duration | None:
    """Say how long. Raises: InvalidArgumentError with the field."""
    require_seconds(seconds, field)
    if seconds is None:
        return None
    said = Duration()
    try:
        said.FromMicroseconds(round(seconds * 1_000_000))
    except (OverflowError, ValueError):
        description = f"is no time that can be said; give {WAIT_PROPAGATED_SECONDS_MAX} s at most"
        raise invalid_field(field, description) from None
    return said


def timestamp(instant: datetime | None) -> Timestamp | None:
    """Say when; None where nothing is said."""
    if instant is None:
        return None
    seconds, rest = divmod(instant - _EPOCH, _SECOND)
    return Timestamp(seconds=seconds, nanos=rest.microseconds * 1000)
