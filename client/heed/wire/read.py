"""Messages of answers to the library's values (`heed.answers`).

Laws:
- No word of a newer server makes a reader fail: what is unknown is read on the protective side
  (ADR 0010).
- `Verdict.ALLOWED` comes of VERDICT_ALLOWED alone.
"""

from collections.abc import Sequence

from heed.answers import (
    BatchSetAnswer,
    ChannelDecision,
    CheckAnswer,
    Erasure,
    ErasureAnswer,
    HistoricChange,
    Hold,
    HoldAnswer,
    ImportAnswer,
    KnownSubject,
    Preferences,
    Reason,
    RejectedRow,
    ReleaseAnswer,
    SetAnswer,
    SignedText,
    Stored,
    SubjectExport,
    SubjectRecord,
    SuppressionsAnswer,
    Tenant,
    TopicAnswer,
)
from heed.audit.claims import ReceiptClaim
from heed.audit.consistency import ConsistencyProof
from heed.deadlines import Deadline, DeadlinesPage, DeadlineStanding, OptOutDeadlines
from heed.errors import SAFE_ANSWER, ErrorReason, HeedError, UnavailableError
from heed.links import Link, PageLink
from heed.model import (
    Channel,
    Effect,
    Revision,
    Scope,
    Topic,
    TopicClass,
    Verdict,
)
from heed.propagation import Propagation, SubscriberProgress, SubscriberStatus
from heed.wire import heard
from heed.wire.status import from_refusal
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch


def check(answer: preference.CheckSuppressionResponse | audit.ExplainResponse) -> CheckAnswer:
    """Read the answer to one query."""
    return _decision(answer.decision, heard.position(answer.position))


def check_many(
    answer: preference.BatchCheckSuppressionResponse, *, asked: int
) -> tuple[CheckAnswer, ...]:
    """Read the answers to several queries, in their order.

    Raises:
        UnavailableError: there are more or fewer than were asked for, so none can be told whose it
            is.
    """
    _require_count(len(answer.decisions), asked)
    position = heard.position(answer.position)
    return tuple(_decision(decision, position) for decision in answer.decisions)


def check_stream(
    answer: preference.StreamCheckSuppressionResponse, *, asked: int
) -> list[CheckAnswer | HeedError]:
    """Read the answers to one request of a stream, in their order, refusals in their places.

    Raises:
        UnavailableError: as `check_many`.
    """
    _require_count(len(answer.answers), asked)
    position = heard.position(answer.position)
    return [_answered(one, position) for one in answer.answers]


def set_preference(answer: preference.SetPreferenceResponse, key: str) -> SetAnswer:
    """Read what a person's choices did."""
    return SetAnswer(
        stored=tuple(_stored(s) for s in answer.stored),
        standing=tuple(heard.record(one) for one in answer.standing),
        still_sent=tuple(
            heard.TOPIC_CLASS(number) or TopicClass.PROMOTIONAL for number in answer.still_sent
        ),
        still_sent_mandatory_topics=tuple(answer.still_sent_mandatory_topics),
        propagated=answer.propagated if answer.HasField("propagated") else None,
        waiting_for=tuple(answer.waiting_for),
        receipt_claim=_claim(answer),
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def set_preferences(answer: preference.BatchSetPreferencesResponse, key: str) -> BatchSetAnswer:
    """Read what the choices of several people did."""
    return BatchSetAnswer(
        people=tuple(tuple(_stored(s) for s in person.stored) for person in answer.people),
        receipt_claim=_claim(answer),
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def signed_text(
    answer: audit.GetCheckpointResponse
    | audit.GetReceiptResponse
    | audit.GetInclusionProofResponse,
) -> SignedText:
    """Read a checkpoint or a receipt; nothing of it is checked here."""
    text = answer.checkpoint if isinstance(answer, audit.GetCheckpointResponse) else answer.receipt
    return SignedText(text=text, verifier_key=answer.verifier_key)


def consistency_proof(
    answer: audit.GetConsistencyProofResponse, *, old_size: int
) -> ConsistencyProof:
    """Read a consistency proof; nothing of it is checked here."""
    return ConsistencyProof(
        old_size=old_size,
        new_size=answer.new_size,
        proof=tuple(answer.hashes),
        checkpoint=answer.checkpoint,
    )


def preferences(answer: preference.GetPreferencesResponse) -> Preferences:
    """Read what stands for a person."""
    return Preferences(
        records=tuple(heard.record(one) for one in answer.records),
        **heard.position(answer.position),
    )


def links(answer: preference.MakeLinksResponse, *, asked: int) -> tuple[Link, ...]:
    """Read links, one for each target.

    Raises:
        UnavailableError: there are more or fewer, so that nobody knows whose is which.
    """
    if len(answer.links) != asked:
        raise UnavailableError(f"asked for {asked} links, the answer has {len(answer.links)}")
    return tuple(Link(url=one.url) for one in answer.links)


def page_links(answer: preference.MakePageLinksResponse, *, asked: int) -> tuple[PageLink, ...]:
    """Read page links, one for each target. Raises as `links`."""
    if len(answer.links) != asked:
        raise UnavailableError(f"asked for {asked} links, the answer has {len(answer.links)}")
    return tuple(
        PageLink(url=one.url, expire_time=heard.instant(one.expire_time)) for one in answer.links
    )


def topic_written(
    answer: admin.DeclareTopicResponse | admin.LoosenTopicResponse | admin.RetireTopicResponse,
    key: str,
) -> TopicAnswer:
    """Read a topic after a write."""
    return TopicAnswer(
        topic=topic(answer.topic), **heard.write(answer.position, replayed=answer.replayed, key=key)
    )


def hold_written(answer: admin.PlaceHoldResponse | admin.LiftHoldResponse, key: str) -> HoldAnswer:
    """Read a hold after a write."""
    return HoldAnswer(
        hold=hold(answer.hold), **heard.write(answer.position, replayed=answer.replayed, key=key)
    )


def suppressions_added(answer: admin.AddSuppressionsResponse, key: str) -> SuppressionsAnswer:
    """Read what added suppressions became."""
    return SuppressionsAnswer(
        stored=tuple(_stored(s) for s in answer.stored),
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def suppression_released(answer: admin.ReleaseSuppressionResponse, key: str) -> ReleaseAnswer:
    """Read what was released."""
    return ReleaseAnswer(
        released=tuple(heard.record(one) for one in answer.released),
        standing=tuple(heard.record(one) for one in answer.standing),
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def subject_exported(pages: Sequence[admin.ExportSubjectResponse]) -> SubjectExport:
    """Read all that is known of a person, told in pages."""
    first = pages[0]
    return SubjectExport(
        subjects=tuple(
            KnownSubject(
                subject=heard.subject(one.subject) if one.HasField("subject") else None,
                erase_time=heard.instant(one.erase_time) if one.HasField("erase_time") else None,
            )
            for one in first.subjects
        ),
        standing=tuple(heard.record(one) for one in first.standing),
        decisions=tuple(
            ChannelDecision(
                channel=channel,
                answer=check(audit.ExplainResponse(decision=one.decision, position=first.position)),
            )
            for one in first.decisions
            if (channel := heard.CHANNEL(one.channel)) is not None
        ),
        changes=tuple(historic_change(one) for page in pages for one in page.changes),
        revision=first.position.revision,
    )


def subject_erased(answer: admin.EraseSubjectResponse, key: str) -> ErasureAnswer:
    """Read what was erased."""
    return ErasureAnswer(
        erasures=tuple(
            Erasure(
                subject_index=one.subject_index,
                revision=one.revision,
                erase_time=heard.instant(one.erase_time),
                changes_erased=one.changes_erased,
            )
            for one in answer.erasures
        ),
        standing=tuple(heard.record(one) for one in answer.standing),
        overwritten=answer.overwritten,
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def imported(answer: admin.ImportRecordsResponse, key: str) -> ImportAnswer:
    """Read what a chunk of a list did."""
    return ImportAnswer(
        added=answer.added,
        strengthened=answer.strengthened,
        unchanged=answer.unchanged,
        superseded=answer.superseded,
        rejected=tuple(
            RejectedRow(row=one.row, field=one.field, description=one.description)
            for one in answer.rejected
        ),
        **heard.write(answer.position, replayed=answer.replayed, key=key),
    )


def propagation(answer: watch.GetPropagationResponse) -> Propagation:
    """Read who has applied a revision. A status that is not known is of one who has not."""
    return Propagation(
        revision=answer.revision,
        head_revision=answer.head_revision,
        propagated=answer.propagated,
        subscribers=tuple(_progress(one) for one in answer.subscribers),
    )


def deadlines(answer: watch.GetDeadlinesResponse) -> DeadlinesPage:
    """Read opt-outs with their deadlines. A standing that is not known is told as over."""
    return DeadlinesPage(
        opt_outs=tuple(_opt_out_deadlines(one) for one in answer.opt_outs),
        next_before_revision=answer.next_before_revision,
        now=heard.instant(answer.now),
        policies_version=answer.policies_version,
    )


def tenant(value: admin.Tenant) -> Tenant:
    """Read a tenant."""
    return Tenant(
        name=value.name,
        create_time=heard.instant(value.create_time) if value.HasField("create_time") else None,
    )


def topic(value: pb.Topic) -> Topic:
    """Read a topic. On a channel that is unknown it is not mandatory."""
    return Topic(
        name=value.name,
        topic_class=heard.TOPIC_CLASS(value.topic_class) or TopicClass.PROMOTIONAL,
        mandatory_channels=frozenset(
            channel for number in value.mandatory_channels if (channel := heard.CHANNEL(number))
        ),
        requires_opt_in=value.requires_opt_in,
        suppress_undeclared=value.suppress_undeclared,
        retired=value.retired,
        title=value.title,
        revision=Revision(value.revision),
    )


def historic_change(value: audit.HistoricChange) -> HistoricChange:
    """Read a change of the log."""
    return HistoricChange(
        revision=value.revision,
        commit_time=heard.instant(value.commit_time) if value.HasField("commit_time") else None,
        kind=heard.CHANGE_KIND(value.kind),
        effect=_effect(value),
        subject_index=value.subject_index,
        asked=heard.record(value.asked) if value.HasField("asked") else None,
        stood=heard.record(value.stood) if value.HasField("stood") else None,
        origin=heard.origin(value.origin) if value.HasField("origin") else None,
        evidence=heard.evidence(value.evidence) if value.HasField("evidence") else None,
        reason=value.reason,
        batch_id=value.batch_id,
        erased=value.erased,
        asked_by=value.asked_by,
        approved_by=value.approved_by,
    )


def hold(value: pb.Hold) -> Hold:
    """Read a hold. One that names an unknown channel is told as covering every channel."""
    return Hold(
        hold_id=value.hold_id,
        channel=heard.CHANNEL(value.channel),
        topic=value.topic,
        campaign=value.campaign,
        end_time=heard.instant(value.end_time) if value.HasField("end_time") else None,
        reason=value.reason,
        revision=value.revision,
        commit_time=heard.instant(value.commit_time) if value.HasField("commit_time") else None,
        origin=heard.origin(value.origin) if value.HasField("origin") else None,
        spares_mandatory=value.spares_mandatory,
    )


def subject_record(value: admin.SubjectRecord) -> SubjectRecord:
    """Read a record with its subject."""
    return SubjectRecord(
        subject=heard.subject(value.subject) if value.HasField("subject") else None,
        record=heard.record(value.record),
    )


def _progress(value: watch.SubscriberProgress) -> SubscriberProgress:
    return SubscriberProgress(
        name=value.subscriber,
        status=heard.STATUS(value.status) or SubscriberStatus.PENDING,
        applied_revision=value.applied_revision,
        applied_time=heard.instant(value.applied_time) if value.HasField("applied_time") else None,
        probe_time=heard.instant(value.probe_time) if value.HasField("probe_time") else None,
        node=value.node,
        declared=value.declared,
    )


def _opt_out_deadlines(value: watch.OptOutDeadlines) -> OptOutDeadlines:
    return OptOutDeadlines(
        revision=value.revision,
        commit_time=heard.instant(value.commit_time),
        decided_time=heard.instant(value.decided_time),
        scope=Scope(
            channel=heard.CHANNEL(value.scope.channel) or Channel.ANY, topic=value.scope.topic
        ),
        jurisdiction=value.jurisdiction,
        deadlines=tuple(
            Deadline(
                time=heard.instant(one.time),
                policy=one.policy,
                title=one.title,
                calendar=one.calendar,
            )
            for one in value.deadlines
        ),
        standing=heard.DEADLINE_STANDING(value.standing) or DeadlineStanding.OVER,
        applied_time=heard.instant(value.applied_time) if value.HasField("applied_time") else None,
        waiting_for=tuple(value.waiting_for),
    )


def _require_count(answers: int, asked: int) -> None:
    if answers != asked:
        raise UnavailableError(
            f"{answers} answers came to {asked} questions; "
            f"the safe answer to each is {SAFE_ANSWER}",
            reason=ErrorReason.SERVER_UNREACHABLE,
        )


def _answered(
    value: preference.StreamCheckAnswer, position: heard.PositionFields
) -> CheckAnswer | HeedError:
    """An answer of neither kind that is known is a decision that does not allow."""
    if value.HasField("refusal"):
        return from_refusal(value.refusal)
    return _decision(value.decision, position)


def _decision(value: pb.Decision, position: heard.PositionFields) -> CheckAnswer:
    is_allowed = value.verdict == pb.VERDICT_ALLOWED
    return CheckAnswer(
        verdict=Verdict.ALLOWED if is_allowed else Verdict.SUPPRESSED,
        reasons=tuple(_reason(one) for one in value.reasons),
        undeclared_topic=value.undeclared_topic,
        topic_class=heard.TOPIC_CLASS(value.topic_class) or TopicClass.PROMOTIONAL,
        subjects_with_records=tuple(value.subjects_with_records),
        **position,
    )


def _reason(value: pb.Reason) -> Reason:
    return Reason(
        rule=heard.RULE(value.rule),
        record=heard.record(value.record) if value.HasField("record") else None,
        hold=hold(value.hold) if value.HasField("hold") else None,
        until_time=heard.instant(value.until_time) if value.HasField("until_time") else None,
    )


def _stored(value: preference.StoredChoice | admin.StoredSuppression) -> Stored:
    return Stored(record=heard.record(value.record), effect=_effect(value))


def _effect(
    value: preference.StoredChoice | admin.StoredSuppression | audit.HistoricChange,
) -> Effect:
    """An effect that is unknown is told as superseded: a stop that may not stand is looked at."""
    return Effect.APPLIED if value.effect == pb.EFFECT_APPLIED else Effect.SUPERSEDED


def _claim(
    answer: preference.SetPreferenceResponse | preference.BatchSetPreferencesResponse,
) -> ReceiptClaim | None:
    if not answer.HasField("receipt_claim"):
        return None
    said = answer.receipt_claim
    return ReceiptClaim(
        origin=said.origin,
        first_revision=Revision(said.first_revision),
        count=said.count,
        leaves_hash=said.leaves_hash,
    )
