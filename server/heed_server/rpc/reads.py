"""The RPCs that read the store: parse, act, format.

A record told here is told in full: who said so, when, and why.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence

from heed.model import RULE_VERSION, Head, Instant, RecordKind, Subject, SubjectKey
from heed.wire import format as told
from heed.wire import parse, parse_admin, parse_ways_back
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import Principal
from heed_server.service import Service, TenantContext
from heed_server.service.node import place
from heed_server.store import StandingRecord, Tenant


async def get_preferences(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetPreferences."""
    asked = parse.get_preferences(data)
    context, standing, now = await service.get_preferences(principal, asked)
    places = _places(context, asked.subjects)
    return preference.GetPreferencesResponse(
        records=[in_full(one, places[one.key], now) for one in standing.records],
        position=position(context, standing.head, now),
    ).SerializeToString()


async def create_tenant(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer CreateTenant."""
    tenant = await service.create_tenant(principal, parse_admin.create_tenant(data))
    return admin.CreateTenantResponse(tenant=_tenant(tenant)).SerializeToString()


async def list_tenants(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListTenants."""
    page = await service.list_tenants(principal, parse_admin.list_tenants(data))
    return admin.ListTenantsResponse(
        tenants=map(_tenant, page.items),
        next_page_token=parse_admin.page_token("tenants", page.next_cursor),
    ).SerializeToString()


async def list_topics(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListTopics."""
    page = await service.list_topics(principal, parse_admin.list_topics(data))
    return admin.ListTopicsResponse(
        topics=map(told.topic, page.items),
        next_page_token=parse_admin.page_token("topics", page.next_cursor),
    ).SerializeToString()


async def list_holds(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListHolds."""
    page = await service.list_holds(principal, parse_admin.list_holds(data))
    return admin.ListHoldsResponse(
        holds=[told.hold_in_full(one.hold, one.commit_time, one.origin) for one in page.items],
        next_page_token=parse_admin.page_token("holds", page.next_cursor),
    ).SerializeToString()


async def list_batches(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListBatches."""
    page = await service.list_batches(principal, parse_ways_back.list_batches(data))
    return admin.ListBatchesResponse(
        batches=[
            told.batch(
                one.batch_id,
                one.first_revision,
                one.last_revision,
                first=one.first,
                last=one.last,
                undone=one.undone,
            )
            for one in page.items
        ],
        next_page_token=parse_admin.page_token("batches", page.next_cursor),
    ).SerializeToString()


async def list_suppressions(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ListSuppressions."""
    asked = parse_admin.list_suppressions(data)
    page = await service.list_suppressions(principal, asked)
    now = service.now()
    list_name = parse_admin.suppressions_list(asked.cause)
    return admin.ListSuppressionsResponse(
        suppressions=[_with_subject(one, now) for one in page.items],
        next_page_token=parse_admin.page_token(list_name, page.next_cursor),
    ).SerializeToString()


async def export_records(
    service: Service, principal: Principal, data: bytes
) -> AsyncGenerator[bytes, None]:
    """Answer ExportRecords, message by message; the caller's reading sets the pace."""
    context, opening = service.export_records(principal, parse_admin.export_records(data))
    total = 0
    async with opening as (head, batches):
        now = service.now()
        async for batch in batches:
            total += len(batch)
            yield admin.ExportRecordsResponse(
                records=[_with_subject(one, now) for one in batch]
            ).SerializeToString()
        yield admin.ExportRecordsResponse(
            total=total, position=position(context, head, now)
        ).SerializeToString()


def in_full(one: StandingRecord, subject_index: int, now: Instant) -> pb.Record:
    """Return a record with who said so, when and why."""
    return told.record_in_full(
        one.record,
        subject_index,
        now,
        commit_time=one.commit_time,
        said_by=one.origin,
        shown=one.evidence if one.record.kind is RecordKind.OPT_IN else None,
        reason=one.reason,
        is_erased=one.is_erased,
    )


def position(
    context: TenantContext, head: Head, now: Instant, rule_version: int = RULE_VERSION
) -> pb.Position:
    """Return where in the log, and when, an answer is true, and by which rules."""
    at = place(context.tenant.tenant_id, head.epoch, head.revision, head.running_hash)
    return told.position(at.revision, at.token, now, rule_version)


def _places(context: TenantContext, subjects: Sequence[Subject]) -> Mapping[SubjectKey, int]:
    """The position of each subject among those named; of one named twice the first."""
    places: dict[SubjectKey, int] = {}
    for at, keys in enumerate(context.keys_of(subjects)):
        for key in keys:
            places.setdefault(key, at)
    return places


def _with_subject(one: StandingRecord, now: Instant) -> admin.SubjectRecord:
    return admin.SubjectRecord(
        subject=None if one.subject is None else told.subject(one.subject),
        record=in_full(one, 0, now),
    )


def _tenant(tenant: Tenant) -> admin.Tenant:
    return admin.Tenant(name=tenant.name, create_time=told.timestamp(tenant.create_time))
