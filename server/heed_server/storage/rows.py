"""Rows of the tables, and the values they hold."""

from collections.abc import Iterable

from heed.hours import Hours, hours_of
from heed.judge import Held
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
    TenantId,
    Topic,
    TopicClass,
)
from heed_server.storage.schema import holds, records, topics
from heed_server.storage.statements import Row

RECORD_COLUMNS = (
    records.c.subject,
    records.c.kind,
    records.c.cause,
    records.c.reach,
    records.c.channel,
    records.c.topic,
    records.c.decided_time,
    records.c.end_time,
    records.c.revision,
    records.c.quiet_hours,
    records.c.no_ask_until,
)
"""What `record_of` reads, after the subject."""

TOPIC_COLUMNS = tuple(topics.c)[1:]
HOLD_COLUMNS = tuple(holds.c)[1:]


def record_of(row: Row) -> Record:
    """Return the record in a row of `RECORD_COLUMNS`."""
    return records_of([(*row, 0)])[0][1]


def records_of(rows: Iterable[Row]) -> list[tuple[SubjectKey, Record]]:
    """Return the records in rows of `RECORD_COLUMNS` and `slot_reach`, each with its subject."""
    kinds, causes, reaches, channels = _KINDS, _CAUSES, _REACHES, _CHANNELS
    return [
        (
            subject,
            Record(
                kinds[kind],
                causes[cause],
                reaches[reach],
                channels[channel],
                topic,
                decided_time,
                end_time,
                revision,
                None if hours is None else hours_of(hours),
                no_ask_until,
            ),
        )
        for (
            subject,
            kind,
            cause,
            reach,
            channel,
            topic,
            decided_time,
            end_time,
            revision,
            hours,
            no_ask_until,
            _,
        ) in rows
    ]


def record_row(tenant_id: TenantId, key: SubjectKey, held: Held) -> Row:
    """Return the row of one slot."""
    record = held.record
    return (
        tenant_id,
        key,
        int(record.kind),
        int(record.cause),
        0 if record.kind in OF_ONE_SLOT else int(record.reach),
        int(record.channel),
        record.topic,
        int(record.reach),
        record.decided_time,
        record.end_time,
        record.revision,
        held.standing,
        held.release_time,
        text_of(record.quiet_hours),
        record.no_ask_until,
    )


def text_of(hours: Hours | None) -> str | None:
    """Return what stands in a row for quiet hours."""
    return None if hours is None else str(hours)


def topic_of(row: Row) -> Topic:
    """Return the topic in a row of `TOPIC_COLUMNS`."""
    name, topic_class, channels, requires_opt_in, suppress_undeclared, retired, title, rev = row
    return Topic(
        name=name,
        topic_class=TopicClass(topic_class),
        mandatory_channels=frozenset(one for one in Channel if channels >> one & 1),
        requires_opt_in=bool(requires_opt_in),
        suppress_undeclared=bool(suppress_undeclared),
        retired=bool(retired),
        title=title,
        revision=Revision(rev),
    )


def topic_row(tenant_id: TenantId, topic: Topic) -> Row:
    """Return the row of a topic."""
    return (
        tenant_id,
        topic.name,
        int(topic.topic_class),
        sum(1 << channel for channel in topic.mandatory_channels),
        topic.requires_opt_in,
        topic.suppress_undeclared,
        topic.retired,
        topic.title,
        topic.revision,
    )


def hold_of(row: Row) -> Hold:
    """Return the hold in a row of `HOLD_COLUMNS`."""
    hold_id, channel, topic, campaign, end_time, reason, revision, spares_mandatory = row
    return Hold(
        hold_id=hold_id,
        channel=None if channel is None else Channel(channel),
        topic=topic,
        campaign=campaign,
        end_time=None if end_time is None else Instant(end_time),
        reason=reason,
        revision=Revision(revision),
        spares_mandatory=bool(spares_mandatory),
    )


def hold_row(tenant_id: TenantId, hold: Hold) -> Row:
    """Return the row of a hold."""
    return (
        tenant_id,
        hold.hold_id,
        None if hold.channel is None else int(hold.channel),
        hold.topic,
        hold.campaign,
        hold.end_time,
        hold.reason,
        hold.revision,
        hold.spares_mandatory,
    )


# By number: a look-up is much quicker than calling an enum, and an unknown number raises.
_KINDS = {int(kind): kind for kind in RecordKind}
_CAUSES = {int(cause): cause for cause in Cause}
_REACHES = {int(reach): reach for reach in Reach}
_CHANNELS = {int(channel): channel for channel in Channel}
