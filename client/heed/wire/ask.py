"""The library's values (`heed.requests`) to messages of requests.

Nothing is checked here that the server checks; the values checked their own words and zones. What
no message can hold is refused: strings that are not Unicode, such as half a surrogate pair.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from heed.answers import AsOf
from heed.model import Cause, Channel, RecordKind, Subject, TopicClass
from heed.names import named
from heed.requests import (
    ImportedOptOut,
    ImportRow,
    LinkTarget,
    Origin,
    PageTarget,
    PersonChoices,
    Query,
    Suppression,
    require_zone,
)
from heed.wire import format as told
from heed.wire import said
from heed.wire.limits import PAGE_SIZE_MAX
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch


@said.of_unicode
def check(tenant: str, query: Query, token: str) -> preference.CheckSuppressionRequest:
    """Ask about one message."""
    return preference.CheckSuppressionRequest(tenant=tenant, query=said.query(query), token=token)


@said.of_unicode
def check_many(
    tenant: str, queries: Iterable[Query], token: str
) -> preference.BatchCheckSuppressionRequest:
    """Ask about several messages."""
    return preference.BatchCheckSuppressionRequest(
        tenant=tenant, queries=[said.query(query) for query in queries], token=token
    )


@said.of_unicode
def explain(tenant: str, query: Query, as_of: AsOf | None = None) -> audit.ExplainRequest:
    """Ask why, now or as of a position or an instant."""
    if as_of is None:
        return audit.ExplainRequest(tenant=tenant, query=said.query(query))
    if isinstance(as_of, datetime):
        require_zone(as_of, "as_of")
        time = said.timestamp(as_of)
        return audit.ExplainRequest(tenant=tenant, query=said.query(query), time=time)
    position = pb.Position(
        revision=as_of.revision,
        now=said.timestamp(as_of.now),
        rule_version=as_of.rule_version,
        token=as_of.token,
    )
    return audit.ExplainRequest(tenant=tenant, query=said.query(query), position=position)


@said.of_unicode
def get_history(
    tenant: str, subjects: Iterable[Subject], page_token: str
) -> audit.GetHistoryRequest:
    """Ask for a page of what the log has of a person."""
    return audit.GetHistoryRequest(
        tenant=tenant,
        subjects=[told.subject(one) for one in subjects],
        page_size=PAGE_SIZE_MAX,
        page_token=page_token,
    )


@said.of_unicode
def set_preference(
    tenant: str,
    key: str,
    person: PersonChoices,
    origin: Origin,
    *,
    wait_propagated: float | None = None,
) -> preference.SetPreferenceRequest:
    """Record the choices of one person; wait so many seconds until everybody has them."""
    return preference.SetPreferenceRequest(
        tenant=tenant,
        idempotency_key=key,
        subjects=[told.subject(one) for one in person.named_subjects()],
        choices=[said.choice(choice) for choice in person.choices],
        origin=said.origin(origin),
        wait_propagated=said.duration(wait_propagated, "wait_propagated"),
    )


@said.of_unicode
def set_preferences(
    tenant: str,
    key: str,
    people: Iterable[PersonChoices],
    origin: Origin | None,
    batch_id: str = "",
) -> preference.BatchSetPreferencesRequest:
    """Record the choices of several people."""
    return preference.BatchSetPreferencesRequest(
        tenant=tenant,
        idempotency_key=key,
        people=[
            preference.PersonChoices(
                subjects=[told.subject(one) for one in person.named_subjects()],
                choices=[said.choice(choice) for choice in person.choices],
                origin=said.origin(person.origin) if person.origin is not None else None,
            )
            for person in people
        ],
        origin=said.origin(origin) if origin is not None else None,
        batch_id=batch_id,
    )


@said.of_unicode
def get_preferences(tenant: str, subjects: Iterable[Subject]) -> preference.GetPreferencesRequest:
    """Ask what stands for a person."""
    return preference.GetPreferencesRequest(
        tenant=tenant, subjects=[told.subject(one) for one in subjects]
    )


@said.of_unicode
def make_links(tenant: str, targets: Iterable[LinkTarget]) -> preference.MakeLinksRequest:
    """Ask for links."""
    return preference.MakeLinksRequest(
        tenant=tenant,
        targets=[
            preference.LinkTarget(
                subject=told.subject(one.subject),
                scope=said.scope(one.channel, one.topic),
            )
            for one in targets
        ],
    )


@said.of_unicode
def make_page_links(tenant: str, targets: Iterable[PageTarget]) -> preference.MakePageLinksRequest:
    """Ask for page links."""
    return preference.MakePageLinksRequest(
        tenant=tenant,
        targets=[
            preference.PageTarget(
                subjects=[told.subject(each) for each in one.named_subjects()],
                jurisdiction=one.jurisdiction,
            )
            for one in targets
        ],
    )


@said.of_unicode
def create_tenant(name: str) -> admin.CreateTenantRequest:
    """Create a tenant."""
    return admin.CreateTenantRequest(name=name)


@said.of_unicode
def list_tenants(page_token: str) -> admin.ListTenantsRequest:
    """Ask for a page of tenants."""
    return admin.ListTenantsRequest(page_size=PAGE_SIZE_MAX, page_token=page_token)


@said.of_unicode
def list_topics(tenant: str, page_token: str) -> admin.ListTopicsRequest:
    """Ask for a page of topics."""
    return admin.ListTopicsRequest(tenant=tenant, page_size=PAGE_SIZE_MAX, page_token=page_token)


@said.of_unicode
def list_holds(tenant: str, page_token: str) -> admin.ListHoldsRequest:
    """Ask for a page of holds."""
    return admin.ListHoldsRequest(tenant=tenant, page_size=PAGE_SIZE_MAX, page_token=page_token)


@said.of_unicode
def topic(
    *,
    name: str,
    topic_class: TopicClass | str,
    mandatory_channels: Iterable[Channel | str],
    requires_opt_in: bool,
    suppress_undeclared: bool,
    title: str,
) -> pb.Topic:
    """Say what a topic shall be."""
    return pb.Topic(
        name=name,
        topic_class=pb.TopicClass.ValueType(named(TopicClass, topic_class, "topic_class")),
        mandatory_channels=[
            pb.Channel.ValueType(named(Channel, channel, "mandatory_channels"))
            for channel in mandatory_channels
        ],
        requires_opt_in=requires_opt_in,
        suppress_undeclared=suppress_undeclared,
        title=title,
    )


@said.of_unicode
def declare_topic(
    tenant: str, key: str, topic: pb.Topic, origin: Origin
) -> admin.DeclareTopicRequest:
    """Declare a topic."""
    return admin.DeclareTopicRequest(
        tenant=tenant, idempotency_key=key, topic=topic, origin=said.origin(origin)
    )


@said.of_unicode
def loosen_topic(
    tenant: str, key: str, topic: pb.Topic, reason: str, origin: Origin
) -> admin.LoosenTopicRequest:
    """Loosen a topic."""
    return admin.LoosenTopicRequest(
        tenant=tenant, idempotency_key=key, topic=topic, reason=reason, origin=said.origin(origin)
    )


@said.of_unicode
def retire_topic(
    tenant: str, key: str, name: str, reason: str, origin: Origin
) -> admin.RetireTopicRequest:
    """Retire a topic."""
    return admin.RetireTopicRequest(
        tenant=tenant, idempotency_key=key, name=name, reason=reason, origin=said.origin(origin)
    )


@said.of_unicode
def place_hold(
    tenant: str,
    key: str,
    *,
    channel: Channel | str | None,
    topic: str,
    campaign: str,
    end_time: datetime | None,
    reason: str,
    origin: Origin,
) -> admin.PlaceHoldRequest:
    """Place a hold."""
    require_zone(end_time, "end_time")
    return admin.PlaceHoldRequest(
        tenant=tenant,
        idempotency_key=key,
        hold=pb.Hold(
            channel=said.channel(channel),
            topic=topic,
            campaign=campaign,
            end_time=said.timestamp(end_time),
            reason=reason,
        ),
        origin=said.origin(origin),
    )


@said.of_unicode
def lift_hold(
    tenant: str, key: str, hold_id: str, reason: str, origin: Origin
) -> admin.LiftHoldRequest:
    """Lift a hold."""
    return admin.LiftHoldRequest(
        tenant=tenant,
        idempotency_key=key,
        hold_id=hold_id,
        reason=reason,
        origin=said.origin(origin),
    )


@said.of_unicode
def add_suppressions(
    tenant: str, key: str, suppressions: Iterable[Suppression], origin: Origin
) -> admin.AddSuppressionsRequest:
    """Add suppressions."""
    return admin.AddSuppressionsRequest(
        tenant=tenant,
        idempotency_key=key,
        suppressions=[
            admin.SubjectSuppression(
                subject=told.subject(one.subject), suppression=said.suppression(one)
            )
            for one in suppressions
        ],
        origin=said.origin(origin),
    )


@said.of_unicode
def release_suppression(
    tenant: str,
    key: str,
    *,
    subject: Subject,
    cause: Cause | str,
    channel: Channel | str | None,
    topic: str,
    reason: str,
    origin: Origin,
) -> admin.ReleaseSuppressionRequest:
    """Release the suppressions of one subject."""
    return admin.ReleaseSuppressionRequest(
        tenant=tenant,
        idempotency_key=key,
        subject=told.subject(subject),
        cause=pb.Cause.ValueType(named(Cause, cause, "cause")),
        scope=said.scope(channel, topic),
        reason=reason,
        origin=said.origin(origin),
    )


@said.of_unicode
def export_subject(
    tenant: str, subjects: Iterable[Subject], page_token: str
) -> admin.ExportSubjectRequest:
    """Ask for a page of all that is known of one person."""
    return admin.ExportSubjectRequest(
        tenant=tenant,
        subjects=[told.subject(one) for one in subjects],
        page_size=PAGE_SIZE_MAX,
        page_token=page_token,
    )


@said.of_unicode
def erase_subject(
    tenant: str, key: str, subjects: Iterable[Subject], reason: str, origin: Origin
) -> admin.EraseSubjectRequest:
    """Erase what is known of one person."""
    return admin.EraseSubjectRequest(
        tenant=tenant,
        idempotency_key=key,
        subjects=[told.subject(one) for one in subjects],
        reason=reason,
        origin=said.origin(origin),
    )


@said.of_unicode
def list_suppressions(
    tenant: str, cause: Cause | str | None, page_token: str
) -> admin.ListSuppressionsRequest:
    """Ask for a page of suppressions."""
    return admin.ListSuppressionsRequest(
        tenant=tenant,
        cause=pb.Cause.ValueType(named(Cause, cause, "cause") if cause is not None else 0),
        page_size=PAGE_SIZE_MAX,
        page_token=page_token,
    )


@said.of_unicode
def import_records(
    tenant: str,
    key: str,
    *,
    batch_id: str,
    rows: Iterable[ImportRow],
    origin: Origin,
    dry_run: bool,
) -> admin.ImportRecordsRequest:
    """Import a chunk of a list."""
    return admin.ImportRecordsRequest(
        tenant=tenant,
        idempotency_key=key,
        batch_id=batch_id,
        rows=[import_row(row) for row in rows],
        origin=said.origin(origin),
        dry_run=dry_run,
    )


def import_row(row: ImportRow) -> admin.ImportRow:
    """Say one row of a list."""
    protection = row.protection
    match protection:
        case Suppression():
            return admin.ImportRow(
                row=row.row,
                subject=told.subject(protection.subject),
                suppression=said.suppression(protection),
                decided_time=said.timestamp(row.decided_time),
            )
        case ImportedOptOut():
            return admin.ImportRow(
                row=row.row,
                subject=told.subject(protection.subject),
                opt_out=pb.OptOut(reach=said.reach(protection.reach)),
                scope=said.scope(protection.channel, protection.topic),
                decided_time=said.timestamp(row.decided_time),
            )
        case _:
            assert_never(protection)


@said.of_unicode
def export_records(
    tenant: str,
    *,
    kinds: Iterable[RecordKind | str],
    causes: Iterable[Cause | str],
    channel: Channel | str | None,
    topic: str,
) -> admin.ExportRecordsRequest:
    """Ask for records."""
    return admin.ExportRecordsRequest(
        tenant=tenant,
        kinds=[pb.RecordKind.ValueType(named(RecordKind, kind, "kinds")) for kind in kinds],
        causes=[pb.Cause.ValueType(named(Cause, cause, "causes")) for cause in causes],
        scope=said.scope(channel, topic),
    )


@said.of_unicode
def get_propagation(tenant: str, revision: int) -> watch.GetPropagationRequest:
    """Ask who has applied a revision."""
    return watch.GetPropagationRequest(tenant=tenant, revision=revision)


@said.of_unicode
def get_deadlines(tenant: str, before_revision: int, page_size: int) -> watch.GetDeadlinesRequest:
    """Ask by when opt-outs must have reached everyone."""
    return watch.GetDeadlinesRequest(
        tenant=tenant, before_revision=before_revision, page_size=page_size
    )


@said.of_unicode
def declare_subscriber(tenant: str, name: str) -> watch.DeclareSubscriberRequest:
    """Declare a subscriber."""
    return watch.DeclareSubscriberRequest(tenant=tenant, subscriber=name)


@said.of_unicode
def withdraw_subscriber(tenant: str, name: str) -> watch.WithdrawSubscriberRequest:
    """Take a declaration back."""
    return watch.WithdrawSubscriberRequest(tenant=tenant, subscriber=name)
