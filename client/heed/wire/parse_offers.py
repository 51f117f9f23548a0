"""OfferRecordsRequest to values; the laws are those of `heed.wire.parse`.

A record of a kind that this version does not know is refused like an opt-in: whether it protects
nobody here can tell.
"""

from typing import Final

from heed.acts import Offered
from heed.model import (
    OF_ONE_SLOT,
    Cause,
    Channel,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
)
from heed.tokens import EPOCH_BYTES
from heed.wire import heard, limits, values
from heed.wire.asked import OfferAsked
from heed.wire.parse import message, write_call
from heed.wire.parse_admin import hold
from heed.wire.violations import Violations, too_large
from heed.wire.watched import SUBJECT_KEY_BYTES
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb

_KINDS: Final = values.Closed(
    "RECORD_KIND", [kind for kind in RecordKind if kind is not RecordKind.OPT_IN]
)
_TIME_MAX: Final = limits.SECONDS_MAX * 1_000_000


def offer_records(data: bytes) -> OfferAsked:
    """Read an OfferRecordsRequest."""
    asked = message(pb.OfferRecordsRequest, data)
    count = sum(len(one.records) for one in asked.subjects)
    if max(count, len(asked.subjects)) > limits.OFFERED_RECORDS_MAX:
        raise too_large("subjects", max(count, len(asked.subjects)), limits.OFFERED_RECORDS_MAX)
    if len(asked.holds) > limits.OFFERED_HOLDS_MAX:
        raise too_large("holds", len(asked.holds), limits.OFFERED_HOLDS_MAX)
    violations = Violations()
    call = write_call("OfferRecords", asked, violations)
    subscriber = values.ascii_name(
        asked.subscriber, "subscriber", violations, limits.SUBSCRIBER_CHARACTERS_MAX
    )
    if len(asked.epoch) != EPOCH_BYTES:
        violations.add("epoch", f"has {len(asked.epoch)} bytes and must have {EPOCH_BYTES}")
    if not count and not asked.holds:
        violations.add("subjects", "has no records, and there are no holds; offer something")
    offered: list[Offered] = []
    for at, one in enumerate(asked.subjects):
        path = f"subjects[{at}]"
        if len(one.subject_key) != SUBJECT_KEY_BYTES:
            violations.add(
                f"{path}.subject_key",
                f"has {len(one.subject_key)} bytes and must have {SUBJECT_KEY_BYTES}",
            )
        offered += (
            Offered(
                SubjectKey(one.subject_key), _record(record, f"{path}.records[{index}]", violations)
            )
            for index, record in enumerate(one.records)
        )
    holds = tuple(_hold(one, f"holds[{at}]", violations) for at, one in enumerate(asked.holds))
    if len({one.hold_id for one in holds}) < len(holds):
        violations.add("holds", "names a hold twice")
    violations.raise_if_any()
    return OfferAsked(
        call=call,
        subscriber=subscriber,
        epoch=asked.epoch,
        offered=tuple(offered),
        holds=holds,
    )


def _record(asked: pb.WatchedRecord, path: str, violations: Violations) -> Record:
    kind = _KINDS.read(asked.kind, f"{path}.kind", violations, RecordKind.OPT_OUT)
    cause = Cause.NONE
    if kind is RecordKind.SUPPRESSION:
        cause = values.CAUSES.read(asked.cause, f"{path}.cause", violations, Cause.MANUAL)
    elif asked.cause:
        violations.add(f"{path}.cause", "is of a suppression; leave it out")
    reaches = values.PAUSE_REACHES if kind in OF_ONE_SLOT else values.REACHES
    end_time = None
    if asked.HasField("end_time_us"):
        end_time = _instant(asked.end_time_us, f"{path}.end_time_us", violations)
        if kind is RecordKind.OPT_OUT:
            violations.add(f"{path}.end_time_us", "must be absent: an opt-out does not end")
    quiet_hours = None
    if asked.HasField("quiet_hours"):
        quiet_hours = heard.quiet_hours(asked.quiet_hours)
        if quiet_hours is None or kind is not RecordKind.QUIET_HOURS:
            violations.add(f"{path}.quiet_hours", "must be hours, and of quiet hours; update heed")
    no_ask_until = None
    if asked.HasField("no_ask_until_us"):
        no_ask_until = _instant(asked.no_ask_until_us, f"{path}.no_ask_until_us", violations)
        if kind is not RecordKind.OPT_OUT:
            violations.add(f"{path}.no_ask_until_us", "is of an opt-out; leave it out")
    return Record(
        kind=kind,
        cause=cause,
        reach=reaches.read(asked.reach, f"{path}.reach", violations, Reach.PROMOTIONAL),
        channel=values.CHANNELS.read(asked.channel, f"{path}.channel", violations, Channel.ANY),
        topic=values.topic_name(asked.topic, f"{path}.topic", violations),
        decided_time=_instant(asked.decided_time_us, f"{path}.decided_time_us", violations),
        end_time=end_time,
        revision=Revision(0),
        quiet_hours=quiet_hours,
        no_ask_until=no_ask_until,
    )


def _hold(asked: types.Hold, path: str, violations: Violations) -> Hold:
    if asked.spares_mandatory:
        violations.add(f"{path}.spares_mandatory", "must be false; it was of another restore")
    hold_id = values.ascii_name(
        asked.hold_id, f"{path}.hold_id", violations, limits.HOLD_ID_CHARACTERS_MAX
    )
    return hold(asked, hold_id, path, violations)


def _instant(asked: int, path: str, violations: Violations) -> Instant:
    if not 0 <= asked <= _TIME_MAX:
        violations.add(path, "must be within the years 1970 to 9999, in microseconds")
    return Instant(asked)
