"""What a write did, as the bytes that its first answer and every replay of it give.

Laws:
- Pure and quick: they run under the log's lock.
- `replayed` is left unset; the edge appends it to a replay.
- What stands is told as of the commit: its time is the answer's `now`.
"""

from collections.abc import Sequence

from heed.acts import Outcome, Reverted, StoredRecord
from heed.model import Origin, Record, TenantId
from heed.still_sent import StillSent
from heed.tokens import encode_token
from heed.wire import encoded
from heed.wire import format as told
from heed.wire.asked import RejectedRow
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch


def preference_set(tenant_id: TenantId, outcome: Outcome, still_sent: StillSent) -> bytes:
    """Return the answer of SetPreference, put together by hand: there is one for each write."""
    now, field = outcome.commit_time, encoded.field
    classes, topics = still_sent.within(outcome.standing, now)
    # What was stored stands, most often: the same record of the same subject, encoded once.
    records: dict[tuple[int, int], bytes] = {}

    def record(value: Record, subject_index: int) -> bytes:
        known = records.get((id(value), subject_index))
        if known is None:
            known = encoded.record(value, subject_index, now)
            records[id(value), subject_index] = known
        return known

    parts = [
        field(
            b"\x0a",
            field(b"\x0a", record(one.record, one.subject_index)) + encoded.effect(one.effect),
        )
        for one in outcome.stored
    ]
    parts += [field(b"\x12", record(value, at)) for _, at, value in outcome.standing]
    parts.append(field(b"\x1a", bytes(classes)))
    parts += [field(b"\x22", topic.encode()) for topic in topics]
    parts.append(
        field(b"\x32", encoded.position(outcome.revision, _token(tenant_id, outcome), now))
    )
    if outcome.claim is not None:
        parts.append(field(b"\x4a", encoded.claim(outcome.claim)))
    return b"".join(parts)


def preferences_set(tenant_id: TenantId, outcome: Outcome, people_count: int) -> bytes:
    """Return the answer of BatchSetPreferences."""
    people = [preference.StoredChoices() for _ in range(people_count)]
    for one in outcome.stored:
        people[one.item].stored.append(_stored(one, outcome))
    return preference.BatchSetPreferencesResponse(
        people=people,
        position=_position(tenant_id, outcome),
        receipt_claim=_claim(outcome),
    ).SerializeToString()


def suppressions_added(tenant_id: TenantId, outcome: Outcome) -> bytes:
    """Return the answer of AddSuppressions."""
    return admin.AddSuppressionsResponse(
        stored=[
            admin.StoredSuppression(
                record=told.record(one.record, one.item, outcome.commit_time),
                effect=told.effect(one.effect),
            )
            for one in outcome.stored
        ],
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def suppression_released(tenant_id: TenantId, outcome: Outcome) -> bytes:
    """Return the answer of ReleaseSuppression."""
    now = outcome.commit_time
    return admin.ReleaseSuppressionResponse(
        released=[told.record(record, 0, now) for record in outcome.released],
        standing=[told.record(record, 0, now) for _, _, record in outcome.standing],
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def records_imported(
    tenant_id: TenantId, outcome: Outcome, rejected: Sequence[RejectedRow]
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
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def records_offered(tenant_id: TenantId, outcome: Outcome, *, skipped: int) -> bytes:
    """Return the answer of OfferRecords; `skipped` were found to stand before the log was asked."""
    tally = outcome.tally
    return watch.OfferRecordsResponse(
        added=tally.added,
        strengthened=tally.strengthened,
        unchanged=tally.unchanged + skipped,
        holds_placed=outcome.holds_placed,
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def subject_erased(tenant_id: TenantId, outcome: Outcome) -> bytes:
    """Return the answer of EraseSubject; the edge appends whether it is overwritten too."""
    return admin.EraseSubjectResponse(
        erasures=[
            admin.Erasure(
                subject_index=one.subject_index,
                revision=one.revision,
                erase_time=told.timestamp(one.erase_time),
                changes_erased=one.changes_count,
            )
            for one in outcome.erased
        ],
        standing=[
            told.record(record, subject_index, outcome.commit_time)
            for _, subject_index, record in outcome.standing
        ],
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def batch_reverted(tenant_id: TenantId, outcome: Outcome, before: Reverted) -> bytes:
    """Return the answer of RevertBatch, of a part that comes after others."""
    part = outcome.reverted
    return admin.RevertBatchResponse(
        records=before.records + part.records,
        released=before.released + part.released,
        restored=before.restored + part.restored,
        unchanged=before.unchanged + part.unchanged,
        people=before.people + part.people,
        newly_allowed=before.newly_allowed + part.newly_allowed,
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def suppressions_released(tenant_id: TenantId, outcome: Outcome, before: int, people: int) -> bytes:
    """Return the answer of ReleaseSuppressions, of a part that comes after others."""
    return admin.ReleaseSuppressionsResponse(
        released=before + len(outcome.released),
        people=people,
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def topic_set(tenant_id: TenantId, outcome: Outcome, *, loosens: bool) -> bytes:
    """Return the answer of DeclareTopic or LoosenTopic."""
    answer = admin.LoosenTopicResponse if loosens else admin.DeclareTopicResponse
    return answer(topic=_topic(outcome), position=_position(tenant_id, outcome)).SerializeToString()


def topic_retired(tenant_id: TenantId, outcome: Outcome) -> bytes:
    """Return the answer of RetireTopic."""
    return admin.RetireTopicResponse(
        topic=_topic(outcome), position=_position(tenant_id, outcome)
    ).SerializeToString()


def hold_placed(tenant_id: TenantId, outcome: Outcome, placed_by: Origin) -> bytes:
    """Return the answer of PlaceHold."""
    hold, now = outcome.hold, outcome.commit_time
    return admin.PlaceHoldResponse(
        hold=None if hold is None else told.hold_in_full(hold, now, placed_by),
        position=_position(tenant_id, outcome),
    ).SerializeToString()


def hold_lifted(tenant_id: TenantId, outcome: Outcome) -> bytes:
    """Return the answer of LiftHold."""
    hold = None if outcome.hold is None else told.hold(outcome.hold)
    return admin.LiftHoldResponse(
        hold=hold, position=_position(tenant_id, outcome)
    ).SerializeToString()


def _stored(one: StoredRecord, outcome: Outcome) -> preference.StoredChoice:
    return preference.StoredChoice(
        record=told.record(one.record, one.subject_index, outcome.commit_time),
        effect=told.effect(one.effect),
    )


def _claim(outcome: Outcome) -> pb.ReceiptClaim | None:
    claim = outcome.claim
    if claim is None:
        return None
    return pb.ReceiptClaim(
        origin=claim.origin,
        first_revision=claim.first_revision,
        count=claim.count,
        leaves_hash=claim.leaves_hash,
    )


def _topic(outcome: Outcome) -> pb.Topic | None:
    return None if outcome.topic is None else told.topic(outcome.topic)


def _position(tenant_id: TenantId, outcome: Outcome) -> pb.Position:
    return told.position(outcome.revision, _token(tenant_id, outcome), outcome.commit_time)


def _token(tenant_id: TenantId, outcome: Outcome) -> str:
    return encode_token(
        epoch=outcome.epoch,
        tenant_id=tenant_id,
        revision=outcome.revision,
        running_hash=outcome.running_hash,
    )
