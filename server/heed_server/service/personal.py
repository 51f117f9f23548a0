"""What stands for one person, and what it means to them: where they are written to, and why not.

Laws:
- Pure. Whether something is sent is what `decide` says, without what is no affair of the person's:
  the holds of operators, which come and go.
- What would change nothing is known beforehand, for each of their subjects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from heed.acts import STOPS
from heed.decide import Facts, decide
from heed.hours import are_as_quiet
from heed.model import (
    Channel,
    Choice,
    ChoiceKind,
    Decision,
    Head,
    Instant,
    Query,
    Record,
    RecordKind,
    Revision,
    Scope,
    Subject,
    TopicClass,
)
from heed.records import stop_stands, without_quiet_hours
from heed.still_sent import plan_at
from heed.topics import MESSAGE_CHANNELS, TopicTable, covers
from heed_server.store import StandingRecord

_NOTHING: Final = Revision(0)
_REPLACED_BY: Final = {
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.QUIET_HOURS: RecordKind.QUIET_HOURS,
}
"""Stops in the place of what may have stopped more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalStanding:
    """What stands for one person, read in one transaction."""

    subjects: tuple[Subject, ...]
    records: tuple[tuple[StandingRecord, ...], ...]
    """Of each subject, in order."""
    topics: TopicTable
    head: Head
    now: Instant

    @property
    def newest(self) -> Revision:
        """The newest revision that any of it is of; 0: nothing stands."""
        return max((one.record.revision for one in self.each()), default=_NOTHING)

    def each(self) -> Iterable[StandingRecord]:
        """Return every record, by subject."""
        return (one for records in self.records for one in records)

    def by_subject(self) -> tuple[tuple[Record, ...], ...]:
        """Return the bare records of each subject, in order."""
        return tuple(tuple(one.record for one in records) for records in self.records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whether a person is written to at a scope, as far as it is up to them."""

    scope: Scope
    decision: Decision
    """Of several channels, of the first on which nothing is sent, if there is one."""
    is_partly: bool
    """Whether something is sent on some channels of the scope, and nothing on others."""


def place_of(standing: PersonalStanding, scope: Scope) -> Place:
    """Return whether the person is written to about a topic, on a channel or on any, by day."""
    by_day = tuple(without_quiet_hours(records) for records in standing.by_subject())
    facts = Facts(records=by_day, holds=(), topics=standing.topics)
    channels = sorted(MESSAGE_CHANNELS) if scope.channel is Channel.ANY else [scope.channel]
    decisions = [
        decide(facts, Query(channel=channel, topic=scope.topic), standing.now)
        for channel in channels
    ]
    stopped = [one for one in decisions if not one.is_allowed]
    return Place(
        scope=scope,
        decision=stopped[0] if stopped else decisions[0],
        is_partly=0 < len(stopped) < len(decisions),
    )


def still_sent(standing: PersonalStanding, scope: Scope) -> tuple[list[TopicClass], list[str]]:
    """Return what is still let through within a scope: classes of message, mandatory topics."""
    told = [
        (0, at, record) for at, records in enumerate(standing.by_subject()) for record in records
    ]
    return plan_at(standing.topics, (scope,)).within(told, standing.now)


def standing_records(standing: PersonalStanding) -> list[StandingRecord]:
    """Return what counts now, the newest first: one of those that each of the subjects has.

    An opt-out that an opt-in at the same scope lifted counts no more, nor an opt-in that a later
    opt-out took back.
    """
    found: dict[object, StandingRecord] = {}
    for records in standing.records:
        bare = [one.record for one in records]
        for one in records:
            if _counts(one.record, bare, standing.now):
                found.setdefault(one.record.slot, one)
    return sorted(found.values(), key=lambda one: one.record.revision, reverse=True)


def stands(standing: PersonalStanding, choice: Choice) -> bool:
    """Whether recording a choice would change nothing, for any of the person's subjects."""
    return all(_stands_in(records, choice, standing.now) for records in standing.by_subject())


def weakens(standing: PersonalStanding, choice: Choice) -> bool:
    """Whether recording a choice may let through what is stopped."""
    kind = _REPLACED_BY.get(choice.kind)
    if kind is None:
        return choice.kind not in STOPS
    replaced = (_at(records, kind, choice.scope, standing.now) for records in standing.by_subject())
    return any(
        one is not None
        and (
            (one.end_time or 0) > (choice.end_time or 0)
            or one.reach > choice.reach
            or not are_as_quiet(choice.quiet_hours, one.quiet_hours)
        )
        for one in replaced
    )


def _counts(record: Record, records: Sequence[Record], now: Instant) -> bool:
    if not record.is_active(now):
        return False
    scope = Scope(channel=record.channel, topic=record.topic)
    match record.kind:
        case RecordKind.OPT_OUT:
            given = _at(records, RecordKind.OPT_IN, scope, now)
            return given is None or given.decided_time <= record.decided_time
        case RecordKind.OPT_IN:
            return not any(
                one.kind is RecordKind.OPT_OUT
                and one.decided_time >= record.decided_time
                and covers(Scope(channel=one.channel, topic=one.topic), scope)
                for one in records
            )
        case _:
            return True


def _stands_in(records: Sequence[Record], choice: Choice, now: Instant) -> bool:
    scope = choice.scope
    match choice.kind:
        case ChoiceKind.OPT_OUT:
            return choice.no_ask_until is None and stop_stands(records, scope)
        case ChoiceKind.OPT_IN:
            given = _at(records, RecordKind.OPT_IN, scope, now)
            return given is not None and not any(
                one.kind is RecordKind.OPT_OUT and one.decided_time >= given.decided_time
                for one in records
            )
        case ChoiceKind.PAUSE:
            paused = _at(records, RecordKind.PAUSE, scope, now)
            return paused is not None and (paused.end_time, paused.reach) == (
                choice.end_time,
                choice.reach,
            )
        case ChoiceKind.END_PAUSE:
            return _at(records, RecordKind.PAUSE, scope, now) is None
        case ChoiceKind.QUIET_HOURS:
            quiet = _at(records, RecordKind.QUIET_HOURS, scope, now)
            return quiet is not None and (quiet.quiet_hours, quiet.reach) == (
                choice.quiet_hours,
                choice.reach,
            )
        case ChoiceKind.END_QUIET_HOURS:
            return _at(records, RecordKind.QUIET_HOURS, scope, now) is None
        case _:
            assert_never(choice.kind)


def _at(records: Sequence[Record], kind: RecordKind, scope: Scope, now: Instant) -> Record | None:
    """The record of a kind at a scope that counts now."""
    return next(
        (
            one
            for one in records
            if one.kind is kind
            and (one.channel, one.topic) == (scope.channel, scope.topic)
            and one.is_active(now)
        ),
        None,
    )
