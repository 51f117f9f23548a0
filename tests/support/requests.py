"""Valid requests of every RPC, to be sent as they are or broken on purpose; what is said then."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from heed.errors import ErrorReason, InvalidArgumentError
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch

DECIDED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def violations_of(read: Callable[[bytes], Any], asked: Message) -> dict[str, str]:
    """What is refused, by path."""
    with pytest.raises(InvalidArgumentError) as refused:
        read(asked.SerializeToString())
    assert refused.value.reason is ErrorReason.INVALID_FIELD
    return {one.field: one.description for one in refused.value.violations}


def timestamp(at: datetime = DECIDED) -> Timestamp:
    """An instant as a message."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def receipt_claim() -> pb.ReceiptClaim:
    """What a write may have left in the log."""
    return pb.ReceiptClaim(
        origin="heed.dev/log/0123456789abcdef/1", first_revision=1, count=1, leaves_hash=bytes(32)
    )


def subject(email: str = "ada@example.com") -> pb.Subject:
    """A person."""
    return pb.Subject(email=email)


def query(email: str = "ada@example.com", topic: str = "marketing.weekly") -> pb.Query:
    """A message to that person."""
    return pb.Query(subjects=[subject(email)], channel=pb.CHANNEL_EMAIL, topic=topic)


def check(email: str = "ada@example.com", *, token: str = "") -> preference.CheckSuppressionRequest:
    """May I send it?"""
    return preference.CheckSuppressionRequest(query=query(email), token=token)


def batch_check(count: int = 3) -> preference.BatchCheckSuppressionRequest:
    """May I send these?"""
    return preference.BatchCheckSuppressionRequest(
        queries=[query(f"user{at}@example.com") for at in range(count)]
    )


def stream_check(count: int = 2) -> preference.StreamCheckSuppressionRequest:
    """May I send these, over a stream?"""
    return preference.StreamCheckSuppressionRequest(
        queries=[query(f"user{at}@example.com") for at in range(count)], sequence=7
    )


def origin(*, decided: bool = False) -> pb.Origin:
    """Who says so."""
    return pb.Origin(
        source="preference-page",
        actor="person",
        method=pb.METHOD_WEB_FORM,
        jurisdiction="DE",
        reference="ticket 4711",
        decided_time=timestamp() if decided else None,
    )


def opt_out(
    topic: str = "",
    channel: pb.Channel.ValueType = pb.CHANNEL_EMAIL,
    reach: pb.Reach.ValueType = pb.REACH_UNSPECIFIED,
) -> pb.Choice:
    """Stop."""
    return pb.Choice(scope=pb.Scope(channel=channel, topic=topic), opt_out=pb.OptOut(reach=reach))


def evidence() -> pb.Evidence:
    """What the person was shown and did."""
    return pb.Evidence(
        notice="newsletter-consent",
        notice_version="2026-03",
        act="ticked the box and pressed Save",
        language="de-AT",
        truncated_ip="192.0.2.0/24",
    )


def opt_in(topic: str = "", channel: pb.Channel.ValueType = pb.CHANNEL_EMAIL) -> pb.Choice:
    """Let through again."""
    return pb.Choice(
        scope=pb.Scope(channel=channel, topic=topic), opt_in=pb.OptIn(evidence=evidence())
    )


def pause(
    end: datetime = datetime(2099, 1, 1, tzinfo=UTC),
    topic: str = "",
    channel: pb.Channel.ValueType = pb.CHANNEL_EMAIL,
) -> pb.Choice:
    """Stop for a while."""
    return pb.Choice(
        scope=pb.Scope(channel=channel, topic=topic), pause=pb.Pause(end_time=timestamp(end))
    )


def set_preference(
    *choices: pb.Choice, email: str = "ada@example.com", key: str = "key-1"
) -> preference.SetPreferenceRequest:
    """Record what a person chose: to stop everything by email, unless said otherwise."""
    is_opt_in = any(choice.WhichOneof("act") == "opt_in" for choice in choices)
    return preference.SetPreferenceRequest(
        idempotency_key=key,
        subjects=[subject(email)],
        choices=choices or [opt_out()],
        origin=origin(decided=is_opt_in),
    )


def batch_set_preferences(
    count: int = 2, key: str = "key-1"
) -> preference.BatchSetPreferencesRequest:
    """Record what some people chose."""
    return preference.BatchSetPreferencesRequest(
        idempotency_key=key,
        people=[
            preference.PersonChoices(
                subjects=[subject(f"user{at}@example.com")], choices=[opt_out()]
            )
            for at in range(count)
        ],
        origin=origin(),
    )


def suppression(cause: pb.Cause.ValueType = pb.CAUSE_BOUNCE) -> admin.Suppression:
    """A reason not to send."""
    return admin.Suppression(cause=cause, reason="550 5.1.1 user unknown")


def add_suppressions(
    email: str = "ada@example.com", key: str = "key-1", cause: pb.Cause.ValueType = pb.CAUSE_BOUNCE
) -> admin.AddSuppressionsRequest:
    """Add one."""
    return admin.AddSuppressionsRequest(
        idempotency_key=key,
        suppressions=[
            admin.SubjectSuppression(subject=subject(email), suppression=suppression(cause))
        ],
        origin=origin(),
    )


def release_suppression(
    email: str = "ada@example.com", key: str = "key-2", cause: pb.Cause.ValueType = pb.CAUSE_BOUNCE
) -> admin.ReleaseSuppressionRequest:
    """Release it."""
    return admin.ReleaseSuppressionRequest(
        idempotency_key=key,
        subject=subject(email),
        cause=cause,
        reason="the mailbox is back",
        origin=origin(),
    )


def erase_subject(
    *emails: str, key: str = "key-e", reason: str = "asked by mail"
) -> admin.EraseSubjectRequest:
    """Erase what is known of one person."""
    return admin.EraseSubjectRequest(
        idempotency_key=key,
        subjects=[subject(email) for email in emails or ("ada@example.com",)],
        reason=reason,
        origin=origin(),
    )


def import_records(count: int = 2, key: str = "batch/1") -> admin.ImportRecordsRequest:
    """Import a chunk: bounces and opt-outs in turn."""
    rows = [
        admin.ImportRow(
            row=at + 1,
            subject=subject(f"user{at}@example.com"),
            suppression=suppression() if at % 2 == 0 else None,
            opt_out=pb.OptOut() if at % 2 else None,
        )
        for at in range(count)
    ]
    return admin.ImportRecordsRequest(
        idempotency_key=key, batch_id="batch", rows=rows, origin=origin()
    )


def declare_topic(
    name: str = "marketing",
    key: str = "key-1",
    topic_class: pb.TopicClass.ValueType = pb.TOPIC_CLASS_PROMOTIONAL,
) -> admin.DeclareTopicRequest:
    """Declare a topic; a mandatory one on email."""
    is_mandatory = topic_class == pb.TOPIC_CLASS_MANDATORY
    return admin.DeclareTopicRequest(
        idempotency_key=key,
        topic=pb.Topic(
            name=name,
            topic_class=topic_class,
            mandatory_channels=[pb.CHANNEL_EMAIL] if is_mandatory else [],
            title="A title",
        ),
        origin=origin(),
    )


def loosen_topic(name: str = "marketing", key: str = "key-2") -> admin.LoosenTopicRequest:
    """Make it transactional."""
    return admin.LoosenTopicRequest(
        idempotency_key=key,
        topic=pb.Topic(name=name, topic_class=pb.TOPIC_CLASS_TRANSACTIONAL),
        reason="it is about orders",
        origin=origin(),
    )


def retire_topic(name: str = "marketing", key: str = "key-3") -> admin.RetireTopicRequest:
    """Retire it."""
    return admin.RetireTopicRequest(
        idempotency_key=key, name=name, reason="not sent any more", origin=origin()
    )


def place_hold(topic: str = "", key: str = "key-1") -> admin.PlaceHoldRequest:
    """Stop everything."""
    return admin.PlaceHoldRequest(
        idempotency_key=key,
        hold=pb.Hold(topic=topic, reason="a template is broken"),
        origin=origin(),
    )


def lift_hold(hold_id: str = "hold-1", key: str = "key-2") -> admin.LiftHoldRequest:
    """Let it through again."""
    return admin.LiftHoldRequest(
        idempotency_key=key, hold_id=hold_id, reason="it is mended", origin=origin()
    )


def revert_batch(batch_id: str = "list-9", key: str = "key-9") -> admin.RevertBatchRequest:
    """Undo a list."""
    return admin.RevertBatchRequest(
        idempotency_key=key, batch_id=batch_id, reason="the wrong file", origin=origin()
    )


def release_suppressions(key: str = "key-10") -> admin.ReleaseSuppressionsRequest:
    """Release what a fault of one's own made."""
    return admin.ReleaseSuppressionsRequest(
        idempotency_key=key,
        cause=pb.CAUSE_BOUNCE,
        from_time=timestamp(DECIDED),
        before_time=timestamp(DECIDED + timedelta(hours=1)),
        reason="our own server refused the mail",
        origin=origin(),
    )


def make_links(*emails: str, topic: str = "news", tenant: str = "") -> preference.MakeLinksRequest:
    """Ask for links that stop mails about a topic."""
    return preference.MakeLinksRequest(
        tenant=tenant,
        targets=[
            preference.LinkTarget(
                subject=subject(one), scope=pb.Scope(channel=pb.CHANNEL_EMAIL, topic=topic)
            )
            for one in emails or ("ada@example.com",)
        ],
    )


def make_page_links(*emails: str, tenant: str = "") -> preference.MakePageLinksRequest:
    """Ask for page links."""
    return preference.MakePageLinksRequest(
        tenant=tenant,
        targets=[
            preference.PageTarget(subjects=[subject(one)], jurisdiction="US-CA")
            for one in emails or ("ada@example.com",)
        ],
    )


def watch_changes(subscriber: str = "mailer-1", *, token: str = "") -> watch.WatchChangesRequest:
    """Follow the log."""
    return watch.WatchChangesRequest(subscriber=subscriber, token=token)


def report_applied(
    stream_id: str = "0" * 32, *, applied: int = 0, probe: int = 1
) -> watch.ReportAppliedRequest:
    """Say how far it is."""
    return watch.ReportAppliedRequest(stream_id=stream_id, applied_revision=applied, probe=probe)


def offer_records(
    *people: int, key: str = "offer-1", holds: Sequence[pb.Hold] = ()
) -> watch.OfferRecordsRequest:
    """Offer opt-outs of some people, known by numbers, from an earlier epoch."""
    record = watch.WatchedRecord(
        kind=pb.RECORD_KIND_OPT_OUT,
        reach=pb.REACH_PROMOTIONAL,
        channel=pb.CHANNEL_EMAIL,
        topic="news",
        decided_time_us=int(DECIDED.timestamp() * 1_000_000),
        revision=7,
    )
    return watch.OfferRecordsRequest(
        idempotency_key=key,
        subscriber="mailer-1",
        epoch=bytes(8),
        subjects=[
            watch.SubjectRecords(subject_key=number.to_bytes(16), records=[record])
            for number in people
        ],
        holds=holds,
    )


VALID: dict[str, Callable[[], Message]] = {
    "CheckSuppression": check,
    "BatchCheckSuppression": batch_check,
    "StreamCheckSuppression": stream_check,
    "SetPreference": set_preference,
    "BatchSetPreferences": batch_set_preferences,
    "MakeLinks": make_links,
    "MakePageLinks": make_page_links,
    "GetPreferences": lambda: preference.GetPreferencesRequest(subjects=[subject()]),
    "Explain": lambda: audit.ExplainRequest(query=query()),
    "GetHistory": lambda: audit.GetHistoryRequest(subjects=[subject()]),
    "GetCheckpoint": audit.GetCheckpointRequest,
    "GetReceipt": lambda: audit.GetReceiptRequest(claim=receipt_claim()),
    "GetInclusionProof": lambda: audit.GetInclusionProofRequest(revision=1),
    "GetConsistencyProof": lambda: audit.GetConsistencyProofRequest(old_size=1),
    "GetTile": lambda: audit.GetTileRequest(path="tile/0/000.p/1"),
    "CreateTenant": lambda: admin.CreateTenantRequest(name="shop"),
    "ListTenants": admin.ListTenantsRequest,
    "DeclareTopic": declare_topic,
    "LoosenTopic": loosen_topic,
    "RetireTopic": retire_topic,
    "ListTopics": admin.ListTopicsRequest,
    "PlaceHold": place_hold,
    "LiftHold": lift_hold,
    "ListHolds": admin.ListHoldsRequest,
    "AddSuppressions": add_suppressions,
    "ReleaseSuppression": release_suppression,
    "ExportSubject": lambda: admin.ExportSubjectRequest(subjects=[subject()]),
    "EraseSubject": erase_subject,
    "ListSuppressions": admin.ListSuppressionsRequest,
    "ImportRecords": import_records,
    "ExportRecords": admin.ExportRecordsRequest,
    "RevertBatch": revert_batch,
    "ReleaseSuppressions": release_suppressions,
    "ListApprovals": admin.ListApprovalsRequest,
    "ListBatches": admin.ListBatchesRequest,
    "GrantApproval": lambda: admin.GrantApprovalRequest(approval_id="approval-9"),
    "RejectApproval": lambda: admin.RejectApprovalRequest(approval_id="approval-9"),
    "WatchChanges": watch_changes,
    "ReportApplied": report_applied,
    "OfferRecords": lambda: offer_records(1),
    "GetPropagation": watch.GetPropagationRequest,
    "GetDeadlines": watch.GetDeadlinesRequest,
    "ListWebhookTargets": admin.ListWebhookTargetsRequest,
    "ListDeadLetters": lambda: admin.ListDeadLettersRequest(target="crm"),
    "ReplayDeadLetters": lambda: admin.ReplayDeadLettersRequest(
        target="crm", every=admin.EveryDeadLetter()
    ),
    "DiscardDeadLetters": lambda: admin.DiscardDeadLettersRequest(
        target="crm", every=admin.EveryDeadLetter()
    ),
    "DeclareSubscriber": lambda: watch.DeclareSubscriberRequest(subscriber="mailer-1"),
    "WithdrawSubscriber": lambda: watch.WithdrawSubscriberRequest(subscriber="mailer-1"),
}
"""A valid request by the method's name."""
