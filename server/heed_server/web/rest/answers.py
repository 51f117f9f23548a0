"""The contract's answers to bodies."""

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import UNSET, UnsetType

from heed.audit.claims import ReceiptClaim
from heed.model import Revision
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.web.rest import told, words
from heed_server.web.rest.words import time


def checked(data: bytes) -> told.Checked:
    """Return the answer to a Check."""
    answer = preference.CheckSuppressionResponse.FromString(data)
    decided = answer.decision
    return told.Checked(
        verdict=words.VERDICTS.word(decided.verdict),
        reasons=[_reason(one) for one in decided.reasons],
        topic_class=words.CLASSES.word(decided.topic_class),
        undeclared_topic=decided.undeclared_topic,
        subjects_with_records=list(decided.subjects_with_records),
        position=position(answer.position),
    )


def checked_batch(data: bytes) -> told.CheckedBatch:
    """Return the answer to a batch of Checks."""
    answer = preference.BatchCheckSuppressionResponse.FromString(data)
    return told.CheckedBatch(
        decisions=[_decision(one) for one in answer.decisions], position=position(answer.position)
    )


def chosen(data: bytes) -> told.Chosen:
    """Return the answer to a write of one person's choices."""
    answer = preference.SetPreferenceResponse.FromString(data)
    stored = [_stored(one) for one in answer.stored]
    scopes = {
        (one.record.scope.channel, one.record.scope.topic): one.record.scope for one in stored
    }
    return told.Chosen(
        scopes=list(scopes.values()),
        effective_time=time(max((one.record.decided_time for one in answer.stored), key=_instant)),
        stored=stored,
        standing=[record(one) for one in answer.standing],
        still_sent=[words.CLASSES.word(one) for one in answer.still_sent],
        still_sent_mandatory_topics=list(answer.still_sent_mandatory_topics),
        replayed=answer.replayed,
        position=position(answer.position),
        receipt_claim=_claim(answer.receipt_claim) if answer.HasField("receipt_claim") else UNSET,
        propagated=answer.propagated if answer.HasField("propagated") else UNSET,
        waiting_for=list(answer.waiting_for) if answer.HasField("propagated") else UNSET,
    )


def preferences(data: bytes) -> told.Preferences:
    """Return what stands for a person."""
    answer = preference.GetPreferencesResponse.FromString(data)
    return told.Preferences(
        records=[record(one) for one in answer.records], position=position(answer.position)
    )


def position(said: pb.Position) -> told.Position:
    """Return where in the log an answer is true."""
    return told.Position(
        revision=said.revision,
        now=time(said.now),
        rule_version=said.rule_version,
        token=said.token,
    )


def _decision(said: pb.Decision) -> told.Decision:
    return told.Decision(
        verdict=words.VERDICTS.word(said.verdict),
        reasons=[_reason(one) for one in said.reasons],
        topic_class=words.CLASSES.word(said.topic_class),
        undeclared_topic=said.undeclared_topic,
        subjects_with_records=list(said.subjects_with_records),
    )


def _reason(said: pb.Reason) -> told.Reason:
    return told.Reason(
        rule=words.RULES.word(said.rule),
        record=record(said.record) if said.HasField("record") else UNSET,
        hold=hold(said.hold) if said.HasField("hold") else UNSET,
        until_time=time(said.until_time) if said.HasField("until_time") else UNSET,
    )


def record(said: pb.Record) -> told.Record:
    """Return a record that stands."""
    return told.Record(
        kind=words.KINDS.word(said.kind),
        scope=scope(said.scope),
        decided_time=time(said.decided_time),
        revision=said.revision,
        subject_index=said.subject_index,
        active=said.active,
        reach=words.REACHES.word(said.reach) if said.reach else UNSET,
        cause=words.CAUSES.word(said.cause) if said.cause else UNSET,
        end_time=time(said.end_time) if said.HasField("end_time") else UNSET,
        quiet_hours=quiet_hours(said.quiet_hours) if said.HasField("quiet_hours") else UNSET,
        no_ask_until=time(said.no_ask_until) if said.HasField("no_ask_until") else UNSET,
        commit_time=time(said.commit_time) if said.HasField("commit_time") else UNSET,
        origin=origin(said.origin) if said.HasField("origin") else UNSET,
        evidence=_evidence(said.evidence) if said.HasField("evidence") else UNSET,
        reason=_if_said(said.reason),
        erased=said.erased or UNSET,
    )


def scope(said: pb.Scope) -> told.Scope:
    """Return what something covers."""
    return told.Scope(channel=words.CHANNELS.word(said.channel), topic=said.topic)


def quiet_hours(said: pb.QuietHours) -> told.QuietHours:
    """Return when it is quiet."""
    return told.QuietHours(
        time_zone=said.time_zone,
        periods=[
            told.QuietPeriod(
                start=words.clock(one.start_minute),
                end=words.clock(one.end_minute),
                days=[words.DAYS.word(day) for day in one.days] or UNSET,
            )
            for one in said.periods
        ],
    )


def hold(said: pb.Hold) -> told.Hold:
    """Return a hold."""
    return told.Hold(
        hold_id=said.hold_id,
        reason=said.reason,
        revision=said.revision,
        channel=words.CHANNELS.word(said.channel) if said.channel else UNSET,
        topic=_if_said(said.topic),
        campaign=_if_said(said.campaign),
        end_time=time(said.end_time) if said.HasField("end_time") else UNSET,
        spares_mandatory=said.spares_mandatory or UNSET,
    )


def origin(said: pb.Origin) -> told.Origin:
    """Return who said so."""
    return told.Origin(
        source=said.source,
        actor=_if_said(said.actor),
        method=words.METHODS_TOLD.word(said.method) if said.method else UNSET,
        jurisdiction=_if_said(said.jurisdiction),
        reference=_if_said(said.reference),
        decided_time=time(said.decided_time) if said.HasField("decided_time") else UNSET,
    )


def _evidence(said: pb.Evidence) -> told.Evidence:
    return told.Evidence(
        notice=said.notice,
        notice_version=said.notice_version,
        act=said.act,
        language=said.language,
        truncated_ip=_if_said(said.truncated_ip),
    )


def _stored(said: preference.StoredChoice) -> told.Stored:
    return told.Stored(record=record(said.record), effect=words.EFFECTS.word(said.effect))


def _claim(said: pb.ReceiptClaim) -> str:
    return str(
        ReceiptClaim(
            origin=said.origin,
            first_revision=Revision(said.first_revision),
            count=said.count,
            leaves_hash=said.leaves_hash,
        )
    )


def _instant(said: Timestamp) -> tuple[int, int]:
    return said.seconds, said.nanos


def _if_said(text: str) -> str | UnsetType:
    return text or UNSET
