"""A decision as the library's answer: what a server's answer to the same is read as.

`heed.wire.format` and `heed.wire.read` do the same over messages; a test holds the two together.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from heed import answers
from heed.model import (
    SECONDS_MAX,
    Cause,
    Channel,
    Hold,
    Instant,
    Reach,
    Reason,
    Record,
    RecordKind,
    Scope,
)

SCOPES_REMEMBERED_MAX: Final = 4_096
"""So many different scopes are remembered. Some 1 MiB."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = SECONDS_MAX * 1_000_000


def reasons_of(reasons: Sequence[Reason], now: Instant) -> tuple[answers.Reason, ...]:
    """Return the voices of a decision."""
    if len(reasons) == 1:
        return (_reason(reasons[0], now),)
    return tuple(_reason(reason, now) for reason in reasons)


def time_of(at: Instant) -> datetime:
    """Return an instant; what no datetime can be is the nearest that can."""
    if 0 <= at <= _LAST:
        return _EPOCH + timedelta(0, 0, at)
    seconds, microseconds = divmod(at, 1_000_000)
    return _EPOCH + timedelta(seconds=min(max(seconds, 0), SECONDS_MAX), microseconds=microseconds)


def _reason(reason: Reason, now: Instant) -> answers.Reason:
    record, hold = reason.record, reason.hold
    until = reason.until
    if record is not None and until is None:
        until = record.end_time
    if hold is not None:
        until = hold.end_time
    told = _NEW_REASON(answers.Reason)
    _SET_RULE(told, reason.rule)
    _SET_RECORD(told, None if record is None else _record(record, reason.subject or 0, now))
    _SET_HOLD(told, None if hold is None else _hold(hold))
    _SET_UNTIL(told, None if until is None else time_of(until))
    return told


def _record(record: Record, subject_index: int, now: Instant) -> answers.Record:
    kind, end_time = record.kind, record.end_time
    told = _NEW_RECORD(answers.Record)
    _SET_KIND(told, kind)
    _SET_CAUSE(told, record.cause if kind is _SUPPRESSION else _NO_CAUSE)
    _SET_REACH(told, _ALL if kind is _OPT_IN else record.reach)
    _SET_SCOPE(told, _scope(record.channel, record.topic))
    _SET_DECIDED(told, time_of(record.decided_time))
    _SET_END(told, None if end_time is None else time_of(end_time))
    _SET_REVISION(told, record.revision)
    _SET_SUBJECT_INDEX(told, subject_index)
    _SET_ACTIVE(told, end_time is None or now < end_time)
    # Who said so and why are not in answers of a check.
    _SET_ORIGIN(told, None)
    _SET_COMMIT_TIME(told, None)
    _SET_WHY(told, "")
    _SET_EVIDENCE(told, None)
    _SET_ERASED(told, False)
    _SET_QUIET_HOURS(told, record.quiet_hours)
    no_ask_until = record.no_ask_until
    _SET_NO_ASK_UNTIL(told, None if no_ask_until is None else time_of(no_ask_until))
    return told


@lru_cache(maxsize=SCOPES_REMEMBERED_MAX)
def _scope(channel: Channel, topic: str) -> Scope:
    return Scope(channel=channel, topic=topic)


def _hold(hold: Hold) -> answers.Hold:
    return answers.Hold(
        hold_id=hold.hold_id,
        channel=hold.channel,
        topic=hold.topic,
        campaign=hold.campaign,
        end_time=None if hold.end_time is None else time_of(hold.end_time),
        reason=hold.reason,
        revision=hold.revision,
        spares_mandatory=hold.spares_mandatory,
    )


# Frozen values made by their constructors cost as much as the decision (`heed.records`). A test
# holds that no field is left out.
_NEW_REASON: Final = answers.Reason.__new__
_SET_RULE: Final = answers.Reason.__dict__["rule"].__set__
_SET_RECORD: Final = answers.Reason.__dict__["record"].__set__
_SET_HOLD: Final = answers.Reason.__dict__["hold"].__set__
_SET_UNTIL: Final = answers.Reason.__dict__["until_time"].__set__
_NEW_RECORD: Final = answers.Record.__new__
_SET_KIND: Final = answers.Record.__dict__["kind"].__set__
_SET_CAUSE: Final = answers.Record.__dict__["cause"].__set__
_SET_REACH: Final = answers.Record.__dict__["reach"].__set__
_SET_SCOPE: Final = answers.Record.__dict__["scope"].__set__
_SET_DECIDED: Final = answers.Record.__dict__["decided_time"].__set__
_SET_END: Final = answers.Record.__dict__["end_time"].__set__
_SET_REVISION: Final = answers.Record.__dict__["revision"].__set__
_SET_SUBJECT_INDEX: Final = answers.Record.__dict__["subject_index"].__set__
_SET_ACTIVE: Final = answers.Record.__dict__["active"].__set__
_SET_ORIGIN: Final = answers.Record.__dict__["origin"].__set__
_SET_COMMIT_TIME: Final = answers.Record.__dict__["commit_time"].__set__
_SET_WHY: Final = answers.Record.__dict__["reason"].__set__
_SET_EVIDENCE: Final = answers.Record.__dict__["evidence"].__set__
_SET_ERASED: Final = answers.Record.__dict__["erased"].__set__
_SET_QUIET_HOURS: Final = answers.Record.__dict__["quiet_hours"].__set__
_SET_NO_ASK_UNTIL: Final = answers.Record.__dict__["no_ask_until"].__set__
# Python 3.11 looks a member up on its enum some ten times slower than a name.
_SUPPRESSION: Final = RecordKind.SUPPRESSION
_OPT_IN: Final = RecordKind.OPT_IN
_NO_CAUSE: Final = Cause.NONE
_ALL: Final = Reach.ALL
