"""What a write did, as the bytes that its first answer and every replay of it give.

Laws:
- Pure and quick: they run under the log's lock.
- `replayed` is left unset; the edge appends it to a replay.
- What stands is told as of the commit: its time is the answer's `now`.
"""

from collections.abc import Sequence

from heed.model import Origin
from heed.wire import format as told
from heed.wire.asked import RejectedRow
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.acts import Outcome, StoredRecord
from heed_server.service.node import place
from heed_server.service.still_sent import StillSent
from heed_server.service.tenants import TenantContext


def preference_set(context: TenantContext, outcome: Outcome, still_sent: StillSent) -> bytes:
    """Return the answer of SetPreference."""
    classes, topics = still_sent.within(outcome.standing, outcome.commit_time)
    return preference.SetPreferenceResponse(
        stored=[_stored(one, outcome) for one in outcome.stored],
        standing=[
            told.record(record, subject_index, outcome.commit_time)
            for _, subject_index, record in outcome.standing
        ],
        still_sent=[pb.TopicClass.ValueType(one) for one in classes],
        still_sent_mandatory_topics=topics,
        position=_position(context, outcome),
    ).SerializeToString()


def preferences_set(context: TenantContext, outcome: Outcome, people_count: int) -> bytes:
    """Return the answer of BatchSetPreferences."""
    people = [preference.StoredChoices() for _ in range(people_count)]
    for one in outcome.stored:
        people[one.item].stored.append(_stored(one, outcome))
    return preference.BatchSetPreferencesResponse(
        people=people, position=_position(context, outcome)
    ).SerializeToString()


def suppressions_added(context: TenantContext, outcome: Outcome) -> bytes:
    """Return the answer of AddSuppressions."""
    return admin.AddSuppressionsResponse(
        stored=[
            admin.StoredSuppression(
                record=told.record(one.record, one.item, outcome.commit_time),
                effect=told.effect(one.effect),
            )
            for one in outcome.stored
        ],
        position=_position(context, outcome),
    ).SerializeToString()


def suppression_released(context: TenantContext, outcome: Outcome) -> bytes:
    """Return the answer of ReleaseSuppression."""
    now = outcome.commit_time
    return admin.ReleaseSuppressionResponse(
        released=[told.record(record, 0, now) for record in outcome.released],
        standing=[told.record(record, 0, now) for _, _, record in outcome.standing],
        position=_position(context, outcome),
    ).SerializeToString()


def records_imported(
    context: TenantContext, outcome: Outcome, rejected: Sequence[RejectedRow]
) -> bytes:
    """Return the answer of ImportRecords."""
    tally = outcome.tally
    return admin.ImportRecordsResponse(
        added=tally.added,
        strengthened=tally.strengthened,
        unchanged=tally.unchanged,
        superseded=tally.superseded,
        rejected=[
            admin.RejectedRow(
                row=one.row,
                field=one.violation.field,
                description=one.violation.description,
            )
            for one in rejected
        ],
        position=_position(context, outcome),
    ).SerializeToString()


def topic_set(context: TenantContext, outcome: Outcome, *, loosens: bool) -> bytes:
    """Return the answer of DeclareTopic or LoosenTopic."""
    answer = admin.LoosenTopicResponse if loosens else admin.DeclareTopicResponse
    return answer(topic=_topic(outcome), position=_position(context, outcome)).SerializeToString()


def topic_retired(context: TenantContext, outcome: Outcome) -> bytes:
    """Return the answer of RetireTopic."""
    return admin.RetireTopicResponse(
        topic=_topic(outcome), position=_position(context, outcome)
    ).SerializeToString()


def hold_placed(context: TenantContext, outcome: Outcome, placed_by: Origin) -> bytes:
    """Return the answer of PlaceHold."""
    hold = None
    if outcome.hold is not None:
        hold = told.hold_in_full(outcome.hold, outcome.commit_time, placed_by)
    return admin.PlaceHoldResponse(
        hold=hold, position=_position(context, outcome)
    ).SerializeToString()


def hold_lifted(context: TenantContext, outcome: Outcome) -> bytes:
    """Return the answer of LiftHold."""
    hold = None if outcome.hold is None else told.hold(outcome.hold)
    return admin.LiftHoldResponse(
        hold=hold, position=_position(context, outcome)
    ).SerializeToString()


def _stored(one: StoredRecord, outcome: Outcome) -> preference.StoredChoice:
    return preference.StoredChoice(
        record=told.record(one.record, one.subject_index, outcome.commit_time),
        effect=told.effect(one.effect),
    )


def _topic(outcome: Outcome) -> pb.Topic | None:
    return None if outcome.topic is None else told.topic(outcome.topic)


def _position(context: TenantContext, outcome: Outcome) -> pb.Position:
    at = place(context.tenant.tenant_id, outcome.epoch, outcome.revision, outcome.running_hash)
    return told.position(at.revision, at.token, outcome.commit_time)
