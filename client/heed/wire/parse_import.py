"""The messages of imports to values: a path made for speed, since a list has a million rows.

Laws:
- It is the one request that is not refused whole: a malformed row is left out and named.
- Every constraint is that of `row`, which finds what is wrong; whatever is not plainly right is
  read by it. What rows stop is remembered by its parts, since lists say the same of many people.
"""

from collections.abc import Sequence
from typing import Final, assert_never

from heed.errors import InvalidArgumentError
from heed.keys import normalised_value
from heed.model import Cause, Instant, Reach, Scope, Subject, SubjectType
from heed.wire import limits, values
from heed.wire.asked import ImportAsked, ProtectionAsked, RejectedRow
from heed.wire.parse import message, write_call
from heed.wire.parse_admin import scopes_of_type, suppressions
from heed.wire.violations import Violations, too_large
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb

STOPS_REMEMBERED_MAX: Final = 4_096
"""So many different kinds of rows; one more and all are forgotten. Some 2 MiB."""

Stop = tuple[Cause, Reach, Scope]
_Parts = tuple[str | None, str, int, int, int, str]
"""What is said, of what type of subject; cause, reach, channel and topic."""

_SECOND_NANOS: Final = 1_000_000_000
_NO_CAUSE: Final = Cause.NONE
_NOTHING: Final = pb.CAUSE_UNSPECIFIED
_TYPES: Final = {
    "email": SubjectType.EMAIL,
    "phone": SubjectType.PHONE,
    "user": SubjectType.USER,
    "device": SubjectType.DEVICE,
}

_made: Final = ProtectionAsked._make
_NEW: Final = Subject.__new__
_SET_TYPE: Final = Subject.__dict__["type"].__set__
_SET_VALUE: Final = Subject.__dict__["value"].__set__

# Only ever what `row` returned for the same parts, so that threads may race for it.
_stops: dict[_Parts, tuple[Stop, ...]] = {}


def import_records(data: bytes) -> ImportAsked:
    """Read an ImportRecordsRequest, and set its malformed rows aside."""
    asked = message(admin.ImportRecordsRequest, data)
    if len(asked.rows) > limits.IMPORT_ROWS_MAX:
        raise too_large("rows", len(asked.rows), limits.IMPORT_ROWS_MAX)
    violations = Violations()
    call = write_call("ImportRecords", asked, violations, dry_run=asked.dry_run)
    values.ascii_name(asked.batch_id, "batch_id", violations, limits.BATCH_ID_CHARACTERS_MAX)
    if not asked.rows:
        violations.add("rows", f"is empty; say 1 to {limits.IMPORT_ROWS_MAX} rows")
    origin = values.required_origin(asked.HasField("origin"), asked.origin, violations)
    violations.raise_if_any()
    protections: list[ProtectionAsked] = []
    rejected: list[RejectedRow] = []
    for index, one in enumerate(asked.rows):
        if _adds_plainly(one, index, protections):
            continue
        wrong = Violations()
        read = row(one, index, wrong)
        if wrong.count:
            rejected.append(RejectedRow(row=one.row, violation=wrong.named[0]))
        else:
            protections += read
    return ImportAsked(
        call=call,
        batch_id=asked.batch_id,
        protections=tuple(protections),
        rejected=tuple(rejected),
        has_opt_outs=any(one.cause is _NO_CAUSE for one in protections),
        origin=origin,
    )


def row(asked: admin.ImportRow, index: int, violations: Violations) -> Sequence[ProtectionAsked]:
    """Return what one row adds, noting all that is wrong; its paths are of the row."""
    if asked.row < 1:
        violations.add("row", "must be the place in the file, from 1")
    subject = values.subject(asked.subject, "subject", violations)
    decided_time = (
        values.instant(asked.decided_time, "decided_time", violations)
        if asked.HasField("decided_time")
        else None
    )
    protection = asked.WhichOneof("protection")
    match protection:
        case "opt_out":
            reach = (
                values.REACHES.read(
                    asked.opt_out.reach, "opt_out.reach", violations, Reach.PROMOTIONAL
                )
                if asked.opt_out.reach
                else Reach.PROMOTIONAL
            )
            return [
                ProtectionAsked(subject, Cause.NONE, reach, scope, decided_time, None, "", index)
                for scope in scopes_of_type(asked.scope, subject, "scope", violations)
            ]
        case "suppression":
            if asked.HasField("scope"):
                violations.add("scope", "is of an opt-out; a suppression has its own scope")
            return suppressions(
                asked.suppression, subject, decided_time, index, "suppression", violations
            )
        case None:
            violations.add("protection", "is missing; set one of opt_out, suppression")
            return ()
        case _:
            assert_never(protection)


def _adds_plainly(asked: admin.ImportRow, index: int, protections: list[ProtectionAsked]) -> bool:
    """Add what a row says if it is plainly right, and ends never; return whether it is."""
    given = asked.subject
    kind, value = "email", given.email
    if not value:
        named = given.WhichOneof("identifier")
        if named is None:
            return False
        kind, value = named, getattr(given, named)
    said = asked.WhichOneof("protection")
    reason, cause = "", _NOTHING
    if said == "suppression":
        suppression = asked.suppression
        reason = suppression.reason
        if (
            asked.HasField("scope")
            or suppression.HasField("end_time")
            or len(reason) > limits.REASON_CHARACTERS_MAX
            or not reason.isprintable()
        ):
            return False
        scope = suppression.scope
        cause, reach = suppression.cause, suppression.reach
    else:
        scope, reach = asked.scope, asked.opt_out.reach
    parts = (said, kind, cause, reach, scope.channel, scope.topic)
    stops = _stops.get(parts) or _learn(asked, parts)
    decided_time = None
    if asked.HasField("decided_time"):
        time = asked.decided_time
        seconds, nanos = time.seconds, time.nanos
        if not (0 <= seconds <= limits.SECONDS_MAX and 0 <= nanos < _SECOND_NANOS):
            return False
        decided_time = Instant(seconds * 1_000_000 + nanos // 1_000)
    if stops is None or asked.row < 1:
        return False
    subject_type = _TYPES[kind]
    # A frozen subject made by its constructor costs as much as reading it.
    subject = _NEW(Subject)
    _SET_TYPE(subject, subject_type)
    try:
        _SET_VALUE(subject, normalised_value(subject_type, value))
    except InvalidArgumentError:
        return False
    for stop in stops:
        protections.append(  # noqa: PERF401 - one is quicker so, and most rows have one
            _made((subject, *stop, decided_time, None, reason, index))
        )
    return True


def _learn(asked: admin.ImportRow, parts: _Parts) -> tuple[Stop, ...] | None:
    """Return what a row stops, to be remembered; None if it is malformed."""
    violations = Violations()
    read = row(asked, 0, violations)
    if violations.count:
        return None
    if len(_stops) >= STOPS_REMEMBERED_MAX:
        _stops.clear()
    return _stops.setdefault(parts, tuple((one.cause, one.reach, one.scope) for one in read))
