"""The decision a second time, read straight from section 3 of the design, for the tests alone.

It shares nothing with `heed.decide` or `heed.topics` but the values of `heed.model`, and with
`heed.quiet` those of `heed.hours`: of time zones it asks Python, by the files of the package tzdata.
It is slow and flat on purpose: every sentence of the section is a function, and nothing is
remembered but a zone's file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import chain
from zoneinfo import ZoneInfo

from heed.hours import Hours
from heed.model import (
    Cause,
    Channel,
    Hold,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Rule,
    Topic,
    TopicClass,
    Verdict,
)

MESSAGE_CHANNELS = (
    Channel.EMAIL,
    Channel.SMS,
    Channel.PUSH,
    Channel.VOICE,
    Channel.IN_APP,
    Channel.WHATSAPP,
    Channel.POSTAL,
)
KINDS = tuple(RecordKind)
CAUSES = tuple(cause for cause in Cause if cause != Cause.NONE)
EVERY_CHANNEL = (*MESSAGE_CHANNELS, Channel.PROCESSING)

Voice = tuple[Rule, int | None, Record | Hold | None]
"""The rule, whose record spoke, and the record or hold that did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that a decision depends on."""

    topics: tuple[Topic, ...]
    holds: tuple[Hold, ...]
    subjects: tuple[tuple[Record, ...], ...]
    query: Query
    now: Instant


def voices(scenario: Scenario) -> list[Voice]:
    """Every rule that speaks, in the order of the section, one entry for each voice."""
    said = [*_spoken(scenario)]
    return said or [(Rule.DEFAULT, None, None)]


def verdict(scenario: Scenario) -> Verdict:
    """What the first rule that speaks says."""
    allowing = (Rule.MANDATORY, Rule.OPT_IN, Rule.DEFAULT)
    return Verdict.ALLOWED if voices(scenario)[0][0] in allowing else Verdict.SUPPRESSED


def topic_class(topics: Sequence[Topic], channel: Channel, name: str) -> TopicClass:
    """The class of a topic's messages on a channel."""
    if not name:
        return TopicClass.PROMOTIONAL
    declared = find(topics, name)
    if declared is None:
        inherited = topic_class(topics, channel, parent(name))
        return TopicClass.TRANSACTIONAL if inherited == TopicClass.MANDATORY else inherited
    if declared.topic_class == TopicClass.MANDATORY:
        if channel in declared.mandatory_channels:
            return TopicClass.MANDATORY
        return TopicClass.TRANSACTIONAL
    if declared.topic_class == TopicClass.TRANSACTIONAL:
        return TopicClass.TRANSACTIONAL
    return TopicClass.PROMOTIONAL


def is_undeclared(topics: Sequence[Topic], name: str) -> bool:
    """Whether a topic is not declared; the root always is."""
    return name != "" and find(topics, name) is None


def find(topics: Sequence[Topic], name: str) -> Topic | None:
    """The declaration of a topic."""
    for topic in topics:
        if topic.name == name:
            return topic
    return None


def nearest(topics: Sequence[Topic], name: str) -> Topic:
    """The declaration of a topic or of its nearest declared ancestor."""
    declared = find(topics, name)
    if declared is not None:
        return declared
    return nearest(topics, parent(name)) if name else Topic(name="")


def parent(name: str) -> str:
    """The topic above."""
    return ".".join(name.split(".")[:-1])


def topic_within(name: str, ancestor: str) -> bool:
    """Whether a topic is another one or beneath it."""
    if name == ancestor:
        return True
    return name != "" and topic_within(parent(name), ancestor)


def channels_of(channel: Channel | None) -> tuple[Channel, ...]:
    """The channels that a scope's channel means; a stop's unknown one means every one."""
    if channel == Channel.ANY:
        return MESSAGE_CHANNELS
    if channel is None or channel not in EVERY_CHANNEL:
        return EVERY_CHANNEL
    return (channel,)


def scope_within(inner: Record, outer: Record) -> bool:
    """Whether the first record's scope is the second's or narrower."""
    return topic_within(inner.topic, outer.topic) and (
        inner.channel == outer.channel
        or (outer.channel == Channel.ANY and inner.channel in MESSAGE_CHANNELS)
    )


def _spoken(scenario: Scenario) -> Iterator[Voice]:
    query = scenario.query
    kind = topic_class(scenario.topics, query.channel, query.topic)
    declared = nearest(scenario.topics, query.topic)
    # 1. An active hold covering the message.
    for hold in scenario.holds:
        spares = hold.spares_mandatory and kind == TopicClass.MANDATORY
        if hold_covers(hold, query) and not spares and not ended(hold.end_time, scenario.now):
            yield (Rule.HOLD, None, hold)
    # 2. An active suppression covering it.
    for index, record in each_record(scenario):
        if record.kind in KINDS and record.kind != RecordKind.SUPPRESSION:
            continue
        if stop_covers(record, query) and suppresses(scenario, record, kind):
            yield (Rule.SUPPRESSION, index, record)
    # 3. An opt-out that covers and reaches it and that nothing has lifted.
    for index, record in each_record(scenario):
        if (
            record.kind == RecordKind.OPT_OUT
            and stop_covers(record, query)
            and reaches(scenario, record, kind)
            and not any(lifts(scenario, one, record) for one in scenario.subjects[index])
        ):
            yield (Rule.OPT_OUT, index, record)
    # 4. Mandatory.
    if kind == TopicClass.MANDATORY:
        yield (Rule.MANDATORY, None, None)
    # 5. An active pause covering and reaching it.
    for index, record in each_record(scenario):
        if (
            record.kind == RecordKind.PAUSE
            and stop_covers(record, query)
            and reaches(scenario, record, kind)
            and not ended(record.end_time, scenario.now)
        ):
            yield (Rule.PAUSE, index, record)
    # Quiet hours that cover and reach it, within one of their periods.
    for index, record in quiet_records(scenario):
        if is_quiet(record.quiet_hours, scenario.now):
            yield (Rule.QUIET_HOURS, index, record)
    # Undeclared, where the nearest declared ancestor has such topics suppressed.
    if is_undeclared(scenario.topics, query.topic) and declared.suppress_undeclared:
        yield (Rule.UNDECLARED_TOPIC, None, None)
    # 6. The topic requires an opt-in and no subject's standing one covers it; 7. or some does.
    opt_ins = [
        (index, record) for index, record in each_record(scenario) if stands(scenario, record)
    ]
    if declared.requires_opt_in and not opt_ins:
        yield (Rule.NO_CONSENT, None, None)
    for index, record in opt_ins:
        yield (Rule.OPT_IN, index, record)


def each_record(scenario: Scenario) -> Iterator[tuple[int, Record]]:
    """Every record of every subject named, with the subject's position."""
    for index, records in enumerate(scenario.subjects):
        for record in records:
            yield index, record


def until(scenario: Scenario) -> int | None:
    """Until when it is quiet, if it is."""
    hours = [record.quiet_hours for _, record in quiet_records(scenario)]
    if not any(is_quiet(one, scenario.now) for one in hours):
        return None
    return quiet_until(hours, scenario.now)


def quiet_records(scenario: Scenario) -> Iterator[tuple[int, Record]]:
    """The quiet hours that cover and reach the message, whether it is quiet now or not."""
    query = scenario.query
    kind = topic_class(scenario.topics, query.channel, query.topic)
    for index, record in each_record(scenario):
        if (
            record.kind == RecordKind.QUIET_HOURS
            and stop_covers(record, query)
            and reaches(scenario, record, kind)
            and not ended(record.end_time, scenario.now)
        ):
            yield index, record


def is_quiet(hours: Hours | None, at: int) -> bool:
    """Whether an instant is within a period; at hours or in a zone that are not known it always is."""
    if hours is None or (hours.periods and zone(hours.time_zone) is None):
        return True
    return any(start <= at < end for start, end in spans(hours, at))


def quiet_until(all_hours: Sequence[Hours | None], at: int) -> int | None:
    """The first instant that none of these has quiet, if one is within eight days."""
    known = [hours for hours in all_hours if hours is not None and zone(hours.time_zone)]
    ends = chain.from_iterable(spans(hours, at) for hours in known)
    for end in sorted({at, *(end for _, end in ends if end > at)}):
        if not any(is_quiet(hours, end) for hours in all_hours):
            return end if end - at <= 8 * 86_400_000_000 else None
    return None


def spans(hours: Hours, at: int) -> Iterator[tuple[int, int]]:
    """When periods begin and end, by the readings that make them longest, some days before and on."""
    clock = zone(hours.time_zone)
    if clock is None:
        return
    today = (EPOCH + timedelta(microseconds=at)).astimezone(clock).replace(tzinfo=None)
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
    for offset in range(-3, 13):
        day = midnight + timedelta(days=offset)
        for period in hours.periods:
            if period.days and day.isoweekday() not in period.days:
                continue
            start = day + timedelta(minutes=period.start_minute)
            end = day + timedelta(minutes=period.end_minute)
            if end <= start:
                end += timedelta(days=1)
            yield min(readings(start, clock)), max(readings(end, clock))


def readings(shown: datetime, clock: ZoneInfo) -> list[int]:
    """The instants that may be meant by what a clock shows."""
    meant = [shown.replace(tzinfo=clock, fold=fold) for fold in (0, 1)]
    return [(one.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) for one in meant]


@cache
def zone(name: str) -> ZoneInfo | None:
    """The time zone of a name."""
    file = resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))
    if not name or not file.is_file():
        return None
    with file.open("rb") as found:
        return ZoneInfo.from_file(found, key=name)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ended(end_time: int | None, now: int) -> bool:
    """Whether an end has come; the instant of the end is after it."""
    return end_time is not None and end_time <= now


def hold_covers(hold: Hold, query: Query) -> bool:
    """All that a hold names must match."""
    if hold.channel is not None and query.channel not in channels_of(hold.channel):
        return False
    if hold.campaign not in {"", query.campaign}:
        return False
    return topic_within(query.topic, hold.topic)


def stop_covers(stop: Record, query: Query) -> bool:
    """Whether a stop's scope covers the message."""
    return query.channel in channels_of(stop.channel) and topic_within(query.topic, stop.topic)


def stands(scenario: Scenario, record: Record) -> bool:
    """Whether a record is an opt-in that has not ended and covers the message."""
    return (
        record.kind == RecordKind.OPT_IN
        and record.channel in (*EVERY_CHANNEL, Channel.ANY)
        and stop_covers(record, scenario.query)
        and not ended(record.end_time, scenario.now)
    )


def lifts(scenario: Scenario, opt_in: Record, opt_out: Record) -> bool:
    """Whether a record of the same subject has lifted an opt-out for this message."""
    return (
        stands(scenario, opt_in)
        and opt_in.decided_time > opt_out.decided_time
        and scope_within(opt_in, opt_out)
    )


def suppresses(scenario: Scenario, record: Record, kind: TopicClass) -> bool:
    """Whether a suppression, or a record of a kind not known here, stops a class now."""
    if record.kind not in KINDS:
        return True
    if ended(record.end_time, scenario.now):
        return False
    return record.cause not in CAUSES or reaches(scenario, record, kind)


def reaches(scenario: Scenario, stop: Record, kind: TopicClass) -> bool:
    """Whether a stop's reach has a class in it."""
    reach = stop.reach
    if reach == Reach.PROMOTIONAL:
        named_at = topic_class(scenario.topics, scenario.query.channel, stop.topic)
        if named_at in {TopicClass.TRANSACTIONAL, TopicClass.MANDATORY}:
            reach = Reach.TRANSACTIONAL
    if reach == Reach.PROMOTIONAL:
        return kind == TopicClass.PROMOTIONAL
    if reach == Reach.TRANSACTIONAL:
        return kind in {TopicClass.PROMOTIONAL, TopicClass.TRANSACTIONAL}
    return True
